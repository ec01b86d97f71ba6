//! Changes of the type of what is stored, and of the options of selects, as a client makes them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value as Json, json};
use support::{Api, Tenant};

const UPDATE: &str =
    "mutation($i: ID!, $d: AttributeDefinition!, $f: Boolean) { updateAttribute(id: $i, definition: $d, force: $f) { id } }";
const SET: &str = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";

async fn cells(tenant: &Tenant<'_>, ids: &[String], key: &str) -> Vec<Json> {
    let mut out = Vec::new();
    for id in ids {
        let query = "query($id: ID!) { entity(id: $id) { values } }";
        out.push(tenant.ok(query, json!({ "id": id })).await["entity"]["values"][key].clone());
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_is_converted_or_reported() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let things = tenant.collection(&space, "things").await;
    let a = tenant.attribute(&things, "a", json!({ "text": {} })).await;
    let double = tenant.attribute(&things, "double", json!({ "formula": { "expression": "{a} & {a}" } })).await;
    tenant.attribute(&things, "written", json!({ "modifiedTime": { "attributes": ["a"] } })).await;
    let mut ids = Vec::new();
    for value in [json!("012"), json!("7.5"), json!("seven"), Json::Null] {
        ids.push(tenant.entity(&things, json!({ "a": value })).await);
    }
    // The preview says what would come of it, and the change is refused.
    let preview = "query($i: ID!, $d: AttributeDefinition!) { previewAttribute(id: $i, definition: $d) { changed unchanged newErrors sample { before after } } }";
    let seen = tenant.ok(preview, json!({ "i": a, "d": { "number": {} } })).await["previewAttribute"].clone();
    assert_eq!((&seen["changed"], &seen["unchanged"], &seen["newErrors"]), (&json!(3), &json!(1), &json!(1)));
    let refused = tenant.refused("VALUE_TYPE_MISMATCH", UPDATE, json!({ "i": a, "d": { "number": {} } })).await;
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("1 of 4 values") && message.contains("\"seven\" is not a number"), "{message}");
    assert_eq!(cells(&tenant, &ids, "a").await, [json!("012"), json!("7.5"), json!("seven"), Json::Null]);
    // By force, what does not fit is an error in its cell, and in what depends on it.
    tenant.ok(UPDATE, json!({ "i": a, "d": { "number": {} }, "f": true })).await;
    let numbers = cells(&tenant, &ids, "a").await;
    assert_eq!((&numbers[0], &numbers[1], &numbers[3]), (&json!(12), &json!(7.5), &Json::Null));
    assert_eq!(numbers[2]["error"]["kind"], "value");
    assert_eq!(cells(&tenant, &ids[..2], "double").await, [json!("1212"), json!("7.57.5")]);
    // What is written now is a number; filters, orders and rollups see numbers.
    tenant.refused("VALUE_TYPE_MISMATCH", SET, json!({ "id": ids[2], "v": { "a": "eight" } })).await;
    tenant.ok(SET, json!({ "id": ids[2], "v": { "a": 8 } })).await;
    let list =
        "query($c: ID!) { entities(collectionId: $c, filter: \"{a} > 1\", orderBy: [{ attribute: \"a\" }]) { values(keys: [\"a\"]) } }";
    let listed = tenant.ok(list, json!({ "c": things })).await["entities"].clone();
    assert_eq!(listed, json!([{ "values": { "a": 7.5 } }, { "values": { "a": 8 } }, { "values": { "a": 12 } }]));
    let written = cells(&tenant, &ids[2..3], "written").await;
    assert!(written[0].is_string(), "a write under the new type is a write: {written:?}");
    // And back: what was never written anew is what it was.
    tenant.ok(UPDATE, json!({ "i": a, "d": { "text": {} } })).await;
    assert_eq!(cells(&tenant, &ids, "a").await, [json!("12"), json!("7.5"), json!("8"), Json::Null]);
    // Made blank it stays blank, whatever was stored under another type.
    tenant.ok(SET, json!({ "id": ids[0], "v": { "a": null } })).await;
    assert_eq!(cells(&tenant, &ids[..1], "a").await, [Json::Null]);
    tenant.ok(UPDATE, json!({ "i": a, "d": { "number": {} } })).await;
    assert_eq!(cells(&tenant, &ids, "a").await, [Json::Null, json!(7.5), json!(8), Json::Null]);
    // A formula does not become what is stored, nor a link.
    for (key, definition) in [("double", json!({ "text": {} })), ("a", json!({ "formula": { "expression": "1" } }))] {
        let id = if key == "a" { &a } else { &double };
        tenant.refused("INVALID_INPUT", UPDATE, json!({ "i": id, "d": definition })).await;
    }
    // What explains a cell knows by which event it was set.
    let explain = "query($id: ID!) { explain(entityId: $id, attribute: \"a\") { value setBy { eventType version } } }";
    let explained = tenant.ok(explain, json!({ "id": ids[2] })).await["explain"].clone();
    assert_eq!(explained["value"], json!(8));
    assert_eq!(explained["setBy"]["eventType"], "AttributeValueSet");
}

/// What stays is no change in the preview; what a narrower type cannot hold is reported, and then shown by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn narrower_types_are_types_too() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let things = tenant.collection(&space, "things").await;
    let n = tenant.attribute(&things, "n", json!({ "number": {} })).await;
    let t = tenant.attribute(&things, "t", json!({ "text": {} })).await;
    tenant.attribute(&things, "double", json!({ "formula": { "expression": "{n} * 2" } })).await;
    let mut ids = Vec::new();
    for (number, text) in [(json!(10.126), "123456"), (json!(-2.345), "1:30"), (json!(5), "ab")] {
        ids.push(tenant.entity(&things, json!({ "n": number, "t": text })).await);
    }
    let preview = "query($i: ID!, $d: AttributeDefinition!) { previewAttribute(id: $i, definition: $d) { changed unchanged newErrors sample { before after } } }";
    let seen = async |id: &str, definition: Json| tenant.ok(preview, json!({ "i": id, "d": definition })).await["previewAttribute"].clone();
    let none = json!({ "changed": 0, "unchanged": 3, "newErrors": 0, "sample": [] });
    assert_eq!(seen(&n, json!({ "percent": {} })).await, none);
    assert_eq!(seen(&t, json!({ "longText": {} })).await, none);
    let narrower = seen(&n, json!({ "number": { "scale": 2 } })).await;
    assert_eq!(narrower["sample"], json!([{ "before": 10.126, "after": 10.13 }, { "before": -2.345, "after": -2.34 }]));
    tenant.ok(UPDATE, json!({ "i": n, "d": { "number": { "scale": 2 } } })).await;
    assert_eq!(cells(&tenant, &ids, "n").await, [json!(10.13), json!(-2.34), json!(5)]);
    assert_eq!(cells(&tenant, &ids, "double").await, [json!(20.26), json!(-4.68), json!(10)]);
    tenant.ok(UPDATE, json!({ "i": n, "d": { "number": {} } })).await;
    assert_eq!(cells(&tenant, &ids, "n").await, [json!(10.126), json!(-2.345), json!(5)], "nothing was lost");
    let refused = tenant.refused("VALUE_TYPE_MISMATCH", UPDATE, json!({ "i": t, "d": { "text": { "maxLength": 4 } } })).await;
    assert!(refused["message"].as_str().unwrap().contains("1 of 3 values"), "{refused}");
    tenant.ok(UPDATE, json!({ "i": t, "d": { "text": { "maxLength": 4 } }, "f": true })).await;
    assert_eq!(cells(&tenant, &ids, "t").await[0]["error"]["kind"], "value");
    tenant.ok(UPDATE, json!({ "i": t, "d": { "duration": {} }, "f": true })).await;
    assert_eq!(cells(&tenant, &ids[..2], "t").await, [json!(123_456), json!(5_400)], "what was too long was not lost");
}

/// An option that was taken away comes back by its id, and with it what was chosen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_option_comes_back() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let things = tenant.collection(&space, "things").await;
    let state = tenant.attribute(&things, "state", json!({ "singleSelect": { "options": ["red", "green"] } })).await;
    let ids = [tenant.entity(&things, json!({ "state": "red" })).await];
    tenant.ok(UPDATE, json!({ "i": state, "d": { "singleSelect": { "options": ["green"] } }, "f": true })).await;
    assert_eq!(cells(&tenant, &ids, "state").await[0]["error"]["kind"], "value");
    let with = |id: &str| json!({ "singleSelect": { "choices": [{ "name": "green" }, { "id": id, "name": "crimson" }] } });
    tenant.refused("INVALID_INPUT", UPDATE, json!({ "i": state, "d": with("blue") })).await;
    tenant.ok(UPDATE, json!({ "i": state, "d": with("red") })).await;
    assert_eq!(cells(&tenant, &ids, "state").await, [json!("crimson")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_are_renamed_reordered_and_taken_away() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let tasks = tenant.collection(&space, "tasks").await;
    let state = tenant.attribute(&tasks, "state", json!({ "singleSelect": { "options": ["open", "done"] } })).await;
    let tags =
        tenant.attribute(&tasks, "tags", json!({ "multiSelect": { "choices": [{ "name": "a", "color": "red" }, { "name": "b" }] } })).await;
    tenant.attribute(&tasks, "is_done", json!({ "formula": { "expression": "{state} = 'finished'" } })).await;
    let mut ids = Vec::new();
    for (state, tags) in [("open", json!(["a"])), ("done", json!(["b", "a"])), ("done", Json::Null)] {
        ids.push(tenant.entity(&tasks, json!({ "state": state, "tags": tags })).await);
    }
    let choices = "query($c: ID!) { collection(id: $c) { attributes { key choices { id name color } } } }";
    let all = tenant.ok(choices, json!({ "c": tasks })).await["collection"]["attributes"].clone();
    let of = |key: &str| all.as_array().unwrap().iter().find(|a| a["key"] == key).unwrap()["choices"].clone();
    assert_eq!(of("tags"), json!([{ "id": "a", "name": "a", "color": "red" }, { "id": "b", "name": "b", "color": null }]));
    assert_eq!(of("is_done"), Json::Null);
    // Another name for `done`, another order, a colour; entities are not touched and show it, and so do formulas.
    let renamed = json!({ "singleSelect": { "choices": [{ "id": "done", "name": "finished", "color": "#00ff00" }, { "name": "open" }] } });
    tenant.ok(UPDATE, json!({ "i": state, "d": renamed })).await;
    assert_eq!(cells(&tenant, &ids, "state").await, [json!("open"), json!("finished"), json!("finished")]);
    assert_eq!(cells(&tenant, &ids, "is_done").await, [json!(false), json!(true), json!(true)]);
    let list = "query($c: ID!) { entities(collectionId: $c, orderBy: [{ attribute: \"state\" }]) { values(keys: [\"state\"]) } }";
    let listed = tenant.ok(list, json!({ "c": tasks })).await["entities"].clone();
    let states: Vec<_> = listed.as_array().unwrap().iter().map(|entity| entity["values"]["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["finished", "finished", "open"], "options come in the order in which the select has them");
    // A new option of the old name is another one.
    let with_done = json!({ "singleSelect": { "options": ["finished", "open", "done"] } });
    tenant.ok(UPDATE, json!({ "i": state, "d": with_done })).await;
    assert_eq!(cells(&tenant, &ids, "state").await, [json!("open"), json!("finished"), json!("finished")]);
    tenant.ok(SET, json!({ "id": ids[0], "v": { "state": "done" } })).await;
    assert_eq!(cells(&tenant, &ids, "state").await, [json!("done"), json!("finished"), json!("finished")]);
    // One that is held does not go unsaid.
    let without = json!({ "singleSelect": { "options": ["open", "done"] } });
    tenant.refused("VALUE_TYPE_MISMATCH", UPDATE, json!({ "i": state, "d": without })).await;
    // To text, by the names that are shown; a comma apart to several options.
    tenant.ok(UPDATE, json!({ "i": state, "d": { "text": {} } })).await;
    assert_eq!(cells(&tenant, &ids, "state").await, [json!("done"), json!("finished"), json!("finished")]);
    tenant.ok(UPDATE, json!({ "i": tags, "d": { "text": {} } })).await;
    assert_eq!(cells(&tenant, &ids, "tags").await, [json!("a"), json!("b, a"), Json::Null]);
    tenant.ok(UPDATE, json!({ "i": tags, "d": { "multiSelect": { "options": ["b", "a", "c"] } } })).await;
    assert_eq!(cells(&tenant, &ids, "tags").await, [json!(["a"]), json!(["b", "a"]), Json::Null]);
    for (choices, part) in [
        (json!([{ "name": "x", "color": "rgb(1,2,3)" }]), "a colour is"),
        (json!([{ "id": "nope", "name": "x" }]), "no option with the id `nope`"),
        (json!([{ "name": "x" }, { "name": "x" }]), "given twice"),
        (json!([]), "1 to 1000"),
    ] {
        let refused = tenant.refused("INVALID_INPUT", UPDATE, json!({ "i": tags, "d": { "multiSelect": { "choices": choices } } })).await;
        assert!(refused["message"].as_str().unwrap().contains(part), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_done_is_answered_again_whatever_came_since() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let things = tenant.collection(&space, "things").await;
    let a = tenant.attribute(&things, "a", json!({ "text": {} })).await;
    let id = tenant.entity(&things, json!({ "a": "7" })).await;
    let update =
        "mutation($i: ID!, $d: AttributeDefinition!, $m: ID) { updateAttribute(id: $i, definition: $d, commandId: $m) { position } }";
    let asked = json!({ "i": a, "d": { "number": {} }, "m": "0198f7c0-0000-7000-8000-000000000001" });
    let first = tenant.ok(update, asked.clone()).await;
    tenant.ok(UPDATE, json!({ "i": a, "d": { "text": {} } })).await;
    tenant.ok(SET, json!({ "id": id, "v": { "a": "seven" } })).await;
    // What would be refused as new is answered as it was, and changes nothing.
    assert_eq!(tenant.ok(update, asked.clone()).await, first);
    assert_eq!(cells(&tenant, &[id], "a").await, [json!("seven")]);
    tenant.refused("VALUE_TYPE_MISMATCH", update, json!({ "i": a, "d": { "number": {} } })).await;
    let other = api.tenant("other").await;
    other.refused("NOT_FOUND", update, asked).await;
    tenant.refused("INVALID_INPUT", update, json!({ "i": a, "d": { "number": {} }, "m": "one" })).await;
}
