//! Question: how long from the commit of an update until a live query has its delta, at a given rate of updates?
//!
//! Imports the demo's flights with all their computed attributes into a new data directory (a real log, synced at every
//! commit), then sets delays at a steady rate, whatever the answers do (open loop), while a subscriber watches the
//! airlines, whose rollups change with every update. Prints milliseconds, as a table and as JSON.
//!
//! - commit to delta: from the answer of the command, which comes when it is durable, until its position is delivered.
//! - due to delta: from the moment at which the update should have been sent; includes every wait.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use decidr_api::demo::{Demo, TENANT};
use decidr_api::platform::{DataDir, Platform};
use decidr_dataflow::EngineConfig;
use decidr_domain::aggregate::entity::EntityCommand;
use decidr_domain::arrangements::Snapshot;
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::id::{CommandId, Key};
use decidr_sinks::LiveQuery;
use decidr_sinks::live::{Hears, Next};
use hdrhistogram::Histogram;
use serde_json::{Map, json};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: decidr_allocator::Allocator = decidr_allocator::Allocator;

/// Latency from commit to delta at a steady rate of updates.
#[derive(Parser)]
struct Options {
    /// Updates a second.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Dataflow workers.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// A folder with the four files, in place of January.
    #[arg(long)]
    source: Option<PathBuf>,
}

#[derive(Default)]
struct Waiting {
    /// By position: when it was due, and when its answer came.
    updates: BTreeMap<u64, (Instant, Instant)>,
    delivered: u64,
    delivered_at: Option<Instant>,
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 600_000_000, 3)?)
}

fn milliseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = tempfile::tempdir()?;
    let data_dir = DataDir::create(folder.path())?;
    let config = EngineConfig { workers: options.workers, ..EngineConfig::default() };
    let platform = Arc::new(Platform::open(&data_dir, config).await?);
    let summary = Demo { platform: &platform, data_dir: &data_dir, source: options.source.as_deref() }.import().await?;
    let import_rate = summary.commands as f64 / summary.seconds;
    println!("import: {} commands in {:.1} s, {import_rate:.0}/s", summary.commands, summary.seconds);

    let arranged = platform.arranged();
    let schema = arranged.catalog().tenant_by_key(&Key::new(TENANT)?).cloned().ok_or_else(|| anyhow::anyhow!("no tenant"))?;
    let collection = |key: &str| schema.collection_by_key(key).map(|c| c.id()).ok_or_else(|| anyhow::anyhow!("no collection {key}"));
    let mut flights = Vec::new();
    arranged.scan(collection("flights")?, None, |row| {
        flights.push(row.entity.id);
        true
    });
    let query = LiveQuery { tenant: schema.tenant.id, collection: collection("airlines")?, filter: None };
    let mut subscription = platform.live().subscribe(query, None, Hears::Entities).expect("no time is asked for");
    let waiting = Arc::new(Mutex::new(Waiting::default()));
    let measured = Arc::new(Mutex::new((histogram()?, histogram()?)));

    let record = |measured: &Mutex<(Histogram<u64>, Histogram<u64>)>, due: Instant, answered: Instant, now: Instant| {
        let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.0.saturating_record(now.saturating_duration_since(answered).as_micros() as u64);
        measured.1.saturating_record(now.saturating_duration_since(due).as_micros() as u64);
    };
    let (theirs, histograms) = (waiting.clone(), measured.clone());
    let reader = tokio::spawn(async move {
        while let Next::Changes(changes) = subscription.next().await {
            let now = Instant::now();
            let mut waiting = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            let later = waiting.updates.split_off(&(changes.position + 1));
            for (due, answered) in std::mem::replace(&mut waiting.updates, later).into_values() {
                record(&histograms, due, answered, now);
            }
            (waiting.delivered, waiting.delivered_at) = (changes.position, Some(now));
        }
    });

    let started = Instant::now();
    let total = u64::from(options.rate) * u64::from(options.seconds);
    let mut senders = tokio::task::JoinSet::new();
    for i in 0..total {
        let due = started + Duration::from_secs_f64(i as f64 / f64::from(options.rate));
        tokio::time::sleep_until(due.into()).await;
        // Timers are a little early at times.
        let due = due.min(Instant::now());
        let id = flights[(i.wrapping_mul(7_919) % flights.len() as u64) as usize];
        // Different from what it was, each time round.
        let values = Map::from_iter([("arr_delay".to_owned(), json!((i % 997) as f64 + (i / 997) as f64 / 1000.0))]);
        let command = Command::Entity(EntityCommand::SetValues { id, values, expected_version: None });
        let command_id = CommandId(Uuid::now_v7());
        let authority = Authority::Tenant(schema.tenant.id);
        let request = Request { command_id, authority, actor: "bench".into(), correlation_id: command_id.0, command };
        let (platform, waiting, measured) = (platform.clone(), waiting.clone(), measured.clone());
        senders.spawn(async move {
            let Ok(answer) = platform.execute(request).await else { return false };
            let answered = Instant::now();
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            match waiting.delivered_at {
                // The delta was faster than the answer.
                Some(at) if waiting.delivered >= answer.position => record(&measured, due, answered, at.max(answered)),
                _ => drop(waiting.updates.insert(answer.position, (due, answered))),
            }
            true
        });
    }
    let mut failed = 0;
    while let Some(sent) = senders.join_next().await {
        failed += u64::from(!sent?);
    }
    let seconds = started.elapsed().as_secs_f64();
    platform.reached(platform.head()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    reader.abort();
    let measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{:>16} {:>9} {:>9} {:>9} {:>9}", "milliseconds", "p50", "p90", "p99", "p99.9");
    for (name, histogram) in [("commit to delta", &measured.0), ("due to delta", &measured.1)] {
        let at = |quantile| milliseconds(histogram, quantile);
        println!("{name:>16} {:>9.3} {:>9.3} {:>9.3} {:>9.3}", at(0.5), at(0.9), at(0.99), at(0.999));
    }
    let quantiles = |h: &Histogram<u64>| json!({ "p50": milliseconds(h, 0.5), "p99": milliseconds(h, 0.99), "p999": milliseconds(h, 0.999), "count": h.len() });
    let report = json!({
        "import_commands_per_second": import_rate.round(), "rate": options.rate, "sent": total, "failed": failed,
        "sustained_per_second": (total as f64 / seconds).round(),
        "commit_to_delta_ms": quantiles(&measured.0), "due_to_delta_ms": quantiles(&measured.1),
    });
    println!("{report}");
    Ok(())
}
