//! `decidr status`

use std::collections::BTreeMap;

use clap::Args;
use decidr_dataflow::{Arranged, Engine};
use decidr_domain::aggregate::tenant::TenantEvent;
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::event::Event;
use decidr_domain::formula::Cells as _;
use decidr_domain::id::{AttributeId, Position};
use decidr_domain::value::Value;
use decidr_ingest::EventLog;
use decidr_ingest::log::SqliteLog;
use serde_json::{Value as Json, json};

use super::{Compute, Data};
use crate::platform::replay;

#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    compute: Compute,
    /// Also how much memory each arrangement and each attribute takes. Computes everything from the log; a server may go on
    /// meanwhile.
    #[arg(long)]
    memory: bool,
}

impl Status {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let data_dir = self.data.existing()?;
        let log = SqliteLog::open_for_reading(&data_dir.log()).await?;
        let tenants: Vec<_> = log
            .tenants()
            .await?
            .into_iter()
            .filter_map(|recorded| match recorded.event {
                Event::Tenant(TenantEvent::TenantRegistered { id, key, name }) => Some(json!({ "id": id, "key": key, "name": name })),
                _ => None,
            })
            .collect();
        let bytes = std::fs::metadata(data_dir.log())?.len();
        let mut status = json!({ "events": *log.head().borrow(), "lineage": log.lineage(), "log_bytes": bytes, "tenants": tenants });
        if self.memory {
            let engine = Engine::start(self.compute.config())?;
            replay(&log, &engine, Position::MAX).await?;
            let arranged = engine.arranged();
            let sizes = arranged.sizes().map(|(name, size)| (name.to_owned(), json!({ "updates": size.updates, "bytes": size.bytes })));
            status["arrangements"] = Json::Object(sizes.into_iter().collect());
            status["collections"] = collections(&arranged);
        }
        println!("{}", serde_json::to_string_pretty(&status)?);
        Ok(())
    }
}

/// What each attribute of each collection holds.
fn collections(arranged: &Arranged) -> Json {
    let mut out = Vec::new();
    for schema in arranged.catalog().tenants() {
        for collection in schema.collections() {
            let shown: Vec<_> = collection.attributes().iter().filter_map(|a| Some((a, schema.shown_cell(a.id)?))).collect();
            let (mut cells, mut rows, mut bytes): (BTreeMap<AttributeId, (u64, usize)>, u64, usize) = Default::default();
            arranged.scan(collection.id(), None, |row| {
                (rows, bytes) = (rows + 1, bytes + row.bytes());
                for (attribute, cell) in &shown {
                    let value = row.cell(*cell);
                    if !value.is_blank() {
                        let (count, taken) = cells.entry(attribute.id).or_default();
                        (*count, *taken) = (*count + 1, *taken + size_of::<(AttributeId, Value)>() + value.heap_bytes());
                    }
                }
                true
            });
            let attribute = |(attribute, _): &(&std::sync::Arc<decidr_domain::aggregate::attribute::Attribute>, _)| {
                let (count, taken) = cells.get(&attribute.id).copied().unwrap_or_default();
                json!({ "key": attribute.key.as_str(), "kind": attribute.definition.kind(), "cells": count, "bytes": taken })
            };
            let attributes: Vec<Json> = shown.iter().map(attribute).collect();
            out.push(json!({
                "tenant": schema.tenant.key.as_str(), "key": collection.key().as_str(), "rows": rows, "bytes": bytes,
                "attributes": attributes,
            }));
        }
    }
    Json::Array(out)
}
