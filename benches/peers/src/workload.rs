//! The tables, the updates, and what must come of them.

use clap::ValueEnum;

use crate::recorder::Random;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Orders' totals, customers' sums of these and scores of the sums, and the orders' look-ups of the scores.
    Orders,
    /// Accounts' sums, counts, means, extremes and different amounts of their lines, of which some go.
    Ledger,
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
    pub rows: Vec<Row>,
    pub owners: usize,
}

/// A row gets another amount, or goes.
#[derive(Clone, Copy)]
pub struct Update {
    pub row: usize,
    pub amount: Option<i64>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables(pub Vec<Vec<i64>>);

impl Workload {
    pub fn new(work: Work, rows: usize) -> Self {
        let owners = (rows / work.rows_of_an_owner()).max(1);
        let mut random = Random(1);
        let row = |n| {
            // Each owner has one at least.
            let owner = if n < owners { n } else { random.below(owners) };
            let quantity = if work == Work::Orders { 1 + random.below(9) as i64 } else { 1 };
            Row { owner, amount: 1 + random.below(1_000) as i64, quantity }
        };
        Self { work, rows: (0..rows).map(row).collect(), owners }
    }

    /// Updates without end; the same for everybody.
    pub fn updates(&self) -> Updates {
        let mut extremes = Vec::new();
        if self.work == Work::Ledger {
            // No owner loses all, and half of the rows stay.
            extremes.extend(self.owners..self.rows.len());
            extremes.sort_by_key(|row| self.rows[*row].amount);
            extremes.drain(..extremes.len() / 2);
        }
        Updates { random: Random(2), extremes, made: vec![None; self.rows.len()] }
    }
}

/// Updates without end. One of ten takes away what was the largest amount, as long as there are some that may go.
pub struct Updates {
    random: Random,
    /// Rows that may go, the largest last.
    extremes: Vec<usize>,
    made: Vec<Option<Update>>,
}

impl Updates {
    /// The newest update of each row that got one.
    pub fn made(&self) -> &[Option<Update>] {
        &self.made
    }
}

impl Iterator for Updates {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        let goes = if self.random.below(10) == 0 { self.extremes.pop() } else { None };
        let update = match goes {
            Some(row) => Update { row, amount: None },
            None => loop {
                let row = self.random.below(self.made.len());
                if self.made[row].is_none_or(|made| made.amount.is_some()) {
                    break Update { row, amount: Some(1 + self.random.below(1_000) as i64) };
                }
            },
        };
        self.made[update.row] = Some(update);
        Some(update)
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
    pub fn from_scratch(workload: &Workload, made: &[Option<Update>]) -> Self {
        let mut tables = Self::empty(workload);
        let rows = workload.rows.iter().zip(made).enumerate().filter_map(|(id, (row, made))| {
            let amount = made.map_or(Some(row.amount), |made| made.amount)?;
            Some((id, Row { amount, ..*row }))
        });
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
