//! Wires everything and lets the outside in. Start with [`platform`]: the whole way from a command to a delta in one file.
//!
//! Only this crate knows GraphQL and HTTP, and only here are values turned into what clients see.

pub mod auth;
mod checkpoints;
pub mod cli;
mod clocks;
pub mod csv_import;
pub mod demo;
pub mod graphql;
pub mod http;
mod measure;
pub mod platform;
pub mod position;
mod walks;
pub mod websocket;
