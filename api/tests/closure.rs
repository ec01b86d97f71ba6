//! Closures of links, as a client uses them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};
use support::{Api, Tenant};

/// A collection of nodes with a link to the parent, and what lies below each.
async fn nodes(tenant: &Tenant<'_>) -> String {
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let nodes = tenant.collection(&space, "nodes").await;
    tenant.attribute(&nodes, "n", json!({ "number": {} })).await;
    let link = json!({ "collectionId": nodes, "multiple": true, "backlinkKey": "children" });
    tenant.attribute(&nodes, "parents", json!({ "link": link })).await;
    tenant.attribute(&nodes, "below", json!({ "closure": { "link": "children" } })).await;
    let rollup = json!({ "link": "below", "attribute": "n", "function": "SUM", "filter": "{n} > 0" });
    tenant.attribute(&nodes, "total", json!({ "rollup": rollup })).await;
    nodes
}

async fn values(tenant: &Tenant<'_>, id: &str) -> Json {
    let query = "query($id: ID!) { entity(id: $id) { values(keys: [\"below\", \"total\"]) } }";
    tenant.ok(query, json!({ "id": id })).await["entity"]["values"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reached_twice_counts_once() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let nodes = nodes(&tenant).await;
    let top = tenant.entity(&nodes, json!({ "n": 1 })).await;
    let left = tenant.entity(&nodes, json!({ "n": 2, "parents": [top] })).await;
    let right = tenant.entity(&nodes, json!({ "n": 3, "parents": [top] })).await;
    let leaf = tenant.entity(&nodes, json!({ "n": 4, "parents": [left, right] })).await;
    assert_eq!(values(&tenant, &top).await, json!({ "below": { "count": 3 }, "total": 9 }));
    assert_eq!(values(&tenant, &leaf).await, json!({ "below": { "count": 0 }, "total": 0 }));
    let linked = "query($id: ID!) { entity(id: $id) { linked(attribute: \"below\", filter: \"{n} > 2\") { totalCount nodes { id } } } }";
    let listed = tenant.ok(linked, json!({ "id": top })).await;
    assert_eq!(listed["entity"]["linked"], json!({ "totalCount": 2, "nodes": [{ "id": right }, { "id": leaf }] }));
    // A circle has no end, and what lies in it reaches all the others.
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    tenant.ok(set, json!({ "id": top, "v": { "parents": [leaf] } })).await;
    assert_eq!(values(&tenant, &leaf).await, json!({ "below": { "count": 3 }, "total": 6 }));
    tenant.ok("mutation($id: ID!) { archiveEntity(id: $id) { id } }", json!({ "id": leaf })).await;
    assert_eq!(values(&tenant, &top).await, json!({ "below": { "count": 2 }, "total": 5 }));
}

/// Who is reached from an entity, and how far away it is, as what attributes hold: live queries may ask for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_queries_ask_who_is_reached_and_how_far_away_it_is() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let nodes = tenant.collection(&space, "nodes").await;
    tenant.attribute(&nodes, "name", json!({ "text": {} })).await;
    let link = json!({ "collectionId": nodes, "multiple": true, "backlinkKey": "children", "hierarchical": true });
    tenant.attribute(&nodes, "parents", json!({ "link": link })).await;
    tenant.attribute(&nodes, "above", json!({ "closure": { "link": "parents" } })).await;
    let formula = |text: &str| json!({ "formula": { "expression": text } });
    tenant.attribute(&nodes, "itself", formula("RECORD_ID()")).await;
    tenant.attribute(&nodes, "all_above", json!({ "lookup": { "link": "above", "attribute": "itself" } })).await;
    let distance = tenant.attribute(&nodes, "distance", formula("0")).await;
    let nearest = json!({ "rollup": { "link": "parents", "attribute": "distance", "function": "MIN" } });
    tenant.attribute(&nodes, "nearest", nearest).await;
    let top = tenant.entity(&nodes, json!({ "name": "top" })).await;
    let left = tenant.entity(&nodes, json!({ "name": "left", "parents": [top] })).await;
    let low = tenant.entity(&nodes, json!({ "name": "low", "parents": [left] })).await;
    let other = tenant.entity(&nodes, json!({ "name": "other" })).await;
    let redefine = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";
    let from_top = format!("IF({{itself}} = \"{top}\", 0, IF(ISBLANK({{nearest}}), BLANK(), {{nearest}} + 1))");
    tenant.ok(redefine, json!({ "i": distance, "d": formula(&from_top) })).await;

    let query = "subscription($c: ID!, $f: String) { entities(collectionId: $c, filter: $f) { kind ops { op node { values(keys: [\"name\", \"distance\"]) } } } }";
    let below = json!({ "c": nodes, "f": format!("HAS_ANY({{all_above}}, \"{top}\")") });
    let mut changes = Box::pin(api.schema.execute_stream(api.request(tenant.authority, query, below)));
    let mut next = async || loop {
        let told = changes.next().await.unwrap().data.into_json().unwrap()["entities"].clone();
        if told["kind"] == "SNAPSHOT" || told["kind"] == "DELTA" {
            let mut ops: Vec<_> =
                told["ops"].as_array().unwrap().iter().map(|op| op["op"].to_string() + &op["node"]["values"].to_string()).collect();
            ops.sort_unstable();
            return ops;
        }
    };
    let said = |op: &str, name: &str, distance: i64| format!("\"{op}\"{{\"distance\":{distance},\"name\":\"{name}\"}}");
    assert_eq!(next().await, [said("INSERT", "left", 1), said("INSERT", "low", 2)]);
    let link = "mutation($i: ID!, $t: [ID!]!) { linkEntities(id: $i, attribute: \"parents\", targetIds: $t) { id } }";
    tenant.ok(link, json!({ "i": other, "t": [low] })).await;
    // What links to others, and who links to them, is theirs too.
    assert_eq!(next().await, [said("INSERT", "other", 3), said("UPDATE", "low", 2)]);
    // A shorter way.
    tenant.ok(link, json!({ "i": low, "t": [top] })).await;
    assert_eq!(next().await, [said("UPDATE", "low", 1), said("UPDATE", "other", 2)]);
    let unlink = "mutation($i: ID!, $t: [ID!]!) { unlinkEntities(id: $i, attribute: \"parents\", targetIds: $t) { id } }";
    tenant.ok(unlink, json!({ "i": low, "t": [top, left] })).await;
    let delete = "\"DELETE\"null".to_owned();
    assert_eq!(next().await, [delete.clone(), delete, said("UPDATE", "left", 1)]);
}

/// A root that more reach than are kept of one entity: each of these still says what lies above it, and the root what below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_lead_to_one() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let nodes = nodes(&tenant).await;
    tenant.attribute(&nodes, "above", json!({ "closure": { "link": "parents" } })).await;
    tenant.attribute(&nodes, "sum_above", json!({ "rollup": { "link": "above", "attribute": "n", "function": "SUM" } })).await;
    let root = tenant.entity(&nodes, json!({ "n": 5 })).await;
    for _ in 0..11 {
        let many: String = (0..100)
            .map(|n| format!("e{n}: createEntity(collectionId: \"{nodes}\", values: {{ n: 1, parents: [\"{root}\"] }}) {{ id }} "))
            .collect();
        tenant.ok(&format!("mutation {{ {many} }}"), json!({})).await;
    }
    let child = tenant.entity(&nodes, json!({ "n": 2, "parents": [root] })).await;
    let grandchild = tenant.entity(&nodes, json!({ "n": 3, "parents": [child] })).await;
    let cells = async |id: &str| {
        let query = "query($id: ID!) { entity(id: $id) { values(keys: [\"below\", \"total\", \"above\", \"sum_above\"]) } }";
        tenant.ok(query, json!({ "id": id })).await["entity"]["values"].clone()
    };
    let said = |below: i64, total: i64, above: i64, sum: i64| json!({ "below": { "count": below }, "total": total, "above": { "count": above }, "sum_above": sum });
    assert_eq!(cells(&root).await, said(1_102, 1_105, 0, 0));
    assert_eq!(cells(&child).await, said(1, 3, 1, 5));
    assert_eq!(cells(&grandchild).await, said(0, 0, 2, 7));
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    tenant.ok(set, json!({ "id": root, "v": { "n": 50 } })).await;
    assert_eq!(cells(&grandchild).await, said(0, 0, 2, 52));
    tenant.ok(set, json!({ "id": child, "v": { "parents": [] } })).await;
    assert_eq!(cells(&grandchild).await, said(0, 0, 1, 2));
    assert_eq!(cells(&root).await, said(1_100, 1_100, 0, 0));
}

/// How far below the host something lies follows from how deep both lie: so a rollup may take only what is near, or list it
/// by its depth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_below_is_taken_by_how_deep_it_lies() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let nodes = tenant.hierarchy("nodes", "parent", "children").await;
    tenant.attribute(&nodes, "name", json!({ "text": {} })).await;
    let depth = tenant.attribute(&nodes, "depth", json!({ "formula": { "expression": "0" } })).await;
    tenant.attribute(&nodes, "above", json!({ "lookup": { "link": "parent", "attribute": "depth" } })).await;
    let redefine = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";
    tenant.ok(redefine, json!({ "i": depth, "d": { "formula": { "expression": "IF(ISBLANK({above}), 0, {above} + 1)" } } })).await;
    tenant.attribute(&nodes, "below", json!({ "closure": { "link": "children" } })).await;
    let near = json!({ "link": "below", "function": "COUNTALL", "filter": "{depth} <= HOST({depth}) + 2" });
    tenant.attribute(&nodes, "near", json!({ "rollup": near })).await;
    let by_depth = json!({ "link": "below", "attribute": "name", "sort": [{ "attribute": "depth", "direction": "DESC" }] });
    tenant.attribute(&nodes, "by_depth", json!({ "lookup": by_depth })).await;
    let mut path = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        path.push(tenant.entity(&nodes, json!({ "name": name, "parent": path.last() })).await);
    }
    let values = async |id: &str| {
        let query = "query($id: ID!) { entity(id: $id) { values(keys: [\"depth\", \"near\", \"by_depth\"]) } }";
        tenant.ok(query, json!({ "id": id })).await["entity"]["values"].clone()
    };
    assert_eq!(values(&path[0]).await, json!({ "depth": 0, "near": 2, "by_depth": ["e", "d", "c", "b"] }));
    assert_eq!(values(&path[3]).await, json!({ "depth": 3, "near": 1, "by_depth": ["e"] }));
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    tenant.ok(set, json!({ "id": path[3], "v": { "parent": path[0] } })).await;
    assert_eq!(values(&path[0]).await, json!({ "depth": 0, "near": 4, "by_depth": ["c", "e", "b", "d"] }));
    assert_eq!(values(&path[4]).await, json!({ "depth": 2, "near": 0, "by_depth": null }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closure_is_read_and_never_written() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let nodes = nodes(&tenant).await;
    let node = tenant.entity(&nodes, json!({})).await;
    let create =
        "mutation($c: ID!, $k: String!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: $k, definition: $d) { id } }";
    let made = |key: &str, definition: Json| json!({ "c": nodes, "k": key, "d": definition });
    tenant.refused("INVALID_INPUT", create, made("x", json!({ "closure": { "link": "below" } }))).await;
    tenant.refused("INVALID_INPUT", create, made("x", json!({ "closure": { "link": "n" } }))).await;
    tenant.refused("UNKNOWN_ATTRIBUTE", create, made("x", json!({ "closure": { "link": "childs" } }))).await;
    let link = "mutation($id: ID!) { linkEntities(id: $id, attribute: \"below\", targetIds: [$id]) { id } }";
    tenant.refused("NOT_WRITABLE", link, json!({ "id": node })).await;
    let set = "mutation($id: ID!) { setValues(id: $id, values: { below: [] }) { id } }";
    tenant.refused("NOT_WRITABLE", set, json!({ "id": node })).await;
    // Step by step a total may depend on totals below it; through a closure it would depend on all of them at once.
    let link = json!({ "collectionId": nodes, "multiple": false, "backlinkKey": "parts", "hierarchical": true });
    tenant.attribute(&nodes, "whole", json!({ "link": link })).await;
    tenant.attribute(&nodes, "parts_below", json!({ "closure": { "link": "parts" } })).await;
    let sum = tenant.attribute(&nodes, "sum", json!({ "formula": { "expression": "{n}" } })).await;
    tenant.attribute(&nodes, "sums", json!({ "rollup": { "link": "parts_below", "attribute": "sum", "function": "SUM" } })).await;
    let update = "mutation($id: ID!, $d: AttributeDefinition) { updateAttribute(id: $id, definition: $d) { id } }";
    let definition = json!({ "formula": { "expression": "{n} + {sums}" } });
    let error = tenant.refused("FORMULA_CYCLE", update, json!({ "id": sum, "d": definition })).await;
    assert_eq!(error["extensions"]["path"], json!(["nodes.sum", "nodes.sums", "nodes.sum"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_too_deep_says_so_and_heals() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let nodes = nodes(&tenant).await;
    let (mut ids, mut parents) = (Vec::new(), vec![]);
    for n in 0..1_002 {
        let id = tenant.entity(&nodes, json!({ "n": n, "parents": parents })).await;
        parents = vec![id.clone()];
        ids.push(id);
    }
    let (top, second, last) = (&ids[0], &ids[1], &ids[1_001]);
    let deep = |values: &Json| values["below"]["error"]["kind"] == "limit" && values["total"]["error"]["kind"] == "limit";
    // The first reaches more than a thousand, the last of which is reached from more than a thousand: their pair is not kept.
    let shown = values(&tenant, top).await;
    assert!(deep(&shown), "{shown}");
    assert_eq!(values(&tenant, second).await, json!({ "below": { "count": 1_000 }, "total": (2..1_002).sum::<i64>() }));
    assert_eq!(values(&tenant, last).await, json!({ "below": { "count": 0 }, "total": 0 }));
    let unlink = "mutation($id: ID!, $t: ID!) { unlinkEntities(id: $id, attribute: \"parents\", targetIds: [$t]) { id } }";
    tenant.ok(unlink, json!({ "id": second, "t": top })).await;
    assert_eq!(values(&tenant, top).await, json!({ "below": { "count": 0 }, "total": 0 }));
    assert_eq!(values(&tenant, second).await, json!({ "below": { "count": 1_000 }, "total": (2..1_002).sum::<i64>() }));
    assert_eq!(values(&tenant, last).await, json!({ "below": { "count": 0 }, "total": 0 }));
}
