//! Events in, arrangements and deltas out. The only crate that knows timely and differential.
//!
//! ```text
//!             worker 0 takes what is queued: one batch, one timestamp, its last position
//!                 │
//!   events ─▶ exchange by entity ─▶ [compute: fold, then one round for each level] ─▶ rows, members, links ─▶ arranged
//!                 ▲                                            │                                                │
//!                 └──────────── links and contributions ───────┘                    snapshot + delta ◀──────────┘
//! ```
//! Reading order: [`engine`] (the threads and what they share), `conductor` (batches, publication), `render` (the graph), `batcher` (updates into batches), `compute` (the one operator that
//! folds, evaluates and crosses links), `plan` (the schema as that operator sees it), `rollup` (how summaries are kept),
//! [`snapshot`] (reading from any thread), `index` and `indexer` (finding by value). `oracle` computes everything again from scratch, for tests.

mod activators;
mod batcher;
mod compute;
mod conductor;
pub mod engine;
mod index;
mod indexer;
mod message;
#[cfg(any(test, feature = "test-util"))]
pub mod oracle;
mod plan;
mod render;
mod rollup;
mod rows;
pub mod snapshot;
mod types;
mod worker;

pub use compute::Progress;
#[cfg(feature = "test-util")]
pub use compute::kernels;
pub use engine::{Engine, EngineConfig, EngineError, Published};
pub use rollup::{Group as RollupGroup, strategy};
pub use snapshot::{Arranged, Selection};
