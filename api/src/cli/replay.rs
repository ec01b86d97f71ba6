//! `decidr replay`

use std::time::Instant;

use clap::Args;
use decidr_dataflow::Engine;
use decidr_domain::id::{Position, StreamId};
use decidr_ingest::EventLog;
use decidr_ingest::log::SqliteLog;
use serde_json::{Value as Json, json};

use super::{Compute, Data};
use crate::platform::replay;

#[derive(Args)]
pub(super) struct Replay {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    compute: Compute,
    /// Up to this position only.
    #[arg(long, value_name = "POSITION")]
    to: Option<Position>,
    /// Print the events of one stream as JSON lines, in place of computing.
    #[arg(long, value_name = "entity-…")]
    stream: Option<StreamId>,
}

impl Replay {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let log = SqliteLog::open_for_reading(&self.data.existing()?.log()).await?;
        if let Some(stream) = self.stream {
            let mut from = 1;
            loop {
                let events = log.read_stream(stream, from, 1000).await?;
                let Some(last) = events.last() else { return Ok(()) };
                from = last.version + 1;
                for recorded in &events {
                    let stored = recorded.event.to_stored();
                    let data: Json = serde_json::from_str(&stored.data)?;
                    let metadata = &recorded.metadata;
                    let line = json!({
                        "position": recorded.position, "stream": stream.to_string(), "version": recorded.version,
                        "type": stored.event_type, "data": data, "actor": metadata.actor, "recorded_at": metadata.recorded_at,
                        "event_id": metadata.event_id, "command_id": metadata.command_id,
                        "causation_id": metadata.causation_id, "correlation_id": metadata.correlation_id,
                    });
                    println!("{line}");
                }
            }
        }
        let started = Instant::now();
        let engine = Engine::start(self.compute.config())?;
        let events = replay(&log, &engine, 0, self.to.unwrap_or(Position::MAX)).await?;
        let seconds = started.elapsed().as_secs_f64();
        println!("{}", json!({ "events": events, "seconds": seconds, "events_per_second": (events as f64 / seconds).round() }));
        Ok(())
    }
}
