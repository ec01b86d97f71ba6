//! The orders, the updates, and what must come of them.

use crate::recorder::Random;

/// One order.
#[derive(Clone, Copy)]
pub struct Order {
    pub customer: usize,
    pub amount: i64,
    pub quantity: i64,
}

/// The orders at the beginning.
pub struct Workload {
    pub orders: Vec<Order>,
    pub customers: usize,
}

/// An order gets another amount.
#[derive(Clone, Copy)]
pub struct Update {
    pub order: usize,
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

/// What a consumer has: the score of each customer, and what each order looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    pub scores: Vec<i64>,
    pub looked_up: Vec<i64>,
}

impl Workload {
    pub fn new(orders: usize) -> Self {
        let customers = (orders / 10).max(1);
        let mut random = Random(1);
        let order =
            |_| Order { customer: random.below(customers), amount: 1 + random.below(1_000) as i64, quantity: 1 + random.below(9) as i64 };
        Self { orders: (0..orders).map(order).collect(), customers }
    }

    /// Updates without end; the same for everybody.
    pub fn updates(&self) -> Updates {
        Updates { random: Random(2), orders: self.orders.len(), made: vec![None; self.orders.len()] }
    }
}

/// Updates without end.
pub struct Updates {
    random: Random,
    orders: usize,
    made: Vec<Option<i64>>,
}

impl Updates {
    /// The newest amount of each order that got one.
    pub fn made(&self) -> &[Option<i64>] {
        &self.made
    }
}

impl Iterator for Updates {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        let (order, amount) = (self.random.below(self.orders), 1 + self.random.below(1_000) as i64);
        self.made[order] = Some(amount);
        Some(Update { order, amount })
    }
}

/// The score that follows from a sum.
pub fn score(sum: i64) -> i64 {
    if sum > 20_000 { sum * 2 } else { sum + 7 }
}

impl Tables {
    pub fn empty(workload: &Workload) -> Self {
        Self { scores: vec![0; workload.customers], looked_up: vec![0; workload.orders.len()] }
    }

    /// The tables by the definitions, and nothing else.
    pub fn from_scratch(workload: &Workload, made: &[Option<i64>]) -> Self {
        let mut sums = vec![None; workload.customers];
        for (order, amount) in workload.orders.iter().zip(made) {
            *sums[order.customer].get_or_insert(0) += amount.unwrap_or(order.amount) * order.quantity;
        }
        // Customers without orders are known to nobody in some peers.
        let scores: Vec<i64> = sums.iter().map(|sum| sum.map_or(0, score)).collect();
        let looked_up = workload.orders.iter().map(|order| scores[order.customer]).collect();
        Self { scores, looked_up }
    }
}
