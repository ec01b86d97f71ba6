//! Lookups and rollups, as a client defines them: what is shown, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value as Json, json};
use support::Api;

/// A collection of things, some of which lead to one of them and to many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_single_link_it_is_one_value() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let things = tenant.collection(&space, "things").await;
    tenant.attribute(&things, "n", json!({ "number": {} })).await;
    tenant.attribute(&things, "one", json!({ "link": { "collectionId": things, "multiple": false, "backlinkKey": "many" } })).await;
    for (key, filter) in [("plain", None), ("filtered", Some("{n} > 0")), ("by_host", Some("{n} > HOST({n})"))] {
        tenant.attribute(&things, key, json!({ "lookup": { "link": "one", "attribute": "n", "filter": filter } })).await;
    }
    let sorted = json!({ "link": "one", "attribute": "n", "sort": [{ "attribute": "n" }], "limit": 3 });
    tenant.attribute(&things, "sorted", json!({ "lookup": sorted })).await;
    tenant.attribute(&things, "more", json!({ "formula": { "expression": "{filtered} + {by_host}" } })).await;
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    let target = tenant.entity(&things, json!({ "n": 5 })).await;
    let holder = tenant.entity(&things, json!({ "n": 1, "one": target })).await;
    let shown = async || {
        let query = "query($id: ID!) { entity(id: $id) { values(keys: [\"plain\", \"filtered\", \"by_host\", \"sorted\", \"more\"]) } }";
        tenant.ok(query, json!({ "id": holder })).await["entity"]["values"].clone()
    };
    assert_eq!(shown().await, json!({ "plain": 5, "filtered": 5, "by_host": 5, "sorted": 5, "more": 10 }));
    tenant.ok(set, json!({ "id": holder, "v": { "n": 9 } })).await;
    assert_eq!(shown().await, json!({ "plain": 5, "filtered": 5, "by_host": null, "sorted": 5, "more": 5 }));
    tenant.ok(set, json!({ "id": target, "v": { "n": -5 } })).await;
    assert_eq!(shown().await, json!({ "plain": -5, "filtered": null, "by_host": null, "sorted": -5, "more": 0 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_days_is_one_value() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let (hosts, things) = (tenant.collection(&space, "hosts").await, tenant.collection(&space, "things").await);
    tenant.attribute(&things, "when", json!({ "dateRange": {} })).await;
    tenant.attribute(&things, "host", json!({ "link": { "collectionId": hosts, "multiple": false, "backlinkKey": "things" } })).await;
    let functions =
        ["COUNTALL", "COUNT", "COUNT_EMPTY", "COUNT_UNIQUE", "PERCENT_FILLED", "FIRST", "UNIQUE", "EARLIEST", "LATEST", "RANGE"];
    for function in functions {
        let rollup = json!({ "link": "things", "attribute": "when", "function": function });
        tenant.attribute(&hosts, &function.to_lowercase(), json!({ "rollup": rollup })).await;
    }
    let host = tenant.entity(&hosts, json!({})).await;
    let range = |start: &str, end: &str| json!({ "start": start, "end": end });
    let (first, second) = (range("2024-01-01", "2024-01-03"), range("2024-02-01", "2024-02-29"));
    for when in [first, second, Json::Null, range("2024-01-01", "2024-01-03")] {
        tenant.entity(&things, json!({ "when": when, "host": host })).await;
    }
    let values = tenant.ok("query($id: ID!) { entity(id: $id) { values } }", json!({ "id": host })).await["entity"]["values"].clone();
    let shown: Vec<Json> = functions.iter().map(|function| values[function.to_lowercase()].clone()).collect();
    let ranges = json!(["2024-01-01/2024-01-03", "2024-02-01/2024-02-29"]);
    let expected =
        [json!(4), json!(3), json!(1), json!(2), json!(0.75), ranges[0].clone(), ranges, json!("2024-01-01"), json!("2024-02-29")];
    assert_eq!((&shown[..9], &shown[9]), (&expected[..], &json!(59)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_summarised_is_refused() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let things = tenant.collection(&space, "things").await;
    tenant.attribute(&things, "n", json!({ "number": {} })).await;
    tenant.attribute(&things, "t", json!({ "text": {} })).await;
    tenant.attribute(&things, "links", json!({ "link": { "collectionId": things, "backlinkKey": "back" } })).await;
    let create = "mutation($c: ID!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: \"x\", definition: $d) { id } }";
    for (code, definition) in [
        ("UNKNOWN_ATTRIBUTE", json!({ "rollup": { "link": "links", "function": "COUNTALL", "attribute": "nope" } })),
        ("FORMULA_TYPE", json!({ "rollup": { "link": "links", "function": "WEIGHTED_AVERAGE", "attribute": "n", "weight": "t" } })),
        ("FORMULA_TYPE", json!({ "rollup": { "link": "links", "function": "ATTACHMENTS_SIZE", "attribute": "t" } })),
        ("INVALID_INPUT", json!({ "zonedDatetime": { "timezone": "" } })),
    ] {
        tenant.refused(code, create, json!({ "c": things, "d": definition })).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_is_of_one_order() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (customers, orders) = tenant.shop().await;
    for n in 0..4 {
        tenant.entity(&customers, json!({ "name": format!("c{n}") })).await;
        tenant.entity(&orders, json!({ "price": n })).await;
    }
    let page = "query($c: ID!, $o: [OrderBy!], $a: String) { entitiesConnection(collectionId: $c, orderBy: $o, first: 2, after: $a) { pageInfo { endCursor } } }";
    let order = |key: &str, direction: &str| json!([{ "attribute": key, "direction": direction }]);
    let asked = |c: &str, o: &Json, a: &Json| json!({ "c": c, "o": o, "a": a });
    let orders_of = [json!([]), order("price", "ASC"), order("price", "DESC"), order("gross", "ASC")];
    for own in &orders_of {
        let end = tenant.ok(page, asked(&orders, own, &Json::Null)).await["entitiesConnection"]["pageInfo"]["endCursor"].clone();
        for other in &orders_of {
            match own == other {
                true => drop(tenant.ok(page, asked(&orders, other, &end)).await),
                false => drop(tenant.refused("INVALID_INPUT", page, asked(&orders, other, &end)).await),
            }
        }
        tenant.refused("INVALID_INPUT", page, asked(&customers, &json!([]), &end)).await;
    }
}
