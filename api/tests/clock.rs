//! Formulas that ask what time it is: their cells change when the time comes, and nothing else does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_graphql::Response;
use decidr_api::platform::Platform;
use decidr_dataflow::EngineConfig;
use decidr_ingest::EventLog;
use decidr_ingest::log::MemoryLog;
use futures_util::{Stream, StreamExt};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value as Json, json};

use support::Api;

fn in_millis(millis: i64) -> String {
    (Timestamp::now() + millis.milliseconds()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_flips_by_itself() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let (projects, tasks) = (tenant.collection(&space, "projects").await, tenant.collection(&space, "tasks").await);
    tenant.attribute(&tasks, "due", json!({ "datetime": {} })).await;
    tenant.attribute(&tasks, "project", json!({ "link": { "collectionId": projects, "multiple": false, "backlinkKey": "tasks" } })).await;
    tenant.attribute(&tasks, "late", json!({ "formula": { "expression": "{due} <= NOW()" } })).await;
    let late = json!({ "rollup": { "link": "tasks", "function": "COUNTALL", "filter": "{due} <= NOW()" } });
    tenant.attribute(&projects, "late_tasks", late).await;
    tenant.attribute(&projects, "any_late", json!({ "rollup": { "link": "tasks", "attribute": "late", "function": "OR" } })).await;

    let project = tenant.entity(&projects, json!({})).await;
    let subscription = "subscription($c: ID!) { entities(collectionId: $c) { kind ops { id node { values } } } }";
    let mut stream = Box::pin(api.schema.execute_stream(api.request(tenant.authority, subscription, json!({ "c": projects }))));
    let mut next = async || {
        loop {
            let response = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("a message comes").unwrap();
            let body: Json = serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap();
            if body["data"]["entities"]["kind"] != "PROGRESS" {
                return body["data"]["entities"]["ops"][0]["node"]["values"].clone();
            }
        }
    };
    next().await;
    let soon = in_millis(1_500);
    tenant.entity(&tasks, json!({ "due": soon, "project": project })).await;
    assert_eq!(next().await["late_tasks"], json!(0));
    tenant.entity(&tasks, json!({ "due": "2020-01-01T00:00:00Z", "project": project })).await;
    let values = next().await;
    assert_eq!((&values["late_tasks"], &values["any_late"]), (&json!(1), &json!(true)));
    // Nobody writes anything, and yet a message comes, not before its time.
    assert_eq!(next().await["late_tasks"], json!(2));
    assert!(Timestamp::now() >= soon.parse().unwrap());

    let found = tenant
        .ok("query($c: ID!) { entities(collectionId: $c, filter: \"{due} < NOW()\") { values(keys: [\"late\"]) } }", json!({ "c": tasks }));
    assert_eq!(found.await["entities"], json!([{ "values": { "late": true } }, { "values": { "late": true } }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_foretold_is_refused() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (customers, _) = tenant.shop().await;
    let create = "mutation($c: ID!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: \"x\", definition: $d) { id } }";
    let rollup = |more: Json| {
        let mut rollup = json!({ "link": "orders", "attribute": "price", "function": "SUM" });
        rollup.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "c": customers, "d": { "rollup": rollup } })
    };
    let host = rollup(json!({ "filter": "AND(HOST({name}) = 'x', YEAR(NOW()) > 2000)" }));
    let error = tenant.refused("INVALID_INPUT", create, host).await;
    assert!(error["message"].as_str().unwrap().contains("make an attribute"), "{error}");
    let values = rollup(json!({ "function": "FORMULA", "expression": "SUM(values) + YEAR(NOW())" }));
    let error = tenant.refused("INVALID_INPUT", create, values).await;
    assert!(error["message"].as_str().unwrap().contains("what time it is"), "{error}");
}

/// The next message of a subscription that is no progress: its kind, and of each change what it is, the entity's name and its
/// place in a window.
async fn heard(stream: &mut (impl Stream<Item = Response> + Unpin), field: &str) -> (String, Json) {
    loop {
        let response = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("a message comes").unwrap();
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        let body: Json = serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap();
        let message = &body["data"][field];
        if message["kind"] != "PROGRESS" {
            return (message["kind"].as_str().unwrap().to_owned(), message["ops"].clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_filter_may_ask_what_time_it_is() {
    let log = Arc::new(MemoryLog::default());
    let api = Api::on(log.clone(), EngineConfig::default()).await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let tasks = tenant.collection(&space, "tasks").await;
    tenant.attribute(&tasks, "name", json!({ "text": {} })).await;
    tenant.attribute(&tasks, "due", json!({ "datetime": {} })).await;
    let (soon, sooner) = (in_millis(2_500), in_millis(1_500));
    tenant.entity(&tasks, json!({ "name": "long ago", "due": "2020-01-01T00:00:00Z" })).await;
    let moved = tenant.entity(&tasks, json!({ "name": "moved", "due": soon })).await;
    tenant.entity(&tasks, json!({ "name": "far", "due": "2400-01-01T00:00:00Z" })).await;

    let listen = |query: &str| Box::pin(api.schema.execute_stream(api.request(tenant.authority, query, json!({ "c": tasks }))));
    let late = "subscription($c: ID!) { entities(collectionId: $c, filter: \"{due} < NOW()\") { kind ops { op node { values(keys: [\"name\"]) } } } }";
    let mut late = listen(late);
    let open = "subscription($c: ID!) { entities(collectionId: $c, filter: \"{due} >= NOW()\", orderBy: [{ attribute: \"name\", direction: ASC }], first: 1) { kind ops { op index node { values(keys: [\"name\"]) } } } }";
    let mut open = listen(open);
    let groups = "subscription($c: ID!) { groups(collectionId: $c, filter: \"{due} < NOW()\") { kind ops { op count } } }";
    let mut groups = listen(groups);
    let insert = |name: &str| json!([{ "op": "INSERT", "node": { "values": { "name": name } } }]);
    assert_eq!(heard(&mut late, "entities").await, ("SNAPSHOT".to_owned(), insert("long ago")));
    let first = json!([{ "op": "INSERT", "index": 0, "node": { "values": { "name": "far" } } }]);
    assert_eq!(heard(&mut open, "entities").await, ("SNAPSHOT".to_owned(), first));
    assert_eq!(heard(&mut groups, "groups").await, ("SNAPSHOT".to_owned(), json!([{ "op": "INSERT", "count": 1 }])));
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    let set = async |values: Json| tenant.ok(set, json!({ "id": moved, "v": values })).await;
    // What was due later is due sooner; nobody writes anything when it is.
    set(json!({ "due": sooner })).await;
    assert_eq!(heard(&mut late, "entities").await, ("DELTA".to_owned(), insert("moved")));
    assert!(Timestamp::now() >= sooner.parse().unwrap());
    assert_eq!(heard(&mut groups, "groups").await, ("DELTA".to_owned(), json!([{ "op": "UPDATE", "count": 2 }])));
    // It stays away from its former time, and comes back by a change.
    set(json!({ "due": "2400-01-01T00:00:00Z", "name": "aside" })).await;
    let gone = json!([{ "op": "DELETE", "node": null }]);
    assert_eq!(heard(&mut late, "entities").await, ("DELTA".to_owned(), gone));
    let (_, ops) = heard(&mut open, "entities").await;
    let shown = ops.as_array().unwrap().iter().rfind(|op| op["op"] == "INSERT").unwrap();
    assert_eq!(shown["node"]["values"]["name"], "aside");
    // When nobody listens, time leaves no events.
    drop((late, open, groups));
    tokio::time::sleep(Duration::from_millis(200)).await;
    set(json!({ "due": in_millis(300) })).await;
    let events = *log.head().borrow();
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(*log.head().borrow(), events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_knows_the_time_at_once_and_time_leaves_few_events() {
    let log = Arc::new(MemoryLog::default());
    let api = Api::on(log.clone(), EngineConfig::default()).await;
    let tenant = api.tenant("acme").await;
    let (_, orders) = tenant.shop().await;
    let order = tenant.entity(&orders, json!({ "price": 3 })).await;
    let preview = "query($i: ID!, $d: AttributeDefinition!) { previewAttribute(id: $i, definition: $d) { changed newErrors } }";
    let gross = tenant.ok("query($c: ID) { collection(id: $c) { attributes { id key } } }", json!({ "c": orders })).await;
    let gross = gross["collection"]["attributes"].as_array().unwrap().iter().find(|a| a["key"] == "gross").unwrap()["id"].clone();
    let previewed = tenant.ok(preview, json!({ "i": gross, "d": { "formula": { "expression": "YEAR(TODAY())" } } })).await;
    assert_eq!(previewed["previewAttribute"], json!({ "changed": 1, "newErrors": 0 }));

    let create =
        "mutation($c: ID!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: \"year\", definition: $d) { position } }";
    let created = tenant.ok(create, json!({ "c": orders, "d": { "formula": { "expression": "YEAR(TODAY())" } } })).await;
    let query = "query($i: ID!, $p: Position) { entity(id: $i, minPosition: $p) { values(keys: [\"year\"]) } }";
    let found = tenant.ok(query, json!({ "i": order, "p": created["createAttribute"]["position"] })).await;
    let year = found["entity"]["values"]["year"].as_i64().unwrap();
    assert!(year >= 2026, "{found}");
    // Days pass, and nothing changes before the year ends.
    let events = *log.head().borrow();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(*log.head().borrow(), events, "nothing is due, and nothing is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_due_while_nobody_was_there_is_seen_after_the_start() {
    let log = Arc::new(MemoryLog::default());
    let (tenant, tasks, due);
    {
        let api = Api::on(log.clone(), EngineConfig::default()).await;
        let acme = api.tenant("acme").await;
        let space = acme.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
        tasks = acme.collection(&space, "tasks").await;
        acme.attribute(&tasks, "due", json!({ "datetime": {} })).await;
        acme.attribute(&tasks, "late", json!({ "formula": { "expression": "{due} <= NOW()" } })).await;
        due = in_millis(800);
        acme.entity(&tasks, json!({ "due": due })).await;
        tenant = acme.authority;
    }
    let events = *log.head().borrow();
    let until = Timestamp::now().duration_until(due.parse().unwrap());
    tokio::time::sleep(Duration::try_from(until).unwrap_or_default() + Duration::from_millis(20)).await;
    assert_eq!(*log.head().borrow(), events, "who has ended lets no time pass");
    let platform = Arc::new(Platform::start(log.clone(), EngineConfig::default()).await.unwrap());
    let api = Api::of(platform.clone());
    let query = "query($c: ID!) { entities(collectionId: $c) { values(keys: [\"late\"]) } }";
    let is_late = async || api.run(tenant, query, json!({ "c": tasks })).await.unwrap()["entities"][0]["values"]["late"] == json!(true);
    for _ in 0..500 {
        if is_late().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_late().await);
    assert_eq!(*log.head().borrow(), events + 1, "one event is enough");
}
