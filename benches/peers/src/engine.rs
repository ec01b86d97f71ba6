//! decidr's dataflow: the schema arrives as events while it runs, formulas are interpreted, numbers are exact decimals.
//!
//! The log and the command path are left out, as the others have neither; events are what its dataflow is fed in earnest.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use decidr_dataflow::{Engine, EngineConfig};
use decidr_domain::aggregate::Facts;
use decidr_domain::aggregate::attribute::{AttributeCommand, DefinitionInput};
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::entity::EntityEvent;
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::arrangements::Arrangements as _;
use decidr_domain::command::{Authority, Command, Request, decide};
use decidr_domain::event::{Event, Metadata, Recorded};
use decidr_domain::id::{AttributeId, CollectionId, CommandId, EntityId, EventId, Key, Position, SpaceId, TenantId};
use decidr_domain::rollup::Rollup;
use decidr_domain::schema::Catalog;
use decidr_domain::value::Value;
use jiff::Timestamp;
use rust_decimal::prelude::ToPrimitive as _;
use uuid::Uuid;

use crate::workload::{Batch, Peer, Tables, Update, Workload};

/// Customers and orders are told apart by this in their ids.
const CUSTOMERS: u128 = 1 << 64;

struct Decidr {
    engine: Engine,
    positions: Receiver<Position>,
    tables: Arc<Mutex<Tables>>,
    log: Log,
    amount: AttributeId,
}

/// Makes events as they would be in a log.
struct Log {
    catalog: Catalog,
    tenant: TenantId,
    position: Position,
    ids: u128,
}

impl Log {
    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids << 80)
    }

    fn record(&mut self, stream: decidr_domain::id::StreamId, event: Event) -> Recorded {
        self.position += 1;
        let id = Uuid::from_u128(u128::from(self.position));
        let metadata = Metadata {
            event_id: EventId(id),
            command_id: CommandId(id),
            causation_id: id,
            correlation_id: id,
            actor: "peers".into(),
            recorded_at: Timestamp::UNIX_EPOCH,
        };
        Recorded { position: self.position, stream, version: 1, tenant: self.tenant, event, metadata }
    }

    fn execute(&mut self, authority: Authority, command: Command) -> anyhow::Result<Vec<Recorded>> {
        let command_id = CommandId(self.id());
        let request = Request { command_id, authority, actor: "peers".into(), correlation_id: command_id.0, command };
        let facts = Facts { catalog: &self.catalog, entities: &|_| None, sizes: &|_| 0 };
        let decision = decide(&request, facts)?;
        let record = |(stream, event): (_, Event)| {
            self.catalog.apply(self.tenant, &event);
            self.record(stream, event)
        };
        Ok(decision.events.into_iter().map(record).collect())
    }
}

pub fn start(workload: &Workload) -> anyhow::Result<Box<dyn Peer>> {
    let mut log = Log { catalog: Catalog::default(), tenant: TenantId(Uuid::nil()), position: 0, ids: 0 };
    let mut events = Vec::new();
    log.tenant = TenantId(log.id());
    let authority = Authority::Tenant(log.tenant);
    let register = TenantCommand::RegisterTenant { id: log.tenant, key: Key::new("peers")?, name: "Peers".into() };
    events.extend(log.execute(Authority::Operator, Command::Tenant(register))?);
    let space_id = SpaceId(log.id());
    let space = SpaceCommand::CreateSpace { id: space_id, key: Key::new("space")?, name: "Space".into() };
    events.extend(log.execute(authority, Command::Space(space))?);
    let mut collections = Vec::new();
    for key in ["customers", "orders"] {
        let id = CollectionId(log.id());
        collections.push(id);
        let create = CollectionCommand::CreateCollection { id, space_id, key: Key::new(key)?, name: key.into() };
        events.extend(log.execute(authority, Command::Collection(create))?);
    }
    let [customers, orders] = collections[..] else { anyhow::bail!("there are two collections") };
    let link = DefinitionInput::Link {
        collection_id: customers,
        multiple: false,
        backlink_id: AttributeId(log.id()),
        backlink_key: Key::new("orders")?,
        backlink_name: None,
        hierarchical: false,
    };
    let formula = |text: &str| DefinitionInput::Formula { expression: text.into() };
    let sum = DefinitionInput::rollup("orders", Some("total".into()), Rollup::find("SUM").context("SUM is a rollup")?, None);
    let mut made = Vec::new();
    for (collection_id, key, definition) in [
        (orders, "customer", link),
        (orders, "amount", DefinitionInput::number()),
        (orders, "quantity", DefinitionInput::number()),
        (orders, "total", formula("{amount} * {quantity}")),
        (customers, "sum", sum),
        (customers, "score", formula("IF({sum} > 20000, {sum} * 2, {sum} + 7)")),
        (orders, "looked_up", DefinitionInput::lookup("customer", "score")),
    ] {
        let id = AttributeId(log.id());
        made.push(id);
        let create = AttributeCommand::CreateAttribute { id, collection_id, key: Key::new(key)?, name: None, definition };
        events.extend(log.execute(authority, Command::Attribute(create))?);
    }
    let [customer, amount, quantity, _, _, score, looked_up] = made[..] else { anyhow::bail!("there are seven attributes") };

    let engine = Engine::start(EngineConfig { batch_size_max: 16_384, ..EngineConfig::default() })?;
    let tables = Arc::new(Mutex::new(Tables::empty(workload)));
    let (sender, positions) = channel();
    let theirs = tables.clone();
    let number = |value: &Value| match value {
        Value::Number(number) => number.to_i64().unwrap_or(0),
        _ => 0,
    };
    engine.subscribe(Box::new(move |published| {
        let mut tables = theirs.lock().unwrap_or_else(PoisonError::into_inner);
        for change in &published.delta.changes {
            let id = change.entity_id.0.as_u128();
            if change.new.entity.collection_id == orders {
                tables.looked_up[id as u64 as usize - 1] = number(change.new.computed(looked_up));
            } else {
                tables.scores[id as u64 as usize - 1] = number(change.new.computed(score));
            }
        }
        // Whoever waited may have gone.
        let _ = sender.send(published.delta.position);
    }));
    let created = |log: &mut Log, id: EntityId, collection_id, values: Vec<(AttributeId, Value)>| {
        let (tenant_id, values) = (log.tenant, values.into_iter().collect());
        log.record(id.into(), Event::Entity(EntityEvent::EntityCreated { id, tenant_id, collection_id, values }))
    };
    let mut known = vec![false; workload.customers];
    for order in &workload.orders {
        known[order.customer] = true;
    }
    for customer in (0..workload.customers).filter(|customer| known[*customer]) {
        events.push(created(&mut log, customer_id(customer), customers, vec![]));
    }
    for (n, order) in workload.orders.iter().enumerate() {
        let values = vec![
            (customer, Value::Link(customer_id(order.customer))),
            (amount, Value::from(order.amount)),
            (quantity, Value::from(order.quantity)),
        ];
        events.push(created(&mut log, order_id(n), orders, values));
    }
    let mut peer = Decidr { engine, positions, tables, log, amount };
    peer.accept(events)?;
    Ok(Box::new(peer))
}

fn order_id(n: usize) -> EntityId {
    EntityId(Uuid::from_u128(n as u128 + 1))
}

fn customer_id(n: usize) -> EntityId {
    EntityId(Uuid::from_u128(CUSTOMERS + n as u128 + 1))
}

impl Decidr {
    fn accept(&mut self, events: Vec<Recorded>) -> anyhow::Result<()> {
        let last = events.last().map_or(0, |event| event.position);
        self.engine.accept(events);
        while self.positions.recv()? < last {}
        Ok(())
    }
}

impl Peer for Decidr {
    fn prepare(&mut self, updates: &[Update]) -> Batch {
        let event = |update: &Update| {
            let id = order_id(update.order);
            let set = EntityEvent::AttributeValueSet { id, attribute_id: self.amount, stored_as: None, value: Value::from(update.amount) };
            self.log.record(id.into(), Event::Entity(set))
        };
        Batch::Recorded(updates.iter().map(event).collect())
    }

    fn apply(&mut self, batch: Batch) -> anyhow::Result<()> {
        match batch {
            Batch::Recorded(events) => self.accept(events),
            Batch::Updates(_) => anyhow::bail!("a batch of another peer"),
        }
    }

    fn tables(&mut self) -> Option<Tables> {
        Some(self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
