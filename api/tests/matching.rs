//! Matches, lookups and rollups without a link, as a client uses them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value as Json, json};
use support::{Api, Tenant};

/// Countries with a code, and customers who say in which they are, without a link.
async fn countries(tenant: &Tenant<'_>) -> (String, String) {
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let (countries, customers) = (tenant.collection(&space, "countries").await, tenant.collection(&space, "customers").await);
    tenant.attribute(&countries, "code", json!({ "text": {} })).await;
    tenant.attribute(&countries, "minimum", json!({ "number": {} })).await;
    tenant.attribute(&customers, "country", json!({ "text": {} })).await;
    tenant.attribute(&customers, "revenue", json!({ "number": {} })).await;
    let on = json!([{ "attribute": "code", "equals": "country" }]);
    tenant.attribute(&countries, "customers", json!({ "match": { "collectionId": customers, "on": on } })).await;
    let on = json!([{ "attribute": "country", "equals": "code" }]);
    tenant.attribute(&customers, "match", json!({ "match": { "collectionId": countries, "on": on } })).await;
    let sum = json!({ "link": "customers", "attribute": "revenue", "function": "SUM" });
    tenant.attribute(&countries, "revenue", json!({ "rollup": sum })).await;
    let large = json!({ "link": "customers", "function": "COUNTALL", "filter": "{revenue} >= HOST({minimum})" });
    tenant.attribute(&countries, "large", json!({ "rollup": large })).await;
    let sort = json!([{ "attribute": "revenue", "direction": "DESC" }]);
    let top = json!({ "link": "customers", "attribute": "revenue", "sort": sort, "limit": 2 });
    tenant.attribute(&countries, "top", json!({ "lookup": top })).await;
    tenant.attribute(&customers, "of_country", json!({ "lookup": { "link": "match", "attribute": "revenue" } })).await;
    (countries, customers)
}

async fn values(tenant: &Tenant<'_>, id: &str) -> Json {
    let query = "query($id: ID!) { entity(id: $id) { values(keys: [\"customers\", \"revenue\", \"large\", \"top\"]) } }";
    tenant.ok(query, json!({ "id": id })).await["entity"]["values"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_equal_is_joined() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (countries, customers) = countries(&tenant).await;
    let de = tenant.entity(&countries, json!({ "code": "DE", "minimum": 20 })).await;
    let nowhere = tenant.entity(&countries, json!({ "minimum": 20 })).await;
    let mut ids = Vec::new();
    for (country, revenue) in [("DE", 10), ("DE", 20), ("FR", 40), ("DE", 30)] {
        ids.push(tenant.entity(&customers, json!({ "country": country, "revenue": revenue })).await);
    }
    tenant.entity(&customers, json!({ "revenue": 1_000 })).await;
    assert_eq!(values(&tenant, &de).await, json!({ "customers": { "count": 3 }, "revenue": 60, "large": 2, "top": [30, 20] }));
    assert_eq!(values(&tenant, &nowhere).await, json!({ "customers": { "count": 0 }, "revenue": 0, "large": 0, "top": null }));
    let of = "query($id: ID!) { entity(id: $id) { values(keys: [\"of_country\"]) } }";
    assert_eq!(tenant.ok(of, json!({ "id": ids[0] })).await["entity"]["values"], json!({ "of_country": [60] }));
    // The host's key changes, then what it is compared with, then a source's key; and a source goes.
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    tenant.ok(set, json!({ "id": de, "v": { "code": "FR" } })).await;
    assert_eq!(values(&tenant, &de).await, json!({ "customers": { "count": 1 }, "revenue": 40, "large": 1, "top": [40] }));
    tenant.ok(set, json!({ "id": de, "v": { "minimum": 41 } })).await;
    tenant.ok(set, json!({ "id": ids[0], "v": { "country": "FR" } })).await;
    assert_eq!(values(&tenant, &de).await, json!({ "customers": { "count": 2 }, "revenue": 50, "large": 0, "top": [40, 10] }));
    tenant.ok("mutation($id: ID!) { archiveEntity(id: $id) { id } }", json!({ "id": ids[2] })).await;
    assert_eq!(values(&tenant, &de).await, json!({ "customers": { "count": 1 }, "revenue": 10, "large": 0, "top": [10] }));
    tenant.ok(set, json!({ "id": de, "v": { "code": null } })).await;
    assert_eq!(values(&tenant, &de).await, json!({ "customers": { "count": 0 }, "revenue": 0, "large": 0, "top": null }));
    tenant.ok(set, json!({ "id": de, "v": { "code": "DE" } })).await;
    let linked = "query($id: ID!) { entity(id: $id) { linked(attribute: \"customers\") { totalCount nodes { id } } } }";
    let listed = tenant.ok(linked, json!({ "id": de })).await;
    assert_eq!(listed["entity"]["linked"], json!({ "totalCount": 2, "nodes": [{ "id": ids[1] }, { "id": ids[3] }] }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_among_many_finds_them_all() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (countries, customers) = countries(&tenant).await;
    let de = tenant.entity(&countries, json!({ "code": "DE" })).await;
    let mut expected = Vec::new();
    for n in 0..800 {
        let country = if n % 40 == 0 { "DE" } else { "FR" };
        let id = tenant.entity(&customers, json!({ "country": country, "revenue": n })).await;
        if n % 40 == 0 {
            expected.push(id);
        }
    }
    let linked = "query($id: ID!) { entity(id: $id) { linked(attribute: \"customers\") { totalCount nodes { id } } } }";
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    // At first each of them is looked at, soon only those that an index names.
    for _ in 0..6 {
        let listed = tenant.ok(linked, json!({ "id": de })).await;
        let ids: Vec<&str> =
            listed["entity"]["linked"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let gone = expected.remove(3);
        tenant.ok(set, json!({ "id": gone, "v": { "country": "FR" } })).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_matched_is_refused() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (countries, customers) = countries(&tenant).await;
    let create = "mutation($c: ID!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: \"x\", definition: $d) { id } }";
    let made = |on: Json| json!({ "c": countries, "d": { "match": { "collectionId": customers, "on": on } } });
    tenant.refused("INVALID_INPUT", create, made(json!([]))).await;
    tenant.refused("INVALID_INPUT", create, made(json!([{ "attribute": "code", "equals": "revenue" }]))).await;
    tenant.refused("INVALID_INPUT", create, made(json!([{ "attribute": "top", "equals": "of_country" }]))).await;
    tenant.refused("UNKNOWN_ATTRIBUTE", create, made(json!([{ "attribute": "code", "equals": "contry" }]))).await;
    // Which entities are joined must not depend on what comes of their being joined.
    let definition = json!({ "formula": { "expression": "{revenue} + 1" } });
    let circle = tenant.id(create, json!({ "c": countries, "d": definition })).await;
    let on = json!([{ "attribute": "x", "equals": "revenue" }]);
    tenant.attribute(&countries, "y", json!({ "match": { "collectionId": customers, "on": on } })).await;
    tenant.attribute(&countries, "z", json!({ "rollup": { "link": "y", "function": "COUNTALL" } })).await;
    let update = "mutation($id: ID!, $d: AttributeDefinition) { updateAttribute(id: $id, definition: $d) { id } }";
    let definition = json!({ "formula": { "expression": "{z} + 1" } });
    tenant.refused("FORMULA_CYCLE", update, json!({ "id": circle, "d": definition })).await;
}
