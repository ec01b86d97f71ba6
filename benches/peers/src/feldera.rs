//! The dbsp crate: a circuit written by hand in its own types, with the strategies that it has for each step.

use std::collections::BTreeMap;

use anyhow::anyhow;
use dbsp::operator::{MapHandle, Update as Upsert};
use dbsp::typed_batch::{IndexedZSetReader as _, SpineSnapshot};
use dbsp::utils::{Tup2, Tup3};
use dbsp::{DBSPHandle, OrdIndexedZSet, OutputHandle, Runtime};

use crate::workload::{Batch, Peer, Tables, Update, Workload, score};

/// Ids have 128 bits and amounts as many as decimals of 28 digits need, as everywhere where tables are made at run time.
type Id = u128;
type Number = i128;
/// Customer, amount, quantity.
type Row = Tup3<Id, Number, Number>;
type Table = OutputHandle<SpineSnapshot<OrdIndexedZSet<Id, Number>>>;

struct Circuit {
    circuit: DBSPHandle,
    orders: MapHandle<Id, Row, Number>,
    totals: Table,
    scores: Table,
    looked_up: Table,
    tables: Tables,
    /// Totals are told too, and taken in as by the others.
    total_of: Vec<i64>,
}

pub fn start(workload: &Workload) -> anyhow::Result<Box<dyn Peer>> {
    let (circuit, (orders, totals, scores, looked_up)) = Runtime::init_circuit(1, |circuit| {
        let (rows, orders) = circuit.add_input_map::<Id, Row, Number, _>(|row, amount| row.1 = *amount);
        let totals = rows.map_index(|(order, row)| (*order, row.1 * row.2));
        let sums = rows.map_index(|(_, row)| (row.0, row.1 * row.2)).aggregate_linear(|total| *total);
        let scores = sums.map_index(|(customer, sum)| (*customer, score(*sum as i64) as Number));
        let by_customer = rows.map_index(|(order, row)| (row.0, *order));
        let looked_up = by_customer.join_index(&scores, |_, order, score| Some((*order, *score)));
        // All that a transaction gives, and not what its last step does.
        Ok((orders, totals.accumulate_output(), scores.accumulate_output(), looked_up.accumulate_output()))
    })
    .map_err(|error| anyhow!("{error}"))?;
    let (tables, total_of) = (Tables::empty(workload), vec![0; workload.orders.len()]);
    let mut peer = Circuit { circuit, orders, totals, scores, looked_up, tables, total_of };
    let row = |order: &crate::workload::Order| Tup3(order.customer as Id, order.amount.into(), order.quantity.into());
    let mut rows = workload.orders.iter().enumerate().map(|(id, order)| Tup2(id as Id, Upsert::Insert(row(order)))).collect();
    peer.orders.append(&mut rows);
    peer.step()?;
    Ok(Box::new(peer))
}

impl Circuit {
    fn step(&mut self) -> anyhow::Result<()> {
        self.circuit.transaction().map_err(|error| anyhow!("{error}"))?;
        let tables =
            [(&self.totals, &mut self.total_of), (&self.scores, &mut self.tables.scores), (&self.looked_up, &mut self.tables.looked_up)];
        for (output, table) in tables {
            for (key, value, weight) in output.concat().consolidate().iter() {
                if weight > 0 {
                    table[key as usize] = value as i64;
                }
            }
        }
        Ok(())
    }
}

impl Peer for Circuit {
    fn prepare(&mut self, updates: &[Update]) -> Batch {
        // Of several for one order in a batch it does not promise to take the last.
        let last: BTreeMap<usize, i64> = updates.iter().map(|update| (update.order, update.amount)).collect();
        Batch::Updates(last.into_iter().map(|(order, amount)| Update { order, amount }).collect())
    }

    fn apply(&mut self, batch: Batch) -> anyhow::Result<()> {
        let Batch::Updates(updates) = batch else { anyhow::bail!("a batch of another peer") };
        let mut rows = updates.iter().map(|update| Tup2(update.order as Id, Upsert::Update(update.amount.into()))).collect();
        self.orders.append(&mut rows);
        self.step()
    }

    fn tables(&mut self) -> Option<Tables> {
        Some(self.tables.clone())
    }
}
