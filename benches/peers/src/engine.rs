//! decidr's dataflow: the schema arrives as events while it runs, formulas are interpreted, numbers are exact decimals.
//!
//! The log and the command path are left out, as the others have neither; events are what its dataflow is fed in earnest.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use decidr_dataflow::{Engine, EngineConfig};
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::arrangements::Arrangements as _;
use decidr_domain::event::Recorded;
use decidr_domain::id::{AttributeId, CollectionId, EntityId, Position};
use decidr_domain::value::Value;
use rust_decimal::prelude::ToPrimitive as _;
use uuid::Uuid;

use crate::recorder::{Recorder, formula, rollup};
use crate::workload::{Batch, Peer, Tables, Update, Work, Workload};

/// Owners and rows are told apart by this in their ids.
const OWNERS: u128 = 1 << 64;

struct Decidr {
    engine: Engine,
    positions: Receiver<Position>,
    tables: Arc<Mutex<Tables>>,
    log: Recorder,
    amount: AttributeId,
}

/// The collections and the attributes of them that are set; and those that consumers are told of, in the order of the columns.
struct Schema {
    rows: CollectionId,
    owners: CollectionId,
    owner: AttributeId,
    amount: AttributeId,
    quantity: AttributeId,
    told: Vec<AttributeId>,
}

impl Schema {
    fn new(log: &mut Recorder, work: Work) -> anyhow::Result<Self> {
        let (owners, rows) = (log.collection("owners")?, log.collection("rows")?);
        let link = log.link(owners, false, "rows", false)?;
        let owner = log.attribute(rows, "owner", link)?;
        let amount = log.attribute(rows, "amount", DefinitionInput::number())?;
        let quantity = log.attribute(rows, "quantity", DefinitionInput::number())?;
        let told = match work {
            Work::Orders => {
                let total = log.attribute(rows, "total", formula("{amount} * {quantity}"))?;
                log.attribute(owners, "sum", rollup("rows", "total", "SUM", None)?)?;
                let score = log.attribute(owners, "score", formula("IF({sum} > 20000, {sum} * 2, {sum} + 7)"))?;
                vec![total, log.attribute(rows, "looked_up", DefinitionInput::lookup("owner", "score"))?, score]
            }
            Work::Ledger => {
                let mut told = Vec::new();
                for (key, function, filter) in [
                    ("sum", "SUM", None),
                    ("count", "COUNT", None),
                    ("large", "SUM", Some("{amount} > 500")),
                    ("mean", "AVERAGE", None),
                    ("smallest", "MIN", None),
                    ("largest", "MAX", None),
                    ("different", "COUNT_UNIQUE", None),
                ] {
                    told.push(log.attribute(owners, key, rollup("rows", "amount", function, filter)?)?);
                }
                told
            }
        };
        Ok(Self { rows, owners, owner, amount, quantity, told })
    }
}

pub fn start(workload: &Workload) -> anyhow::Result<Box<dyn Peer>> {
    let mut log = Recorder::new()?;
    let Schema { rows, owners, owner, amount, quantity, told } = Schema::new(&mut log, workload.work)?;
    let engine = Engine::start(EngineConfig { batch_size_max: 16_384, ..EngineConfig::default() })?;
    let tables = Arc::new(Mutex::new(Tables::empty(workload)));
    let (sender, positions) = channel();
    let theirs = tables.clone();
    let number = |value: &Value| match value {
        Value::Number(number) => number.to_i64().unwrap_or(0),
        _ => 0,
    };
    let columns: Vec<_> = workload.work.columns().into_iter().map(|column| column.of_owners).zip(told).enumerate().collect();
    engine.subscribe(Box::new(move |published| {
        let mut tables = theirs.lock().unwrap_or_else(PoisonError::into_inner);
        for change in &published.delta.changes {
            let id = change.entity_id.0.as_u128();
            let (place, is_owner) = (id as u64 as usize - 1, id > OWNERS);
            for (column, (_, attribute)) in columns.iter().filter(|(_, (of_owners, _))| *of_owners == is_owner) {
                tables.0[*column][place] = number(change.new.computed(*attribute));
            }
        }
        // Whoever waited may have gone.
        let _ = sender.send(published.delta.position);
    }));
    for n in 0..workload.owners {
        log.create(owner_id(n), owners, vec![]);
    }
    for (n, row) in workload.rows.iter().enumerate() {
        let values =
            vec![(owner, Value::Link(owner_id(row.owner))), (amount, Value::from(row.amount)), (quantity, Value::from(row.quantity))];
        log.create(row_id(n), rows, values);
    }
    let mut peer = Decidr { engine, positions, tables, log, amount };
    let events = std::mem::take(&mut peer.log.events);
    peer.accept(events)?;
    Ok(Box::new(peer))
}

fn row_id(n: usize) -> EntityId {
    EntityId(Uuid::from_u128(n as u128 + 1))
}

fn owner_id(n: usize) -> EntityId {
    EntityId(Uuid::from_u128(OWNERS + n as u128 + 1))
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
            self.log.set(row_id(update.row), self.amount, update.amount);
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
