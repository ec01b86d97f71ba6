//! The API in process, as a tenant's client uses it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;

use async_graphql::Request as GraphqlRequest;
use decidr_api::graphql::scalars::from_json;
use decidr_api::graphql::{ApiSchema, Caller, schema, with_codes};
use decidr_api::platform::Platform;
use decidr_api::position::PositionKey;
use decidr_dataflow::EngineConfig;
use decidr_domain::command::Authority;
use decidr_domain::id::TenantId;
use decidr_ingest::log::MemoryLog;
use serde_json::{Value as Json, json};

pub(crate) struct Api {
    pub(crate) schema: ApiSchema,
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::start_with(EngineConfig { workers: 2, ..EngineConfig::default() }).await
    }

    pub(crate) async fn start_with(config: EngineConfig) -> Self {
        Self::on(Arc::new(MemoryLog::default()), config).await
    }

    pub(crate) async fn on(log: Arc<MemoryLog>, config: EngineConfig) -> Self {
        Self::of(Arc::new(Platform::start(log, config).await.unwrap()))
    }

    pub(crate) fn of(platform: Arc<Platform>) -> Self {
        Api { schema: schema(platform, Arc::new(PositionKey::ephemeral())) }
    }

    pub(crate) fn request(&self, authority: Authority, query: &str, variables: Json) -> GraphqlRequest {
        let variables = async_graphql::Variables::from_value(from_json(variables));
        GraphqlRequest::new(query).variables(variables).data(Caller { authority, actor: "ada".into() })
    }

    pub(crate) async fn run(&self, authority: Authority, query: &str, variables: Json) -> Result<Json, (String, Json)> {
        let response = with_codes(self.schema.execute(self.request(authority, query, variables)).await);
        let body: Json = serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap();
        match body["errors"].get(0) {
            None => Ok(body["data"].clone()),
            Some(error) => Err((error["extensions"]["code"].as_str().unwrap_or("no code").to_owned(), error.clone())),
        }
    }

    pub(crate) async fn tenant(&self, key: &str) -> Tenant<'_> {
        let query = "mutation($k: String!) { registerTenant(key: $k, name: $k) { id } }";
        let data = self.run(Authority::Operator, query, json!({ "k": key })).await.unwrap();
        let id: TenantId = data["registerTenant"]["id"].as_str().unwrap().parse().unwrap();
        Tenant { api: self, authority: Authority::Tenant(id) }
    }
}

pub(crate) struct Tenant<'a> {
    pub(crate) api: &'a Api,
    pub(crate) authority: Authority,
}

impl Tenant<'_> {
    pub(crate) async fn ok(&self, query: &str, variables: Json) -> Json {
        self.api.run(self.authority, query, variables).await.unwrap_or_else(|(_, error)| panic!("{query}: {error}"))
    }

    pub(crate) async fn refused(&self, code: &str, query: &str, variables: Json) -> Json {
        let (got, error) = self.api.run(self.authority, query, variables).await.expect_err(query);
        assert_eq!(got, code, "{query}: {error}");
        assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
        error
    }

    pub(crate) async fn id(&self, query: &str, variables: Json) -> String {
        let data = self.ok(query, variables).await;
        data.as_object().unwrap().values().next().unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn collection(&self, space: &str, key: &str) -> String {
        let query = "mutation($s: ID!, $k: String!) { createCollection(spaceId: $s, key: $k, name: $k) { id } }";
        self.id(query, json!({ "s": space, "k": key })).await
    }

    pub(crate) async fn attribute(&self, collection: &str, key: &str, definition: Json) -> String {
        let query = "mutation($c: ID!, $k: String!, $d: AttributeDefinition!) { createAttribute(collectionId: $c, key: $k, definition: $d) { id } }";
        self.id(query, json!({ "c": collection, "k": key, "d": definition })).await
    }

    pub(crate) async fn entity(&self, collection: &str, values: Json) -> String {
        let query = "mutation($c: ID!, $v: Values) { createEntity(collectionId: $c, values: $v) { id } }";
        self.id(query, json!({ "c": collection, "v": values })).await
    }

    /// A collection in a space of its own, with a hierarchical link to one other of it, and the backlink.
    pub(crate) async fn hierarchy(&self, key: &str, link: &str, backlink: &str) -> String {
        let space = self.id("mutation { createSpace(key: \"s\", name: \"S\") { id } }", json!({})).await;
        let collection = self.collection(&space, key).await;
        let definition = json!({ "collectionId": collection, "multiple": false, "backlinkKey": backlink, "hierarchical": true });
        self.attribute(&collection, link, json!({ "link": definition })).await;
        collection
    }

    /// Customers and orders, linked, with a formula, a lookup and a rollup.
    pub(crate) async fn shop(&self) -> (String, String) {
        let space = self.id("mutation { createSpace(key: \"shop\", name: \"Shop\") { id } }", json!({})).await;
        let (customers, orders) = (self.collection(&space, "customers").await, self.collection(&space, "orders").await);
        self.attribute(&customers, "name", json!({ "text": {} })).await;
        self.attribute(&orders, "price", json!({ "number": {} })).await;
        self.attribute(&orders, "customer", json!({ "link": { "collectionId": customers, "multiple": false, "backlinkKey": "orders" } }))
            .await;
        self.attribute(&orders, "gross", json!({ "formula": { "expression": "ROUND({price} * 1.19, 2)" } })).await;
        self.attribute(&orders, "who", json!({ "lookup": { "link": "customer", "attribute": "name" } })).await;
        self.attribute(&customers, "revenue", json!({ "rollup": { "link": "orders", "attribute": "gross", "function": "SUM" } })).await;
        (customers, orders)
    }
}

/// xorshift64* (Vigna 2016).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}
