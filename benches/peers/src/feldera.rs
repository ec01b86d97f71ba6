//! The dbsp crate: circuits written by hand in its own types, with the strategies that it has for each step.

use std::collections::BTreeMap;

use anyhow::anyhow;
use dbsp::operator::{MapHandle, Max, Min, Update as Upsert};
use dbsp::typed_batch::{IndexedZSetReader as _, SpineSnapshot};
use dbsp::utils::{Tup2, Tup3, Tup5, Tup7};
use dbsp::{DBSPHandle, OrdIndexedZSet, OutputHandle, RootCircuit, Runtime, Stream};

use crate::workload::{Batch, Peer, Row, Tables, Told, Update, Work, Workload, large, score};

/// Ids have 128 bits and amounts as many as decimals of 28 digits need, as everywhere where tables are made at run time.
type Id = u128;
type Number = i128;
/// Owner, amount, quantity.
type Input = Tup3<Id, Number, Number>;
type Rows = Stream<RootCircuit, OrdIndexedZSet<Id, Input>>;
type Numbers = Stream<RootCircuit, OrdIndexedZSet<Id, Number>>;
type Handle<V> = OutputHandle<SpineSnapshot<OrdIndexedZSet<Id, V>>>;
/// An order: what it was given, its total and the score that it looks up.
type Order = Tup5<Id, Number, Number, Number, Number>;
/// A customer's sum and score.
type Customer = Tup2<Number, Number>;
/// An account: all columns.
type Account = Tup7<Number, Number, Number, Number, Number, Number, Number>;

struct Circuit {
    circuit: DBSPHandle,
    rows: MapHandle<Id, Input, Number>,
    outputs: Outputs,
    tables: Tables,
}

/// What is told.
enum Outputs {
    /// In the order of the work's columns.
    Columns(Vec<Handle<Number>>),
    Orders(Handle<Order>, Handle<Customer>),
    Ledger(Handle<Input>, Handle<Account>),
}

pub fn start(workload: &Workload) -> anyhow::Result<Box<dyn Peer>> {
    let (work, told) = (workload.work, workload.told);
    let (circuit, (rows, outputs)) = Runtime::init_circuit(1, move |circuit| {
        let (rows, input) = circuit.add_input_map::<Id, Input, Number, _>(|row, amount| row.1 = *amount);
        // All that a transaction gives, and not what its last step does.
        let outputs = match (work, told) {
            (Work::Orders, Told::Columns) => Outputs::Columns(orders(&rows).iter().map(Numbers::accumulate_output).collect()),
            (Work::Ledger, Told::Columns) => Outputs::Columns(ledger(&rows).iter().map(Numbers::accumulate_output).collect()),
            (Work::Orders, Told::Rows) => {
                let (orders, customers) = orders_in_rows(&rows);
                orders.accumulate_integrate_trace();
                customers.accumulate_integrate_trace();
                Outputs::Orders(orders.accumulate_output(), customers.accumulate_output())
            }
            (Work::Ledger, Told::Rows) => {
                let accounts = ledger_in_rows(&rows);
                rows.accumulate_integrate_trace();
                accounts.accumulate_integrate_trace();
                Outputs::Ledger(rows.accumulate_output(), accounts.accumulate_output())
            }
        };
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

/// By id.
type Indexed<V> = Stream<RootCircuit, OrdIndexedZSet<Id, V>>;

fn orders_in_rows(rows: &Rows) -> (Indexed<Order>, Indexed<Customer>) {
    let sums = rows.map_index(|(_, row)| (row.0, row.1 * row.2)).aggregate_linear(|total| *total);
    let customers = sums.map_index(|(customer, sum)| (*customer, Tup2(*sum, score(*sum as i64) as Number)));
    let by_customer = rows.map_index(|(order, row)| (row.0, Tup3(*order, row.1, row.2)));
    let orders = by_customer
        .join_index(&customers, |customer, order, sums| Some((order.0, Tup5(*customer, order.1, order.2, order.1 * order.2, sums.1))));
    (orders, customers)
}

fn ledger_in_rows(rows: &Rows) -> Indexed<Account> {
    let by_account: Numbers = rows.map_index(|(_, row)| (row.0, row.1));
    let linear = by_account.aggregate_linear(|amount| Tup3(*amount, 1 as Number, Number::from(large(*amount as i64))));
    let (smallest, largest) = (by_account.aggregate(Min), by_account.aggregate(Max));
    let ends = smallest.join_index(&largest, |account, smallest, largest| Some((*account, Tup2(*smallest, *largest))));
    let ordered = ends.join_index(&by_account.distinct_count(), |account, ends, different| {
        Some((*account, Tup3(ends.0, ends.1, Number::from(*different))))
    });
    linear.join_index(&ordered, |account, all, ordered| {
        Some((*account, Tup7(all.0, all.1, all.2, all.0 / all.1, ordered.0, ordered.1, ordered.2)))
    })
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

/// Reads what a transaction gave, and takes what came in.
fn each_new<V>(updates: impl Iterator<Item = (Id, V, i64)>, mut take: impl FnMut(usize, V)) {
    for (key, value, weight) in updates {
        if weight > 0 {
            take(key as usize, value);
        }
    }
}

impl Circuit {
    fn step(&mut self) -> anyhow::Result<()> {
        self.circuit.transaction().map_err(|error| anyhow!("{error}"))?;
        let tables = &mut self.tables.0;
        match &self.outputs {
            Outputs::Columns(outputs) => {
                for (column, output) in outputs.iter().enumerate() {
                    each_new(output.concat().consolidate().iter(), |key, value| tables[column][key] = value as i64);
                }
            }
            Outputs::Orders(orders, customers) => {
                each_new(orders.concat().consolidate().iter(), |key, row| (tables[0][key], tables[1][key]) = (row.3 as i64, row.4 as i64));
                each_new(customers.concat().consolidate().iter(), |key, row| tables[2][key] = row.1 as i64);
            }
            Outputs::Ledger(lines, accounts) => {
                each_new(lines.concat().consolidate().iter(), |_, _| {});
                each_new(accounts.concat().consolidate().iter(), |key, row| {
                    let columns = [row.0, row.1, row.2, row.3, row.4, row.5, row.6];
                    tables.iter_mut().zip(columns).for_each(|(table, value)| table[key] = value as i64);
                });
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
