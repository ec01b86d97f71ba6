//! The dbsp crate: circuits written by hand in its own types, with the strategies that it has for each step.

use std::collections::BTreeMap;

use anyhow::anyhow;
use dbsp::operator::{MapHandle, Max, Min, Update as Upsert};
use dbsp::typed_batch::{IndexedZSetReader as _, SpineSnapshot};
use dbsp::utils::{Tup2, Tup3};
use dbsp::{DBSPHandle, OrdIndexedZSet, OutputHandle, RootCircuit, Runtime, Stream};

use crate::workload::{Batch, Peer, Row, Tables, Update, Work, Workload, large, score};

/// Ids have 128 bits and amounts as many as decimals of 28 digits need, as everywhere where tables are made at run time.
type Id = u128;
type Number = i128;
/// Owner, amount, quantity.
type Input = Tup3<Id, Number, Number>;
type Rows = Stream<RootCircuit, OrdIndexedZSet<Id, Input>>;
type Numbers = Stream<RootCircuit, OrdIndexedZSet<Id, Number>>;
type Table = OutputHandle<SpineSnapshot<OrdIndexedZSet<Id, Number>>>;

struct Circuit {
    circuit: DBSPHandle,
    rows: MapHandle<Id, Input, Number>,
    /// In the order of the work's columns.
    outputs: Vec<Table>,
    tables: Tables,
}

pub fn start(workload: &Workload) -> anyhow::Result<Box<dyn Peer>> {
    let work = workload.work;
    let (circuit, (rows, outputs)) = Runtime::init_circuit(1, move |circuit| {
        let (rows, input) = circuit.add_input_map::<Id, Input, Number, _>(|row, amount| row.1 = *amount);
        let columns = match work {
            Work::Orders => orders(&rows),
            Work::Ledger => ledger(&rows),
        };
        // All that a transaction gives, and not what its last step does.
        let outputs: Vec<Table> = columns.iter().map(Numbers::accumulate_output).collect();
        Ok((input, outputs))
    })
    .map_err(|error| anyhow!("{error}"))?;
    let mut peer = Circuit { circuit, rows, outputs, tables: Tables::empty(workload) };
    let input = |row: &Row| Tup3(row.owner as Id, row.amount.into(), row.quantity.into());
    let mut rows = workload.rows.iter().enumerate().map(|(id, row)| Tup2(id as Id, Upsert::Insert(input(row)))).collect();
    peer.rows.append(&mut rows);
    peer.step()?;
    Ok(Box::new(peer))
}

fn orders(rows: &Rows) -> Vec<Numbers> {
    let totals = rows.map_index(|(order, row)| (*order, row.1 * row.2));
    let sums = rows.map_index(|(_, row)| (row.0, row.1 * row.2)).aggregate_linear(|total| *total);
    let scores = sums.map_index(|(customer, sum)| (*customer, score(*sum as i64) as Number));
    let by_customer = rows.map_index(|(order, row)| (row.0, *order));
    let looked_up = by_customer.join_index(&scores, |_, order, score| Some((*order, *score)));
    vec![totals, looked_up, scores]
}

fn ledger(rows: &Rows) -> Vec<Numbers> {
    let by_account: Numbers = rows.map_index(|(_, row)| (row.0, row.1));
    // What is linear is summed up together.
    let linear = by_account.aggregate_linear(|amount| Tup3(*amount, 1 as Number, Number::from(large(*amount as i64))));
    let sums = linear.map_index(|(account, all)| (*account, all.0));
    let counts = linear.map_index(|(account, all)| (*account, all.1));
    let larges = linear.map_index(|(account, all)| (*account, all.2));
    let means = linear.map_index(|(account, all)| (*account, all.0 / all.1));
    let (smallest, largest) = (by_account.aggregate(Min), by_account.aggregate(Max));
    let different = by_account.distinct_count().map_index(|(account, count)| (*account, Number::from(*count)));
    vec![sums, counts, larges, means, smallest, largest, different]
}

impl Circuit {
    fn step(&mut self) -> anyhow::Result<()> {
        self.circuit.transaction().map_err(|error| anyhow!("{error}"))?;
        for (output, table) in self.outputs.iter().zip(&mut self.tables.0) {
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
        // Of several for one row in a batch it does not promise to take the last.
        let last: BTreeMap<usize, Update> = updates.iter().map(|update| (update.row, *update)).collect();
        Batch::Updates(last.into_values().collect())
    }

    fn apply(&mut self, batch: Batch) -> anyhow::Result<()> {
        let Batch::Updates(updates) = batch else { anyhow::bail!("a batch of another peer") };
        let mut rows = updates.iter().map(|update| Tup2(update.row as Id, Upsert::Update(update.amount.into()))).collect();
        self.rows.append(&mut rows);
        self.step()
    }

    fn tables(&mut self) -> Option<Tables> {
        Some(self.tables.clone())
    }
}
