//! The tables, the updates, and what must come of them.

use std::collections::BTreeSet;

use clap::ValueEnum;

use crate::recorder::Random;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Orders' totals, customers' sums of these and scores of the sums, and the orders' look-ups of the scores.
    Orders,
    /// Accounts' sums, counts, means, extremes and different amounts of their lines, of which the largest shrinks now and then.
    Ledger,
}

/// How consumers are told what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Told {
    /// Whole rows of items and of owners, as they were and as they are, which are also kept so that they may be read: the work
    /// that decidr does.
    Rows,
    /// The columns that are computed, each by itself, and no rows.
    Columns,
}

/// What a consumer is told of a row, or of an owner of rows.
pub struct Column {
    pub name: &'static str,
    /// Whether each owner has it, and not each row.
    pub of_owners: bool,
}

impl Work {
    /// How many rows an owner has in the mean.
    fn rows_of_an_owner(self) -> usize {
        match self {
            Work::Orders => 10,
            Work::Ledger => 100,
        }
    }

    /// What consumers are told.
    pub fn columns(self) -> Vec<Column> {
        let of = |names: &[&'static str], of_owners| -> Vec<Column> { names.iter().map(|name| Column { name, of_owners }).collect() };
        match self {
            Work::Orders => [of(&["total", "looked_up"], false), of(&["score"], true)].into_iter().flatten().collect(),
            Work::Ledger => of(&["sum", "count", "large", "mean", "smallest", "largest", "different"], true),
        }
    }
}

/// One row: an order of a customer, or a line of an account, which is of one piece.
#[derive(Clone, Copy)]
pub struct Row {
    pub owner: usize,
    pub amount: i64,
    pub quantity: i64,
}

/// The rows at the beginning.
#[derive(Clone)]
pub struct Workload {
    pub work: Work,
    pub told: Told,
    pub rows: Vec<Row>,
    pub owners: usize,
}

/// A row gets another amount.
#[derive(Clone, Copy)]
pub struct Update {
    pub row: usize,
    pub amount: i64,
}

/// What an engine must be able to do.
pub trait Peer {
    /// Makes of updates what the engine takes; not timed.
    fn prepare(&mut self, updates: &[Update]) -> Batch;
    /// Applies a batch; returns when the consumer has taken in all that changed.
    fn apply(&mut self, batch: Batch) -> anyhow::Result<()>;
    /// What the consumer has.
    fn tables(&mut self) -> Option<Tables>;
}

/// A batch as an engine takes it.
pub enum Batch {
    Updates(Vec<Update>),
    Recorded(Vec<decidr_domain::event::Recorded>),
}

/// What a consumer has of each column, by row or owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables(pub Vec<Vec<i64>>);

impl Workload {
    pub fn new(work: Work, told: Told, rows: usize) -> Self {
        let owners = (rows / work.rows_of_an_owner()).max(1);
        let mut random = Random(1);
        let row = |n| {
            // Each owner has one at least.
            let owner = if n < owners { n } else { random.below(owners) };
            let quantity = if work == Work::Orders { 1 + random.below(9) as i64 } else { 1 };
            Row { owner, amount: 1 + random.below(1_000) as i64, quantity }
        };
        Self { work, told, rows: (0..rows).map(row).collect(), owners }
    }

    /// Updates without end; the same for everybody.
    pub fn updates(&self) -> Updates {
        let mut amounts = Vec::new();
        if self.work == Work::Ledger {
            amounts.resize(self.owners, BTreeSet::new());
            self.rows.iter().enumerate().for_each(|(id, row)| _ = amounts[row.owner].insert((row.amount, id)));
        }
        Updates { random: Random(2), rows: self.rows.clone(), amounts, made: vec![None; self.rows.len()] }
    }
}

/// Updates without end. Of the ledger's, one in ten makes the largest amount of an account a small one.
pub struct Updates {
    random: Random,
    /// As they are.
    rows: Vec<Row>,
    /// The amounts of each owner with their rows, where extremes are asked for.
    amounts: Vec<BTreeSet<(i64, usize)>>,
    made: Vec<Option<i64>>,
}

impl Updates {
    /// The newest amount of each row that got one.
    pub fn made(&self) -> &[Option<i64>] {
        &self.made
    }
}

impl Iterator for Updates {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        let mut row = self.random.below(self.rows.len());
        let mut amount = 1 + self.random.below(1_000) as i64;
        let owner = self.rows[row].owner;
        if let Some(amounts) = self.amounts.get_mut(owner) {
            if self.random.below(10) == 0 {
                row = amounts.last().map_or(row, |(_, row)| *row);
                amount = 1 + amount % 10;
            }
            amounts.remove(&(self.rows[row].amount, row));
            amounts.insert((amount, row));
        }
        self.rows[row].amount = amount;
        self.made[row] = Some(amount);
        Some(Update { row, amount })
    }
}

/// The score that follows from a sum.
pub fn score(sum: i64) -> i64 {
    if sum > 20_000 { sum * 2 } else { sum + 7 }
}

/// What an amount adds to the sum of large ones.
pub fn large(amount: i64) -> i64 {
    if amount > 500 { amount } else { 0 }
}

impl Tables {
    pub fn empty(workload: &Workload) -> Self {
        let length = |column: &Column| if column.of_owners { workload.owners } else { workload.rows.len() };
        Self(workload.work.columns().iter().map(|column| vec![0; length(column)]).collect())
    }

    /// The tables by the definitions, and nothing else.
    pub fn from_scratch(workload: &Workload, made: &[Option<i64>]) -> Self {
        let mut tables = Self::empty(workload);
        let rows = workload.rows.iter().zip(made).map(|(row, made)| Row { amount: made.unwrap_or(row.amount), ..*row }).enumerate();
        match (workload.work, tables.0.as_mut_slice()) {
            (Work::Orders, [totals, looked_up, scores]) => {
                for (id, row) in rows {
                    totals[id] = row.amount * row.quantity;
                    scores[row.owner] += totals[id];
                }
                scores.iter_mut().for_each(|sum| *sum = score(*sum));
                looked_up.iter_mut().zip(&workload.rows).for_each(|(looked_up, row)| *looked_up = scores[row.owner]);
            }
            (Work::Ledger, [sums, counts, larges, means, smallest, largest, different]) => {
                let mut of_owners: Vec<Vec<i64>> = vec![Vec::new(); workload.owners];
                rows.for_each(|(_, row)| of_owners[row.owner].push(row.amount));
                for (owner, mut amounts) in of_owners.into_iter().enumerate() {
                    amounts.sort_unstable();
                    (sums[owner], counts[owner]) = (amounts.iter().sum(), amounts.len() as i64);
                    larges[owner] = amounts.iter().copied().map(large).sum();
                    means[owner] = sums[owner] / counts[owner].max(1);
                    (smallest[owner], largest[owner]) = (amounts.first().copied().unwrap_or(0), amounts.last().copied().unwrap_or(0));
                    amounts.dedup();
                    different[owner] = amounts.len() as i64;
                }
            }
            _ => {}
        }
        tables
    }
}
