//! `decidr status`

use clap::Args;
use decidr_dataflow::Engine;
use decidr_domain::aggregate::tenant::TenantEvent;
use decidr_domain::event::Event;
use decidr_domain::id::Position;
use decidr_ingest::EventLog;
use decidr_ingest::log::SqliteLog;
use serde_json::{Value as Json, json};

use super::{Compute, Data};
use crate::measure::collections;
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
        // What was appended last lies beside it, until it is large enough to be moved.
        let ahead = data_dir.log().with_extension("sqlite-wal");
        let bytes = std::fs::metadata(data_dir.log())?.len() + std::fs::metadata(ahead).map_or(0, |file| file.len());
        let mut status = json!({ "events": *log.head().borrow(), "lineage": log.lineage(), "log_bytes": bytes, "tenants": tenants });
        if self.memory {
            let engine = Engine::start(self.compute.config())?;
            replay(&log, &engine, 0, Position::MAX).await?;
            let arranged = engine.arranged();
            let sizes = arranged.sizes().map(|(name, size)| (name.to_owned(), json!({ "updates": size.updates, "bytes": size.bytes })));
            status["arrangements"] = Json::Object(sizes.into_iter().collect());
            status["collections"] = json!(collections(&arranged));
        }
        println!("{}", serde_json::to_string_pretty(&status)?);
        Ok(())
    }
}
