//! The dbsp crate: a circuit written by hand in its own types, with the strategies that it has for each step.

use std::collections::BTreeMap;

use anyhow::anyhow;
use dbsp::operator::{MapHandle, Update as Upsert};
use dbsp::typed_batch::{IndexedZSetReader as _, SpineSnapshot};
use dbsp::utils::{Tup2, Tup3};
use dbsp::{DBSPHandle, OrdIndexedZSet, OutputHandle, Runtime};

use crate::workload::{Batch, Peer, Tables, Update, Workload, score};

/// Customer, amount, quantity.
type Row = Tup3<u64, i64, i64>;
type Table = OutputHandle<SpineSnapshot<OrdIndexedZSet<u64, i64>>>;

struct Circuit {
    circuit: DBSPHandle,
    orders: MapHandle<u64, Row, i64>,
    totals: Table,
    scores: Table,
    looked_up: Table,
    tables: Tables,
    /// Totals are told too, and taken in as by the others.
    total_of: Vec<i64>,
}

pub fn start(workload: &Workload) -> anyhow::Result<Box<dyn Peer>> {
    let (circuit, (orders, totals, scores, looked_up)) = Runtime::init_circuit(1, |circuit| {
        let (rows, orders) = circuit.add_input_map::<u64, Row, i64, _>(|row, amount| row.1 = *amount);
        let totals = rows.map_index(|(order, row)| (*order, row.1 * row.2));
        let sums = rows.map_index(|(_, row)| (row.0, row.1 * row.2)).aggregate_linear(|total| *total);
        let scores = sums.map_index(|(customer, sum)| (*customer, score(*sum)));
        let by_customer = rows.map_index(|(order, row)| (row.0, *order));
        let looked_up = by_customer.join_index(&scores, |_, order, score| Some((*order, *score)));
        // All that a transaction gives, and not what its last step does.
        Ok((orders, totals.accumulate_output(), scores.accumulate_output(), looked_up.accumulate_output()))
    })
    .map_err(|error| anyhow!("{error}"))?;
    let (tables, total_of) = (Tables::empty(workload), vec![0; workload.orders.len()]);
    let mut peer = Circuit { circuit, orders, totals, scores, looked_up, tables, total_of };
    let row = |order: &crate::workload::Order| Tup3(order.customer as u64, order.amount, order.quantity);
    let mut rows = workload.orders.iter().enumerate().map(|(id, order)| Tup2(id as u64, Upsert::Insert(row(order)))).collect();
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
                    table[key as usize] = value;
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
        let mut rows = updates.iter().map(|update| Tup2(update.order as u64, Upsert::Update(update.amount))).collect();
        self.orders.append(&mut rows);
        self.step()
    }

    fn tables(&mut self) -> Option<Tables> {
        Some(self.tables.clone())
    }
}
