//! What a start begins with in place of the whole log, and when that is written.
//!
//! A checkpoint is written when the process is asked to end, and now and then while it runs, from a published state that
//! nobody has to wait for. A start takes it only if everything fits: the program, the log, and each byte.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use decidr_dataflow::{Arranged, Engine};
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::delta::Row;
use decidr_domain::id::{EventId, Position};
use decidr_ingest::checkpoint::{BLOCK_ROWS, CheckpointError, Head, Reader, Writer};
use decidr_ingest::{EventLog, LogError};
use tokio::sync::Mutex;

/// How often it is looked whether there is enough to write.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How many events must have come since the last checkpoint: so many, and so great a part of all.
const EVENTS_MIN: Position = 50_000;
const PART_OF_ALL: Position = 4;

/// How many times as many must have come while more come all the time; else it waits until nothing does.
const PATIENCE: Position = 4;

/// With how many steps of evaluations that take long fewer events are enough: some ten seconds' worth. How often at most, for
/// that comes to pass again and again where a tenant computes all the time; and how often while something is computed
/// aside, which a start begins anew until it is shown.
const STEPS_MIN: u64 = 200_000_000;
const STEPS_EVERY: Duration = Duration::from_secs(60);
const STEPS_EVERY_ASIDE: Duration = Duration::from_secs(300);

/// How much must have come to write one at the end: less is computed again at once.
const EVENTS_AT_END: Position = 1_000;
const STEPS_AT_END: u64 = 10_000_000;

/// How long to wait when one could not be written, as where there is no room.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// The checkpoint of one platform.
pub(crate) struct Checkpoints {
    path: PathBuf,
    log: Arc<dyn EventLog>,
    engine: Arc<Engine>,
    /// The position that the platform began with; 0 if with nothing.
    pub(crate) began_at: Position,
    /// Of the newest one; held while one is written.
    written: Mutex<Extent>,
    /// Ends what is being written.
    is_over: Arc<AtomicBool>,
}

/// How far a state has come.
#[derive(Clone, Copy)]
struct Extent {
    position: Position,
    /// How many steps this process took to compute it, of evaluations that take long.
    steps: u64,
}

impl Extent {
    fn of(arranged: &Arranged) -> Self {
        Self { position: arranged.position(), steps: arranged.steps() }
    }

    /// How many events, and how many steps, it is further than another.
    fn since(self, other: Extent) -> (Position, u64) {
        (self.position.saturating_sub(other.position), self.steps.saturating_sub(other.steps))
    }
}

/// Why nothing can be begun with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BeginError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why no checkpoint was written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the log cannot be read")]
    Log(#[from] LogError),
}

impl Checkpoints {
    /// Begins with the checkpoint at `path`, if there is one and it fits, in a dataflow that has seen nothing yet; that has
    /// arranged then what there was at its position.
    ///
    /// # Errors
    /// If the log cannot be read; or if the checkpoint is damaged, when the dataflow is of no use any more.
    pub(crate) async fn begin(path: PathBuf, log: Arc<dyn EventLog>, engine: Arc<Engine>) -> Result<Self, BeginError> {
        let mut checkpoints = Self::without(path, log, engine);
        let position = checkpoints.read().await?;
        checkpoints.began_at = position;
        *checkpoints.written.get_mut() = Extent { position, steps: 0 };
        Ok(checkpoints)
    }

    /// Begins with none, and writes one to `path` when there is something to write.
    pub(crate) fn without(path: PathBuf, log: Arc<dyn EventLog>, engine: Arc<Engine>) -> Self {
        let written = Mutex::new(Extent { position: 0, steps: 0 });
        Self { path, log, engine, began_at: 0, written, is_over: Arc::default() }
    }

    /// Takes in the checkpoint, if there is one that fits; gives its position, or 0.
    async fn read(&self) -> Result<Position, BeginError> {
        let started = Instant::now();
        let (path, lineage) = (self.path.clone(), self.log.lineage());
        let Some((head, reader)) = blocking(move || open(&path, lineage)).await? else { return Ok(0) };
        let Head { position, event_id, newest, rows, .. } = head;
        if event_at(&*self.log, position).await? != Some(event_id) {
            tracing::info!(position, "the checkpoint is of another log; everything is computed again");
            return Ok(0);
        }
        self.engine.restore_schema(self.log.read_schema(position).await?, rows as usize);
        let engine = self.engine.clone();
        blocking(move || reader.rows(|rows| engine.restore(position, rows))).await?;
        // Fails only if the dataflow has stopped, and then the process ends.
        let _ = self.engine.restored(position, newest).await;
        tracing::info!(position, entities = rows, seconds = started.elapsed().as_secs_f64(), "began with a checkpoint");
        Ok(position)
    }

    /// Writes one now and then, for ever.
    pub(crate) async fn keep(self: Arc<Self>) {
        let (begun, mut seen, mut last) = (Instant::now(), 0, None::<Instant>);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let arranged = self.engine.arranged();
            let (now, written) = (Extent::of(&arranged), *self.written.lock().await);
            let enough = EVENTS_MIN.max(written.position / PART_OF_ALL);
            let (events, steps) = now.since(written);
            let is_quiet = std::mem::replace(&mut seen, now.position) == now.position;
            let has_waited = match arranged.is_computing_aside() {
                true => last.unwrap_or(begun).elapsed() >= STEPS_EVERY_ASIDE,
                false => last.is_none_or(|last| last.elapsed() >= STEPS_EVERY),
            };
            drop(arranged);
            let is_costly = events > 0 && steps >= STEPS_MIN && has_waited;
            if events >= PATIENCE * enough || (is_quiet && events >= enough) || is_costly {
                if !self.write(Pace::Leisurely).await {
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
                last = Some(Instant::now());
            }
        }
    }

    /// Writes one if much has come since the last.
    pub(crate) async fn end(&self) {
        let (events, steps) = Extent::of(&self.engine.arranged()).since(*self.written.lock().await);
        if events >= EVENTS_AT_END || steps >= STEPS_AT_END {
            self.write(Pace::Hasty).await;
        }
    }

    /// Writes one; returns whether nothing was wrong.
    async fn write(&self, pace: Pace) -> bool {
        let started = Instant::now();
        let written = self.try_to_write(pace).await;
        match &written {
            Ok(Some(position)) => tracing::info!(position, seconds = started.elapsed().as_secs_f64(), "wrote a checkpoint"),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = error as &dyn std::error::Error, "no checkpoint was written; a start takes longer"),
        }
        written.is_ok()
    }

    async fn try_to_write(&self, pace: Pace) -> Result<Option<Position>, WriteError> {
        let mut written = self.written.lock().await;
        let arranged = self.engine.arranged();
        let extent @ Extent { position, .. } = Extent::of(&arranged);
        let Some(event_id) = event_at(&*self.log, position).await? else { return Ok(None) };
        let (path, lineage, is_over) = (self.path.clone(), self.log.lineage(), self.is_over.clone());
        let write = move || {
            let newest = arranged.newest_positions().collect();
            let head = Head { program: program()?, lineage, position, event_id, newest, rows: arranged.row_count() as u64 };
            write(&path, &head, &arranged, pace, &is_over)
        };
        Ok(blocking(write).await?.then(|| {
            *written = extent;
            position
        }))
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// How fast a checkpoint is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Half of the time is left to others.
    Leisurely,
    /// Somebody waits for it.
    Hasty,
}

/// Writes one; returns whether it did, and nobody ended it.
fn write(path: &Path, head: &Head, arranged: &Arranged, pace: Pace, is_over: &AtomicBool) -> Result<bool, CheckpointError> {
    let mut writer = Writer::create(path, head)?;
    let mut rows = arranged.rows();
    loop {
        let started = Instant::now();
        let some: Vec<Row> = rows.by_ref().take(BLOCK_ROWS).collect();
        if is_over.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if some.is_empty() {
            writer.finish()?;
            return Ok(true);
        }
        writer.write(&some)?;
        if pace == Pace::Leisurely {
            std::thread::sleep(started.elapsed());
        }
    }
}

/// Does what waits for a disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, CheckpointError> + Send + 'static) -> Result<T, CheckpointError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(CheckpointError::Damaged("whoever read or wrote it panicked".into())))
}

/// What a checkpoint is of, and its rows, if it is there, and of this program and a log of this lineage.
fn open(path: &Path, lineage: u32) -> Result<Option<(Head, Reader)>, CheckpointError> {
    let Some((head, reader)) = Reader::open(path)? else { return Ok(None) };
    if (head.program, head.lineage) != (program()?, lineage) {
        tracing::info!("the checkpoint is of another program or log; everything is computed again");
        return Ok(None);
    }
    Ok(Some((head, reader)))
}

/// Which program this is: two that compute alike may differ, and two that do not always do.
fn program() -> Result<u64, CheckpointError> {
    let (mut sum, mut length, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 1 << 20]);
    // What runs, and not what has taken its place since, where the system tells the two apart.
    let running = File::open("/proc/self/exe");
    let mut file = running.or_else(|_| File::open(std::env::current_exe()?))?;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(length << 32 | u64::from(sum.finalize())),
            read => {
                sum.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}

async fn event_at(log: &dyn EventLog, position: Position) -> Result<Option<EventId>, LogError> {
    let Some(before) = position.checked_sub(1) else { return Ok(None) };
    Ok(log.read_all(before, 1).await?.first().map(|event| event.metadata.event_id))
}
