//! The vocabulary of the platform: what crosses between the other crates, and what it means.
//!
//! Everything here is pure: no I/O, no clock, no randomness, no async. Ids and times arrive with the command.
//! Read in this order: [`id`], [`value`], [`formula`], [`rollup`], [`aggregate`], [`schema`], [`command`],
//! [`rejection`], [`event`], [`delta`], [`arrangements`].

pub mod aggregate;
pub mod arrangements;
pub mod command;
pub mod delta;
pub mod event;
pub mod exact;
pub mod formula;
pub mod graph;
pub mod id;
pub mod layout;
pub mod rejection;
pub mod rollup;
pub mod schema;
pub mod stamp;
pub mod statistics;
pub mod value;
