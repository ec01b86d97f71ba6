//! The way in: commands are decided, and what was decided is appended to the log.
//!
//! ```text
//! request ─▶ CommandPath: decide against arrangements + what is in flight ─▶ EventLog: one transaction for many ─▶ answer
//!                                                                               └▶ recorded events, to the dataflow
//! ```
//! Start with [`command_path`]; the log's contract is in [`log`]. This crate knows no dataflow: what it needs of the
//! arrangements is the trait [`decidr_domain::arrangements::Arrangements`].

mod allowance;
mod appender;
pub mod checkpoint;
pub mod command_path;
pub mod log;

pub use command_path::{CommandPath, ExecuteError};
pub use log::{Answer, EventLog, LogError};
