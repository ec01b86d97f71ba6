//! Deltas in, read models out. Knows no events and no dataflow.
//!
//! [`Sink`] is what a read model implements; [`live`] is the one behind subscriptions: it keeps nothing but who listens.

mod interests;
pub mod live;
mod query;
mod schedule;

use std::sync::Arc;

use decidr_domain::delta::Delta;
use decidr_domain::id::Position;

pub use live::{Changes, ChangesKind, Live, LiveQuery, Op, OpKind, Subscription};

/// A read model, fed with deltas.
///
/// # Contract
/// The caller: hands over every delta after [`Sink::position`] once, in order.
/// The implementor: after `apply` its position is the delta's. What it shows is what the deltas up to there add up to.
pub trait Sink: Send + Sync {
    /// Its name, for logs and metrics.
    fn name(&self) -> &'static str;
    /// The position that it shows.
    fn position(&self) -> Position;
    /// Takes the next delta in.
    fn apply(&self, delta: &Arc<Delta>);
}
