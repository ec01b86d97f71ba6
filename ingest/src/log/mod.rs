//! The event log: the only truth. Everything else is derived from it.
//!
//! ```text
//! position:  1 ─ 2 ─ 3 ─ … ─ head          gapless; a committed event is never changed, moved or taken out
//! ```
//! An implementation runs the suite in `conformance`.

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod memory;
mod sqlite;

pub use memory::MemoryLog;
pub use sqlite::SqliteLog;

use std::collections::HashMap;
use std::pin::Pin;

use decidr_domain::event::{Event, Metadata, Recorded, StoredEventError};
use decidr_domain::id::{CommandId, Position, StreamId, TenantId, Version};
use tokio::sync::watch;

/// A future of a log's method.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'a>>;

/// What one command adds to the log. Stands or falls as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// The tenant whose events these are.
    pub tenant: TenantId,
    /// In whose name the command was sent: its id means something only there. The tenant, or nil for an operator.
    pub issuer: TenantId,
    /// The command. If it was appended before, nothing is added and the first answer is given again.
    pub command_id: CommandId,
    /// The aggregate that was commanded.
    pub subject: StreamId,
    /// Its version after this.
    pub version: Version,
    /// The position of the tenant's newest event before this.
    pub newest: Position,
    /// What happened, in order. May be nothing: then only the command is remembered.
    pub events: Vec<NewEvent>,
}

impl Append {
    /// The position to answer with when the log's newest is `last`.
    fn answer_position(&self, last: Position) -> Position {
        if self.events.is_empty() { self.newest.min(last) } else { last }
    }
}

/// An event that has no position yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// Its place in the stream: one more than the version that the decision was made against.
    pub version: Version,
    /// What happened.
    pub event: Event,
    /// Under which circumstances.
    pub metadata: Metadata,
}

/// The answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The aggregate that was commanded.
    pub subject: StreamId,
    /// Its version after the command.
    pub version: Version,
    /// The position of the command's last event; of the tenant's newest event before it, if it had none.
    pub position: Position,
}

/// What became of one [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log.
    New(Answer),
    /// It had been in the log before, with this answer.
    Repeated(Answer),
    /// Nothing was added: the stream does not have the version that the decision was made against.
    Conflict {
        /// Which stream.
        stream: StreamId,
        /// The version it has.
        actual: Version,
    },
}

/// Why the log could not do what it was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process took over writing; this one must stop.
    #[error("another process has opened this log for writing")]
    Fenced,
    /// The storage failed. Trying again may help.
    #[error("the log's storage failed to {operation}")]
    Storage {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A stored event cannot be read.
    #[error("the event at position {position} cannot be read")]
    Event {
        /// Which.
        position: Position,
        /// Why.
        #[source]
        source: StoredEventError,
    },
    /// What is stored is not a log, or is damaged.
    #[error("the log is damaged: {0}")]
    Damaged(String),
}

/// An event log.
///
/// # Contract
/// The caller: one writer at a time ([`LogError::Fenced`] tells the others).
/// The implementor:
/// * `append` is durable when it returns, and all of a batch's new events are visible at once.
/// * Positions have no gaps, and no reader ever sees a position before all smaller ones.
/// * A command id is remembered for ever, for its issuer alone.
/// * Events come back as they went in, old shapes raised to the newest.
pub trait EventLog: Send + Sync {
    /// Appends what several commands add, in this order, in one transaction. Returns what became of each.
    fn append<'a>(&'a self, batch: &'a [Append]) -> LogFuture<'a, Vec<Appended>>;

    /// The answers to those of these commands that are in the log.
    fn answers<'a>(&'a self, commands: &'a [(TenantId, CommandId)]) -> LogFuture<'a, HashMap<(TenantId, CommandId), Answer>>;

    /// Up to `limit` events of one stream, from version `from` on.
    fn read_stream(&self, stream: StreamId, from: Version, limit: usize) -> LogFuture<'_, Vec<Recorded>>;

    /// Up to `limit` events of all streams, those after position `after`.
    fn read_all(&self, after: Position, limit: usize) -> LogFuture<'_, Vec<Recorded>>;

    /// The events up to position `last` that are not of entities, in order.
    fn read_schema(&self, last: Position) -> LogFuture<'_, Vec<Recorded>>;

    /// The position of the newest event, and every newer one: with `read_all` a tail that misses nothing.
    fn head(&self) -> watch::Receiver<Position>;

    /// Which log this is: two logs with the same lineage agree on every position that both have.
    fn lineage(&self) -> u32;
}
