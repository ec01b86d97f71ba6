//! Live walks: what is reached, what is at the end of a path, the shortest way; always what a query finds from scratch.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use async_graphql::Response;
use futures_util::{Stream, StreamExt};
use serde_json::{Value as Json, json};

use support::{Api, Random, Tenant};

/// What a subscriber knows.
struct Listener<'a> {
    messages: Pin<Box<dyn Stream<Item = Response> + Send + 'a>>,
    field: &'static str,
    /// By id what is shown, without a window.
    all: BTreeMap<String, Json>,
    /// What is shown in a window, or on a path.
    list: Vec<Json>,
}

const NODE: &str = "node { id values(keys: [\"name\", \"n\"]) }";

impl<'a> Listener<'a> {
    fn start(api: &'a Api, tenant: &Tenant<'_>, field: &'static str, arguments: &str, shown: &str) -> Self {
        let query = format!("subscription {{ {field}({arguments}) {{ kind {shown} }} }}");
        let messages = Box::pin(api.schema.execute_stream(api.request(tenant.authority, &query, json!({}))));
        Self { messages, field, all: BTreeMap::new(), list: Vec::new() }
    }

    async fn body(&mut self) -> Json {
        let response = tokio::time::timeout(Duration::from_secs(20), self.messages.next()).await.expect("a message comes").unwrap();
        serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap()
    }

    async fn hear(&mut self) {
        let body = self.body().await;
        let message = &body["data"][self.field];
        assert!(body["errors"].is_null(), "{body}");
        assert_ne!(message["kind"], "RESET");
        if message["kind"] == "PROGRESS" {
            return;
        }
        if self.field == "shortestPath" {
            self.list = message["path"].as_array().cloned().unwrap_or_default();
            return;
        }
        for op in message["ops"].as_array().unwrap() {
            let (id, kind) = (op["id"].as_str().unwrap().to_owned(), op["op"].as_str().unwrap());
            let shown = if op.get("reached").is_some() { op["reached"].clone() } else { op["node"].clone() };
            if let Some(index) = op["index"].as_u64() {
                let index = index as usize;
                match kind {
                    "INSERT" => self.list.insert(index, shown),
                    "UPDATE" => self.list[index] = shown,
                    _ => assert_eq!(self.list.remove(index)["id"], *id),
                }
                continue;
            }
            let before = if kind == "DELETE" { self.all.remove(&id) } else { self.all.insert(id, shown) };
            assert_eq!(before.is_some(), kind != "INSERT", "{op}");
        }
    }

    /// Hears until it knows what a query found.
    async fn knows(&mut self, all: &[Json], what: &str) {
        let started = std::time::Instant::now();
        loop {
            let known: Vec<Json> = if self.list.is_empty() { self.all.values().cloned().collect() } else { self.list.clone() };
            if known == all {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{what}: {known:?} and not {all:?}");
            let _ = tokio::time::timeout(Duration::from_millis(500), self.hear()).await;
        }
    }
}

struct Network<'a> {
    tenant: &'a Tenant<'a>,
    people: Vec<String>,
    posts: Vec<String>,
}

impl<'a> Network<'a> {
    async fn new(tenant: &'a Tenant<'a>, people: usize, posts: usize) -> Self {
        let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
        let (persons, notes) = (tenant.collection(&space, "persons").await, tenant.collection(&space, "posts").await);
        for collection in [&persons, &notes] {
            tenant.attribute(collection, "name", json!({ "text": {} })).await;
            tenant.attribute(collection, "n", json!({ "number": {} })).await;
        }
        let knows = json!({ "link": { "collectionId": persons, "multiple": true, "backlinkKey": "known_by" } });
        tenant.attribute(&persons, "knows", knows).await;
        let by = json!({ "link": { "collectionId": persons, "multiple": false, "backlinkKey": "posts" } });
        tenant.attribute(&notes, "by", by).await;
        let mut network = Self { tenant, people: Vec::new(), posts: Vec::new() };
        for n in 0..people {
            network.people.push(tenant.entity(&persons, json!({ "name": format!("p{n}"), "n": n })).await);
        }
        for n in 0..posts {
            network.posts.push(tenant.entity(&notes, json!({ "name": format!("note{n}"), "n": n })).await);
        }
        network
    }

    async fn change(&self, random: &mut Random) {
        let any = |random: &mut Random| self.people[random.below(self.people.len())].clone();
        let one = any(random);
        let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
        // What is archived takes no values: that is refused, and nothing changed.
        let run = async |mutation, variables| drop(self.tenant.api.run(self.tenant.authority, mutation, variables).await);
        match random.below(10) {
            0..5 => {
                let known: Vec<String> = (0..random.below(4)).map(|_| any(random)).collect();
                run(set, json!({ "id": one, "v": { "knows": known } })).await;
            }
            5..7 => {
                let by = if random.below(4) == 0 { Json::Null } else { json!(one) };
                let post = &self.posts[random.below(self.posts.len())];
                run(set, json!({ "id": post, "v": { "by": by, "n": random.below(9) } })).await;
            }
            7 => run(set, json!({ "id": one, "v": { "n": random.below(9) } })).await,
            // The first two are at the ends, and stay.
            8 if one != self.people[0] && one != self.people[1] => {
                run("mutation($id: ID!) { archiveEntity(id: $id) { id } }", json!({ "id": one })).await;
            }
            _ => run("mutation($id: ID!) { restoreEntity(id: $id) { id } }", json!({ "id": one })).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_walks_are_what_a_query_finds() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let network = Network::new(&tenant, 12, 15).await;
    let (ada, bob) = (&network.people[0], &network.people[1]);
    let around = format!("entityId: \"{ada}\", links: [\"knows\", \"posts\"]");
    let known = format!("entityId: \"{ada}\", links: [\"known_by\"], depthMax: 2, filter: \"{{n}} > 2\"");
    let (path, filter) = ("path: [\"knows\", \"knows\", \"posts\"]", "filter: \"{n} > 1\"");
    let notes = format!("entityId: \"{ada}\", {path}, {filter}");
    let way = format!("fromId: \"{ada}\", toId: \"{bob}\", links: [\"knows\"]");
    let reached = &format!("ops {{ op id reached {{ depth {NODE} }} }}");
    let entities = &format!("ops {{ op id index {NODE} }}");
    let mut listeners = [
        Listener::start(&api, &tenant, "traverse", &around, reached),
        Listener::start(&api, &tenant, "traverse", &known, reached),
        Listener::start(&api, &tenant, "follow", &notes, entities),
        Listener::start(
            &api,
            &tenant,
            "follow",
            &format!("{notes}, first: 3, orderBy: [{{ attribute: \"n\", direction: DESC }}]"),
            entities,
        ),
        Listener::start(&api, &tenant, "shortestPath", &way, "path { id values(keys: [\"name\", \"n\"]) }"),
    ];
    let mut random = Random(7);
    for round in 0..60 {
        for _ in 0..=random.below(6) {
            network.change(&mut random).await;
        }
        let query = format!(
            "{{ around: traverse({around}) {{ nodes {{ depth {NODE} }} }} known: traverse({known}) {{ nodes {{ depth {NODE} }} }}
               notes: follow({notes}) {{ nodes {{ {NODE} }} }} way: shortestPath({way}) {{ id values(keys: [\"name\", \"n\"]) }} }}"
        );
        let found = tenant.ok(&query, json!({})).await;
        let by_id = |nodes: &Json| {
            let mut nodes = nodes.as_array().unwrap().clone();
            nodes.sort_by_key(|node| node["node"]["id"].as_str().unwrap().to_owned());
            nodes
        };
        listeners[0].knows(&by_id(&found["around"]["nodes"]), &format!("around, round {round}")).await;
        listeners[1].knows(&by_id(&found["known"]["nodes"]), &format!("known, round {round}")).await;
        let mut notes: Vec<Json> = by_id(&found["notes"]["nodes"]).iter().map(|node| node["node"].clone()).collect();
        listeners[2].knows(&notes, &format!("notes, round {round}")).await;
        notes.sort_by_key(|node| (-node["values"]["n"].as_i64().unwrap(), node["id"].as_str().unwrap().to_owned()));
        notes.truncate(3);
        listeners[3].knows(&notes, &format!("first notes, round {round}")).await;
        let mut way = found["way"].as_array().cloned().unwrap_or_default();
        if way.len() > 7 {
            way.clear();
        }
        listeners[4].knows(&way, &format!("way, round {round}")).await;
    }
}

/// Posts of those whom somebody knows, by their number and in sum: told of each group that is another.
#[tokio::test(flavor = "multi_thread")]
async fn groups_at_the_end_of_a_path_are_those_of_a_query() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let network = Network::new(&tenant, 8, 12).await;
    let arguments = format!("entityId: \"{}\", path: [\"knows\", \"posts\"], filter: \"{{n}} != 3\"", network.people[0]);
    let summaries = "summaries: [{ function: SUM, attribute: \"n\" }, { function: MAX, attribute: \"n\" }]";
    let live =
        format!("subscription {{ followGroups({arguments}, groupBy: [\"n\"], {summaries}) {{ kind ops {{ op path count summaries }} }} }}");
    let mut messages = Box::pin(api.schema.execute_stream(api.request(tenant.authority, &live, json!({}))));
    let asked = format!(
        "{{ followGroups({arguments}, groupBy: [{{ attribute: \"n\" }}], {summaries}) {{ count summaries groups {{ key count summaries }} }} }}"
    );
    let mut known: BTreeMap<String, Json> = BTreeMap::new();
    let (mut random, mut most) = (Random(11), 0);
    for step in 0..60 {
        for _ in 0..=6 * (step % 3) {
            network.change(&mut random).await;
        }
        let found = tenant.ok(&asked, json!({})).await["followGroups"].clone();
        let mut all = BTreeMap::from([("[]".to_owned(), json!([found["count"], found["summaries"]]))]);
        for group in found["groups"].as_array().unwrap() {
            all.insert(json!([group["key"]]).to_string(), json!([group["count"], group["summaries"]]));
        }
        most = most.max(all.len());
        while known != all {
            let response = tokio::time::timeout(Duration::from_secs(20), messages.next()).await.expect("a message comes").unwrap();
            let body: Json = serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap();
            for op in body["data"]["followGroups"]["ops"].as_array().unwrap() {
                let path = op["path"].to_string();
                let before = match op["op"] == "DELETE" {
                    true => known.remove(&path),
                    false => known.insert(path, json!([op["count"], op["summaries"]])),
                };
                assert_eq!(before.is_some(), op["op"] != "INSERT", "{op}");
            }
        }
    }
    assert!(most > 4, "only {most} groups at most");
    let bad = format!("{{ followGroups({arguments}, groupBy: [{{ attribute: \"nothing\" }}]) {{ count }} }}");
    tenant.refused("UNKNOWN_ATTRIBUTE", &bad, json!({})).await;
}

/// What it needs is gone.
async fn ends(mut listener: Listener<'_>) {
    loop {
        let body = listener.body().await;
        if !body["errors"].is_null() {
            assert_eq!(body["errors"][0]["extensions"]["code"], "NOT_FOUND", "{body}");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_changes_and_what_cannot_be_walked() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let network = Network::new(&tenant, 3, 1).await;
    let [a, b, c] = &network.people[..] else { panic!("three people") };
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    tenant.ok(set, json!({ "id": a, "v": { "knows": [b] } })).await;
    let reached = "ops { op id reached { depth } }";
    let start = format!("entityId: \"{a}\", links: [\"knows\"], filter: \"{{n}} > 0\"");
    let mut listener = Listener::start(&api, &tenant, "traverse", &start, reached);
    listener.knows(&[json!({ "depth": 1 })], "one").await;
    // Links and what is filtered by go by other names, and the walk goes on.
    let attributes = tenant.ok("{ collections { key attributes { id key } } }", json!({})).await;
    let persons = attributes["collections"].as_array().unwrap().iter().find(|collection| collection["key"] == "persons").unwrap();
    let attribute =
        |key: &str| persons["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == key).unwrap()["id"].clone();
    for (key, other) in [("knows", "is_friend_of"), ("n", "number")] {
        let rename = "mutation($i: ID!, $k: String!) { updateAttribute(id: $i, key: $k) { id } }";
        tenant.ok(rename, json!({ "i": attribute(key), "k": other })).await;
    }
    tenant.ok(set, json!({ "id": b, "v": { "is_friend_of": [c] } })).await;
    listener.knows(&[json!({ "depth": 1 }), json!({ "depth": 2 })], "two").await;
    // Another meaning of what is filtered by: nothing is greater than 0.
    let update = "mutation($i: ID!, $d: AttributeDefinition!, $f: Boolean) { updateAttribute(id: $i, definition: $d, force: $f) { id } }";
    tenant.ok(set, json!({ "id": c, "v": { "number": 0 } })).await;
    listener.knows(&[json!({ "depth": 1 })], "c is not shown").await;
    tenant.ok(update, json!({ "i": attribute("n"), "d": { "text": {} } })).await;
    ends(listener).await;
    let mut listener = Listener::start(&api, &tenant, "traverse", &format!("entityId: \"{a}\", links: [\"is_friend_of\"]"), reached);
    listener.knows(&[json!({ "depth": 1 }), json!({ "depth": 2 })], "without a filter").await;
    tenant.ok("mutation($i: ID!) { deleteAttribute(id: $i) { id } }", json!({ "i": attribute("knows") })).await;
    ends(listener).await;

    let post = &network.posts[0];
    for (field, arguments, shown, code) in [
        ("traverse", format!("entityId: \"{a}\", links: [\"nobody\"]"), reached, "UNKNOWN_ATTRIBUTE"),
        ("traverse", format!("entityId: \"{a}\", links: []"), reached, "INVALID_INPUT"),
        ("traverse", format!("entityId: \"{a}\", links: [\"posts\"], depthMax: -1"), reached, "INVALID_INPUT"),
        ("traverse", format!("entityId: \"{a}\", links: [\"posts\"], filter: \"{{number}} > NOW()\""), reached, "INVALID_INPUT"),
        ("traverse", format!("entityId: \"{a}\", links: [\"name\"]"), reached, "INVALID_INPUT"),
        ("traverse", "entityId: \"nobody\", links: [\"posts\"]".to_owned(), reached, "NOT_FOUND"),
        ("follow", format!("entityId: \"{a}\", path: [\"posts\", \"posts\"]"), "kind", "UNKNOWN_ATTRIBUTE"),
        ("follow", format!("entityId: \"{a}\", path: [\"posts\"], first: 0"), "kind", "INVALID_INPUT"),
        ("shortestPath", format!("fromId: \"{a}\", toId: \"{post}\", links: [\"posts\"], depthMax: 21"), "kind", "INVALID_INPUT"),
    ] {
        let body = Listener::start(&api, &tenant, field, &arguments, shown).body().await;
        assert_eq!(body["errors"][0]["extensions"]["code"], code, "{field}({arguments}): {body}");
    }
    // What another tenant has is not found.
    let other = api.tenant("other").await;
    for (field, arguments) in [
        ("traverse", format!("entityId: \"{a}\", links: [\"posts\"]")),
        ("follow", format!("entityId: \"{a}\", path: [\"posts\"]")),
        ("shortestPath", format!("fromId: \"{a}\", toId: \"{b}\", links: [\"posts\"]")),
    ] {
        let body = Listener::start(&api, &other, field, &arguments, "kind").body().await;
        assert_eq!(body["errors"][0]["extensions"]["code"], "NOT_FOUND", "{field}({arguments}): {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_while_a_walk_begins_and_goes_on() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let network = Network::new(&tenant, 30, 10).await;
    let ada = &network.people[0];
    let around = format!("entityId: \"{ada}\", links: [\"knows\", \"posts\"]");
    let shown = &format!("ops {{ op id reached {{ depth {NODE} }} }}");
    for seed in 1..6 {
        // Walks begin and end all the while, and hear what they can.
        let (mut random, mut walks) = (Random(seed), Vec::new());
        for n in 0..60 {
            network.change(&mut random).await;
            if n % 10 == 0 {
                walks.push(Listener::start(&api, &tenant, "traverse", &around, shown));
            }
            for walk in &mut walks {
                let _ = tokio::time::timeout(Duration::from_micros(200), walk.hear()).await;
            }
        }
        let found = tenant.ok(&format!("{{ traverse({around}) {{ nodes {{ depth {NODE} }} }} }}"), json!({})).await;
        let mut nodes = found["traverse"]["nodes"].as_array().unwrap().clone();
        nodes.sort_by_key(|node| node["node"]["id"].as_str().unwrap().to_owned());
        for mut walk in walks {
            walk.knows(&nodes, "at the end").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_in_sight_is_heard() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let network = Network::new(&tenant, 2, 0).await;
    let [a, b] = &network.people[..] else { panic!("two people") };
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    tenant.ok(set, json!({ "id": a, "v": { "knows": [b] } })).await;
    let way = format!("fromId: \"{a}\", toId: \"{b}\", links: [\"knows\"]");
    let traverse = format!("entityId: \"{a}\", links: [\"knows\"]");
    let follow = format!("entityId: \"{a}\", path: [\"knows\"]");
    let start = || {
        [
            Listener::start(&api, &tenant, "traverse", &traverse, "ops { op id reached { depth } }"),
            Listener::start(&api, &tenant, "follow", &follow, "ops { op id node { values(keys: [\"name\"]) } }"),
            Listener::start(&api, &tenant, "shortestPath", &way, "path { id }"),
        ]
    };
    let there = [vec![json!({ "depth": 1 })], vec![json!({ "values": { "name": "p1" } })], vec![json!({ "id": a }), json!({ "id": b })]];
    let mut listeners = start();
    for (listener, all) in listeners.iter_mut().zip(&there) {
        listener.knows(all, "before").await;
    }
    tenant.ok("mutation($id: ID!) { archiveEntity(id: $id) { id } }", json!({ "id": b })).await;
    // Those who begin while it is out of sight hear of it too.
    let mut late = start();
    for listener in listeners.iter_mut().chain(&mut late) {
        listener.knows(&[], "out of sight").await;
    }
    tenant.ok("mutation($id: ID!) { restoreEntity(id: $id) { id } }", json!({ "id": b })).await;
    for (listener, all) in listeners.iter_mut().zip(&there).chain(late.iter_mut().zip(&there)) {
        listener.knows(all, "back").await;
    }
}

/// What is archived can lose its links from their other ends. Where a walk starts there, they count all the time; where one ends
/// there, they must be gone when it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn links_of_what_is_archived_go() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let network = Network::new(&tenant, 3, 0).await;
    let [a, b, c] = &network.people[..] else { panic!("three people") };
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    tenant.ok(set, json!({ "id": a, "v": { "knows": [b, c] } })).await;
    tenant.ok(set, json!({ "id": c, "v": { "knows": [b] } })).await;
    let traverse = format!("entityId: \"{a}\", links: [\"knows\"], depthMax: 1");
    let follow = format!("entityId: \"{a}\", path: [\"knows\"]");
    let way = format!("fromId: \"{b}\", toId: \"{a}\", links: [\"known_by\"]");
    let mut traverse = Listener::start(&api, &tenant, "traverse", &traverse, "ops { op id reached { node { id } } }");
    let mut follow = Listener::start(&api, &tenant, "follow", &follow, "ops { op id node { id } }");
    let mut way = Listener::start(&api, &tenant, "shortestPath", &way, "path { id }");
    let known = |id: &String| json!({ "id": id });
    let reached = |id: &String| json!({ "node": { "id": id } });
    traverse.knows(&[reached(b), reached(c)], "before").await;
    follow.knows(&[known(b), known(c)], "before").await;
    way.knows(&[known(b), known(a)], "before").await;
    tenant.ok("mutation($id: ID!) { archiveEntity(id: $id) { id } }", json!({ "id": a })).await;
    way.knows(&[], "the end is out of sight").await;
    let unlink = "mutation($id: ID!, $t: [ID!]!) { unlinkEntities(id: $id, attribute: \"known_by\", targetIds: $t) { id } }";
    tenant.ok(unlink, json!({ "id": b, "t": [a] })).await;
    traverse.knows(&[reached(c)], "the start is out of sight").await;
    follow.knows(&[known(c)], "the start is out of sight").await;
    tenant.ok("mutation($id: ID!) { restoreEntity(id: $id) { id } }", json!({ "id": a })).await;
    way.knows(&[known(b), known(c), known(a)], "the end is back").await;
}

/// Of what has nothing to do with what a walk shows, nothing is told.
#[tokio::test(flavor = "multi_thread")]
async fn other_attributes_elsewhere_are_no_news() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let network = Network::new(&tenant, 2, 0).await;
    let [a, b] = &network.people[..] else { panic!("two people") };
    let space = tenant.id("mutation { createSpace(key: \"t\", name: \"T\") { id } }", json!({})).await;
    let elsewhere = tenant.collection(&space, "elsewhere").await;
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    tenant.ok(set, json!({ "id": a, "v": { "knows": [b] } })).await;
    let follow = format!("entityId: \"{a}\", path: [\"knows\"]");
    let mut follow = Listener::start(&api, &tenant, "follow", &follow, "ops { op id node { values(keys: [\"n\"]) } }");
    follow.knows(&[json!({ "values": { "n": 1 } })], "before").await;
    tenant.attribute(&elsewhere, "other", json!({ "text": {} })).await;
    tenant.ok(set, json!({ "id": b, "v": { "n": 5 } })).await;
    let mut told = Vec::new();
    while told.last() != Some(&json!({ "values": { "n": 5 } })) {
        let body = follow.body().await;
        told.extend(body["data"]["follow"]["ops"].as_array().into_iter().flatten().map(|op| op["node"].clone()));
    }
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_computed_aside_is_told_when_it_is_shown() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let things = tenant.collection(&space, "things").await;
    tenant.attribute(&things, "n", json!({ "number": {} })).await;
    let to = json!({ "link": { "collectionId": things, "multiple": true, "backlinkKey": "from" } });
    tenant.attribute(&things, "to", to).await;
    let end = tenant.entity(&things, json!({ "n": 7 })).await;
    let start = tenant.entity(&things, json!({ "to": [end] })).await;
    // So many that a formula over them is computed aside.
    for _ in 0..42 {
        let many: String =
            (0..100).map(|n| format!("e{n}: createEntity(collectionId: \"{things}\", values: {{ n: {n} }}) {{ id }} ")).collect();
        tenant.ok(&format!("mutation {{ {many} }}"), json!({})).await;
    }
    let node = "node { values }";
    let mut listeners = [
        Listener::start(
            &api,
            &tenant,
            "traverse",
            &format!("entityId: \"{start}\", links: [\"to\"]"),
            &format!("ops {{ op id reached {{ {node} }} }}"),
        ),
        Listener::start(&api, &tenant, "follow", &format!("entityId: \"{start}\", path: [\"to\"]"), &format!("ops {{ op id {node} }}")),
        Listener::start(
            &api,
            &tenant,
            "follow",
            &format!("entityId: \"{start}\", path: [\"to\"], first: 5"),
            &format!("ops {{ op id index {node} }}"),
        ),
        Listener::start(
            &api,
            &tenant,
            "shortestPath",
            &format!("fromId: \"{end}\", toId: \"{end}\", links: [\"to\"]"),
            "path { id values }",
        ),
    ];
    for listener in &mut listeners {
        while listener.all.is_empty() && listener.list.is_empty() {
            listener.hear().await;
        }
    }
    tenant.attribute(&things, "twice", json!({ "formula": { "expression": "{n} * 2" } })).await;
    for listener in &mut listeners {
        let twice = |listener: &Listener<'_>| {
            let shown = listener.all.values().chain(&listener.list).next().unwrap();
            let values = [&shown["node"]["values"], &shown["values"]].into_iter().find(|values| values.is_object()).unwrap().clone();
            assert_eq!(values["n"], json!(7));
            values["twice"].clone()
        };
        while twice(listener) != json!(14) {
            listener.hear().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_nothing_hears_how_far_it_is() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let network = Network::new(&tenant, 2, 0).await;
    let [a, b] = &network.people[..] else { panic!("two people") };
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    tenant.ok(set, json!({ "id": a, "v": { "knows": [b] } })).await;
    // What it looks at changes all the while, and nothing of it passes.
    let none = format!("entityId: \"{a}\", links: [\"knows\"], filter: \"{{n}} < 0\"");
    let mut listener = Listener::start(&api, &tenant, "traverse", &none, "position ops { op id }");
    let first = listener.body().await["data"]["traverse"]["position"].clone();
    let end = listener.body().await;
    assert_eq!((&end["data"]["traverse"]["kind"], &end["data"]["traverse"]["position"]), (&json!("PROGRESS"), &first));
    let edits = async {
        for n in 0.. {
            tenant.ok(set, json!({ "id": b, "v": { "n": n } })).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let heard = tokio::select! {
        heard = listener.body() => heard,
        () = edits => unreachable!("edits go on"),
    };
    assert_eq!(heard["data"]["traverse"]["kind"], "PROGRESS");
    assert_ne!(heard["data"]["traverse"]["position"], first);
}
