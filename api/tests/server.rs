//! The binary, from outside: the demo's import, the server over real sockets, kill -9 and restart, ending in order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const BINARY: &str = env!("CARGO_BIN_EXE_decidr");

fn run(args: &[&str]) -> (bool, String, String) {
    let output = Command::new(BINARY).args(args).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(data_dir: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(BINARY)
            .args(["serve", "--data-dir", data_dir.to_str().unwrap(), "--listen", &format!("127.0.0.1:{port}")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { process, port };
        let started = Instant::now();
        while server.http("GET", "/readyz", "", "").is_none_or(|(status, _)| status != 200) {
            assert!(started.elapsed() < Duration::from_secs(60), "the server is not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn http(&self, method: &str, path: &str, headers: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (head, mut body) = answer.split_once("\r\n\r\n")?;
        let mut plain = String::new();
        if !head.to_lowercase().contains("transfer-encoding: chunked") {
            return Some((status, body.to_owned()));
        }
        while let Some((size, rest)) = body.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).ok()?;
            plain.push_str(rest.get(..size)?);
            body = rest.get(size + 2..)?;
        }
        Some((status, plain))
    }

    fn graphql(&self, token: &str, query: &str, variables: Json) -> Json {
        let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
        let (status, body) =
            self.http("POST", "/graphql", &headers, &json!({ "query": query, "variables": variables }).to_string()).unwrap();
        assert_eq!(status, 200, "{body}");
        let body: Json = serde_json::from_str(&body).unwrap();
        assert!(body.get("errors").is_none(), "{query}: {body}");
        body["data"].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn airlines(server: &Server, token: &str) -> Json {
    let query = "{ collection(key: \"airlines\") { id } }";
    let id = server.graphql(token, query, json!({}))["collection"]["id"].clone();
    let query = "query($c: ID!) { entities(collectionId: $c, orderBy: [{ attribute: \"carrier\" }]) { values } }";
    server.graphql(token, query, json!({ "c": id }))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_imported_served_killed_and_served_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data_dir = data.to_str().unwrap();
    let (ok, out, err) = run(&["demo", "--data-dir", data_dir, "--once"]);
    assert!(ok, "{err}");
    let summary: Json = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(summary["unlinked"], json!({ "dest_airport": 680, "plane": 4324 }));
    assert_eq!(summary["commands"], 16 + 1458 + 3322 + 27_004);
    let report = std::fs::read_to_string(data.join("not-linked-flights.csv")).unwrap();
    assert_eq!(report.lines().count(), 1 + 680 + 4324);

    // Imported again it is not there twice.
    let (ok, _, err) = run(&["demo", "--data-dir", data_dir, "--once"]);
    assert!(ok, "{err}");

    let check = ["formula", "check", "--data-dir", data_dir, "--tenant", "demo", "--collection", "flights"];
    let (ok, out, err) = run(&[&check[..], &["{dep_delay} > 15", "{dep_delai} + 1"]].concat());
    assert!(!ok && err.contains("1 of the formulas"), "{err}");
    let answers: Vec<Json> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers[0], json!({ "expr": "{dep_delay} > 15", "type": "checkbox", "reads": ["flights.dep_delay"] }));
    assert_eq!((&answers[1]["error"]["kind"], &answers[1]["error"]["span"]), (&json!("unknown_attribute"), &json!([0, 11])));
    assert!(answers[1]["error"]["message"].as_str().unwrap().contains("dep_delay"), "{out}");
    let (ok, out, err) = run(&["formula", "check", "--data-dir", data_dir, "--tenant", "demo", "--collection", "nothing", "1"]);
    assert!(!ok && out.is_empty() && err.contains("nothing"), "{err}");

    let server = Server::start(&data);
    let (ok, token, err) = run(&["token", "--data-dir", data_dir, "--tenant", "demo"]);
    assert!(ok, "{err}");
    let token = token.trim();
    let before = airlines(&server, token);
    let united = before["entities"].as_array().unwrap().iter().find(|e| e["values"]["carrier"] == "UA").unwrap()["values"].clone();
    assert_eq!((&united["flight_count"], &united["name"]), (&json!(4637), &json!("United Air Lines Inc.")));
    assert_eq!(united["flights"], json!({ "count": 4637 }));

    // Who has no token, or a wrong one, is told so.
    for headers in ["", "authorization: Bearer nonsense\r\n", "authorization: Basic abc\r\n"] {
        let (status, body) = server.http("POST", "/graphql", headers, "{}").unwrap();
        assert_eq!(status, 401, "{body}");
    }
    let (status, metrics) = server.http("GET", "/metrics", "", "").unwrap();
    assert_eq!(status, 200);
    for name in [
        "decidr_arrangement_updates",
        "decidr_log_position",
        "decidr_dataflow_position",
        "decidr_dataflow_lag_events",
        "decidr_dataflow_batch_seconds",
    ] {
        assert!(metrics.contains(name), "{name} is not among the metrics");
    }
    // What attributes hold is for operators alone.
    let (ok, operator, err) = run(&["token", "--data-dir", data_dir, "--operator"]);
    assert!(ok, "{err}");
    for (holder, sees) in [(operator.trim(), true), (token, false)] {
        let (_, metrics) = server.http("GET", "/metrics", &format!("authorization: Bearer {holder}\r\n"), "").unwrap();
        let line = "decidr_attribute_cells{tenant=\"demo\",collection=\"airlines\",attribute=\"flight_count\"} 16\n";
        assert_eq!((metrics.contains(line), metrics.contains("tenant=")), (sees, sees), "{metrics}");
    }
    let (ok, _, err) = run(&["serve", "--data-dir", data_dir]);
    assert!(!ok && err.contains("in use"), "{err}");
    let (ok, _, err) = run(&["token", "--data-dir", data_dir, "--tenant", "nobody"]);
    assert!(!ok && err.contains("no tenant of key `nobody`"), "{err}");

    // A live query over the wire.
    let mut request = format!("ws://127.0.0.1:{}/graphql", server.port).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let init = json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } });
    socket.send(Message::text(init.to_string())).await.unwrap();
    let Some(Ok(Message::Text(ack))) = socket.next().await else { panic!("no connection_ack") };
    assert!(ack.contains("connection_ack"), "{ack}");
    let collection = server.graphql(token, "{ collection(key: \"airlines\") { id } }", json!({}))["collection"]["id"].clone();
    let query = "subscription($c: ID!) { entities(collectionId: $c, filter: \"{carrier} = 'UA'\") { kind position ops { op node { values(keys: [\"flight_count\"]) } } } }";
    let subscribe = json!({ "id": "1", "type": "subscribe", "payload": { "query": query, "variables": { "c": collection } } });
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    let flights = server.graphql(token, "{ collection(key: \"flights\") { id } }", json!({}))["collection"]["id"].clone();
    let query = "query($c: ID!) { entities(collectionId: $c, filter: \"{carrier} = 'UA'\", first: 1) { id } }";
    let flight = server.graphql(token, query, json!({ "c": flights }))["entities"][0]["id"].clone();
    let mut kinds = Vec::new();
    let mut archived = false;
    loop {
        let message = tokio::time::timeout(Duration::from_secs(20), socket.next()).await.expect("a message comes").unwrap().unwrap();
        let Message::Text(text) = message else { continue };
        let message: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(message["type"], "next", "{message}");
        let changes = message["payload"]["data"]["entities"].clone();
        kinds.push(changes["kind"].as_str().unwrap().to_owned());
        if changes["kind"] == "DELTA" {
            assert_eq!(changes["ops"], json!([{ "op": "UPDATE", "node": { "values": { "flight_count": 4636 } } }]));
            break;
        }
        if !std::mem::replace(&mut archived, true) {
            server.graphql(token, "mutation($i: ID!) { archiveEntity(id: $i) { position } }", json!({ "i": flight }));
        }
    }
    assert_eq!(kinds[0], "SNAPSHOT");
    // An operation that is complete leaves its id free, in the same instant.
    for round in 0..50 {
        let subscribe = json!({ "id": "2", "type": "subscribe", "payload": { "query": "{ collection(key: \"airlines\") { id } }" } });
        socket.send(Message::text(subscribe.to_string())).await.unwrap();
        loop {
            let message = tokio::time::timeout(Duration::from_secs(20), socket.next()).await.expect("a message comes").unwrap().unwrap();
            assert!(!message.is_close(), "closed in round {round}: {message}");
            if message.to_text().is_ok_and(|text| text.contains("\"2\"") && text.contains("complete")) {
                break;
            }
        }
    }
    server.graphql(token, "mutation($i: ID!) { restoreEntity(id: $i) { position } }", json!({ "i": flight }));

    // kill -9: what was answered is there, and computed as before.
    drop(server);
    let mut server = Server::start(&data);
    assert_eq!(airlines(&server, token), before);

    // Asked to end, it ends in order.
    let (ok, ..) = {
        let status = Command::new("kill").args(["-TERM", &server.process.id().to_string()]).status().unwrap();
        (status.success(), ())
    };
    assert!(ok);
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    let (ok, out, err) = run(&["replay", "--data-dir", data_dir, "--workers", "2"]);
    assert!(ok && out.contains("events_per_second"), "{out} {err}");
    let (ok, out, err) = run(&["status", "--data-dir", data_dir]);
    assert!(ok && out.contains("\"demo\""), "{out} {err}");
}

#[test]
fn a_csv_of_ones_own_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let (data, csv) = (folder.path().join("data"), folder.path().join("people.csv"));
    let data_dir = data.to_str().unwrap().to_owned();
    let server = {
        std::fs::create_dir_all(&data).unwrap();
        Server::start(&data)
    };
    let operator = run(&["token", "--data-dir", &data_dir, "--operator"]).1;
    server.graphql(operator.trim(), "mutation { registerTenant(key: \"acme\", name: \"Acme\") { id } }", json!({}));
    let token = run(&["token", "--data-dir", &data_dir, "--tenant", "acme"]).1;
    let token = token.trim();
    let space = server.graphql(token, "mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({}))["createSpace"]["id"].clone();
    let collection = |key: &str| {
        let query = "mutation($s: ID!, $k: String!) { createCollection(spaceId: $s, key: $k, name: $k) { id } }";
        server.graphql(token, query, json!({ "s": space, "k": key }))["createCollection"]["id"].clone()
    };
    let attribute = |collection: &Json, key: &str, definition: Json| {
        let query = "mutation($c: ID!, $k: String!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: $k, definition: $d) { id } }";
        server.graphql(token, query, json!({ "c": collection, "k": key, "d": definition }));
    };
    let (companies, people) = (collection("companies"), collection("people"));
    attribute(&companies, "name", json!({ "text": {} }));
    attribute(&people, "who", json!({ "text": {} }));
    attribute(&people, "age", json!({ "number": {} }));
    attribute(&people, "employer", json!({ "link": { "collectionId": companies, "multiple": false, "backlinkKey": "staff" } }));
    attribute(&people, "boss", json!({ "link": { "collectionId": people, "multiple": false, "backlinkKey": "reports" } }));
    let create = "mutation($c: ID!) { createEntity(collectionId: $c, values: { name: \"Acme\" }) { id } }";
    server.graphql(token, create, json!({ "c": companies }));
    drop(server);
    std::fs::write(&csv, "who,age,company\nAda,36,Acme\nBob,NA,Nowhere\nEve,old,Acme\n").unwrap();
    let import = |link: &str| {
        run(&["import", csv.to_str().unwrap(), "--data-dir", &data_dir, "--tenant", "acme", "--collection", "people", "--link", link])
    };
    let (ok, _, err) = import("company=companies.nmae");
    assert!(!ok && err.contains("did you mean `name`?"), "{err}");
    let (ok, out, err) = import("company=companies.name");
    assert!(ok, "{err}");
    let summary: Json = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&summary["commands"], &summary["refused"], &summary["unlinked"]), (&json!(2), &json!(1), &json!({ "employer": 1 })));
    let report = std::fs::read_to_string(data.join("not-linked-people.csv")).unwrap();
    assert!(report.contains("2,employer,Nowhere,") && report.contains("3,,,") && report.contains("wants a number"), "{report}");
    let server = Server::start(&data);
    let query = "query($c: ID!) { entities(collectionId: $c) { values(keys: [\"who\", \"age\"]) } }";
    let found = server.graphql(token, query, json!({ "c": people }));
    assert_eq!(found["entities"], json!([{ "values": { "who": "Ada", "age": 36 } }, { "values": { "who": "Bob", "age": null } }]));
    drop(server);

    // Rows that name one another, in any order; and the file as it was, with more rows, and with another in the first place.
    let summary = |text: &str| {
        std::fs::write(&csv, text).unwrap();
        let (ok, out, err) = import("boss=people.who");
        assert!(ok, "{err}");
        let summary: Json = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        (summary["commands"].clone(), summary["unlinked"].clone())
    };
    let (first, more) = ("who,boss\nEve,Zoe\nZoe,Ada\nYan,Nobody\n", "who,boss\nEve,Zoe\nZoe,Ada\nYan,Nobody\nIan,Ada\n");
    let changed = "who,boss\nUwe,Ian\nZoe,Ada\nYan,Nobody\nIan,Ada\n";
    assert_eq!(summary(first), (json!(5), json!({ "boss": 1 })));
    assert_eq!(summary(first), (json!(5), json!({ "boss": 1 })));
    assert_eq!(summary(more), (json!(7), json!({ "boss": 1 })));
    assert_eq!(summary(changed), (json!(7), json!({ "boss": 1 })));
    std::fs::write(&csv, "who,who\nA,B\n").unwrap();
    let (ok, _, err) = import("boss=people.who");
    assert!(!ok && err.contains("two columns `who`"), "{err}");
    let server = Server::start(&data);
    let query = "query($c: ID!) { entities(collectionId: $c) { values(keys: [\"who\"]) linked(attribute: \"boss\") { nodes { values(keys: [\"who\"]) } } } }";
    let found = server.graphql(token, query, json!({ "c": people }));
    let who = |entity: &Json| entity["values"]["who"].as_str().unwrap_or_default().to_owned();
    let found: Vec<_> = found["entities"].as_array().unwrap().iter().map(|row| (who(row), who(&row["linked"]["nodes"][0]))).collect();
    let pairs = [("Ada", ""), ("Bob", ""), ("Eve", "Zoe"), ("Zoe", "Ada"), ("Yan", ""), ("Ian", "Ada"), ("Uwe", "Ian")];
    assert_eq!(found, pairs.map(|(who, boss)| (who.to_owned(), boss.to_owned())));
}
