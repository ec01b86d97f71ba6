//! The order of what links and backlinks lead to, as a client changes it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};
use support::{Api, Tenant};

/// What every list of the invoice's lines shows.
const SHOWN: [&str; 6] = ["names", "first", "last", "joined", "unique", "cheapest"];

/// Invoices and their lines: a collection of each, and the ids of an invoice and three lines, `a` to `c`.
async fn invoice(tenant: &Tenant<'_>) -> (String, String, String, [String; 3]) {
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let (invoices, lines) = (tenant.collection(&space, "invoices").await, tenant.collection(&space, "lines").await);
    tenant.attribute(&lines, "name", json!({ "text": {} })).await;
    tenant.attribute(&lines, "price", json!({ "number": {} })).await;
    let link = json!({ "collectionId": invoices, "multiple": false, "backlinkKey": "lines" });
    tenant.attribute(&lines, "invoice", json!({ "link": link })).await;
    tenant.attribute(&invoices, "names", json!({ "lookup": { "link": "lines", "attribute": "name" } })).await;
    for (key, function) in [("first", "FIRST"), ("last", "LAST"), ("joined", "JOIN"), ("unique", "UNIQUE")] {
        let rollup = json!({ "link": "lines", "attribute": "name", "function": function });
        tenant.attribute(&invoices, key, json!({ "rollup": rollup })).await;
    }
    // Of those that cost the same the first in the order.
    let cheapest = json!({ "link": "lines", "attribute": "name", "function": "FIRST", "sort": [{ "attribute": "price" }] });
    tenant.attribute(&invoices, "cheapest", json!({ "rollup": cheapest })).await;
    let invoice = tenant.entity(&invoices, json!({})).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(tenant.entity(&lines, json!({ "name": name, "price": 1, "invoice": invoice })).await);
    }
    (invoices, lines, invoice, ids.try_into().unwrap())
}

async fn reorder(tenant: &Tenant<'_>, id: &str, attribute: &str, targets: Json) -> i64 {
    let reorder = "mutation($id: ID!, $a: String!, $t: [ID!]!) { reorderLinks(id: $id, attribute: $a, targetIds: $t) { version } }";
    tenant.ok(reorder, json!({ "id": id, "a": attribute, "t": targets })).await["reorderLinks"]["version"].as_i64().unwrap()
}

/// What the invoice shows if its lines come in this order.
fn of(names: &[&str]) -> Json {
    let (first, last) = (names[0], names[names.len() - 1]);
    json!({ "names": names, "first": first, "last": last, "joined": names.join(", "), "unique": names, "cheapest": first })
}

async fn shown(tenant: &Tenant<'_>, id: &str) -> Json {
    let query = "query($id: ID!, $k: [String!]) { entity(id: $id) { values(keys: $k) } }";
    tenant.ok(query, json!({ "id": id, "k": SHOWN })).await["entity"]["values"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_backlink_leads_to_is_put_in_order() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (invoices, lines, invoice, [a, b, c]) = invoice(&tenant).await;
    assert_eq!(shown(&tenant, &invoice).await, of(&["a", "b", "c"]));
    reorder(&tenant, &invoice, "lines", json!([c])).await;
    assert_eq!(shown(&tenant, &invoice).await, of(&["c", "a", "b"]));
    let version = reorder(&tenant, &invoice, "lines", json!([b, a])).await;
    assert_eq!(shown(&tenant, &invoice).await, of(&["b", "a", "c"]));
    assert_eq!(reorder(&tenant, &invoice, "lines", json!([b])).await, version, "that is no other order");
    // A new one comes last; a definition that comes later sees the same order.
    let d = tenant.entity(&lines, json!({ "name": "d", "price": 1, "invoice": invoice })).await;
    assert_eq!(shown(&tenant, &invoice).await, of(&["b", "a", "c", "d"]));
    let two = json!({ "link": "lines", "attribute": "name", "limit": 2 });
    tenant.attribute(&invoices, "two", json!({ "lookup": two })).await;
    let query = "query($id: ID!) { entity(id: $id) { values(keys: [\"two\"]) } }";
    assert_eq!(tenant.ok(query, json!({ "id": invoice })).await["entity"]["values"]["two"], json!(["b", "a"]));
    // One that goes and comes back has its place.
    for invoice in [Json::Null, json!(invoice)] {
        let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
        tenant.ok(set, json!({ "id": b, "v": { "invoice": invoice } })).await;
    }
    assert_eq!(shown(&tenant, &invoice).await, of(&["b", "a", "c", "d"]));
    tenant.ok("mutation($id: ID!) { archiveEntity(id: $id) { id } }", json!({ "id": a })).await;
    assert_eq!(shown(&tenant, &invoice).await, of(&["b", "c", "d"]));
    // The page of a link, and why a cell is what it is, have the order too.
    let page = "query($id: ID!, $after: String) { entity(id: $id) { linked(attribute: \"lines\", first: 2, after: $after) { \
                totalCount pageInfo { endCursor hasNextPage } nodes { id } } } }";
    let first = tenant.ok(page, json!({ "id": invoice })).await["entity"]["linked"].clone();
    assert_eq!(
        (&first["nodes"], &first["totalCount"], &first["pageInfo"]["hasNextPage"]),
        (&json!([{ "id": b }, { "id": c }]), &json!(3), &json!(true))
    );
    let next = tenant.ok(page, json!({ "id": invoice, "after": first["pageInfo"]["endCursor"] })).await;
    assert_eq!(next["entity"]["linked"]["nodes"], json!([{ "id": d }]));
    let why = "query($id: ID!) { explain(entityId: $id, attribute: \"names\") { inputs { entityId } } }";
    let inputs = tenant.ok(why, json!({ "id": invoice })).await["explain"]["inputs"].clone();
    let mut entities: Vec<_> = inputs.as_array().unwrap().iter().map(|input| input["entityId"].as_str().unwrap()).collect();
    entities.dedup();
    assert_eq!(entities, [&b, &c, &d]);
}

/// Pages of one: those that have places, the others behind them, whatever goes and comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_keep_the_order() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (_, lines, invoice, [a, b, c]) = invoice(&tenant).await;
    let d = tenant.entity(&lines, json!({ "name": "d", "invoice": invoice })).await;
    let e = tenant.entity(&lines, json!({ "name": "e", "invoice": invoice })).await;
    let page = "query($id: ID!, $n: Int!, $after: String, $f: String) { entity(id: $id) { linked(attribute: \"lines\", first: $n, after: $after, filter: $f) \
                { totalCount pageInfo { endCursor hasNextPage } nodes { id } } } }";
    let listed = async |size: i32, filter: Option<&str>| {
        let (mut ids, mut after): (Vec<String>, Json) = (Vec::new(), Json::Null);
        loop {
            let asked = json!({ "id": invoice, "n": size, "after": after, "f": filter });
            let linked = tenant.ok(page, asked).await["entity"]["linked"].clone();
            ids.extend(linked["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap().to_owned()));
            after = linked["pageInfo"]["endCursor"].clone();
            if linked["pageInfo"]["hasNextPage"] == false {
                return (ids, linked["totalCount"].clone());
            }
        }
    };
    reorder(&tenant, &invoice, "lines", json!([d, b])).await;
    for size in [1, 2, 3, 10] {
        let all = [&d, &b, &a, &c, &e].map(String::clone).to_vec();
        assert_eq!(listed(size, None).await, (all.clone(), json!(5)));
        assert_eq!(listed(size, Some("TRUE()")).await, (all, json!(5)));
    }
    let set = "mutation($id: ID!, $v: Values!) { setValues(id: $id, values: $v) { id } }";
    tenant.ok(set, json!({ "id": d, "v": { "invoice": null } })).await;
    tenant.ok("mutation($id: ID!) { archiveEntity(id: $id) { id } }", json!({ "id": a })).await;
    for size in [1, 2, 10] {
        assert_eq!(listed(size, None).await, ([&b, &c, &e].map(String::clone).to_vec(), json!(3)));
    }
}

/// A page may ask for more than there is, whatever else was linked before and since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_backlink_ends() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (invoices, lines, invoice, [a, b, c]) = invoice(&tenant).await;
    let page = "query($id: ID!, $n: Int!) { entity(id: $id) { linked(attribute: \"lines\", first: $n) { totalCount pageInfo { hasNextPage } nodes { id } } } }";
    let mut all = vec![a, b, c];
    for n in 0..40 {
        for first in 0..6 {
            let linked = tenant.ok(page, json!({ "id": invoice, "n": first })).await["entity"]["linked"].clone();
            let shown: Vec<Json> = all.iter().take(first).map(|id| json!({ "id": id })).collect();
            assert_eq!(linked, json!({ "totalCount": all.len(), "pageInfo": { "hasNextPage": first < all.len() }, "nodes": shown }));
        }
        // Others get links, of smaller ids and larger ones.
        let other = tenant.entity(&invoices, json!({})).await;
        let only = tenant.entity(&lines, json!({ "name": "z", "invoice": other })).await;
        let linked = tenant.ok(page, json!({ "id": other, "n": 5 })).await["entity"]["linked"].clone();
        assert_eq!(linked, json!({ "totalCount": 1, "pageInfo": { "hasNextPage": false }, "nodes": [{ "id": only }] }));
        if n % 10 == 9 {
            all.push(tenant.entity(&lines, json!({ "name": "y", "invoice": invoice })).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_many_is_put_in_order() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (invoices, lines, _, [a, b, c]) = invoice(&tenant).await;
    let link = json!({ "collectionId": lines, "multiple": true, "backlinkKey": "picked_by" });
    tenant.attribute(&invoices, "picked", json!({ "link": link })).await;
    tenant.attribute(&invoices, "names_picked", json!({ "lookup": { "link": "picked", "attribute": "name" } })).await;
    let invoice = tenant.entity(&invoices, json!({ "picked": [a, b, c] })).await;
    reorder(&tenant, &invoice, "picked", json!([c, a])).await;
    let query = "query($id: ID!) { entity(id: $id) { values(keys: [\"names_picked\"]) } }";
    assert_eq!(tenant.ok(query, json!({ "id": invoice })).await["entity"]["values"]["names_picked"], json!(["c", "a", "b"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_link_there_has_no_place() {
    let api = Api::start().await;
    let (tenant, other) = (api.tenant("acme").await, api.tenant("other").await);
    let (invoices, lines, invoice, [a, ..]) = invoice(&tenant).await;
    let theirs = self::invoice(&other).await;
    let elsewhere = tenant.entity(&lines, json!({ "name": "z" })).await;
    let reorder = "mutation($id: ID!, $a: String!, $t: [ID!]!) { reorderLinks(id: $id, attribute: $a, targetIds: $t) { version } }";
    for (code, id, attribute, targets) in [
        ("LINK_TARGET_NOT_FOUND", &invoice, "lines", json!([a, elsewhere])),
        ("LINK_TARGET_NOT_FOUND", &invoice, "lines", json!([theirs.3[0]])),
        ("LINK_TARGET_NOT_FOUND", &a, "invoice", json!([elsewhere])),
        ("NOT_FOUND", &theirs.2, "lines", json!([])),
        ("INVALID_INPUT", &a, "name", json!([])),
        ("UNKNOWN_ATTRIBUTE", &a, "nothing", json!([])),
    ] {
        tenant.refused(code, reorder, json!({ "id": id, "a": attribute, "t": targets })).await;
    }
    assert_eq!(shown(&tenant, &invoice).await, of(&["a", "b", "c"]));
    // Who listens hears of another order.
    let listen = "subscription($c: ID!) { entities(collectionId: $c) { kind ops { op node { values(keys: [\"joined\"]) } } } }";
    let mut changes = api.schema.execute_stream(api.request(tenant.authority, listen, json!({ "c": invoices })));
    let mut next = async || serde_json::to_value(changes.next().await.unwrap().data).unwrap()["entities"].clone();
    assert_eq!(next().await["kind"], json!("SNAPSHOT"));
    assert_eq!(next().await["kind"], json!("PROGRESS"));
    self::reorder(&tenant, &invoice, "lines", json!([a])).await;
    self::reorder(&tenant, &invoice, "lines", json!([shown_last(&tenant, &invoice).await])).await;
    let mut joined = Vec::new();
    while joined.last() != Some(&json!("c, a, b")) {
        let ops = next().await["ops"].clone();
        joined.extend(ops.as_array().unwrap().iter().map(|op| op["node"]["values"]["joined"].clone()));
    }
}

/// The line that comes last.
async fn shown_last(tenant: &Tenant<'_>, invoice: &str) -> Json {
    let page = "query($id: ID!) { entity(id: $id) { linked(attribute: \"lines\") { nodes { id } } } }";
    let nodes = tenant.ok(page, json!({ "id": invoice })).await["entity"]["linked"]["nodes"].clone();
    nodes.as_array().unwrap().last().unwrap()["id"].clone()
}
