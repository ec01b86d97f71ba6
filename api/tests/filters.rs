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
        ("IS_SAME({at}, '2026-02-28', 'month')", "ab"),
        ("IS_SAME({at}, '2026-03-01', 'month')", ""),
        ("IS_SAME({at}, '2026-12-31', 'year')", "ab"),
        ("AND(YEAR({at}) = 2026, MONTH({at}) = 2, HOUR({at}) < 12)", "a"),
        ("AND({day} >= TODAY(), {day} <= DATEADD(TODAY(), 7, 'days'))", "a"),
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
        ("COUNTALL({owner_names}) = 2", "a"),
        ("COUNTALL(ARRAYUNIQUE({owner_names})) = 1", "b"),
        ("COUNTALL(FILTER({owner_names}, FIND('nn', value) > 0)) > 0", "a"),
    ] {
        assert_eq!(passing(&api, &tenant, &things, filter).await.concat(), wanted, "{filter}");
    }
    for (filter, wanted) in [
        (format!("{{owner}} = '{ann}'"), "a"),
        (format!("HAS_ANY({{owners}}, '{bob}')"), "ab"),
        (format!("HAS_EXACTLY({{owners}}, '{bob}')"), "b"),
        (format!("HAS_ALL({{owners}}, '{ann}', '{bob}')"), "a"),
        (format!("HAS_NONE({{owners}}, '{ann}')"), "bc"),
        (format!("HAS_ANY({{owner}}, '{ann}', '{bob}')"), "ab"),
        (format!("{{who}} = '{other}'"), "b"),
        (format!("HAS_ALL({{team}}, '{other}', '{mine}')"), "a"),
        (format!("HAS_NONE({{team}}, '{mine}')"), "bc"),
        (format!("HAS_EXACTLY({{team}}, '{other}')"), "b"),
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

/// Users come by their names, whatever their ids, also when one gets another name.
#[tokio::test(flavor = "multi_thread")]
async fn users_are_sorted_by_name() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let things = tenant.collection(&space, "things").await;
    tenant.attribute(&things, "who", json!({ "user": {} })).await;
    tenant.attribute(&things, "team", json!({ "user": { "multiple": true } })).await;
    let mut users = Vec::new();
    for name in ["Zoe", "Ann", "Mia"] {
        let register = "mutation($e: String!, $n: String!) { registerUser(email: $e, name: $n) { id } }";
        users.push(tenant.id(register, json!({ "e": format!("{name}@example.org"), "n": name })).await);
    }
    for user in &users {
        tenant.entity(&things, json!({ "who": user, "team": [user, users[1]] })).await;
    }
    tenant.entity(&things, json!({})).await;
    let place = |id: &Json| users.iter().position(|user| Some(user.as_str()) == id.as_str());
    let order = json!([{ "attribute": "who" }]);
    let sorted = async |key: &str| {
        let query = "query($c: ID!, $k: String!) { entities(collectionId: $c, orderBy: [{ attribute: $k }]) { values(keys: [\"who\"]) } }";
        let listed = tenant.ok(query, json!({ "c": things, "k": key })).await["entities"].clone();
        listed.as_array().unwrap().iter().map(|e| place(&e["values"]["who"])).collect::<Vec<_>>()
    };
    let grouped = async || {
        let query = "query($c: ID!) { groups(collectionId: $c, groupBy: [{ attribute: \"who\" }]) { groups { key } } }";
        let groups = tenant.ok(query, json!({ "c": things })).await["groups"]["groups"].clone();
        groups.as_array().unwrap().iter().map(|group| place(&group["key"])).collect::<Vec<_>>()
    };
    let by_name = [None, Some(1), Some(2), Some(0)];
    assert_eq!((sorted("who").await, sorted("team").await, grouped().await), (by_name.to_vec(), by_name.to_vec(), by_name.to_vec()));
    let live = "subscription($c: ID!, $o: [OrderBy!]) { entities(collectionId: $c, orderBy: $o, first: 2) { kind ops { op node { values(keys: [\"who\"]) } } } }";
    let mut stream = Box::pin(api.schema.execute_stream(api.request(tenant.authority, live, json!({ "c": things, "o": order }))));
    let mut next = async || {
        let response = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("a message comes").unwrap();
        let body: Json = serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap();
        let ops = body["data"]["entities"]["ops"].as_array().unwrap().clone();
        ops.iter().map(|op| (op["op"].as_str().unwrap().to_owned(), place(&op["node"]["values"]["who"]))).collect::<Vec<_>>()
    };
    assert_eq!(next().await, [("INSERT".to_owned(), None), ("INSERT".to_owned(), Some(1))]);
    tenant.ok("mutation($i: ID!) { updateUser(id: $i, name: \"Abe\") { id } }", json!({ "i": users[0] })).await;
    assert_eq!(sorted("who").await, [None, Some(0), Some(1), Some(2)]);
    loop {
        let ops = next().await;
        if !ops.is_empty() {
            assert_eq!(ops, [("DELETE".to_owned(), None), ("INSERT".to_owned(), Some(0))], "another is among the first two");
            break;
        }
    }
}
