//! The workloads by which engines that keep views up to date are compared: flat look-ups (W1), sums with many parts (W2),
//! chains and trees (W3), a social graph (W4), many tenants (W6). Events are made beforehand and fed to the dataflow without
//! a log; what is arranged in the end is compared with what SQLite makes of the same tables.
//!
//! Rates are of one batch after the other. Latencies are of single updates that arrive on a fixed schedule, whether or not
//! the one before is through, each from when it was due: nothing that waits is left out. The thread that sends them sleeps until
//! then, and a machine that others share may wake it too late, by milliseconds. So they are told from when each was sent, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use benches::Times;
use benches::recorder::{Random, Recorder};
use decidr_dataflow::{Arranged, Engine, EngineConfig};
use decidr_domain::arrangements::Arrangements as _;
use decidr_domain::formula::coerce;
use decidr_domain::id::{AttributeId, EntityId, Position};
use decidr_domain::value::Value;
use sqlx::sqlite::SqlitePool;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

/// An engine with a recorder in front.
pub(crate) struct Harness {
    /// Records what is to be fed.
    pub(crate) recorder: Recorder,
    engine: Engine,
    positions: Receiver<(Position, Instant, usize)>,
    /// The same numbers each time.
    pub(crate) random: Random,
}

/// The figures of one workload.
#[derive(Default)]
pub(crate) struct Figures {
    /// Updates a second, by the size of batches.
    pub(crate) rates: Vec<(usize, f64)>,
    /// Rows that changed for each update.
    pub(crate) rows: f64,
    /// Of updates on a schedule.
    pub(crate) times: Option<Latencies>,
}

/// Latencies of updates on a schedule.
pub(crate) struct Latencies {
    /// From when each was due.
    pub(crate) due: Times,
    /// From when each was sent: what is longer above was lost before the engine was asked.
    pub(crate) sent: Times,
}

/// How long each size of batch runs.
const SECONDS: f64 = 2.0;

/// How long the schedule is: one in a hundred must be some dozens, or what the batches before it left to be tidied up, and
/// one hiccup of the machine, say how long it takes.
const SCHEDULE_SECONDS: f64 = 10.0;

/// Updates a second on the schedule.
const SCHEDULED: f64 = 500.0;

/// The sizes of batches.
pub(crate) const BATCHES: [usize; 4] = [1, 100, 1_000, 10_000];

impl Harness {
    /// On an empty engine.
    pub(crate) fn new(workers: usize) -> anyhow::Result<Self> {
        let config = EngineConfig { workers, batch_size_max: 16_384, ..EngineConfig::default() };
        let engine = Engine::start(config)?;
        let (sender, positions) = channel();
        engine.subscribe(Box::new(move |published| {
            // Whoever waited may have gone.
            let _ = sender.send((published.delta.position, Instant::now(), published.delta.changes.len()));
        }));
        Ok(Self { recorder: Recorder::new()?, engine, positions, random: Random(42) })
    }

    /// Feeds what was recorded, and waits until it is through; gives how many rows changed.
    pub(crate) fn settle(&mut self) -> anyhow::Result<usize> {
        let events = std::mem::take(&mut self.recorder.events);
        let (last, mut rows) = (self.recorder.position(), 0);
        if events.is_empty() {
            return Ok(0);
        }
        self.engine.accept(events);
        loop {
            let (position, _, changed) = self.positions.recv()?;
            rows += changed;
            if position >= last {
                return Ok(rows);
            }
        }
    }

    /// Measures `update`, which records one update.
    pub(crate) fn measure(&mut self, batches: &[usize], update: &mut dyn FnMut(&mut Self)) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        for size in batches {
            let (mut busy, mut updates, mut rows) = (Duration::ZERO, 0, 0);
            while busy.as_secs_f64() < SECONDS {
                (0..*size).for_each(|_| update(self));
                let start = Instant::now();
                rows += self.settle()?;
                busy += start.elapsed();
                updates += size;
            }
            figures.rates.push((*size, updates as f64 / busy.as_secs_f64()));
            figures.rows = rows as f64 / updates as f64;
        }
        figures.times = Some(self.on_schedule(SCHEDULED, &mut |this, _| update(this))?);
        Ok(figures)
    }

    /// The latencies of updates that come on a schedule.
    pub(crate) fn on_schedule(&mut self, rate: f64, update: &mut dyn FnMut(&mut Self, usize)) -> anyhow::Result<Latencies> {
        let count = (SCHEDULE_SECONDS * rate) as usize;
        let mut batches = Vec::with_capacity(count);
        for n in 0..count {
            update(self, n);
            batches.push((self.recorder.position(), std::mem::take(&mut self.recorder.events)));
        }
        let last = self.recorder.position();
        let positions: Vec<Position> = batches.iter().map(|(position, _)| *position).collect();
        let start = Instant::now() + Duration::from_millis(5);
        let due = |n: usize| start + Duration::from_secs_f64(n as f64 / rate);
        std::thread::scope(|scope| {
            let engine = &self.engine;
            let sender = scope.spawn(move || {
                let mut sent = Vec::with_capacity(batches.len());
                for (n, (_, events)) in batches.into_iter().enumerate() {
                    std::thread::sleep(due(n).saturating_duration_since(Instant::now()));
                    sent.push(Instant::now());
                    engine.accept(events);
                }
                sent
            });
            let mut through = Vec::with_capacity(count);
            while through.len() < count {
                let (position, at, _) = self.positions.recv()?;
                while through.len() < count && positions[through.len()] <= position {
                    through.push(at);
                }
                if position >= last {
                    break;
                }
            }
            let sent = sender.join().map_err(|_| anyhow!("the thread that sends updates panicked"))?;
            let mut latencies = Latencies { due: Times::new()?, sent: Times::new()? };
            for (n, (at, sent)) in through.iter().zip(sent).enumerate() {
                latencies.due.add(at.saturating_duration_since(due(n)));
                latencies.sent.add(at.saturating_duration_since(sent));
            }
            Ok(latencies)
        })
    }

    /// Everything arranged, as of now.
    pub(crate) fn arranged(&self) -> Arc<Arranged> {
        self.engine.arranged()
    }
}

/// The id of the nth entity of a kind.
pub(crate) fn id(kind: u64, n: usize) -> EntityId {
    EntityId(Uuid::from_u64_pair(kind, n as u64 + 1))
}

/// Tables in SQLite, to compare with.
pub(crate) struct Sql(SqliteConnection);

impl Sql {
    /// Empty ones.
    pub(crate) async fn new(schema: &str) -> anyhow::Result<Self> {
        let pool = SqlitePool::connect("sqlite::memory:").await?;
        let mut connection = pool.acquire().await?.detach();
        sqlx::raw_sql(sqlx::AssertSqlSafe(schema.to_owned())).execute(&mut connection).await?;
        Ok(Self(connection))
    }

    /// Fills a table with rows of whole numbers.
    pub(crate) async fn fill(&mut self, table: &str, rows: impl Iterator<Item = Vec<i64>>) -> anyhow::Result<()> {
        let mut rows = rows.peekable();
        sqlx::raw_sql("BEGIN").execute(&mut self.0).await?;
        while rows.peek().is_some() {
            let values: Vec<String> =
                rows.by_ref().take(500).map(|row| format!("({})", row.iter().map(i64::to_string).collect::<Vec<_>>().join(","))).collect();
            let insert = format!("INSERT INTO {table} VALUES {}", values.join(","));
            sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut self.0).await?;
        }
        sqlx::raw_sql("COMMIT").execute(&mut self.0).await?;
        Ok(())
    }

    /// Compares a query, whose first column says which entity of a kind and the others what its attributes must show, as
    /// texts, with what is arranged.
    pub(crate) async fn compare(
        &mut self,
        arranged: &Arranged,
        kind: u64,
        attributes: &[(&'static str, AttributeId)],
        query: &str,
    ) -> anyhow::Result<usize> {
        let expected = sqlx::query(sqlx::AssertSqlSafe(query.to_owned())).fetch_all(&mut self.0).await.context(query.to_owned())?;
        for row in &expected {
            let n: i64 = row.get(0);
            let there = arranged.row(id(kind, n as usize)).with_context(|| format!("entity {n} is not arranged"))?;
            for (place, (name, attribute)) in attributes.iter().enumerate() {
                let shown = match there.entity.values.get(*attribute) {
                    Value::Blank => there.computed(*attribute).clone(),
                    stored => stored.clone(),
                };
                let wanted: String = row.try_get::<Option<String>, _>(place + 1)?.unwrap_or_default();
                let shown = coerce::text(&shown);
                ensure!(shown == wanted, "{name} of entity {n} is {shown}, and SQLite has {wanted}");
            }
        }
        Ok(expected.len())
    }
}

/// What a single link leads to, as a value.
pub(crate) fn to(id: EntityId) -> Value {
    Value::Link(id)
}

/// How much memory the process has, in bytes.
pub(crate) fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let fields: HashMap<_, _> = status.lines().filter_map(|line| line.split_once(':')).collect();
    let kibibytes = fields.get("VmRSS").and_then(|field| field.trim().split(' ').next()).context("the system says how much")?;
    Ok(kibibytes.parse::<u64>()? * 1024)
}
