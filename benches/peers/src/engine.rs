//! decidr's dataflow: the schema arrives as events while it runs, formulas are interpreted, numbers are exact decimals.
//!
//! The log and the command path are left out, as the others have neither; events are what its dataflow is fed in earnest.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use decidr_dataflow::{Engine, EngineConfig};
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::arrangements::Arrangements as _;
use decidr_domain::event::Recorded;
use decidr_domain::id::{AttributeId, EntityId, Position};
use decidr_domain::value::Value;
use rust_decimal::prelude::ToPrimitive as _;
use uuid::Uuid;

use crate::recorder::{Recorder, formula, rollup};
use crate::workload::{Batch, Peer, Tables, Update, Workload};

/// Customers and orders are told apart by this in their ids.
const CUSTOMERS: u128 = 1 << 64;

struct Decidr {
    engine: Engine,
    positions: Receiver<Position>,
    tables: Arc<Mutex<Tables>>,
    log: Recorder,
    amount: AttributeId,
}

pub fn start(workload: &Workload) -> anyhow::Result<Box<dyn Peer>> {
    let mut log = Recorder::new()?;
    let (customers, orders) = (log.collection("customers")?, log.collection("orders")?);
    let link = log.link(customers, false, "orders", false)?;
    let customer = log.attribute(orders, "customer", link)?;
    let amount = log.attribute(orders, "amount", DefinitionInput::number())?;
    let quantity = log.attribute(orders, "quantity", DefinitionInput::number())?;
    log.attribute(orders, "total", formula("{amount} * {quantity}"))?;
    log.attribute(customers, "sum", rollup("orders", "total", "SUM", None)?)?;
    let score = log.attribute(customers, "score", formula("IF({sum} > 20000, {sum} * 2, {sum} + 7)"))?;
    let looked_up = log.attribute(orders, "looked_up", DefinitionInput::lookup("customer", "score"))?;

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
    let mut known = vec![false; workload.customers];
    for order in &workload.orders {
        known[order.customer] = true;
    }
    for customer in (0..workload.customers).filter(|customer| known[*customer]) {
        log.create(customer_id(customer), customers, vec![]);
    }
    for (n, order) in workload.orders.iter().enumerate() {
        let values = vec![
            (customer, Value::Link(customer_id(order.customer))),
            (amount, Value::from(order.amount)),
            (quantity, Value::from(order.quantity)),
        ];
        log.create(order_id(n), orders, values);
    }
    let mut peer = Decidr { engine, positions, tables, log, amount };
    let events = std::mem::take(&mut peer.log.events);
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
        for update in updates {
            self.log.set(order_id(update.order), self.amount, update.amount);
        }
        Batch::Recorded(std::mem::take(&mut self.log.events))
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
