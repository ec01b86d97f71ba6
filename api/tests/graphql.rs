//! The API, in process: the two examples of the reference to the letter, every refusal's code, pages, positions, live
//! queries, and that tenants see nothing of one another.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use decidr_dataflow::EngineConfig;
use futures_util::StreamExt;
use serde_json::{Value as Json, json};
use support::Api;

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_reference() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let collection = tenant.collection(&space, "companies").await;
    tenant.attribute(&collection, "name", json!({ "text": {} })).await;
    let mutation = r#"mutation {
  createEntity(collectionId: "...", values: { name: "Acme" }) {
    id
  }
}"#;
    let created = tenant.ok(&mutation.replace("...", &collection), json!({})).await;
    let query = r#"query {
  entities(collectionId: "...") { id values }
}"#;
    let found = tenant.ok(&query.replace("...", &collection), json!({})).await;
    assert_eq!(found, json!({ "entities": [{ "id": created["createEntity"]["id"], "values": { "name": "Acme" } }] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_computed_is_there_with_the_position() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (customers, orders) = tenant.shop().await;
    let ada = tenant.entity(&customers, json!({ "name": "Ada" })).await;
    let order = tenant.entity(&orders, json!({ "price": 10, "customer": ada })).await;
    tenant.entity(&orders, json!({ "price": 0.1, "customer": [ada] })).await;
    let set = "mutation($i: ID!, $v: Values!) { setValues(id: $i, values: $v) { id version position } }";
    let digits: Json = serde_json::from_str("12345678901234567.25").unwrap();
    let payload = tenant.ok(set, json!({ "i": order, "v": { "price": digits } })).await["setValues"].clone();
    assert_eq!(payload["version"], 2);
    let query = "query($i: ID!, $p: Position) { entity(id: $i, minPosition: $p) { version archived values linked(attribute: \"orders\", orderBy: [{attribute: \"price\", direction: DESC}]) { totalCount nodes { id values(keys: [\"who\"]) } } } }";
    let entity = tenant.ok(query, json!({ "i": ada, "p": payload["position"] })).await["entity"].clone();
    assert_eq!(entity["values"]["revenue"].to_string(), "14691357892469135.15");
    assert_eq!(entity["values"]["orders"], json!({ "count": 2 }));
    assert_eq!(entity["linked"]["totalCount"], 2);
    assert_eq!(entity["linked"]["nodes"][0], json!({ "id": order, "values": { "who": "Ada" } }));
    // Archived entities are out of sight, and do not count.
    tenant.ok("mutation($i: ID!) { archiveEntity(id: $i) { id } }", json!({ "i": order })).await;
    let entity = tenant.ok(query, json!({ "i": ada })).await["entity"].clone();
    assert_eq!((entity["values"]["revenue"].to_string(), &entity["linked"]["totalCount"]), ("0.12".into(), &json!(1)));
    tenant.refused("INVALID_INPUT", query, json!({ "i": ada, "p": "AAAA" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_codes() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (customers, orders) = tenant.shop().await;
    let ada = tenant.entity(&customers, json!({ "name": "Ada" })).await;
    let create = "mutation($c: ID!, $v: Values) { createEntity(collectionId: $c, values: $v) { id } }";
    let attribute =
        "mutation($c: ID!, $k: String!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: $k, definition: $d) { id } }";
    let formula = |expression: &str| json!({ "c": orders, "k": "x", "d": { "formula": { "expression": expression } } });
    for (code, query, variables) in [
        ("UNKNOWN_ATTRIBUTE", create, json!({ "c": orders, "v": { "prise": 1 } })),
        ("VALUE_TYPE_MISMATCH", create, json!({ "c": orders, "v": { "price": "much" } })),
        ("NOT_WRITABLE", create, json!({ "c": orders, "v": { "gross": 1 } })),
        ("NOT_FOUND", create, json!({ "c": ada, "v": {} })),
        ("NOT_FOUND", create, json!({ "c": "nonsense", "v": {} })),
        ("LINK_TARGET_NOT_FOUND", create, json!({ "c": orders, "v": { "customer": orders } })),
        ("KEY_TAKEN", attribute, json!({ "c": orders, "k": "price", "d": { "checkbox": {} } })),
        ("INVALID_INPUT", attribute, json!({ "c": orders, "k": "1x", "d": { "checkbox": {} } })),
        ("FORMULA_TYPE", attribute, formula("YEAR({price})")),
        ("TOO_LARGE", attribute, formula(&format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000)))),
        ("UNKNOWN_ATTRIBUTE", "query($c: ID!) { entities(collectionId: $c, filter: \"{prise} > 1\") { id } }", json!({ "c": orders })),
        ("INVALID_INPUT", "query($c: ID!) { entities(collectionId: $c, first: 1001) { id } }", json!({ "c": orders })),
        ("INVALID_INPUT", "query($c: ID!) { entitiesConnection(collectionId: $c, after: \"x\") { totalCount } }", json!({ "c": orders })),
        ("UNKNOWN_ATTRIBUTE", "query($c: ID!) { entities(collectionId: $c) { values(keys: [\"nmae\"]) } }", json!({ "c": customers })),
        ("FORBIDDEN", "mutation { registerTenant(key: \"x\", name: \"X\") { id } }", json!({})),
    ] {
        tenant.refused(code, query, variables).await;
    }
    let error = tenant.refused("FORMULA_SYNTAX", attribute, formula("1 + (")).await;
    assert_eq!(error["extensions"]["span"], json!({ "start": 5, "end": 5 }));
    let deep = format!("{{ spaces {}", "{ collections { id ".repeat(40));
    assert!(api.run(tenant.authority, &deep, json!({})).await.is_err());
    // What is a thousand million fields when it is written out.
    let fragment = |n: usize| format!("fragment F{n} on Query {{ ...F{0} ...F{0} }} ", n + 1);
    let doubled = format!("{{ ...F0 }} {} fragment F30 on Query {{ spaces {{ id }} }}", (0..30).map(fragment).collect::<String>());
    tenant.refused("INVALID_INPUT", &doubled, json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_add_up() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (_, orders) = tenant.shop().await;
    for i in 0..25 {
        tenant.entity(&orders, json!({ "price": i % 4 })).await;
    }
    let query = "query($c: ID!, $a: String, $o: [OrderBy!], $f: String) { entitiesConnection(collectionId: $c, first: 4, after: $a, orderBy: $o, filter: $f) { nodes { id values(keys: [\"price\"]) } edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage endCursor } totalCount } }";
    for (order, filter, total) in [
        (json!(null), json!(null), 25),
        (json!([{ "attribute": "price", "direction": "DESC" }]), json!(null), 25),
        (json!([{ "attribute": "gross" }]), json!("{price} != 0"), 18),
    ] {
        let (mut after, mut seen, mut prices) = (Json::Null, Vec::new(), Vec::new());
        loop {
            let page = tenant.ok(query, json!({ "c": orders, "a": after, "o": order, "f": filter })).await["entitiesConnection"].clone();
            assert_eq!(page["totalCount"], total);
            for node in page["nodes"].as_array().unwrap() {
                seen.push(node["id"].to_string());
                prices.push(node["values"]["price"].as_i64().unwrap());
            }
            if page["pageInfo"]["hasNextPage"] == json!(false) {
                break;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
        assert_eq!(seen.len(), total as usize);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), total as usize, "no entity comes twice");
        if order[0]["direction"] == "DESC" {
            assert!(prices.windows(2).all(|pair| pair[0] >= pair[1]), "{prices:?}");
        } else if order.is_array() {
            assert!(prices.windows(2).all(|pair| pair[0] <= pair[1]), "{prices:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_link_go_on_behind_what_left() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (customers, orders) = tenant.shop().await;
    tenant.attribute(&customers, "favourites", json!({ "link": { "collectionId": orders, "backlinkKey": "fans" } })).await;
    let mut ids = Vec::new();
    for i in 0..6 {
        ids.push(tenant.entity(&orders, json!({ "price": i })).await);
    }
    ids.reverse();
    let ada = tenant.entity(&customers, json!({ "name": "Ada", "favourites": ids })).await;
    let query = "query($i: ID!, $a: String) { entity(id: $i) { linked(attribute: \"favourites\", first: 2, after: $a) { nodes { id } pageInfo { endCursor hasNextPage } totalCount } } }";
    let page = async |after: Json| tenant.ok(query, json!({ "i": ada, "a": after })).await["entity"]["linked"].clone();
    let first = page(Json::Null).await;
    assert_eq!(first["nodes"], json!([{ "id": ids[0] }, { "id": ids[1] }]), "in the link's order");
    tenant.ok("mutation($i: ID!) { archiveEntity(id: $i) { id } }", json!({ "i": ids[1] })).await;
    let second = page(first["pageInfo"]["endCursor"].clone()).await;
    assert_eq!((&second["nodes"], &second["totalCount"]), (&json!([{ "id": ids[2] }, { "id": ids[3] }]), &json!(5)));
    // A query that asks for too much at once is refused before it is begun.
    let much = "query($i: ID!) { entities(collectionId: $i, first: 1000) { linked(attribute: \"customer\", first: 1000) { nodes { linked(attribute: \"orders\", first: 1000) { nodes { id } } } } } }";
    tenant.refused("INVALID_INPUT", much, json!({ "i": orders })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_sees_every_change_once() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (customers, orders) = tenant.shop().await;
    let ada = tenant.entity(&customers, json!({ "name": "Ada" })).await;
    let bob = tenant.entity(&customers, json!({ "name": "Bob" })).await;
    let subscription = "subscription($c: ID!) { entities(collectionId: $c, filter: \"{revenue} > 10\") { position kind ops { op id index node { values(keys: [\"revenue\"]) } } } }";
    let mut stream = Box::pin(api.schema.execute_stream(api.request(tenant.authority, subscription, json!({ "c": customers }))));
    let mut next = async || {
        loop {
            let response = tokio::time::timeout(std::time::Duration::from_secs(20), stream.next()).await.expect("a message comes").unwrap();
            let body: Json = serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap();
            let changes = body["data"]["entities"].clone();
            if changes["kind"] != "PROGRESS" {
                return changes;
            }
        }
    };
    assert_eq!(next().await["kind"], "SNAPSHOT");
    let order = tenant.entity(&orders, json!({ "price": 100, "customer": ada })).await;
    let changes = next().await;
    assert_eq!(
        (&changes["kind"], &changes["ops"]),
        (&json!("DELTA"), &json!([{ "op": "INSERT", "id": ada, "index": null, "node": { "values": { "revenue": 119 } } }]))
    );
    // Moving the order changes both in one position.
    let link = "mutation($i: ID!, $t: ID!) { linkEntities(id: $i, attribute: \"customer\", targetIds: [$t]) { position } }";
    let moved = tenant.ok(link, json!({ "i": order, "t": bob })).await;
    let changes = next().await;
    assert_eq!(changes["position"], moved["linkEntities"]["position"]);
    assert_eq!(
        changes["ops"],
        json!([
            { "op": "DELETE", "id": ada, "index": null, "node": null },
            { "op": "INSERT", "id": bob, "index": null, "node": { "values": { "revenue": 119 } } },
        ])
    );
    let set = "mutation($i: ID!, $v: Values!) { setValues(id: $i, values: $v) { id } }";
    tenant.ok(set, json!({ "i": order, "v": { "price": 200 } })).await;
    assert_eq!(next().await["ops"][0]["op"], "UPDATE");
    // A change of what the filter means starts over.
    let attributes = tenant.ok("query($c: ID) { collection(id: $c) { attributes { id key } } }", json!({ "c": customers })).await;
    let revenue = attributes["collection"]["attributes"].as_array().unwrap().iter().find(|a| a["key"] == "revenue").unwrap()["id"].clone();
    tenant.ok("mutation($i: ID!) { deleteAttribute(id: $i) { id } }", json!({ "i": revenue })).await;
    let changes = next().await;
    assert!(changes["kind"] == "RESET" || changes["ops"][0]["op"] == "DELETE" || changes.is_null(), "{changes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_see_nothing_of_one_another() {
    let api = Api::start().await;
    let (ours, theirs) = (api.tenant("acme").await, api.tenant("other").await);
    let (customers, orders) = ours.shop().await;
    let ada = ours.entity(&customers, json!({ "name": "Ada" })).await;
    assert_eq!(
        theirs.ok("{ collections { id } spaces { id } users { id } }", json!({})).await,
        json!({ "collections": [], "spaces": [], "users": [] })
    );
    assert_eq!(theirs.ok("query($i: ID!) { entity(id: $i) { id } }", json!({ "i": ada })).await, json!({ "entity": null }));
    assert_eq!(theirs.ok("query($i: ID!) { collection(id: $i) { id } }", json!({ "i": orders })).await, json!({ "collection": null }));
    for (query, id) in [
        ("query($i: ID!) { entities(collectionId: $i) { id } }", &orders),
        ("query($i: ID!) { entitiesConnection(collectionId: $i) { totalCount } }", &orders),
        ("mutation($i: ID!) { createEntity(collectionId: $i) { id } }", &orders),
        ("mutation($i: ID!) { archiveEntity(id: $i) { id } }", &ada),
        ("mutation($i: ID!) { setValues(id: $i, values: {}) { id } }", &ada),
    ] {
        let error = theirs.refused("NOT_FOUND", query, json!({ "i": id })).await;
        assert!(!error.to_string().contains("Ada"), "{error}");
    }
    let mut stream = Box::pin(api.schema.execute_stream(api.request(
        theirs.authority,
        "subscription($c: ID!) { entities(collectionId: $c) { kind } }",
        json!({ "c": customers }),
    )));
    assert!(stream.next().await.unwrap().is_err());
    // The same command id is another command for another tenant.
    let create = "mutation($k: ID!) { createSpace(key: \"x\", name: \"X\", commandId: $k) { id } }";
    let command = json!({ "k": "00000000-0000-4000-8000-000000000001" });
    let (a, b) = (ours.id(create, command.clone()).await, theirs.id(create, command.clone()).await);
    assert_ne!(a, b);
    assert_eq!(ours.id(create, command).await, a);
}

/// Positions count everybody's events; what a tenant sees of them must not tell of anybody else's.
#[tokio::test(flavor = "multi_thread")]
async fn positions_do_not_tell_of_other_tenants() {
    let api = Api::start().await;
    let (ours, theirs) = (api.tenant("acme").await, api.tenant("other").await);
    let (customers, orders) = ours.shop().await;
    let (strange, _) = theirs.shop().await;
    let ada = ours.entity(&customers, json!({ "name": "Ada" })).await;
    let position = "query($c: ID!) { entitiesConnection(collectionId: $c) { position } }";
    let nothing = "mutation($i: ID!) { setValues(id: $i, values: { name: \"Ada\" }) { position } }";
    let at = ours.ok(position, json!({ "c": customers })).await["entitiesConnection"]["position"].clone();
    let mut stream = Box::pin(api.schema.execute_stream(api.request(
        ours.authority,
        "subscription($c: ID!) { entities(collectionId: $c) { kind position } }",
        json!({ "c": customers }),
    )));
    for _ in 0..2 {
        let response: Json = serde_json::to_value(stream.next().await.unwrap()).unwrap();
        assert_eq!(response["data"]["entities"]["position"], at);
    }
    for i in 0..20 {
        theirs.entity(&strange, json!({ "name": i.to_string() })).await;
    }
    assert_eq!(ours.ok(position, json!({ "c": customers })).await["entitiesConnection"]["position"], at);
    assert_eq!(ours.ok(nothing, json!({ "i": ada })).await["setValues"]["position"], at);
    // Nobody's writes but ours are progress, also to something else of ours.
    let quiet = tokio::time::timeout(std::time::Duration::from_secs(5), stream.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    ours.entity(&orders, json!({ "price": 1 })).await;
    let response: Json = serde_json::to_value(stream.next().await.unwrap()).unwrap();
    assert_eq!(response["data"]["entities"]["kind"], "PROGRESS");
    assert_ne!(response["data"]["entities"]["position"], at);
    // A position of ours is none of theirs.
    let with = "query($c: ID!, $p: Position) { entities(collectionId: $c, minPosition: $p) { id } }";
    ours.ok(with, json!({ "c": customers, "p": at })).await;
    let error = theirs.refused("INVALID_INPUT", with, json!({ "c": strange, "p": at })).await;
    let made_up = theirs.refused("INVALID_INPUT", with, json!({ "c": strange, "p": "A".repeat(22) })).await;
    assert_eq!(error["message"], made_up["message"]);
}

/// What a rollup or lookup can be told beside its function: which of the linked entities count, in which order, how many.
#[tokio::test(flavor = "multi_thread")]
async fn rollups_choose_order_and_weigh() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (customers, orders) = tenant.shop().await;
    tenant.attribute(&customers, "limit", json!({ "number": {} })).await;
    tenant.attribute(&orders, "day", json!({ "date": {} })).await;
    tenant.attribute(&orders, "urgency", json!({ "singleSelect": { "options": ["urgent", "normal", "later"] } })).await;
    let by_day = json!([{ "attribute": "day", "direction": "DESC" }]);
    let rollup = |options: Json| {
        let mut all = json!({ "link": "orders", "attribute": "price" });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        json!({ "rollup": all })
    };
    for (key, definition) in [
        ("above", rollup(json!({ "function": "COUNTALL", "filter": "{price} > HOST({limit})" }))),
        ("newest", rollup(json!({ "function": "FIRST", "sort": by_day }))),
        ("newest_two", rollup(json!({ "function": "SUM", "sort": by_day, "limit": 2 }))),
        ("p90", rollup(json!({ "function": "PERCENTILE", "share": 0.9 }))),
        ("top", rollup(json!({ "function": "TOP", "count": 2 }))),
        ("joined", rollup(json!({ "function": "JOIN", "separator": "/", "sort": by_day }))),
        ("weighted", rollup(json!({ "function": "WEIGHTED_AVERAGE", "weight": "price" }))),
        ("formula", rollup(json!({ "function": "FORMULA", "expression": "MAX(values) - MIN(values) & ' of ' & {name}" }))),
        ("days", json!({ "lookup": { "link": "orders", "attribute": "day", "sort": by_day, "limit": 1 } })),
        ("by_urgency", rollup(json!({ "function": "JOIN", "separator": "/", "sort": [{ "attribute": "urgency" }] }))),
        ("spread", rollup(json!({ "function": "STDEVP" }))),
    ] {
        tenant.attribute(&customers, key, definition).await;
    }
    let ada = tenant.entity(&customers, json!({ "name": "Ada", "limit": 15 })).await;
    for (price, day, urgency) in [(10, "2024-01-01", "normal"), (20, "2024-03-01", "later"), (30, "2024-02-01", "urgent")] {
        tenant.entity(&orders, json!({ "price": price, "day": day, "urgency": urgency, "customer": ada })).await;
    }
    let keys = ["above", "newest", "newest_two", "p90", "top", "joined", "by_urgency", "weighted", "formula", "days", "spread"];
    let query = "query($i: ID!, $k: [String!]) { entity(id: $i) { values(keys: $k) } }";
    let values = tenant.ok(query, json!({ "i": ada, "k": keys })).await["entity"]["values"].clone();
    let expected = json!({
        "above": 2, "newest": 20, "newest_two": 50, "p90": 28, "top": [30, 20], "joined": "20/30/10", "by_urgency": "30/10/20",
        "weighted": serde_json::from_str::<Json>("23.333333333333333333333333333").unwrap(),
        "formula": "20 of Ada", "days": ["2024-03-01"],
        "spread": serde_json::from_str::<Json>("8.164965809277260327324280249").unwrap(),
    });
    for key in keys {
        let (got, want) = (&values[key], &expected[key]);
        let close = got.to_string()[..got.to_string().len().min(12)] == want.to_string()[..want.to_string().len().min(12)];
        assert!(got == want || (want.is_f64() || want.is_number()) && close, "{key}: {got}, not {want}");
    }
    // What the host itself says is looked at again when it changes.
    let set = "mutation($i: ID!, $v: Values!) { setValues(id: $i, values: $v) { id } }";
    tenant.ok(set, json!({ "i": ada, "v": { "limit": 25, "name": "Eve" } })).await;
    let values = tenant.ok(query, json!({ "i": ada, "k": ["above", "formula"] })).await["entity"]["values"].clone();
    assert_eq!(values, json!({ "above": 1, "formula": "20 of Eve" }));
    // What does not fit is refused.
    let create = "mutation($c: ID!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: \"x\", definition: $d) { id } }";
    for (code, options) in [
        ("INVALID_INPUT", json!({ "function": "PERCENTILE" })),
        ("INVALID_INPUT", json!({ "function": "PERCENTILE", "share": 1.5 })),
        ("INVALID_INPUT", json!({ "function": "SUM", "share": 0.5 })),
        ("INVALID_INPUT", json!({ "function": "TOP", "count": 0 })),
        ("INVALID_INPUT", json!({ "function": "WEIGHTED_AVERAGE" })),
        ("INVALID_INPUT", json!({ "function": "FORMULA" })),
        ("INVALID_INPUT", json!({ "function": "SUM", "limit": 0 })),
        ("UNKNOWN_ATTRIBUTE", json!({ "function": "SUM", "filter": "{price} > HOST({nowhere})" })),
        ("UNKNOWN_ATTRIBUTE", json!({ "function": "SUM", "sort": [{ "attribute": "nowhere" }] })),
    ] {
        tenant.refused(code, create, json!({ "c": customers, "d": rollup(options) })).await;
    }
}

/// Attributes that depend on themselves along a hierarchy: totals, depths, ways; circles in the data and in definitions.
#[tokio::test(flavor = "multi_thread")]
async fn hierarchies_are_summed_and_circles_told() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let parts = tenant.collection(&space, "parts").await;
    let link = |hierarchical: bool, key: &str| json!({ "link": { "collectionId": parts, "multiple": false, "backlinkKey": key, "hierarchical": hierarchical } });
    let formula = |expression: &str| json!({ "formula": { "expression": expression } });
    tenant.attribute(&parts, "name", json!({ "text": {} })).await;
    tenant.attribute(&parts, "weight", json!({ "number": {} })).await;
    tenant.attribute(&parts, "parent", link(true, "children")).await;
    tenant.attribute(&parts, "friend", link(false, "friends")).await;
    let total = tenant.attribute(&parts, "total", formula("{weight}")).await;
    tenant.attribute(&parts, "below", json!({ "rollup": { "link": "children", "attribute": "total", "function": "SUM" } })).await;
    tenant.attribute(&parts, "liked", json!({ "rollup": { "link": "friends", "attribute": "total", "function": "SUM" } })).await;
    let path = tenant.attribute(&parts, "path", formula("{name}")).await;
    tenant.attribute(&parts, "above", json!({ "lookup": { "link": "parent", "attribute": "path" } })).await;
    let update = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";
    let error = tenant.refused("FORMULA_CYCLE", update, json!({ "i": total, "d": formula("{weight} + {liked}") })).await;
    assert!(error["message"].as_str().unwrap().contains("parts.liked"), "{error}");
    tenant.refused("FORMULA_CYCLE", update, json!({ "i": total, "d": formula("{total} + 1") })).await;
    tenant.ok(update, json!({ "i": total, "d": formula("{weight} + {below}") })).await;
    tenant.ok(update, json!({ "i": path, "d": formula("IF({above}, {above} & '/') & {name}") })).await;
    let other = tenant.collection(&space, "other").await;
    let create = "mutation($c: ID!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: \"x\", definition: $d) { id } }";
    tenant.refused("INVALID_INPUT", create, json!({ "c": other, "d": link(true, "others") })).await;

    let mut ids: Vec<String> = Vec::new();
    for (i, name) in ["car", "motor", "piston", "ring"].into_iter().enumerate() {
        let parent = ids.last().cloned();
        ids.push(tenant.entity(&parts, json!({ "name": name, "weight": 1000 / 10_i32.pow(i as u32), "parent": parent })).await);
    }
    let seat = tenant.entity(&parts, json!({ "name": "seat", "weight": 5, "parent": ids[0] })).await;
    let query = "query($i: ID!) { entity(id: $i) { values(keys: [\"total\", \"path\"]) } }";
    let values = async |id: &str| tenant.ok(query, json!({ "i": id })).await["entity"]["values"].clone();
    assert_eq!(values(&ids[0]).await, json!({ "total": 1116, "path": "car" }));
    assert_eq!(values(&ids[3]).await, json!({ "total": 1, "path": "car/motor/piston/ring" }));

    // A circle in the data: those in it, and those who depend on them, say so; nobody else.
    let set = "mutation($i: ID!, $v: Values!) { setValues(id: $i, values: $v) { id } }";
    tenant.ok(set, json!({ "i": ids[1], "v": { "parent": ids[2] } })).await;
    for id in [&ids[1], &ids[2]] {
        let found = values(id).await;
        assert_eq!(found["total"]["error"]["kind"], "cycle", "{found}");
        let message = found["total"]["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&ids[1]) && message.contains(&ids[2]) && !message.contains(&ids[3]), "{message}");
    }
    assert_eq!(values(&ids[0]).await, json!({ "total": 1005, "path": "car" }));
    assert_eq!(values(&seat).await, json!({ "total": 5, "path": "car/seat" }));
    let ring = values(&ids[3]).await;
    assert_eq!((&ring["total"], &ring["path"]["error"]["kind"]), (&json!(1), &json!("cycle")));
    // It heals.
    tenant.ok(set, json!({ "i": ids[1], "v": { "parent": ids[0] } })).await;
    assert_eq!(values(&ids[0]).await, json!({ "total": 1116, "path": "car" }));
    assert_eq!(values(&ids[3]).await, json!({ "total": 1, "path": "car/motor/piston/ring" }));
    // To itself.
    tenant.ok(set, json!({ "i": ids[0], "v": { "parent": ids[0] } })).await;
    assert_eq!(values(&ids[0]).await["total"]["error"]["kind"], "cycle");
    tenant.ok(set, json!({ "i": ids[0], "v": { "parent": null } })).await;
    assert_eq!(values(&ids[0]).await["total"], 1116);
}

/// Texts and numbers that stand for something, ranges, documents, files: what fits comes back, and what does not is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_values_stand_for_is_checked() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let people = tenant.collection(&space, "people").await;
    let set = "mutation($i: ID!, $v: Values!) { setValues(id: $i, values: $v) { id } }";
    let ada = tenant.entity(&people, json!({})).await;
    let file = json!({ "name": "a.pdf", "url": "https://example.com/a.pdf", "mediaType": "application/pdf", "size": 12 });
    let cases = [
        ("notes", "LONG_TEXT", json!({ "longText": {} }), json!("a\nb"), json!(1)),
        ("mail", "EMAIL", json!({ "email": {} }), json!("ada@example.com"), json!("ada")),
        ("site", "URL", json!({ "url": {} }), json!("https://example.com"), json!("javascript:alert(1)")),
        ("call", "PHONE", json!({ "phone": {} }), json!("+1 555 0100"), json!("nobody")),
        ("share", "PERCENT", json!({ "percent": {} }), json!(0.25), json!("25%")),
        ("price", "CURRENCY", json!({ "currency": { "code": "EUR" } }), json!(12.5), json!("12.50")),
        ("stars", "RATING", json!({ "rating": { "max": 5 } }), json!(4), json!(6)),
        ("took", "DURATION", json!({ "duration": {} }), json!(90.5), json!("1:99")),
        (
            "away",
            "DATE_RANGE",
            json!({ "dateRange": {} }),
            json!({ "start": "2024-01-31", "end": "2024-02-02" }),
            json!({ "start": "2024-01-31", "end": "2024-01-02" }),
        ),
        ("data", "JSON", json!({ "json": {} }), json!({ "a": [1, null, { "b": "c" }] }), json!("x".repeat(100_001))),
        ("files", "ATTACHMENTS", json!({ "attachments": {} }), json!([file]), json!([{ "name": "a" }])),
    ];
    for (key, kind, definition, good, bad) in &cases {
        tenant.attribute(&people, key, definition.clone()).await;
        tenant.ok(set, json!({ "i": ada, "v": { *key: good } })).await;
        let query = "query($i: ID!, $k: [String!]) { entity(id: $i) { values(keys: $k) } }";
        let values = tenant.ok(query, json!({ "i": ada, "k": [key] })).await["entity"]["values"].clone();
        assert_eq!(&values[*key], good, "{key}");
        let code = if *key == "data" { "TOO_LARGE" } else { "VALUE_TYPE_MISMATCH" };
        let error = tenant.refused(code, set, json!({ "i": ada, "v": { *key: bad } })).await;
        assert!(error["message"].as_str().unwrap().contains(key), "{error}");
        let attributes = tenant.ok("query($c: ID) { collection(id: $c) { attributes { key type } } }", json!({ "c": people })).await;
        let attributes = attributes["collection"]["attributes"].as_array().unwrap().clone();
        assert!(attributes.contains(&json!({ "key": key, "type": kind })), "{attributes:?}");
    }
    // Formulas see texts, numbers and days.
    let formula = "{price} * {stars} & ' ' & DATETIME_DIFF(LAST({away}), FIRST({away}), 'days') & ' ' & {mail}";
    tenant.attribute(&people, "all", json!({ "formula": { "expression": formula } })).await;
    tenant.ok(set, json!({ "i": ada, "v": { "took": "1:30:00" } })).await;
    let values = tenant.ok("query($i: ID!) { entity(id: $i) { values(keys: [\"all\", \"took\"]) } }", json!({ "i": ada })).await;
    assert_eq!(values["entity"]["values"], json!({ "all": "50 2 ada@example.com", "took": 5400 }));
    // A format may be widened, and narrowed if all that is stored is of it.
    let attributes = tenant.ok("query($c: ID) { collection(id: $c) { attributes { key id } } }", json!({ "c": people })).await;
    let id = |key: &str| attributes["collection"]["attributes"].as_array().unwrap().iter().find(|a| a["key"] == key).unwrap()["id"].clone();
    let update = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";
    tenant.ok(update, json!({ "i": id("mail"), "d": { "text": {} } })).await;
    tenant.ok(update, json!({ "i": id("mail"), "d": { "email": {} } })).await;
    tenant.refused("VALUE_TYPE_MISMATCH", update, json!({ "i": id("notes"), "d": { "email": {} } })).await;
    tenant.refused("VALUE_TYPE_MISMATCH", update, json!({ "i": id("stars"), "d": { "rating": { "max": 3 } } })).await;
    let create = "mutation($c: ID!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: \"x\", definition: $d) { id } }";
    tenant.refused("INVALID_INPUT", create, json!({ "c": people, "d": { "currency": { "code": "euro" } } })).await;
    tenant.refused("INVALID_INPUT", create, json!({ "c": people, "d": { "rating": { "max": 50 } } })).await;
}

/// Why a cell is what it is, and what another definition would make of it.
#[tokio::test(flavor = "multi_thread")]
async fn cells_are_explained_and_definitions_previewed() {
    let api = Api::start().await;
    let (tenant, stranger) = (api.tenant("acme").await, api.tenant("other").await);
    let (customers, orders) = tenant.shop().await;
    let ada = tenant.entity(&customers, json!({ "name": "Ada" })).await;
    let order = tenant.entity(&orders, json!({ "price": 100, "customer": ada })).await;
    tenant.entity(&orders, json!({ "price": 50, "customer": ada })).await;
    let set = "mutation($i: ID!, $v: Values!) { setValues(id: $i, values: $v) { id } }";
    tenant.ok(set, json!({ "i": order, "v": { "price": 200 } })).await;
    let fields = "path value kind expression strategy sourceCount more setBy { eventType actor version } entityId";
    let query = format!(
        "query($i: ID!, $a: String!, $d: Int) {{ explain(entityId: $i, attribute: $a, depth: $d) {{ {fields} inputs {{ {fields} inputs {{ {fields} }} }} }} }}"
    );
    let why = tenant.ok(&query, json!({ "i": ada, "a": "revenue", "d": 3 })).await["explain"].clone();
    assert_eq!((&why["path"], &why["value"], &why["kind"]), (&json!("customers.revenue"), &json!(297.5), &json!("rollup")));
    assert_eq!((&why["sourceCount"], &why["more"]), (&json!(2), &json!(false)));
    assert!(why["strategy"].as_str().unwrap().starts_with("exact sums"), "{why}");
    let gross = &why["inputs"][0];
    assert_eq!(
        (&gross["path"], &gross["expression"], &gross["value"]),
        (&json!("orders.gross"), &json!("ROUND({price} * 1.19, 2)"), &json!(238))
    );
    let price = &gross["inputs"][0];
    assert_eq!((&price["path"], &price["value"], &price["entityId"]), (&json!("orders.price"), &json!(200), &json!(order)));
    assert_eq!(price["setBy"], json!({ "eventType": "AttributeValueSet", "actor": "ada", "version": 2 }));
    assert_eq!(why["inputs"][1]["inputs"][0]["setBy"]["eventType"], "EntityCreated");
    // By which link, and which event made it.
    let linked = "link { path value entityId setBy { eventType version } }";
    let query_links =
        format!("query($i: ID!, $a: String!) {{ explain(entityId: $i, attribute: $a) {{ value {linked} inputs {{ path {linked} }} }} }}");
    let joined = tenant.ok(&query_links, json!({ "i": ada, "a": "revenue" })).await["explain"].clone();
    let link = &joined["inputs"][0]["link"];
    assert_eq!((&link["path"], &link["value"], &link["entityId"]), (&json!("orders.customer"), &json!(ada), &json!(order)));
    assert_eq!((&link["setBy"], &joined["link"]), (&json!({ "eventType": "EntityCreated", "version": 1 }), &Json::Null));
    let shown = json!({ "lookup": { "link": "customer", "attribute": "name" } });
    tenant.attribute(&orders, "customer_name", shown).await;
    let joined = tenant.ok(&query_links, json!({ "i": order, "a": "customer_name" })).await["explain"].clone();
    assert_eq!((&joined["value"], &joined["link"]["path"]), (&json!("Ada"), &json!("orders.customer")));
    assert_eq!(joined["inputs"], json!([{ "path": "customers.name", "link": null }]));
    // What only counts has the links for its inputs.
    let joined = tenant.ok(&query_links, json!({ "i": ada, "a": "orders" })).await["explain"].clone();
    assert_eq!(joined["inputs"], json!([{ "path": "orders.customer", "link": null }, { "path": "orders.customer", "link": null }]));
    let shallow = tenant.ok(&query, json!({ "i": ada, "a": "revenue", "d": 0 })).await["explain"].clone();
    assert_eq!((&shallow["inputs"], &shallow["more"]), (&json!([]), &json!(true)));
    stranger.refused("NOT_FOUND", &query, json!({ "i": ada, "a": "revenue", "d": 1 })).await;
    tenant.refused("UNKNOWN_ATTRIBUTE", &query, json!({ "i": ada, "a": "revenu", "d": 1 })).await;
    tenant.refused("INVALID_INPUT", &query, json!({ "i": ada, "a": "revenue", "d": 1000 })).await;

    let attributes = tenant.ok("query($c: ID) { collection(id: $c) { attributes { key id } } }", json!({ "c": orders })).await;
    let id = |key: &str| attributes["collection"]["attributes"].as_array().unwrap().iter().find(|a| a["key"] == key).unwrap()["id"].clone();
    let preview = "query($i: ID!, $d: AttributeDefinition!) { previewAttribute(id: $i, definition: $d) { changed unchanged newErrors sample { entityId before after } } }";
    let formula = |text: &str| json!({ "formula": { "expression": text } });
    let seen =
        tenant.ok(preview, json!({ "i": id("gross"), "d": formula("IF({price} > 60, {price} / 0, ROUND({price} * 1.19, 2))") })).await;
    let seen = &seen["previewAttribute"];
    assert_eq!((&seen["changed"], &seen["unchanged"], &seen["newErrors"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!((&seen["sample"][0]["before"], &seen["sample"][0]["after"]["error"]["kind"]), (&json!(238), &json!("div0")));
    // Nothing was changed.
    let values = tenant.ok("query($i: ID!) { entity(id: $i) { values(keys: [\"gross\"]) } }", json!({ "i": order })).await;
    assert_eq!(values["entity"]["values"]["gross"], 238);
    tenant.refused("FORMULA_SYNTAX", preview, json!({ "i": id("gross"), "d": formula("1 +") })).await;
    tenant.refused("INVALID_INPUT", preview, json!({ "i": id("price"), "d": formula("1") })).await;
    stranger.refused("NOT_FOUND", preview, json!({ "i": id("gross"), "d": formula("1") })).await;
}

/// Formulas look at a datetime in the zone of its attribute, also through a lookup; it is written as that zone's clocks have
/// it, and shown in UTC.
#[tokio::test(flavor = "multi_thread")]
async fn datetimes_have_a_zone() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let calls = tenant.collection(&space, "calls").await;
    let berlin = json!({ "zonedDatetime": { "timezone": "Europe/Berlin" } });
    let at = tenant.attribute(&calls, "at", berlin).await;
    let formula = |text: &str| json!({ "formula": { "expression": text } });
    let same_collection = json!({ "link": { "collectionId": calls, "multiple": false, "backlinkKey": "answers" } });
    tenant.attribute(&calls, "answered", same_collection).await;
    tenant.attribute(&calls, "of", json!({ "lookup": { "link": "answered", "attribute": "at" } })).await;
    tenant.attribute(&calls, "day", formula("DATETIME_FORMAT({at}, \"YYYY-MM-DD HH:mm\")")).await;
    tenant.attribute(&calls, "then", formula("HOUR({of})")).await;
    tenant.attribute(&calls, "in_tokyo", formula("HOUR(SET_TIMEZONE({at}, \"Asia/Tokyo\"))")).await;
    let first = tenant.entity(&calls, json!({ "at": "2024-07-01T00:30" })).await;
    let second = tenant.entity(&calls, json!({ "at": "2024-01-31T23:30:00Z", "answered": first })).await;
    let values = async |id: &str, keys: Json| {
        let query = "query($i: ID!, $k: [String!]) { entity(id: $i) { values(keys: $k) } }";
        tenant.ok(query, json!({ "i": id, "k": keys })).await["entity"]["values"].clone()
    };
    let all = json!(["at", "day", "in_tokyo"]);
    assert_eq!(values(&first, all.clone()).await, json!({ "at": "2024-06-30T22:30:00Z", "day": "2024-07-01 00:30", "in_tokyo": 7 }));
    assert_eq!(values(&second, all.clone()).await, json!({ "at": "2024-01-31T23:30:00Z", "day": "2024-02-01 00:30", "in_tokyo": 8 }));
    assert_eq!(values(&second, json!(["then"])).await, json!({ "then": 0 }));
    let filtered = "query($c: ID!, $f: String) { entities(collectionId: $c, filter: $f) { id } }";
    let february = tenant.ok(filtered, json!({ "c": calls, "f": "MONTH({at}) = 2" })).await;
    assert_eq!(february["entities"], json!([{ "id": second }]));
    let exactly = tenant.ok(filtered, json!({ "c": calls, "f": "{at} = \"2024-01-31T23:30:00Z\"" })).await;
    assert_eq!(exactly["entities"], json!([{ "id": second }]));
    // When it was written to is about the attribute, in whichever zone.
    tenant.attribute(&calls, "written", formula("LAST_MODIFIED_TIME({at}) > CREATED_TIME()")).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let set = "mutation($i: ID!, $v: Values!) { setValues(id: $i, values: $v) { id } }";
    tenant.ok(set, json!({ "i": first, "v": { "at": "2024-07-01T00:30:00+02:00" } })).await;
    tenant.ok(set, json!({ "i": first, "v": { "at": "2024-07-01T00:31" } })).await;
    tenant.ok(set, json!({ "i": first, "v": { "at": "2024-07-01T00:30" } })).await;
    assert_eq!(
        (values(&first, json!(["written"])).await, values(&second, json!(["written"])).await),
        (json!({ "written": true }), json!({ "written": false }))
    );
    // Another zone: what was stored stays, and what follows from it changes.
    let change = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";
    tenant.ok(change, json!({ "i": at, "d": { "zonedDatetime": { "timezone": "America/New_York" } } })).await;
    assert_eq!(values(&first, all.clone()).await, json!({ "at": "2024-06-30T22:30:00Z", "day": "2024-06-30 18:30", "in_tokyo": 7 }));
    assert_eq!(values(&second, json!(["then"])).await, json!({ "then": 18 }));
    tenant.ok(change, json!({ "i": at, "d": { "datetime": {} } })).await;
    assert_eq!(values(&second, json!(["day", "then"])).await, json!({ "day": "2024-01-31 23:30", "then": 22 }));
    let wrong = json!({ "i": at, "d": { "zonedDatetime": { "timezone": "Nowhere/Land" } } });
    tenant.refused("INVALID_INPUT", change, wrong).await;
    tenant
        .refused(
            "VALUE_TYPE_MISMATCH",
            "mutation($i: ID!) { setValues(id: $i, values: { at: \"2024-07-01T00:30\" }) { id } }",
            json!({ "i": first }),
        )
        .await;
    // The days of a zone stay when a datetime becomes a date.
    tenant.ok(change, json!({ "i": at, "d": { "zonedDatetime": { "timezone": "Europe/Berlin" } } })).await;
    tenant.ok(change, json!({ "i": at, "d": { "date": {} } })).await;
    assert_eq!(values(&second, json!(["at"])).await, json!({ "at": "2024-02-01" }));
}

/// A total along a hierarchy that also counts entities of another collection, of which totals below decide which count.
#[tokio::test(flavor = "multi_thread")]
async fn other_collections_contribute_to_hierarchies() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let (nodes, tags) = (tenant.collection(&space, "nodes").await, tenant.collection(&space, "tags").await);
    let link = |to: &str, backlink: &str, hierarchical: bool| json!({ "link": { "collectionId": to, "multiple": false, "backlinkKey": backlink, "hierarchical": hierarchical } });
    let formula = |text: &str| json!({ "formula": { "expression": text } });
    tenant.attribute(&nodes, "n", json!({ "number": {} })).await;
    tenant.attribute(&nodes, "parent", link(&nodes, "children", true)).await;
    tenant.attribute(&tags, "weight", json!({ "number": {} })).await;
    tenant.attribute(&tags, "node", link(&nodes, "tags", false)).await;
    let total = tenant.attribute(&nodes, "total", formula("{n}")).await;
    tenant.attribute(&nodes, "below", json!({ "rollup": { "link": "children", "attribute": "total", "function": "SUM" } })).await;
    let extra = json!({ "link": "tags", "attribute": "weight", "function": "SUM", "filter": "{weight} >= HOST({below})" });
    tenant.attribute(&nodes, "extra", json!({ "rollup": extra })).await;
    let update = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";
    tenant.ok(update, json!({ "i": total, "d": formula("{n} + {below} + {extra}") })).await;
    let top = tenant.entity(&nodes, json!({ "n": 1 })).await;
    let leaf = tenant.entity(&nodes, json!({ "n": 2, "parent": top })).await;
    let tag = tenant.entity(&tags, json!({ "weight": 5, "node": leaf })).await;
    let of_top = tenant.entity(&tags, json!({ "weight": 7, "node": top })).await;
    let totals = async || {
        let query =
            "query($a: ID!, $b: ID!) { a: entity(id: $a) { values(keys: [\"total\"]) } b: entity(id: $b) { values(keys: [\"total\"]) } }";
        let read = tenant.ok(query, json!({ "a": top, "b": leaf })).await;
        (read["a"]["values"]["total"].clone(), read["b"]["values"]["total"].clone())
    };
    assert_eq!(totals().await, (json!(15), json!(7)));
    let set = "mutation($i: ID!, $v: Values!) { setValues(id: $i, values: $v) { id } }";
    // One more below, and what stands above does not count any more.
    tenant.ok(set, json!({ "i": tag, "v": { "weight": 6 } })).await;
    assert_eq!(totals().await, (json!(9), json!(8)));
    tenant.ok(set, json!({ "i": of_top, "v": { "weight": 9 } })).await;
    assert_eq!(totals().await, (json!(18), json!(8)));
    tenant.ok("mutation($i: ID!) { archiveEntity(id: $i) { id } }", json!({ "i": tag })).await;
    assert_eq!(totals().await, (json!(12), json!(2)));
}

/// The same where so many entities stand in the hierarchy that it is computed aside, a slice after the other.
#[tokio::test(flavor = "multi_thread")]
async fn other_collections_contribute_to_large_hierarchies() {
    let api = Api::start().await;
    for are_tags_first in [true, false] {
        let tenant = api.tenant(if are_tags_first { "first" } else { "last" }).await;
        let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
        let keys = if are_tags_first { ["tags", "nodes"] } else { ["nodes", "tags"] };
        let made = [tenant.collection(&space, keys[0]).await, tenant.collection(&space, keys[1]).await];
        let [nodes, tags] = if are_tags_first { [&made[1], &made[0]] } else { [&made[0], &made[1]] };
        let link = |to: &str, backlink: &str, hierarchical: bool| json!({ "link": { "collectionId": to, "multiple": false, "backlinkKey": backlink, "hierarchical": hierarchical } });
        let formula = |text: &str| json!({ "formula": { "expression": text } });
        tenant.attribute(nodes, "n", json!({ "number": {} })).await;
        tenant.attribute(nodes, "parent", link(nodes, "children", true)).await;
        tenant.attribute(tags, "weight", json!({ "number": {} })).await;
        tenant.attribute(tags, "node", link(nodes, "tags", false)).await;
        let total = tenant.attribute(nodes, "total", formula("{n}")).await;
        tenant.attribute(nodes, "below", json!({ "rollup": { "link": "children", "attribute": "total", "function": "SUM" } })).await;
        let extra = json!({ "link": "tags", "attribute": "weight", "function": "SUM", "filter": "{weight} >= HOST({below})" });
        tenant.attribute(nodes, "extra", json!({ "rollup": extra })).await;
        let top = tenant.entity(nodes, json!({ "n": 1 })).await;
        let mut last = top.clone();
        for from in (0..5_000).step_by(500) {
            let create = |n: usize| {
                let parent = if n == from { &last } else { &top };
                format!("m{n}: createEntity(collectionId: \"{nodes}\", values: {{ n: 1, parent: \"{parent}\" }}) {{ id }} ")
            };
            let made = tenant.ok(&format!("mutation {{ {} }}", (from..from + 500).map(create).collect::<String>()), json!({})).await;
            last = made[format!("m{from}")]["id"].as_str().unwrap().to_owned();
        }
        for (node, weight) in [(&last, 7), (&top, 6_000), (&top, 3)] {
            tenant.entity(tags, json!({ "node": node, "weight": weight })).await;
        }
        let update = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { position } }";
        let changed = tenant.ok(update, json!({ "i": total, "d": formula("{n} + {below} + {extra}") })).await["updateAttribute"].clone();
        let query = "query($i: ID!, $p: Position) { entity(id: $i, minPosition: $p) { values(keys: [\"total\", \"extra\"]) } }";
        let shown = tenant.ok(query, json!({ "i": top, "p": changed["position"] })).await["entity"]["values"].clone();
        assert_eq!(shown, json!({ "total": 5_001 + 7 + 6_000, "extra": 6_000 }));
    }
}

/// A lookup shows what it shows as the attribute itself does.
#[tokio::test(flavor = "multi_thread")]
async fn lookups_show_ranges_files_and_json_as_they_are() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let (trips, people) = (tenant.collection(&space, "trips").await, tenant.collection(&space, "people").await);
    tenant.attribute(&trips, "days", json!({ "dateRange": {} })).await;
    tenant.attribute(&trips, "about", json!({ "json": {} })).await;
    tenant.attribute(&trips, "tickets", json!({ "attachments": {} })).await;
    tenant.attribute(&people, "trips", json!({ "link": { "collectionId": trips, "backlinkKey": "people" } })).await;
    tenant.attribute(&people, "next", json!({ "link": { "collectionId": trips, "multiple": false, "backlinkKey": "nexts" } })).await;
    for (key, link, attribute) in
        [("all_days", "trips", "days"), ("next_days", "next", "days"), ("all_about", "trips", "about"), ("next_tickets", "next", "tickets")]
    {
        tenant.attribute(&people, key, json!({ "lookup": { "link": link, "attribute": attribute } })).await;
    }
    let days = |start: &str, end: &str| json!({ "start": start, "end": end });
    let (one, two) = (days("2024-01-01", "2024-01-05"), days("2024-03-01", "2024-03-01"));
    let tickets = json!([{ "name": "a.pdf", "url": "https://example.com/a.pdf", "size": 3 }]);
    let first = tenant.entity(&trips, json!({ "days": one, "about": { "to": ["sea"] }, "tickets": tickets })).await;
    let second = tenant.entity(&trips, json!({ "days": two, "about": 7 })).await;
    let ada = tenant.entity(&people, json!({ "trips": [first, second], "next": first })).await;
    let bob = tenant.entity(&people, json!({ "trips": [second] })).await;
    let query = "query($i: ID!) { entity(id: $i) { values(keys: [\"all_days\", \"next_days\", \"all_about\", \"next_tickets\"]) } }";
    let shown = tenant.ok(query, json!({ "i": ada })).await["entity"]["values"].clone();
    assert_eq!(shown, json!({ "all_days": [one, two], "next_days": one, "all_about": [{ "to": ["sea"] }, 7], "next_tickets": tickets }));
    let shown = tenant.ok(query, json!({ "i": bob })).await["entity"]["values"].clone();
    assert_eq!(shown, json!({ "all_days": [two], "next_days": null, "all_about": [7], "next_tickets": null }));
}

/// Filters ask of links to many whom they lead to, also live ones, formulas, and filters by the host.
#[tokio::test(flavor = "multi_thread")]
async fn filters_ask_whom_links_lead_to() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let (people, tasks) = (tenant.collection(&space, "people").await, tenant.collection(&space, "tasks").await);
    tenant.attribute(&tasks, "n", json!({ "number": {} })).await;
    tenant.attribute(&tasks, "owners", json!({ "link": { "collectionId": people, "backlinkKey": "tasks" } })).await;
    tenant.attribute(&people, "n", json!({ "number": {} })).await;
    let (ada, bob) = (tenant.entity(&people, json!({ "n": 1 })).await, tenant.entity(&people, json!({ "n": 2 })).await);
    for (n, owners) in [(1, json!([ada])), (2, json!([ada, bob])), (3, json!([])), (4, json!([bob]))] {
        tenant.entity(&tasks, json!({ "n": n, "owners": owners })).await;
    }
    let query = "query($c: ID!, $f: String) { entities(collectionId: $c, filter: $f, orderBy: [{ attribute: \"n\" }]) { id values(keys: [\"n\"]) } }";
    let found = async |filter: &str| -> Vec<i64> {
        let found = tenant.ok(query, json!({ "c": tasks, "f": filter })).await;
        found["entities"].as_array().unwrap().iter().map(|task| task["values"]["n"].as_i64().unwrap()).collect()
    };
    for (filter, expected) in [
        (format!("HAS_ANY({{owners}}, \"{ada}\")"), vec![1, 2]),
        (format!("HAS_ALL({{owners}}, \"{bob}\", \"{ada}\")"), vec![2]),
        (format!("HAS_NONE({{owners}}, \"{ada}\")"), vec![3, 4]),
        (format!("HAS_EXACTLY({{owners}}, \"{bob}\")"), vec![4]),
        ("ISBLANK({owners})".to_owned(), vec![3]),
        ("COUNTALL({owners}) > 1".to_owned(), vec![2]),
    ] {
        assert_eq!(found(&filter).await, expected, "{filter}");
    }
    tenant.refused("FORMULA_TYPE", query, json!({ "c": tasks, "f": "{owners} > 1" })).await;
    tenant.refused("FORMULA_TYPE", query, json!({ "c": people, "f": "HAS_ANY({tasks}, \"x\")" })).await;
    // A formula, kept up to date.
    let formula = json!({ "formula": { "expression": format!("IF(HAS_ANY({{owners}}, \"{ada}\"), 'hers', COUNTALL({{owners}}))") } });
    tenant.attribute(&tasks, "whose", formula).await;
    let rollup = json!({ "rollup": { "link": "tasks", "attribute": "n", "function": "SUM", "filter": "COUNTALL({owners}) = 1" } });
    tenant.attribute(&people, "alone", rollup).await;
    let third = tenant.ok(query, json!({ "c": tasks, "f": "{n} = 3" })).await["entities"][0]["id"].as_str().unwrap().to_owned();
    let values = async |id: &str, key: &str| {
        let query = "query($i: ID!, $k: [String!]) { entity(id: $i) { values(keys: $k) } }";
        tenant.ok(query, json!({ "i": id, "k": [key] })).await["entity"]["values"][key].clone()
    };
    assert_eq!((values(&third, "whose").await, values(&bob, "alone").await), (json!(0), json!(4)));
    let live = "subscription($c: ID!, $f: String) { entities(collectionId: $c, filter: $f) { kind ops { op id } } }";
    let filter = format!("HAS_ANY({{owners}}, \"{bob}\")");
    let mut changes = Box::pin(api.schema.execute_stream(api.request(tenant.authority, live, json!({ "c": tasks, "f": filter }))));
    let mut next = async || changes.next().await.unwrap().data.into_json().unwrap()["entities"].clone();
    assert_eq!(next().await["ops"].as_array().unwrap().len(), 2);
    let link = "mutation($i: ID!, $t: [ID!]!) { linkEntities(id: $i, attribute: \"owners\", targetIds: $t) { id } }";
    tenant.ok(link, json!({ "i": third, "t": [bob] })).await;
    let mut told = next().await;
    while told["kind"] != "DELTA" {
        told = next().await;
    }
    assert_eq!(told["ops"], json!([{ "op": "INSERT", "id": third }]));
    assert_eq!((values(&third, "whose").await, values(&bob, "alone").await), (json!(1), json!(7)));
    tenant.ok(link, json!({ "i": third, "t": [ada] })).await;
    assert_eq!((values(&third, "whose").await, values(&bob, "alone").await), (json!("hers"), json!(4)));
}

/// What was asked for can be read again, with the keys of today.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_can_be_read() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (customers, orders) = tenant.shop().await;
    tenant.attribute(&customers, "floor", json!({ "number": { "scale": 2 } })).await;
    tenant.attribute(&customers, "fee", json!({ "currency": { "code": "EUR" } })).await;
    let rollup = json!({ "rollup": {
        "link": "orders", "attribute": "price", "function": "PERCENTILE", "share": 0.9, "filter": "{price} > HOST({floor})",
        "sort": [{ "attribute": "price", "direction": "DESC" }], "limit": 5,
    } });
    tenant.attribute(&customers, "high", rollup).await;
    let formula =
        json!({ "rollup": { "link": "orders", "attribute": "price", "function": "FORMULA", "expression": "SUM(values) + {floor}" } });
    tenant.attribute(&customers, "above", formula).await;
    let fields = "key definition { scale code multiple collectionId backlink hierarchical link attribute function filter sort { attribute direction } limit share expression }";
    let query = format!("query($c: ID) {{ collection(id: $c) {{ attributes {{ id {fields} }} }} }}");
    let read = async |collection: &str, key: &str| -> (String, Json) {
        let attributes = tenant.ok(&query, json!({ "c": collection })).await["collection"]["attributes"].clone();
        let attribute = attributes.as_array().unwrap().iter().find(|attribute| attribute["key"] == key).unwrap().clone();
        let said = attribute["definition"].as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
        (attribute["id"].as_str().unwrap().to_owned(), said.map(|(key, value)| (key.clone(), value.clone())).collect())
    };
    let (floor, definition) = read(&customers, "floor").await;
    assert_eq!(definition, json!({ "scale": 2 }));
    let rename = "mutation($i: ID!) { updateAttribute(id: $i, key: \"least\") { id } }";
    tenant.ok(rename, json!({ "i": floor })).await;
    assert_eq!(read(&customers, "fee").await.1, json!({ "scale": 2, "code": "EUR" }));
    let customer = json!({ "multiple": false, "hierarchical": false, "collectionId": customers, "backlink": "orders" });
    assert_eq!(read(&orders, "customer").await.1, customer);
    assert_eq!(read(&customers, "orders").await.1, json!({ "multiple": true, "collectionId": orders, "backlink": "customer" }));
    let high = json!({
        "link": "orders", "attribute": "price", "function": "PERCENTILE", "share": 0.9, "filter": "{price} > HOST({least})",
        "sort": [{ "attribute": "price", "direction": "DESC" }], "limit": 5,
    });
    assert_eq!(read(&customers, "high").await.1, high);
    let above = json!({ "link": "orders", "attribute": "price", "function": "FORMULA", "expression": "SUM(values) + {least}" });
    assert_eq!(read(&customers, "above").await.1, above);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_change_is_shown_when_it_is_complete() {
    // One entity at a time, so that there is something to be seen meanwhile.
    let api = Api::start_with(EngineConfig { workers: 2, slice_time: Duration::ZERO, ..EngineConfig::default() }).await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let rows = tenant.collection(&space, "rows").await;
    tenant.attribute(&rows, "n", json!({ "number": {} })).await;
    const COUNT: usize = 5_000;
    for from in (0..COUNT).step_by(500) {
        let create = |n: usize| format!("m{n}: createEntity(collectionId: \"{rows}\", values: {{ n: {n} }}) {{ id }} ");
        tenant.ok(&format!("mutation {{ {} }}", (from..from + 500).map(create).collect::<String>()), json!({})).await;
    }
    let define = "mutation($c: ID!, $k: String!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: $k, definition: $d) { id position } }";
    let formula = |text: &str| json!({ "formula": { "expression": text } });
    let made = tenant.ok(define, json!({ "c": rows, "k": "f", "d": formula("{n} + 1") })).await["createAttribute"].clone();
    let state = "query($c: ID) { collection(id: $c) { attributes { key state progress } } }";
    let attributes = tenant.ok(state, json!({ "c": rows })).await["collection"]["attributes"].clone();
    assert_eq!(attributes[0], json!({ "key": "n", "state": "READY", "progress": null }));
    assert_eq!(attributes[1]["state"], "COMPUTING", "{attributes}");
    assert!(attributes[1]["progress"].as_f64().is_some_and(|progress| (0.0..=1.0).contains(&progress)), "{attributes}");
    let some = "query($c: ID!, $p: Position) { entities(collectionId: $c, first: 1000, minPosition: $p) { values(keys: [\"n\", \"f\"]) } }";
    let early = tenant.ok(some, json!({ "c": rows })).await;
    assert_eq!(early["entities"][0]["values"]["f"], json!({ "computing": true }));
    // Others go on: what does not read it does not wait.
    let plain = "query($c: ID!, $p: Position) { entities(collectionId: $c, first: 1, minPosition: $p) { values(keys: [\"n\"]) } }";
    let other =
        tenant.ok("mutation($c: ID!) { createEntity(collectionId: $c, values: { n: 7 }) { id position } }", json!({ "c": rows })).await;
    tenant.ok(plain, json!({ "c": rows, "p": other["createEntity"]["position"] })).await;

    // By how much each row's f is more than its n; all alike.
    let added = |page: &Json| -> i64 {
        let rows = page["entities"].as_array().unwrap();
        let differences: Vec<_> =
            rows.iter().map(|row| row["values"]["f"].as_i64().unwrap() - row["values"]["n"].as_i64().unwrap()).collect();
        assert!(differences.iter().all(|difference| *difference == differences[0]), "{differences:?}");
        differences[0]
    };
    assert_eq!(added(&tenant.ok(some, json!({ "c": rows, "p": made["position"] })).await), 1);

    let query = "subscription($c: ID!) { entities(collectionId: $c, filter: \"{f} >= 0\") { kind ops { op } } }";
    let mut changes = Box::pin(api.schema.execute_stream(api.request(tenant.authority, query, json!({ "c": rows }))));
    let mut next = async || changes.next().await.unwrap().data.into_json().unwrap()["entities"]["kind"].as_str().unwrap().to_owned();
    while next().await == "SNAPSHOT" {}
    let change = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { position } }";
    let changed = tenant.ok(change, json!({ "i": made["id"], "d": formula("{n} + 2") })).await["updateAttribute"].clone();
    assert_eq!(added(&tenant.ok(some, json!({ "c": rows })).await), 1, "what was before is shown on");
    // Changed again meanwhile: only the last one is shown in the end.
    let last = tenant.ok(change, json!({ "i": made["id"], "d": formula("{n} + 3") })).await["updateAttribute"].clone();
    assert_eq!(added(&tenant.ok(some, json!({ "c": rows })).await), 1);
    assert_eq!(added(&tenant.ok(some, json!({ "c": rows, "p": changed["position"] })).await), 3, "the one between is never shown");
    assert_eq!(added(&tenant.ok(some, json!({ "c": rows, "p": last["position"] })).await), 3);
    assert_eq!(next().await, "RESET");
    assert_eq!(next().await, "SNAPSHOT");
    let filtered = "query($c: ID!) { entitiesConnection(collectionId: $c, first: 1, filter: \"{f} = 3\", orderBy: [{ attribute: \"f\" }]) { totalCount nodes { values } } }";
    let found = tenant.ok(filtered, json!({ "c": rows })).await["entitiesConnection"].clone();
    assert_eq!(found, json!({ "totalCount": 1, "nodes": [{ "values": { "n": 0, "f": 3 } }] }));
    let explained = tenant.ok("query($c: ID!) { entities(collectionId: $c, first: 1) { id } }", json!({ "c": rows })).await;
    let explain = "query($e: ID!) { explain(entityId: $e, attribute: \"f\") { value inputs { path value } } }";
    let explained = tenant.ok(explain, json!({ "e": explained["entities"][0]["id"] })).await["explain"].clone();
    assert_eq!(explained, json!({ "value": 3, "inputs": [{ "path": "rows.n", "value": 0 }] }));
    // How far it is only grows, though there are several things to do: to tell those that match, and to count them.
    let all = json!({ "match": { "collectionId": rows, "on": [{ "attribute": "n", "equals": "f" }] } });
    tenant.ok(define, json!({ "c": rows, "k": "matches", "d": all })).await;
    let mut before = 0.0;
    loop {
        let attributes = tenant.ok(state, json!({ "c": rows })).await["collection"]["attributes"].clone();
        let Some(progress) = attributes.as_array().unwrap().last().unwrap()["progress"].as_f64() else { break };
        assert!(progress >= before, "{progress} after {before}");
        before = progress;
    }
    assert!(before > 0.5, "{before}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_to_an_entity_is_an_attribute() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let tasks = tenant.collection(&space, "tasks").await;
    let register = "mutation($n: String!, $e: String!) { registerUser(email: $e, name: $n) { id } }";
    let (ada, bob) = (
        tenant.id(register, json!({ "n": "Ada", "e": "ada@b.c" })).await,
        tenant.id(register, json!({ "n": "Bob", "e": "bob@b.c" })).await,
    );
    tenant.attribute(&tasks, "title", json!({ "text": {} })).await;
    tenant.attribute(&tasks, "owner", json!({ "user": {} })).await;
    tenant.attribute(&tasks, "watchers", json!({ "user": { "multiple": true } })).await;
    let task = tenant.entity(&tasks, json!({ "title": "a", "owner": ada, "watchers": [bob, ada, bob] })).await;
    // What was there before the attributes has them too.
    for (key, definition) in [
        ("number", json!({ "autonumber": {} })),
        ("made", json!({ "createdTime": {} })),
        ("maker", json!({ "createdBy": {} })),
        ("touched", json!({ "modifiedTime": {} })),
        ("toucher", json!({ "modifiedBy": {} })),
        ("titled", json!({ "modifiedTime": { "attributes": ["title"] } })),
        ("age", json!({ "formula": { "expression": "{touched} = {made}" } })),
        ("owned", json!({ "formula": { "expression": "LAST_MODIFIED_TIME({owner}) = CREATED_TIME()" } })),
        ("watched", json!({ "formula": { "expression": "LAST_MODIFIED_TIME({watchers}) = CREATED_TIME()" } })),
    ] {
        tenant.attribute(&tasks, key, definition).await;
    }
    let values = async || tenant.ok("query($i: ID!) { entity(id: $i) { values } }", json!({ "i": task })).await["entity"]["values"].clone();
    let first = values().await;
    let second_task = tenant.entity(&tasks, json!({})).await;
    let number = tenant.ok("query($i: ID!) { entity(id: $i) { values(keys: [\"number\"]) } }", json!({ "i": second_task })).await;
    assert_eq!((&first["number"], &number["entity"]["values"]["number"]), (&json!(1), &json!(2)));
    assert_eq!((&first["owner"], &first["watchers"]), (&json!(ada), &json!([bob, ada])));
    assert_eq!((&first["maker"], &first["toucher"]), (&json!("ada"), &json!("ada")));
    assert!(first["made"].as_str().unwrap().ends_with('Z') && first["touched"] == first["made"] && first["titled"] == first["made"]);
    assert_eq!((&first["age"], &first["owned"]), (&json!(true), &json!(true)));
    let set = "mutation($i: ID!, $v: Values!) { setValues(id: $i, values: $v) { id } }";
    tenant.ok(set, json!({ "i": task, "v": { "owner": bob } })).await;
    let second = values().await;
    assert!(second["touched"].as_str() > first["touched"].as_str(), "{second}");
    assert_eq!((&second["made"], &second["titled"], &second["age"]), (&first["made"], &first["titled"], &json!(false)));
    assert_eq!((&second["owned"], &second["watched"]), (&json!(false), &json!(true)));
    tenant.ok(set, json!({ "i": task, "v": { "watchers": [bob] } })).await;
    assert_eq!(values().await["watched"], json!(false), "of a list it is known too");
    tenant.ok(set, json!({ "i": task, "v": { "title": "b" } })).await;
    let third = values().await;
    assert!(third["titled"] == third["touched"] && third["titled"].as_str() > second["touched"].as_str(), "{third}");
    tenant.refused("NOT_WRITABLE", set, json!({ "i": task, "v": { "made": "2024-01-01T00:00:00Z" } })).await;
    tenant.refused("VALUE_TYPE_MISMATCH", set, json!({ "i": task, "v": { "owner": task } })).await;
    // Another tenant's user is nobody here.
    let other = api.tenant("other").await;
    let eve = other.id(register, json!({ "n": "Eve", "e": "eve@b.c" })).await;
    tenant.refused("VALUE_TYPE_MISMATCH", set, json!({ "i": task, "v": { "watchers": [ada, eve] } })).await;
    let define = "mutation($c: ID!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: \"x\", definition: $d) { id } }";
    tenant.refused("INVALID_INPUT", define, json!({ "c": tasks, "d": { "modifiedTime": { "attributes": ["age"] } } })).await;
    tenant.refused("UNKNOWN_ATTRIBUTE", define, json!({ "c": tasks, "d": { "modifiedBy": { "attributes": ["titel"] } } })).await;
    tenant.attribute(&tasks, "after", json!({ "link": { "collectionId": tasks, "backlinkKey": "before" } })).await;
    let counted = |filter: &str| json!({ "rollup": { "link": "after", "function": "COUNTALL", "filter": filter } });
    tenant.refused("INVALID_INPUT", define, json!({ "c": tasks, "d": counted("CREATED_TIME() > HOST({made})") })).await;
    tenant.attribute(&tasks, "later", counted("{made} > HOST({made})")).await;
    tenant.attribute(&tasks, "numbered", counted("AUTONUMBER() > 1")).await;
    tenant.ok(set, json!({ "i": task, "v": { "after": [task, second_task] } })).await;
    let counts = values().await;
    assert_eq!((&counts["later"], &counts["numbered"]), (&json!(1), &json!(1)));
    let nested = json!({ "formula": { "expression": "LAST_MODIFIED_TIME({title} & 'x')" } });
    tenant.refused("FORMULA_TYPE", define, json!({ "c": tasks, "d": nested })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn walks_along_links() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let (words, books) = (tenant.collection(&space, "words").await, tenant.collection(&space, "books").await);
    tenant.attribute(&words, "name", json!({ "text": {} })).await;
    tenant.attribute(&words, "kinds_of", json!({ "link": { "collectionId": words, "backlinkKey": "kinds" } })).await;
    tenant.attribute(&books, "words", json!({ "link": { "collectionId": words, "backlinkKey": "books" } })).await;
    let word = async |name: &str, of: &[&String]| tenant.entity(&words, json!({ "name": name, "kinds_of": of })).await;
    // dog is a kind of pet and of canine, both of which are animals: reached on two ways, counted once.
    let animal = word("animal", &[]).await;
    let (pet, canine) = (word("pet", &[&animal]).await, word("canine", &[&animal]).await);
    let dog = word("dog", &[&pet, &canine]).await;
    let poodle = word("poodle", &[&dog]).await;
    let book = tenant.entity(&books, json!({ "words": [dog, pet] })).await;
    let walk = "query($e: ID!, $l: [String!]!, $d: Int, $f: String) { traverse(entityId: $e, links: $l, depthMax: $d, filter: $f) { count depth nodes { depth node { values(keys: [\"name\"]) } } } }";
    let walked = async |entity: &String, rest: Json| {
        let mut variables = json!({ "e": entity });
        variables.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        tenant.ok(walk, variables).await["traverse"].clone()
    };
    let names = |walked: &Json| -> Vec<(i64, String)> {
        let nodes = walked["nodes"].as_array().unwrap().iter();
        nodes.map(|node| (node["depth"].as_i64().unwrap(), node["node"]["values"]["name"].as_str().unwrap_or("").to_owned())).collect()
    };
    let below = walked(&animal, json!({ "l": ["kinds"] })).await;
    assert_eq!((&below["count"], &below["depth"]), (&json!(4), &json!(3)));
    let expected = [(1, "pet"), (1, "canine"), (2, "dog"), (3, "poodle")];
    assert_eq!(names(&below), expected.map(|(depth, name)| (depth, name.to_owned())));
    assert_eq!(walked(&animal, json!({ "l": ["kinds"], "d": 1 })).await["count"], 2);
    assert_eq!(walked(&animal, json!({ "l": ["kinds"], "f": "LEN({name}) = 3" })).await["count"], 2);
    assert_eq!(walked(&poodle, json!({ "l": ["kinds_of"] })).await["count"], 4);
    // In both directions, and through another collection; the start is not among what is reached.
    assert_eq!(walked(&dog, json!({ "l": ["kinds_of", "kinds"] })).await["count"], 4);
    let count = "query($e: ID!) { traverse(entityId: $e, links: [\"books\", \"words\"]) { count } }";
    assert_eq!(tenant.ok(count, json!({ "e": dog })).await["traverse"]["count"], 2, "the book, and pet");
    let path = "query($f: ID!, $t: ID!, $l: [String!]!) { shortestPath(fromId: $f, toId: $t, links: $l) { values(keys: [\"name\"]) } }";
    let way = tenant.ok(path, json!({ "f": poodle, "t": animal, "l": ["kinds_of"] })).await["shortestPath"].clone();
    let way: Vec<_> = way.as_array().unwrap().iter().map(|node| node["values"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(way, ["poodle", "dog", "pet", "animal"]);
    assert_eq!(tenant.ok(path, json!({ "f": animal, "t": poodle, "l": ["kinds_of"] })).await["shortestPath"], Json::Null);
    assert_eq!(tenant.ok(path, json!({ "f": dog, "t": dog, "l": ["kinds_of"] })).await["shortestPath"].as_array().unwrap().len(), 1);
    let follow = "query($e: ID!, $p: [String!]!) { follow(entityId: $e, path: $p) { count nodes { node { values(keys: [\"name\"]) } } } }";
    let followed = tenant.ok(follow, json!({ "e": book, "p": ["words", "kinds_of"] })).await["follow"].clone();
    assert_eq!(followed["count"], 3, "pet and canine by way of dog, animal by way of pet");
    // A circle ends, and what is archived is not walked through.
    tenant
        .ok(
            "mutation($i: ID!, $t: ID!) { linkEntities(id: $i, attribute: \"kinds_of\", targetIds: [$t]) { id } }",
            json!({ "i": animal, "t": poodle }),
        )
        .await;
    assert_eq!(walked(&dog, json!({ "l": ["kinds"] })).await["count"], 4);
    tenant.ok("mutation($i: ID!) { archiveEntity(id: $i) { id } }", json!({ "i": dog })).await;
    assert_eq!(walked(&animal, json!({ "l": ["kinds"] })).await["count"], 2);
    tenant.refused("UNKNOWN_ATTRIBUTE", walk, json!({ "e": dog, "l": ["kind"] })).await;
    tenant.refused("INVALID_INPUT", walk, json!({ "e": dog, "l": ["name"] })).await;
    tenant.refused("INVALID_INPUT", walk, json!({ "e": dog, "l": [] })).await;
    tenant.refused("INVALID_INPUT", walk, json!({ "e": dog, "l": ["kinds"], "d": -1 })).await;
    tenant.refused("FORMULA_SYNTAX", walk, json!({ "e": dog, "l": ["kinds"], "f": "{name" })).await;
    let other = api.tenant("other").await;
    other.refused("NOT_FOUND", walk, json!({ "e": dog, "l": ["kinds"] })).await;
    other.refused("NOT_FOUND", follow, json!({ "e": dog, "p": ["kinds"] })).await;
    other.refused("NOT_FOUND", path, json!({ "f": dog, "t": dog, "l": ["kinds"] })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_have_summaries() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let (customers, orders) = tenant.shop().await;
    tenant.attribute(&orders, "paid", json!({ "checkbox": {} })).await;
    let (ada, bob) = (tenant.entity(&customers, json!({ "name": "Ada" })).await, tenant.entity(&customers, json!({ "name": "Bob" })).await);
    for (customer, price, paid) in
        [(Some(&ada), 1, true), (Some(&ada), 2, false), (Some(&bob), 3, true), (None, 4, false), (Some(&ada), 5, true)]
    {
        tenant.entity(&orders, json!({ "customer": customer, "price": price, "paid": paid })).await;
    }
    let query = "query($c: ID!, $f: String, $g: [OrderBy!]!, $s: [SummaryInput!]!) { groups(collectionId: $c, filter: $f, groupBy: $g, summaries: $s) {
        count summaries groups { key count summaries groups { key count summaries groups { key } } } } }";
    let summaries = json!([{ "function": "SUM", "attribute": "price" }, { "function": "JOIN", "attribute": "price", "separator": "+" }]);
    let by = json!([{ "attribute": "who", "direction": "DESC" }, { "attribute": "paid" }]);
    let got = tenant.ok(query, json!({ "c": orders, "g": by, "s": summaries })).await["groups"].clone();
    let group = |key: Json, count: i64, sum: i64, joined: &str, groups: Json| json!({ "key": key, "count": count, "summaries": [sum, joined], "groups": groups });
    let none = || json!([]);
    assert_eq!(
        got,
        json!({ "count": 5, "summaries": [15, "1+2+3+4+5"], "groups": [
            group(json!("Bob"), 1, 3, "3", json!([group(json!(true), 1, 3, "3", none())])),
            group(json!("Ada"), 3, 8, "1+2+5", json!([group(json!(false), 1, 2, "2", none()), group(json!(true), 2, 6, "1+5", none())])),
            group(Json::Null, 1, 4, "4", json!([group(json!(false), 1, 4, "4", none())])),
        ] })
    );
    let filtered = tenant.ok(query, json!({ "c": orders, "f": "{price} > 2", "g": [], "s": [{ "function": "COUNTALL" }, { "function": "PERCENTILE", "attribute": "price", "share": 0.5 }] })).await;
    assert_eq!(filtered["groups"], json!({ "count": 3, "summaries": [3, 4], "groups": [] }));
    let empty = tenant.ok(query, json!({ "c": orders, "f": "{price} > 9", "g": by, "s": summaries })).await;
    assert_eq!(empty["groups"], json!({ "count": 0, "summaries": [0, null], "groups": [] }));
    // What is weighed, computed, ticked and empty.
    let all = json!([
        { "function": "WEIGHTED_AVERAGE", "attribute": "price", "weight": "price" },
        { "function": "FORMULA", "attribute": "price", "expression": "SUM(values) & '/' & COUNTALL(values)" },
        { "function": "PERCENT_UNCHECKED", "attribute": "paid" },
        { "function": "COUNT_EMPTY", "attribute": "who" },
    ]);
    let got = tenant.ok(query, json!({ "c": orders, "f": "{price} != 5", "g": [], "s": all })).await["groups"].clone();
    assert_eq!(got["summaries"], json!([3, "10/4", 0.5, 1]));
    let refused =
        async |code: &str, by: Json, summaries: Json| tenant.refused(code, query, json!({ "c": orders, "g": by, "s": summaries })).await;
    for wrong in [
        json!({ "function": "WEIGHTED_AVERAGE", "attribute": "price" }),
        json!({ "function": "SUM", "attribute": "price", "weight": "price" }),
        json!({ "function": "FORMULA", "attribute": "price" }),
        json!({ "function": "SUM", "attribute": "price", "expression": "1" }),
        json!({ "function": "FORMULA", "attribute": "price", "expression": "NOW()" }),
    ] {
        refused("INVALID_INPUT", json!([]), json!([wrong])).await;
    }
    refused("FORMULA_TYPE", json!([]), json!([{ "function": "FORMULA", "attribute": "price", "expression": "{price} + 1" }])).await;
    refused("UNKNOWN_ATTRIBUTE", json!([{ "attribute": "whom" }]), json!([])).await;
    refused("INVALID_INPUT", json!([]), json!([{ "function": "SUM" }])).await;
    refused("INVALID_INPUT", json!([]), json!([{ "function": "PERCENTILE", "attribute": "price", "share": 2 }])).await;
    refused("FORMULA_TYPE", json!([]), json!([{ "function": "SUM", "attribute": "who" }])).await;
    refused(
        "TOO_LARGE",
        json!([{ "attribute": "who" }, { "attribute": "who" }, { "attribute": "who" }, { "attribute": "who" }]),
        json!([]),
    )
    .await;
    let other = api.tenant("other").await;
    other.refused("NOT_FOUND", query, json!({ "c": orders, "g": [], "s": [] })).await;
}
