//! Windows and groups that are kept up to date: after random edits a client who knows only the changes has what a query gives.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use serde_json::{Value as Json, json};
use support::{Api, Random, Tenant};

/// Messages of one subscription.
struct Messages<'a>(Pin<Box<dyn Stream<Item = async_graphql::Response> + Send + 'a>>);

impl<'a> Messages<'a> {
    fn of(tenant: &Tenant<'a>, query: &str, variables: Json) -> Self {
        let request = tenant.api.request(tenant.authority, query, variables);
        Self(Box::pin(tenant.api.schema.execute_stream(request)))
    }

    async fn body(&mut self) -> Json {
        let response = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("a message comes").unwrap();
        serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap()
    }

    async fn next(&mut self) -> Json {
        let body = self.body().await;
        assert!(body["errors"].is_null(), "{body}");
        body["data"].as_object().unwrap().values().next().unwrap().clone()
    }

    /// The error with which it ends, after whatever comes before.
    async fn end(&mut self) -> Json {
        loop {
            let body = self.body().await;
            if !body["errors"].is_null() {
                return body["errors"][0].clone();
            }
        }
    }
}

/// Things with a number, a kind and an option, random ones, some of them archived.
struct Things<'a> {
    tenant: Tenant<'a>,
    collection: String,
    ids: Vec<String>,
    random: Random,
}

impl<'a> Things<'a> {
    async fn new(api: &'a Api, seed: u64) -> Things<'a> {
        let tenant = api.tenant("acme").await;
        let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
        let collection = tenant.collection(&space, "things").await;
        tenant.attribute(&collection, "n", json!({ "number": {} })).await;
        tenant.attribute(&collection, "kind", json!({ "text": {} })).await;
        tenant.attribute(&collection, "state", json!({ "singleSelect": { "options": ["late", "early", "never"] } })).await;
        tenant.attribute(&collection, "twice", json!({ "formula": { "expression": "{n} * 2" } })).await;
        Self { tenant, collection, ids: Vec::new(), random: Random(seed) }
    }

    fn values(&mut self) -> Json {
        let state = [json!("late"), json!("early"), json!("never"), Json::Null][self.random.below(4)].clone();
        let n = if self.random.below(10) == 0 { Json::Null } else { json!(self.random.below(40)) };
        let kind = ["a", "b", "c"][self.random.below(3)];
        json!({ "n": n, "kind": kind, "state": state })
    }

    async fn edit(&mut self) {
        match self.random.below(if self.ids.len() < 30 { 2 } else { 10 }) {
            0 | 1 => {
                let values = self.values();
                self.ids.push(self.tenant.entity(&self.collection, values).await);
            }
            kind => {
                let id = self.ids[self.random.below(self.ids.len())].clone();
                let entity = self.tenant.ok("query($i: ID!) { entity(id: $i) { archived } }", json!({ "i": id })).await;
                let query = match (kind, entity["entity"]["archived"] == true) {
                    (_, true) => "mutation($i: ID!) { restoreEntity(id: $i) { id } }",
                    (2..=4, false) => "mutation($i: ID!) { archiveEntity(id: $i) { id } }",
                    (_, false) => "mutation($i: ID!, $v: Values!) { setValues(id: $i, values: $v) { id } }",
                };
                let values = self.values();
                self.tenant.ok(query, json!({ "i": id, "v": values })).await;
            }
        }
    }
}

/// What a client has of a window.
#[derive(Default)]
struct Mirror(Vec<(String, Json)>);

impl Mirror {
    fn take_in(&mut self, message: &Json) {
        if message["kind"] == "RESET" {
            self.0.clear();
        }
        for op in message["ops"].as_array().unwrap() {
            let (index, id) = (op["index"].as_u64().unwrap() as usize, op["id"].as_str().unwrap().to_owned());
            match op["op"].as_str().unwrap() {
                "INSERT" => self.0.insert(index, (id, op["node"]["values"].clone())),
                "UPDATE" => {
                    assert_eq!(self.0[index].0, id);
                    self.0[index].1 = op["node"]["values"].clone();
                }
                _ => assert_eq!(self.0.remove(index).0, id),
            }
        }
    }
}

const LIST: &str = "query($c: ID!, $f: String, $o: [OrderBy!]!, $n: Int!) { entities(collectionId: $c, filter: $f, orderBy: $o, first: $n) { id values(keys: [\"n\", \"state\", \"twice\"]) } }";
const WINDOW: &str = "subscription($c: ID!, $f: String, $o: [OrderBy!]!, $n: Int!) { entities(collectionId: $c, filter: $f, orderBy: $o, first: $n) { kind ops { op id index node { values(keys: [\"n\", \"state\", \"twice\"]) } } } }";

/// One window of several at once: a small one, one that has to be filled anew, one that shows all.
async fn check_windows(seed: u64) {
    let api = Api::start().await;
    let mut things = Things::new(&api, seed).await;
    for _ in 0..20 {
        things.edit().await;
    }
    let order = json!([{ "attribute": "state" }, { "attribute": "n", "direction": "DESC" }]);
    let asked = [
        json!({ "c": things.collection, "o": order, "n": 5 }),
        json!({ "c": things.collection, "f": "{n} > 10", "o": [{ "attribute": "twice" }], "n": 3 }),
        json!({ "c": things.collection, "f": "{kind} = 'a'", "o": [], "n": 1000 }),
    ];
    let tenant = Tenant { api: &api, authority: things.tenant.authority };
    let mut windows: Vec<_> = asked.iter().map(|asked| (asked, Messages::of(&tenant, WINDOW, asked.clone()), Mirror::default())).collect();
    for step in 0..30 {
        for _ in 0..5 {
            things.edit().await;
        }
        if step == 20 {
            // Another order of the options is another order of the entities.
            let all = tenant.ok("query($c: ID) { collection(id: $c) { attributes { id key } } }", json!({ "c": things.collection })).await;
            let state = all["collection"]["attributes"].as_array().unwrap().iter().find(|a| a["key"] == "state").unwrap()["id"].clone();
            let update = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";
            tenant.ok(update, json!({ "i": state, "d": { "singleSelect": { "options": ["never", "early", "late"] } } })).await;
        }
        for (asked, messages, mirror) in &mut windows {
            let listed = tenant.ok(LIST, asked.clone()).await["entities"].clone();
            let listed: Vec<_> =
                listed.as_array().unwrap().iter().map(|e| (e["id"].as_str().unwrap().to_owned(), e["values"].clone())).collect();
            while mirror.0 != listed {
                let message = messages.next().await;
                mirror.take_in(&message);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_are_what_a_query_gives() {
    for seed in [1, 7] {
        check_windows(seed).await;
    }
}

/// A window that shows a few of many is filled anew when many of them leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_runs_short_is_filled_anew() {
    let api = Api::start().await;
    let things = Things::new(&api, 3).await;
    let mut ids = Vec::new();
    for n in 0..260 {
        ids.push(things.tenant.entity(&things.collection, json!({ "n": n })).await);
    }
    let asked = json!({ "c": things.collection, "o": [{ "attribute": "n" }], "n": 2 });
    let (mut messages, mut mirror) = (Messages::of(&things.tenant, WINDOW, asked.clone()), Mirror::default());
    for archived in ids.chunks(130) {
        for id in archived.iter().take(120) {
            things.tenant.ok("mutation($i: ID!) { archiveEntity(id: $i) { id } }", json!({ "i": id })).await;
        }
        let listed = things.tenant.ok(LIST, asked.clone()).await["entities"].clone();
        let expected: Vec<_> = listed.as_array().unwrap().iter().map(|e| e["values"]["n"].clone()).collect();
        assert_eq!(expected.len(), 2);
        while mirror.0.iter().map(|(_, values)| values["n"].clone()).collect::<Vec<_>>() != expected {
            let message = messages.next().await;
            mirror.take_in(&message);
        }
    }
}

const SUMMARIES: &str = "[{ function: SUM, attribute: \"n\" }, { function: MAX, attribute: \"n\" }, { function: MEDIAN, attribute: \"twice\" }, { function: COUNT_UNIQUE, attribute: \"kind\" }, { function: JOIN, attribute: \"kind\" }, { function: PERCENT_FILLED, attribute: \"state\" }, { function: WEIGHTED_AVERAGE, attribute: \"n\", weight: \"twice\" }, { function: FORMULA, attribute: \"n\", expression: \"MAX(values) - MIN(values)\" }, { function: PERCENTILE, attribute: \"n\", share: 0.25 }, { function: TOP, attribute: \"n\", count: 2 }]";

const MORE_SUMMARIES: &str = "[{ function: COUNT, attribute: \"n\" }, { function: COUNTA, attribute: \"n\" }, { function: COUNTALL, attribute: \"n\" }, { function: COUNT_EMPTY, attribute: \"n\" }, { function: AVERAGE, attribute: \"n\" }, { function: MIN, attribute: \"n\" }, { function: AND, attribute: \"n\" }, { function: OR, attribute: \"n\" }, { function: XOR, attribute: \"n\" }, { function: STDEV, attribute: \"n\" }, { function: STDEVP, attribute: \"n\" }, { function: VAR, attribute: \"n\" }, { function: VARP, attribute: \"n\" }, { function: RANGE, attribute: \"n\" }, { function: FIRST, attribute: \"n\" }, { function: LAST, attribute: \"n\" }, { function: UNIQUE, attribute: \"n\" }, { function: COMPACT, attribute: \"n\" }, { function: PERCENT_EMPTY, attribute: \"n\" }, { function: PERCENT_UNIQUE, attribute: \"n\" }]";

fn flat(group: &Json, path: &mut Vec<Json>, out: &mut BTreeMap<String, Json>) {
    out.insert(json!(path).to_string(), json!([group["count"], group["summaries"]]));
    for group in group["groups"].as_array().into_iter().flatten() {
        path.push(group["key"].clone());
        flat(group, path, out);
        path.pop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_what_a_query_gives() {
    groups_follow(SUMMARIES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_what_a_query_gives_of_other_summaries() {
    groups_follow(MORE_SUMMARIES).await;
}

async fn groups_follow(summaries: &str) {
    let api = Api::start().await;
    let mut things = Things::new(&api, 5).await;
    let subscription = format!(
        "subscription($c: ID!) {{ groups(collectionId: $c, filter: \"{{n}} != 3\", groupBy: [\"kind\", \"state\", \"n\"], summaries: {summaries}) {{ kind ops {{ op path count summaries }} }} }}"
    );
    let query = format!(
        "query($c: ID!) {{ groups(collectionId: $c, filter: \"{{n}} != 3\", groupBy: [{{ attribute: \"kind\" }}, {{ attribute: \"state\" }}, {{ attribute: \"n\" }}], summaries: {summaries}) {{ count summaries groups {{ key count summaries groups {{ key count summaries groups {{ key count summaries }} }} }} }} }}"
    );
    let tenant = Tenant { api: &api, authority: things.tenant.authority };
    let (mut messages, mut mirror) = (Messages::of(&tenant, &subscription, json!({ "c": things.collection })), BTreeMap::new());
    for step in 0..40 {
        for _ in 0..4 {
            things.edit().await;
        }
        if step == 25 {
            // What is summarised gets another type: it is stored, and shown, elsewhere.
            let all = tenant.ok("query($c: ID) { collection(id: $c) { attributes { id key } } }", json!({ "c": things.collection })).await;
            let kind = all["collection"]["attributes"].as_array().unwrap().iter().find(|a| a["key"] == "kind").unwrap()["id"].clone();
            let update = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";
            tenant.ok(update, json!({ "i": kind, "d": { "singleSelect": { "options": ["a", "b", "c"] } } })).await;
        }
        let mut expected = BTreeMap::new();
        flat(&tenant.ok(&query, json!({ "c": things.collection })).await["groups"], &mut Vec::new(), &mut expected);
        while mirror != expected {
            follow(&mut mirror, &messages.next().await);
        }
    }
}

/// Does to a mirror of groups what a message says.
fn follow(mirror: &mut BTreeMap<String, Json>, message: &Json) {
    if message["kind"] == "RESET" {
        mirror.clear();
    }
    for op in message["ops"].as_array().unwrap() {
        let path = op["path"].to_string();
        let there = match op["op"].as_str().unwrap() {
            "DELETE" => mirror.remove(&path).is_some(),
            _ => mirror.insert(path, json!([op["count"], op["summaries"]])).is_some(),
        };
        assert_eq!(there, op["op"] != "INSERT", "{op}");
    }
}

/// By what keys cells are shown is part of what is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_keys_begin_anew() {
    let api = Api::start().await;
    let things = Things::new(&api, 1).await;
    let tenant = Tenant { api: &api, authority: things.tenant.authority };
    let x = tenant.attribute(&things.collection, "x", json!({ "number": {} })).await;
    tenant.entity(&things.collection, json!({ "x": 7 })).await;
    let all = "subscription($c: ID!) { entities(collectionId: $c) { kind ops { node { values } } } }";
    let window = "subscription($c: ID!) { entities(collectionId: $c, first: 10) { kind ops { node { values } } } }";
    for query in [all, window] {
        let mut messages = Messages::of(&tenant, query, json!({ "c": things.collection }));
        let mut shown = async || loop {
            let message = messages.next().await;
            if message["kind"] == "SNAPSHOT" {
                return message["ops"][0]["node"]["values"].clone();
            }
        };
        assert_eq!(shown().await["x"], 7);
        let rename = "mutation($i: ID!, $k: String!) { updateAttribute(id: $i, key: $k) { id } }";
        tenant.ok(rename, json!({ "i": x, "k": "y" })).await;
        let values = shown().await;
        assert_eq!((&values["y"], values.get("x")), (&json!(7), None));
        tenant.ok(rename, json!({ "i": x, "k": "x" })).await;
        assert_eq!(shown().await["x"], 7);
    }
    // A filter that cannot look at what it looked at any more says so.
    let mut messages = Messages::of(
        &tenant,
        "subscription($c: ID!) { entities(collectionId: $c, filter: \"{x} > 3\") { kind } }",
        json!({ "c": things.collection }),
    );
    assert_eq!(messages.next().await["kind"], "SNAPSHOT");
    let update = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";
    tenant.ok(update, json!({ "i": x, "d": { "text": {} } })).await;
    let error = messages.end().await;
    assert_eq!(error["extensions"]["code"], "FORMULA_TYPE", "{error}");
}

/// Footers and groups of a link take what it leads to, and not how many; those of files take none as nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_empty_is_blank_to_groups() {
    let api = Api::start().await;
    let tenant = api.tenant("acme").await;
    let space = tenant.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
    let rows = tenant.collection(&space, "rows").await;
    tenant.attribute(&rows, "peer", json!({ "link": { "collectionId": rows, "backlinkKey": "peers" } })).await;
    tenant.attribute(&rows, "files", json!({ "attachments": {} })).await;
    let first = tenant.entity(&rows, json!({ "files": [] })).await;
    let second = tenant.entity(&rows, json!({ "peer": [first], "files": [{ "name": "a", "url": "https://a.b" }] })).await;
    let query = "query($c: ID!) { groups(collectionId: $c, groupBy: [{ attribute: \"peer\" }], summaries: [{ function: COUNT, attribute: \"peer\" }, \
                 { function: COUNT_EMPTY, attribute: \"peer\" }, { function: JOIN, attribute: \"peer\" }, { function: PERCENT_FILLED, attribute: \"files\" }]) \
                 { summaries groups { key count } } }";
    let groups = tenant.ok(query, json!({ "c": rows })).await["groups"].clone();
    assert_eq!(groups["summaries"], json!([1, 1, first, 0.5]));
    assert_eq!(groups["groups"], json!([{ "key": null, "count": 1 }, { "key": first, "count": 1 }]));
    // A link to several counts each; a range of days is one value.
    tenant.attribute(&rows, "days", json!({ "dateRange": {} })).await;
    let days = json!({ "start": "2024-01-01", "end": "2024-01-03" });
    tenant.entity(&rows, json!({ "peer": [first, second], "days": days })).await;
    let query = "query($c: ID!) { groups(collectionId: $c, summaries: [{ function: COUNT, attribute: \"peer\" }, { function: UNIQUE, attribute: \"peer\" }, \
                 { function: COUNT, attribute: \"days\" }, { function: FIRST, attribute: \"days\" }, { function: LATEST, attribute: \"days\" }]) { summaries } }";
    let groups = tenant.ok(query, json!({ "c": rows })).await["groups"]["summaries"].clone();
    assert_eq!(groups, json!([3, [first, second], 1, "2024-01-01/2024-01-03", "2024-01-03"]));
    let sum = "query($c: ID!) { groups(collectionId: $c, summaries: [{ function: SUM, attribute: \"peer\" }]) { count } }";
    tenant.refused("FORMULA_TYPE", sum, json!({ "c": rows })).await;
}

/// Rows that were counted in when a cell was a date are counted out when it may be anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_follow_a_formula_that_gets_another_type() {
    let api = Api::start().await;
    let mut things = Things::new(&api, 13).await;
    let tenant = Tenant { api: &api, authority: things.tenant.authority };
    tenant.attribute(&things.collection, "day", json!({ "date": {} })).await;
    let formula = |expression: &str| json!({ "formula": { "expression": expression } });
    let label = tenant.attribute(&things.collection, "label", formula("{day}")).await;
    for n in 1..=3 {
        things.ids.push(tenant.entity(&things.collection, json!({ "n": n, "day": "2024-01-01" })).await);
    }
    let summaries = "summaries: [{ attribute: \"n\", function: SUM }, { attribute: \"label\", function: COUNT_UNIQUE }]";
    let subscription = format!(
        "subscription($c: ID!) {{ groups(collectionId: $c, groupBy: [\"label\"], {summaries}) {{ kind ops {{ op path count summaries }} }} }}"
    );
    let query = format!(
        "query($c: ID!) {{ groups(collectionId: $c, groupBy: [{{ attribute: \"label\" }}], {summaries}) {{ count summaries groups {{ key count summaries }} }} }}"
    );
    let (mut messages, mut mirror) = (Messages::of(&tenant, &subscription, json!({ "c": things.collection })), BTreeMap::new());
    let definitions = ["{day}", "IF({n} = 1, {day}, 'none')", "{day} & ''", "IF({n} > 1, {n}, {day})"];
    for (step, definition) in definitions.iter().enumerate() {
        let update = "mutation($i: ID!, $d: AttributeDefinition!) { updateAttribute(id: $i, definition: $d) { id } }";
        tenant.ok(update, json!({ "i": label, "d": formula(definition) })).await;
        for n in [step, 1] {
            let set = "mutation($i: ID!, $n: Int!) { setValues(id: $i, values: { n: $n }) { id } }";
            tenant.ok(set, json!({ "i": things.ids[step % 3], "n": n })).await;
            let mut expected = BTreeMap::new();
            flat(&tenant.ok(&query, json!({ "c": things.collection })).await["groups"], &mut Vec::new(), &mut expected);
            while mirror != expected {
                follow(&mut mirror, &messages.next().await);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_and_orders_of_a_select_are_those_of_its_options() {
    let api = Api::start().await;
    let things = Things::new(&api, 15).await;
    let tenant = Tenant { api: &api, authority: things.tenant.authority };
    let options = json!({ "options": ["zeta", "alpha", "mid"] });
    tenant.attribute(&things.collection, "stage", json!({ "singleSelect": options })).await;
    tenant.attribute(&things.collection, "tags", json!({ "multiSelect": options })).await;
    for (n, stage, tags) in [(1, "mid", json!(["mid"])), (2, "alpha", json!(["zeta", "mid"])), (3, "zeta", json!(["zeta", "alpha"]))] {
        tenant.entity(&things.collection, json!({ "n": n, "stage": stage, "tags": tags })).await;
    }
    let query = "query($c: ID!) { groups(collectionId: $c, groupBy: [{ attribute: \"stage\" }, { attribute: \"n\" }]) { groups { key } } \
                 up: entities(collectionId: $c, orderBy: [{ attribute: \"tags\", direction: ASC }]) { values } }";
    let listed = tenant.ok(query, json!({ "c": things.collection })).await;
    assert_eq!(listed["groups"]["groups"], json!([{ "key": "zeta" }, { "key": "alpha" }, { "key": "mid" }]));
    let order: Vec<_> = listed["up"].as_array().unwrap().iter().map(|node| node["values"]["n"].clone()).collect();
    assert_eq!(order, [3, 2, 1], "by the first tag, then by the next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_alike_is_one_group() {
    let api = Api::start().await;
    let mut things = Things::new(&api, 9).await;
    let tenant = Tenant { api: &api, authority: things.tenant.authority };
    tenant.attribute(&things.collection, "day", json!({ "date": {} })).await;
    // A date of some, a text of others.
    let mixed = json!({ "formula": { "expression": "IF({n} = 1, {day}, IF({n} = 2, '2024-01-01', {n}))" } });
    tenant.attribute(&things.collection, "mixed", mixed).await;
    let create = "mutation($c: ID!, $v: Values!) { createEntity(collectionId: $c, values: $v) { id } }";
    for n in [1, 2, 2, 3] {
        let values = json!({ "n": n, "day": "2024-01-01" });
        things.ids.push(tenant.id(create, json!({ "c": things.collection, "v": values })).await);
    }
    let query = "query($c: ID!) { groups(collectionId: $c, groupBy: [{ attribute: \"mixed\" }]) { groups { key count } } }";
    let listed = tenant.ok(query, json!({ "c": things.collection })).await;
    let expected = json!([{ "key": 3, "count": 1 }, { "key": "2024-01-01", "count": 3 }]);
    assert_eq!(listed["groups"]["groups"], expected);
    let subscription = "subscription($c: ID!) { groups(collectionId: $c, groupBy: [\"mixed\"]) { kind ops { op path count } } }";
    let mut messages = Messages::of(&tenant, subscription, json!({ "c": things.collection }));
    let first = messages.next().await;
    let counts: BTreeMap<String, Json> =
        first["ops"].as_array().unwrap().iter().map(|op| (op["path"].to_string(), op["count"].clone())).collect();
    let expected = [("[]", 4), ("[3]", 1), ("[\"2024-01-01\"]", 3)].map(|(path, count)| (path.to_owned(), json!(count)));
    assert_eq!(counts, BTreeMap::from(expected));
}

/// The first of some messages that is of this kind.
async fn until(messages: &mut Messages<'_>, kind: &str) -> Json {
    loop {
        let message = messages.next().await;
        if message["kind"] == kind {
            return message;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_far_it_is_is_told_though_nothing_of_it_changed() {
    let api = Api::start().await;
    let mut things = Things::new(&api, 11).await;
    let id = things.tenant.entity(&things.collection, json!({ "n": 1, "kind": "a" })).await;
    let tenant = Tenant { api: &api, authority: things.tenant.authority };
    let query = "subscription($c: ID!) { groups(collectionId: $c, groupBy: [\"kind\"]) { kind position } }";
    let mut messages = Messages::of(&tenant, query, json!({ "c": things.collection }));
    let before = until(&mut messages, "PROGRESS").await["position"].clone();
    let set = "mutation($i: ID!) { setValues(id: $i, values: { n: 2 }) { id } }";
    tenant.ok(set, json!({ "i": id })).await;
    assert_ne!(until(&mut messages, "PROGRESS").await["position"], before, "the edit is behind it");
    things.ids.push(id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_loses_an_attribute_ends_at_once() {
    let api = Api::start().await;
    let things = Things::new(&api, 13).await;
    let tenant = &things.tenant;
    let all = tenant.ok("query($c: ID) { collection(id: $c) { attributes { id key } } }", json!({ "c": things.collection })).await;
    let kind = all["collection"]["attributes"].as_array().unwrap().iter().find(|a| a["key"] == "kind").unwrap()["id"].clone();
    let mut streams = Vec::new();
    for query in [
        "subscription($c: ID!) { entities(collectionId: $c, orderBy: [{ attribute: \"kind\" }], first: 3) { kind } }",
        "subscription($c: ID!) { groups(collectionId: $c, groupBy: [\"kind\"]) { kind } }",
    ] {
        let mut messages = Messages::of(tenant, query, json!({ "c": things.collection }));
        until(&mut messages, "PROGRESS").await;
        streams.push(messages);
    }
    tenant.ok("mutation($i: ID!) { deleteAttribute(id: $i) { id } }", json!({ "i": kind })).await;
    for mut messages in streams {
        let error = messages.end().await;
        assert_eq!(error["extensions"]["code"], "NOT_FOUND", "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_kept_is_refused() {
    let api = Api::start().await;
    let things = Things::new(&api, 9).await;
    for (query, code) in [
        ("subscription($c: ID!) { entities(collectionId: $c, first: 0) { kind } }", "INVALID_INPUT"),
        ("subscription($c: ID!) { entities(collectionId: $c, first: 1001) { kind } }", "INVALID_INPUT"),
        ("subscription($c: ID!) { entities(collectionId: $c, orderBy: [{ attribute: \"x\" }]) { kind } }", "UNKNOWN_ATTRIBUTE"),
        ("subscription($c: ID!) { groups(collectionId: $c, groupBy: [\"x\"]) { kind } }", "UNKNOWN_ATTRIBUTE"),
        ("subscription($c: ID!) { groups(collectionId: $c, groupBy: [\"n\", \"kind\", \"state\", \"twice\"]) { kind } }", "TOO_LARGE"),
        ("subscription($c: ID!) { groups(collectionId: $c, summaries: [{ function: SUM }]) { kind } }", "INVALID_INPUT"),
        // While it is looked at for a row, everybody waits.
        (
            "subscription($c: ID!) { entities(collectionId: $c, filter: \"COUNTALL(FILTER(SPLIT(REPT('a,', 9000), ','), value = {kind})) > 1\") { kind } }",
            "TOO_LARGE",
        ),
    ] {
        let body = Messages::of(&things.tenant, query, json!({ "c": things.collection })).body().await;
        assert_eq!(body["errors"][0]["extensions"]["code"], code, "{query}: {body}");
    }
    // What another tenant has is not found.
    let other = api.tenant("other").await;
    let query = "subscription($c: ID!) { groups(collectionId: $c) { kind } }";
    let body = Messages::of(&other, query, json!({ "c": things.collection })).body().await;
    assert_eq!(body["errors"][0]["extensions"]["code"], "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_groups_are_kept_as_are_listed() {
    const COUNT: usize = 10_000;
    let api = Api::start().await;
    let things = Things::new(&api, 11).await;
    let (tenant, c) = (&things.tenant, &things.collection);
    let options: Vec<_> = (0..10).map(|n| format!("o{n}")).collect();
    let tags = json!(options).to_string();
    tenant.attribute(c, "tags", json!({ "multiSelect": { "options": options } })).await;
    for from in (0..COUNT).step_by(500) {
        let create = |n: usize| {
            format!("m{n}: createEntity(collectionId: \"{c}\", values: {{ n: {n}, kind: \"k{}\", tags: {tags} }}) {{ id }} ", n % 7)
        };
        tenant.ok(&format!("mutation {{ {} }}", (from..from + 500).map(create).collect::<String>()), json!({})).await;
    }
    let listed =
        "query($c: ID!) { groups(collectionId: $c, groupBy: [{ attribute: \"kind\" }, { attribute: \"n\" }]) { count groups { count } } }";
    assert_eq!(tenant.ok(listed, json!({ "c": c })).await["groups"]["count"], json!(COUNT));
    let live = "subscription($c: ID!) { groups(collectionId: $c, groupBy: [\"kind\", \"n\"]) { kind ops { op path count } } }";
    let mut groups = Messages::of(tenant, live, json!({ "c": c }));
    until(&mut groups, "PROGRESS").await;
    // As many as there may be: one that moves to another group leaves its own.
    let one = tenant.ok("query($c: ID!) { entities(collectionId: $c, filter: \"{n} = 5\") { id } }", json!({ "c": c })).await;
    let moved = "mutation($i: ID!) { setValues(id: $i, values: { n: 10000 }) { id } }";
    tenant.ok(moved, json!({ "i": one["entities"][0]["id"] })).await;
    let ops = until(&mut groups, "DELTA").await["ops"].clone();
    let told: Vec<_> = ops.as_array().unwrap().iter().map(|op| (op["op"].clone(), op["path"].clone())).collect();
    assert_eq!(told, [(json!("DELETE"), json!(["k5", 5])), (json!("INSERT"), json!(["k5", 10000]))]);
    // One more is too many, for those who listen and for those who ask.
    tenant.entity(c, json!({ "n": 10_001 })).await;
    let error = groups.end().await;
    assert_eq!(error["extensions"]["code"], "TOO_LARGE", "{error}");
    tenant.refused("TOO_LARGE", listed, json!({ "c": c })).await;
    // And so are millions of values that summaries would keep.
    let summaries = vec![json!({ "attribute": "tags", "function": "COUNT_UNIQUE" }); 20];
    let live = "subscription($c: ID!, $s: [SummaryInput!]) { groups(collectionId: $c, filter: \"{n} < 10000\", groupBy: [\"kind\", \"n\"], summaries: $s) { kind } }";
    let body = Messages::of(tenant, live, json!({ "c": c, "s": summaries })).body().await;
    assert_eq!(body["errors"][0]["extensions"]["code"], "TOO_LARGE", "{body}");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("values"), "{body}");
}
