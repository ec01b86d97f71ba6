//! Defines two tables at run time, links them, and watches a rollup follow a change.
//!
//! You will see the orders of a customer summed up, first as a snapshot, then after one order changed.

use std::sync::Arc;

use decidr_api::platform::Platform;
use decidr_dataflow::EngineConfig;
use decidr_domain::aggregate::attribute::{AttributeCommand, DefinitionInput};
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::entity::EntityCommand;
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::formula::Cells;
use decidr_domain::formula::coerce::text;
use decidr_domain::id::{AttributeId, CollectionId, CommandId, EntityId, Key, SpaceId, TenantId};
use decidr_domain::rollup::Rollup;
use decidr_ingest::Answer;
use decidr_ingest::log::MemoryLog;
use decidr_sinks::LiveQuery;
use decidr_sinks::live::{Hears, Next};
use serde_json::{Map, Value, json};
use uuid::Uuid;

struct Story {
    platform: Platform,
    tenant: TenantId,
}

impl Story {
    async fn send(&self, authority: Authority, command: Command) -> anyhow::Result<Answer> {
        let id = Uuid::now_v7();
        let request = Request { command_id: CommandId(id), authority, actor: "story".into(), correlation_id: id, command };
        Ok(self.platform.execute(request).await?)
    }

    async fn attribute(&self, collection_id: CollectionId, key: &str, definition: DefinitionInput) -> anyhow::Result<AttributeId> {
        let id = AttributeId(Uuid::now_v7());
        let create = AttributeCommand::CreateAttribute { id, collection_id, key: Key::new(key)?, name: None, definition };
        self.send(Authority::Tenant(self.tenant), Command::Attribute(create)).await?;
        Ok(id)
    }

    async fn entity(&self, collection_id: CollectionId, values: Value) -> anyhow::Result<EntityId> {
        let id = EntityId(Uuid::now_v7());
        let values = values.as_object().cloned().unwrap_or_default();
        self.send(Authority::Tenant(self.tenant), Command::Entity(EntityCommand::CreateEntity { id, collection_id, values })).await?;
        Ok(id)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let platform = Platform::start(Arc::new(MemoryLog::default()), EngineConfig::default()).await?;
    let story = Story { platform, tenant: TenantId(Uuid::now_v7()) };
    let register = TenantCommand::RegisterTenant { id: story.tenant, key: Key::new("acme")?, name: "Acme".into() };
    story.send(Authority::Operator, Command::Tenant(register)).await?;
    let us = Authority::Tenant(story.tenant);

    let space_id = SpaceId(Uuid::now_v7());
    story.send(us, Command::Space(SpaceCommand::CreateSpace { id: space_id, key: Key::new("sales")?, name: "Sales".into() })).await?;
    let (customers, orders) = (CollectionId(Uuid::now_v7()), CollectionId(Uuid::now_v7()));
    for (id, key) in [(customers, "customers"), (orders, "orders")] {
        let create = CollectionCommand::CreateCollection { id, space_id, key: Key::new(key)?, name: key.into() };
        story.send(us, Command::Collection(create)).await?;
    }
    let number = || DefinitionInput::number();
    story.attribute(customers, "name", DefinitionInput::text()).await?;
    story.attribute(orders, "price", number()).await?;
    story.attribute(orders, "quantity", number()).await?;
    let (backlink_id, backlink_key) = (AttributeId(Uuid::now_v7()), Key::new("orders")?);
    let link = DefinitionInput::Link {
        collection_id: customers,
        multiple: false,
        backlink_id,
        backlink_key,
        backlink_name: None,
        hierarchical: false,
    };
    story.attribute(orders, "customer", link).await?;
    story.attribute(orders, "total", DefinitionInput::Formula { expression: "{price} * {quantity}".into() }).await?;
    let function = Rollup::find("SUM").ok_or_else(|| anyhow::anyhow!("SUM is a rollup"))?;
    let sum = DefinitionInput::rollup("orders", Some("total".into()), function, None);
    let revenue = story.attribute(customers, "revenue", sum).await?;

    let ada = story.entity(customers, json!({ "name": "Ada" })).await?;
    story.entity(orders, json!({ "price": 9.5, "quantity": 2, "customer": ada.to_string() })).await?;
    let order = story.entity(orders, json!({ "price": 0.1, "quantity": 3, "customer": ada.to_string() })).await?;
    story.platform.reached(story.platform.head()).await;
    let row = story.platform.arranged().row(ada).ok_or_else(|| anyhow::anyhow!("Ada is there"))?;
    println!("revenue of Ada: {}", text(&row.cell(revenue)));

    let query = LiveQuery { tenant: story.tenant, collection: customers, filter: None };
    let mut subscription = story.platform.live().subscribe(query, None, Hears::Entities).expect("no time is asked for");
    let values = Map::from_iter([("quantity".to_owned(), json!(100))]);
    story.send(us, Command::Entity(EntityCommand::SetValues { id: order, values, expected_version: None })).await?;
    if let Next::Changes(changes) = subscription.next().await {
        for op in &changes.ops {
            let revenue = op.row.as_ref().map(|row| text(&row.cell(revenue))).unwrap_or_default();
            println!("at position {}: {:?} {} revenue {revenue}", changes.position, op.kind, op.id);
        }
    }
    Ok(())
}
