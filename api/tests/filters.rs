//! The filters that table products have, for each type of attribute: what they let pass, asked once and live.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use decidr_api::graphql::Caller;
use futures_util::StreamExt;
use serde_json::{Value as Json, json};

use support::{Api, Tenant};

/// The names of the entities that pass, as a query and as the snapshot of a live query have them.
async fn passing(api: &Api, tenant: &Tenant<'_>, collection: &str, filter: &str) -> Vec<String> {
    let query = "query($c: ID!, $f: String) { entities(collectionId: $c, filter: $f, orderBy: [{ attribute: \"name\" }]) { values(keys: [\"name\"]) } }";
    let asked = tenant.ok(query, json!({ "c": collection, "f": filter })).await;
    let name = |node: &Json| node["values"]["name"].as_str().unwrap().to_owned();
    let asked: Vec<String> = asked["entities"].as_array().unwrap().iter().map(name).collect();
    let live = "subscription($c: ID!, $f: String) { entities(collectionId: $c, filter: $f) { ops { node { values(keys: [\"name\"]) } } } }";
    let request = api.request(tenant.authority, live, json!({ "c": collection, "f": filter }));
    let mut stream = Box::pin(api.schema.execute_stream(request));
    let first = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("a snapshot comes").unwrap();
    assert!(first.errors.is_empty(), "{filter}: {:?}", first.errors);
    let body: Json = serde_json::from_str(&serde_json::to_string(&first).unwrap()).unwrap();
    let mut live: Vec<String> = body["data"]["entities"]["ops"].as_array().unwrap().iter().map(|op| name(&op["node"])).collect();
    live.sort();
    assert_eq!(asked, live, "{filter}");
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_has_its_operators() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let (things, owners) = (tenant.collection(&space, "things").await, tenant.collection(&space, "owners").await);
    tenant.attribute(&owners, "name", json!({ "text": {} })).await;
    for (key, definition) in [
        ("name", json!({ "text": {} })),
        ("note", json!({ "text": {} })),
        ("n", json!({ "number": {} })),
        ("day", json!({ "date": {} })),
        ("at", json!({ "datetime": {} })),
        ("done", json!({ "checkbox": {} })),
        ("state", json!({ "singleSelect": { "options": ["todo", "doing", "done"] } })),
        ("tags", json!({ "multiSelect": { "options": ["red", "green", "blue"] } })),
        ("who", json!({ "user": {} })),
        ("team", json!({ "user": { "multiple": true } })),
        ("files", json!({ "attachments": {} })),
        ("owner", json!({ "link": { "collectionId": owners, "multiple": false, "backlinkKey": "things" } })),
        ("owners", json!({ "link": { "collectionId": owners, "multiple": true, "backlinkKey": "shared" } })),
        ("owner_name", json!({ "lookup": { "link": "owner", "attribute": "name" } })),
        ("owner_names", json!({ "lookup": { "link": "owners", "attribute": "name" } })),
    ] {
        tenant.attribute(&things, key, definition).await;
    }
    let ann = tenant.entity(&owners, json!({ "name": "Ann" })).await;
    let bob = tenant.entity(&owners, json!({ "name": "Bob" })).await;
    let register = "mutation($e: String!) { registerUser(email: $e, name: \"U\") { id } }";
    let mine = tenant.id(register, json!({ "e": "mine@example.org" })).await;
    let other = tenant.id(register, json!({ "e": "other@example.org" })).await;
    let pdf = json!({ "name": "Invoice 7.pdf", "url": "https://x.org/7", "mediaType": "application/pdf", "size": 7_000_000 });
    let png = json!({ "name": "photo.png", "url": "https://x.org/p", "mediaType": "image/png", "size": 300 });
    let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date();
    let day = |days: i64| (today + jiff::Span::new().days(days)).to_string();
    let a = json!({ "name": "a", "note": "The quick fox", "n": 4, "day": day(0), "at": "2026-02-03T10:00:00Z", "done": true, "state": "doing",
        "tags": ["red", "green"], "who": mine, "team": [mine, other], "files": [pdf, png], "owner": ann, "owners": [ann, bob] });
    let b = json!({ "name": "b", "note": "quick", "n": 2.5, "day": day(-3), "at": "2026-02-03T23:30:00Z", "done": false, "state": "done",
        "tags": ["green"], "who": other, "team": [other], "files": [png], "owner": bob, "owners": [bob] });
    let c = json!({ "name": "c" });
    for values in [a, b, c] {
        tenant.entity(&things, values).await;
    }
    for (filter, wanted) in [
        // Text.
        ("{note} = 'quick'", "b"),
        ("{note} != 'quick'", "ac"),
        ("FIND('quick', {note}) > 0", "ab"),
        ("NOT(FIND('fox', {note}) > 0)", "bc"),
        ("REGEX_MATCH({note}, '\\\\bfox\\\\b')", "a"),
        ("LEN({note}) < 6", "bc"),
        ("ISBLANK({note})", "c"),
        ("NOT(ISBLANK({note}))", "ab"),
        // Numbers. Blank acts as 0.
        ("{n} = 4", "a"),
        ("{n} != 4", "bc"),
        ("{n} > 2.5", "a"),
        ("{n} >= 2.5", "ab"),
        ("{n} < 2.5", "c"),
        ("AND({n} <= 2.5, NOT(ISBLANK({n})))", "b"),
        ("AND(MOD({n}, 2) = 0, {n} = INT({n}), NOT(ISBLANK({n})))", "a"),
        // Days and instants.
        ("{day} = TODAY()", "a"),
        ("AND({day} < TODAY(), NOT(ISBLANK({day})))", "b"),
        ("{day} <= TODAY()", "abc"),
        ("IS_AFTER({day}, DATEADD(TODAY(), -7, 'days'))", "ab"),
        ("IS_SAME({day}, DATEADD(TODAY(), -3, 'days'), 'day')", "b"),
        ("AND({day} >= DATEADD(TODAY(), -7, 'days'), {day} < TODAY())", "b"),
        ("IS_SAME({at}, '2026-02-03', 'day')", "ab"),
        ("IS_SAME(SET_TIMEZONE({at}, 'Europe/Berlin'), '2026-02-03', 'day')", "a"),
        ("IS_BEFORE({at}, '2026-02-03T12:00:00Z')", "a"),
        ("ISBLANK({at})", "c"),
        // Boxes: one that nobody touched is not ticked.
        ("{done}", "a"),
        ("NOT({done})", "bc"),
        ("{done} = FALSE()", "bc"),
        // Options.
        ("{state} = 'doing'", "a"),
        ("{state} != 'doing'", "bc"),
        ("OR({state} = 'doing', {state} = 'done')", "ab"),
        ("NOT(OR({state} = 'doing', {state} = 'done'))", "c"),
        ("FIND('do', {state}) > 0", "ab"),
        ("HAS_ANY({tags}, 'red', 'blue')", "a"),
        ("HAS_ALL({tags}, 'red', 'green')", "a"),
        ("HAS_NONE({tags}, 'red')", "bc"),
        ("HAS_EXACTLY({tags}, 'green')", "b"),
        ("ISBLANK({tags})", "c"),
        // Users.
        ("HAS_ANY({team}, {who})", "ab"),
        ("ISBLANK({who})", "c"),
        // Files.
        ("FIND('invoice', LOWER(ARRAYJOIN(FILE_NAMES({files})))) > 0", "a"),
        ("HAS_ANY(FILE_TYPES({files}), 'image/png')", "ab"),
        ("HAS_ANY(FILE_TYPES({files}), 'application/pdf')", "a"),
        ("COUNTALL(FILE_NAMES({files})) < 2", "bc"),
        ("MAX(FILE_SIZES({files})) < 1000000", "bc"),
        ("SUM(FILE_SIZES({files})) = 7000300", "a"),
        ("ISBLANK({files})", "c"),
        // Links, and what is looked up through them.
        ("FIND('An', {owner_name}) > 0", "a"),
        ("HAS_ANY({owner_names}, 'Ann')", "a"),
        ("HAS_EXACTLY({owner_names}, 'Bob')", "b"),
        ("ARRAYJOIN({owner_names}) = 'Ann, Bob'", "a"),
        ("ISBLANK({owner})", "c"),
        ("ISBLANK({owners})", "c"),
        ("COUNTALL({owners}) = 2", "a"),
    ] {
        assert_eq!(passing(&api, &tenant, &things, filter).await.concat(), wanted, "{filter}");
    }
    for (filter, wanted) in [
        (format!("{{owner}} = '{ann}'"), "a"),
        (format!("HAS_ANY({{owners}}, '{bob}')"), "ab"),
        (format!("HAS_EXACTLY({{owners}}, '{bob}')"), "b"),
        (format!("{{who}} = '{other}'"), "b"),
        // Groups in groups, ten deep.
        (format!("{}{{n}} = 4{}", "AND(OR(".repeat(5), ", FALSE()), {state} = 'doing')".repeat(5)), "a"),
    ] {
        assert_eq!(passing(&api, &tenant, &things, &filter).await.concat(), wanted, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn me_is_who_asks() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let tasks = tenant.collection(&space, "tasks").await;
    tenant.attribute(&tasks, "name", json!({ "text": {} })).await;
    tenant.attribute(&tasks, "team", json!({ "user": { "multiple": true } })).await;
    // Whoever asks in these tests goes by this name, and is no user.
    tenant.attribute(&tasks, "said", json!({ "text": {} })).await;
    tenant.entity(&tasks, json!({ "name": "a", "said": "ada" })).await;
    tenant.entity(&tasks, json!({ "name": "b", "said": "somebody \"else\"" })).await;
    assert_eq!(passing(&api, &tenant, &tasks, "{said} = ME()").await, ["a"]);
    assert_eq!(passing(&api, &tenant, &tasks, "LET(x, me(), AND({said} != x, CREATED_BY() = ME())) // ME()").await, ["b"]);
    // Within a text it is none.
    assert!(passing(&api, &tenant, &tasks, "{said} = 'ME()'").await.is_empty());
    // A user may go by the id or by the address.
    let register = "mutation($e: String!) { registerUser(email: $e, name: \"U\") { id } }";
    let bob = tenant.id(register, json!({ "e": "bob@example.org" })).await;
    let ada = tenant.id(register, json!({ "e": "ada@example.org" })).await;
    for (name, team) in [("c", json!([bob, ada])), ("d", json!([ada]))] {
        tenant.entity(&tasks, json!({ "name": name, "team": team })).await;
    }
    for actor in [&*bob, "bob@example.org"] {
        let query = "query($c: ID!) { entities(collectionId: $c, filter: \"HAS_ANY({team}, ME())\") { values(keys: [\"name\"]) } }";
        let request = api.request(tenant.authority, query, json!({ "c": tasks }));
        let request = request.data(Caller { authority: tenant.authority, actor: actor.to_owned() });
        let found = serde_json::to_value(api.schema.execute(request).await.data).unwrap();
        assert_eq!(found, json!({ "entities": [{ "values": { "name": "c" } }] }));
    }
    // What is stored is the same for everybody.
    let create = "mutation($c: ID!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: \"x\", definition: $d) { id } }";
    let error = tenant.refused("INVALID_INPUT", create, json!({ "c": tasks, "d": { "formula": { "expression": "ME()" } } })).await;
    assert!(error["message"].as_str().unwrap().contains("everybody"), "{error}");
    let query = "query($c: ID!) { entities(collectionId: $c, filter: \"ME(1) = 2\") { id } }";
    tenant.refused("FORMULA_TYPE", query, json!({ "c": tasks })).await;
}
