//! A start from a checkpoint is as one from the log, and one that does not fit is left aside.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::sync::Arc;

use decidr_api::platform::{DataDir, Platform};
use decidr_dataflow::EngineConfig;
use decidr_domain::command::Authority;
use decidr_domain::id::TenantId;
use decidr_ingest::checkpoint::{Head, Reader, Writer};
use serde_json::{Value as Json, json};
use support::{Api, Tenant};

/// One process after another on one data directory.
struct Process {
    platform: Arc<Platform>,
    api: Api,
}

impl Process {
    async fn start(folder: &Path, workers: usize) -> Self {
        let config = EngineConfig { workers, ..EngineConfig::default() };
        let platform = Arc::new(Platform::open(&DataDir::create(folder).unwrap(), config).await.unwrap());
        Self { api: Api::of(platform.clone()), platform }
    }

    fn tenant(&self, id: TenantId) -> Tenant<'_> {
        Tenant { api: &self.api, authority: Authority::Tenant(id) }
    }

    /// Ends it in order.
    async fn end(self) {
        self.platform.close().await;
        self.kill().await;
    }

    /// Ends it at once.
    async fn kill(self) {
        let Self { mut platform, api } = self;
        drop(api);
        // What still holds it for a moment, answers nobody any more.
        while let Err(held) = Arc::try_unwrap(platform) {
            platform = held;
            tokio::task::yield_now().await;
        }
    }
}

struct Shop {
    tenant: TenantId,
    customers: String,
    orders: String,
}

/// A shop with so many orders, and what is computed of them by links, keys, hierarchies and time.
async fn shop(process: &Process, orders: usize) -> Shop {
    let registered = process.api.tenant("shop").await;
    let Authority::Tenant(id) = registered.authority else { panic!("it is a tenant") };
    let tenant = process.tenant(id);
    let (customers, of_orders) = tenant.shop().await;
    let parent = json!({ "collectionId": customers, "multiple": false, "backlinkKey": "branches", "hierarchical": true });
    tenant.attribute(&customers, "parent", json!({ "link": parent })).await;
    let total = json!({ "formula": { "expression": "{revenue} + {below}" } });
    tenant.attribute(&customers, "total", json!({ "formula": { "expression": "{revenue}" } })).await;
    tenant.attribute(&customers, "below", json!({ "rollup": { "link": "branches", "attribute": "total", "function": "SUM" } })).await;
    let redefine = "mutation($c: ID!, $d: AttributeDefinition!) { updateAttribute(id: $c, definition: $d) { id } }";
    let attributes = "query($c: ID!) { collection(id: $c) { attributes { id key } } }";
    let attributes = tenant.ok(attributes, json!({ "c": customers })).await;
    let of_total = attributes["collection"]["attributes"].as_array().unwrap().iter().find(|a| a["key"] == "total").unwrap()["id"].clone();
    tenant.ok(redefine, json!({ "c": of_total, "d": total })).await;
    tenant.attribute(&of_orders, "is_early", json!({ "formula": { "expression": "TODAY() < DATETIME_PARSE('2999-01-01')" } })).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let values = json!({ "name": format!("customer {n}"), "parent": ids.last() });
        ids.push(tenant.entity(&customers, values).await);
    }
    for start in (0..orders).step_by(100) {
        let create = |n: usize| {
            format!("m{n}: createEntity(collectionId: \"{of_orders}\", values: {{ price: {n}, customer: \"{}\" }}) {{ id }} ", ids[n % 5])
        };
        let many: String = (start..orders.min(start + 100)).map(create).collect();
        tenant.ok(&format!("mutation {{ {many} }}"), json!({})).await;
    }
    let archive = "mutation($id: ID!) { archiveEntity(id: $id) { id } }";
    let page = tenant.ok("query($c: ID!) { entities(collectionId: $c, first: 3) { id } }", json!({ "c": of_orders })).await;
    tenant.ok(archive, json!({ "id": page["entities"][1]["id"] })).await;
    Shop { tenant: id, customers, orders: of_orders }
}

/// All that the shop shows, as of now.
async fn shown(process: &Process, shop: &Shop) -> Json {
    let tenant = process.tenant(shop.tenant);
    process.platform.reached(process.platform.head()).await;
    let query = "query($c: ID!, $o: ID!) {
        customers: entities(collectionId: $c, first: 100) { id version values }
        orders: entitiesConnection(collectionId: $o, first: 100, orderBy: [{ attribute: \"price\", direction: DESC }]) { totalCount edges { node { id version values } } }
    }";
    tenant.ok(query, json!({ "c": shop.customers, "o": shop.orders })).await
}

/// Changes something, and says what is shown then.
async fn changed(process: &Process, shop: &Shop, price: i64) -> Json {
    let tenant = process.tenant(shop.tenant);
    let before = shown(process, shop).await;
    let (customer, order) = (before["customers"][3]["id"].clone(), before["orders"]["edges"][5]["node"]["id"].clone());
    let change = "mutation($o: ID!, $v: Values!) { setValues(id: $o, values: $v) { id } }";
    tenant.ok(change, json!({ "o": order, "v": { "price": price, "customer": customer } })).await;
    let after = shown(process, shop).await;
    assert_ne!(before, after);
    after
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_from_a_checkpoint_is_as_one_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), 1).await;
    assert_eq!(process.platform.began_at(), 0);
    let shop = shop(&process, 1_200).await;
    let first = shown(&process, &shop).await;
    assert_eq!(first["customers"].as_array().unwrap().len(), 5);
    assert!(first["customers"][0]["values"]["total"].as_f64().unwrap() > 100_000.0, "{}", first["customers"][0]);
    assert_eq!(first["orders"]["edges"][0]["node"]["values"]["is_early"], true);
    let head = process.platform.head();
    process.end().await;

    // With another number of workers, too.
    let process = Process::start(folder.path(), 2).await;
    assert_eq!(process.platform.began_at(), head);
    assert_eq!(shown(&process, &shop).await, first);
    let second = changed(&process, &shop, -7).await;
    // So little has come that it is not written again, and what has come is computed behind what was written.
    process.end().await;
    let process = Process::start(folder.path(), 1).await;
    assert_eq!(process.platform.began_at(), head);
    assert_eq!(shown(&process, &shop).await, second);
    let third = changed(&process, &shop, 12).await;
    process.kill().await;

    std::fs::remove_file(folder.path().join("checkpoint")).unwrap();
    let process = Process::start(folder.path(), 1).await;
    assert_eq!(process.platform.began_at(), 0);
    assert_eq!(shown(&process, &shop).await, third);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_computed_aside_is_begun_anew_and_shown_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), 1).await;
    let shop = shop(&process, 1_000).await;
    // So many steps that it is computed aside, and is not through when the process ends.
    let long = r#"LET(a, SPLIT(REPT("a,", 100), ","), COUNTALL(FILTER(a, COUNTALL(FILTER(a, value = {price} & "")) > 1)) + {price})"#;
    process.tenant(shop.tenant).attribute(&shop.orders, "long", json!({ "formula": { "expression": long } })).await;
    // It is begun a moment after the attribute is added, and takes many times as long.
    assert!(process.platform.arranged_when(|arranged| arranged.is_computing_aside()).await);
    process.end().await;

    let process = Process::start(folder.path(), 1).await;
    assert!(process.platform.began_at() > 0);
    assert!(process.platform.arranged_when(|arranged| !arranged.is_computing_aside()).await);
    let all = "query($o: ID!) { entities(collectionId: $o, first: 1000) { values(keys: [\"price\", \"long\"]) } }";
    let rows = process.tenant(shop.tenant).ok(all, json!({ "o": shop.orders })).await;
    let rows = rows["entities"].as_array().unwrap();
    assert_eq!(rows.len(), 999);
    rows.iter().for_each(|row| assert_eq!(row["values"]["long"], row["values"]["price"], "{row}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_does_not_fit_is_left_aside() {
    let [folder, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut shops = Vec::new();
    for folder in [&folder, &other] {
        let process = Process::start(folder.path(), 1).await;
        let shop = shop(&process, 1_000).await;
        shops.push((shown(&process, &shop).await, shop));
        process.end().await;
    }
    let [path, of_other] = [&folder, &other].map(|folder| folder.path().join("checkpoint"));
    let own = std::fs::read(&path).unwrap();
    let mut damaged = own.clone();
    damaged[own.len() / 2] ^= 1;
    let changed = |change: &dyn Fn(&mut Head)| {
        let (mut head, reader) = Reader::open(&path).unwrap().unwrap();
        let mut rows = Vec::new();
        reader.rows(|some| rows.push(some)).unwrap();
        change(&mut head);
        let copy = other.path().join("changed");
        let mut writer = Writer::create(&copy, &head).unwrap();
        rows.iter().for_each(|some| writer.write(some).unwrap());
        writer.finish().unwrap();
        std::fs::read(&copy).unwrap()
    };
    assert_eq!(changed(&|_| {}), own);
    let of_other_program = changed(&|head| head.program ^= 1);
    let of_other_event = changed(&|head| head.position -= 1);
    let of_the_future = changed(&|head| head.position += 1_000);
    let cases = [
        damaged,
        own[..own.len() - 5].to_vec(),
        std::fs::read(&of_other).unwrap(),
        of_other_program,
        of_other_event,
        of_the_future,
        b"nothing".to_vec(),
        Vec::new(),
    ];
    for (case, bytes) in cases.into_iter().enumerate() {
        std::fs::write(&path, bytes).unwrap();
        let process = Process::start(folder.path(), 1).await;
        assert_eq!(process.platform.began_at(), 0, "case {case}");
        assert_eq!(shown(&process, &shops[0].1).await, shops[0].0, "case {case}");
        process.kill().await;
    }
    std::fs::write(&path, own).unwrap();
    let process = Process::start(folder.path(), 1).await;
    assert!(process.platform.began_at() > 0);
    assert_eq!(shown(&process, &shops[0].1).await, shops[0].0);
}
