//! Formulas and rollups that go up and down a self-link, as a client uses them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value as Json, json};
use support::{Api, Tenant};

const SET: &str = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
const REDEFINE: &str = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";

async fn values(tenant: &Tenant<'_>, id: &str) -> Json {
    tenant.ok("query($id: ID!) { entity(id: $id) { values } }", json!({ "id": id })).await["entity"]["values"].clone()
}

/// A ledger: each entry says which came before it, and its balance is that of the one before and its own amount.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balance_runs_along_previous() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let entries = tenant.hierarchy("entries", "previous", "next").await;
    tenant.attribute(&entries, "amount", json!({ "number": {} })).await;
    let balance = tenant.attribute(&entries, "balance", json!({ "formula": { "expression": "{amount}" } })).await;
    tenant.attribute(&entries, "carried", json!({ "lookup": { "link": "previous", "attribute": "balance" } })).await;
    tenant.ok(REDEFINE, json!({ "i": balance, "d": { "formula": { "expression": "{carried} + {amount}" } } })).await;
    let mut ids: Vec<String> = Vec::new();
    for amount in 1..=20 {
        ids.push(tenant.entity(&entries, json!({ "amount": amount, "previous": ids.last() })).await);
    }
    let balances = async |of: &[usize]| {
        let mut out = Vec::new();
        for n in of {
            out.push(values(&tenant, &ids[*n]).await["balance"].clone());
        }
        out
    };
    assert_eq!(balances(&[0, 1, 9, 19]).await, [json!(1), json!(3), json!(55), json!(210)]);
    // The first is edited: all behind it follow.
    tenant.ok(SET, json!({ "id": ids[0], "v": { "amount": 0.5 } })).await;
    assert_eq!(balances(&[0, 1, 9, 19]).await, [json!(0.5), json!(2.5), json!(54.5), json!(209.5)]);
    // One is taken out of the middle, and those behind it come after the one before.
    tenant.ok(SET, json!({ "id": ids[10], "v": { "previous": ids[8] } })).await;
    tenant.ok("mutation($id: ID!) { archiveEntity(id: $id) { id } }", json!({ "id": ids[9] })).await;
    assert_eq!(balances(&[8, 10, 19]).await, [json!(44.5), json!(55.5), json!(199.5)]);
    // The first comes after the sixth: these six go round in a circle, and what comes after them depends on it.
    tenant.ok(SET, json!({ "id": ids[0], "v": { "previous": ids[5] } })).await;
    for n in [0, 5, 6, 19] {
        let error = values(&tenant, &ids[n]).await["balance"]["error"].clone();
        assert_eq!(error["kind"], "cycle", "entry {n}");
        let message = error["message"].as_str().unwrap();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(message.contains(id.as_str()), n <= 5, "{message}");
        }
    }
    tenant.ok(SET, json!({ "id": ids[0], "v": { "previous": null } })).await;
    assert_eq!(balances(&[0, 5, 8, 10, 19]).await, [json!(0.5), json!(20.5), json!(44.5), json!(55.5), json!(199.5)]);
}

/// The path of names from the root, and how deep a node lies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_has_the_names_above() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let nodes = tenant.hierarchy("nodes", "parent", "children").await;
    tenant.attribute(&nodes, "name", json!({ "text": {} })).await;
    let path = tenant.attribute(&nodes, "path", json!({ "formula": { "expression": "{name}" } })).await;
    tenant.attribute(&nodes, "path_above", json!({ "lookup": { "link": "parent", "attribute": "path" } })).await;
    let formula = json!({ "formula": { "expression": "IF({path_above}, {path_above} & '/' & {name}, {name})" } });
    tenant.ok(REDEFINE, json!({ "i": path, "d": formula })).await;
    let usr = tenant.entity(&nodes, json!({ "name": "usr" })).await;
    let lib = tenant.entity(&nodes, json!({ "name": "lib", "parent": usr })).await;
    let rust = tenant.entity(&nodes, json!({ "name": "rust", "parent": lib })).await;
    assert_eq!(values(&tenant, &rust).await["path"], "usr/lib/rust");
    tenant.ok(SET, json!({ "id": usr, "v": { "name": "opt" } })).await;
    assert_eq!(values(&tenant, &rust).await["path"], "opt/lib/rust");
    tenant.ok(SET, json!({ "id": rust, "v": { "parent": usr } })).await;
    assert_eq!(values(&tenant, &rust).await["path"], "opt/rust");
}
