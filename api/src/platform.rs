//! The platform in one process: the whole arrow, wired.
//!
//! ```text
//! request ─▶ CommandPath ─▶ EventLog ─▶ Engine ─▶ Delta ─▶ sinks (Live)
//!                ▲                        │
//!                └──── arrangements ◀─────┘ ─▶ queries
//! ```

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use decidr_dataflow::{Arranged, Engine, EngineConfig, EngineError};
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::arrangements::{Arrangements, Snapshot as _};
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::event::Recorded;
use decidr_domain::id::{CommandId, Position, StreamId, TenantId, Version};
use decidr_ingest::checkpoint::CheckpointError;
use decidr_ingest::log::SqliteLog;
use decidr_ingest::{Answer, CommandPath, EventLog, ExecuteError, LogError};
use decidr_sinks::{Live, Sink};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::checkpoints::{BeginError, Checkpoints};
use crate::clocks::{self, Asker};
use crate::walks::Walks;

/// How many events are read from the log at a time when it is replayed, and computed at once, for nobody waits for any of them: few
/// at first, so that there is something to compute while more are read, then ever more.
const REPLAY_PAGES: RangeInclusive<usize> = 2_048..=32_768;

/// How many events may be read from the log and not be computed yet.
const REPLAY_AHEAD: Position = 65_536;

/// Where things are in a data directory.
pub struct DataDir(PathBuf);

impl DataDir {
    /// The data directory at `path`, made if it is not there.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self(path.to_owned()))
    }

    /// The event log.
    pub fn log(&self) -> PathBuf {
        self.0.join("log.sqlite")
    }

    /// Everything that was computed, as of some position.
    pub fn checkpoint(&self) -> PathBuf {
        self.0.join("checkpoint")
    }

    /// The key that signs tokens.
    pub fn token_key(&self) -> PathBuf {
        self.0.join("token.key")
    }

    /// The key that seals positions.
    pub fn position_key(&self) -> PathBuf {
        self.0.join("position.key")
    }

    /// What an import could not link.
    pub fn report(&self, of: &str) -> PathBuf {
        self.0.join(format!("not-linked-{of}.csv"))
    }

    /// Keeps other processes from writing here, as long as what is returned lives.
    fn lock(&self) -> Result<File, OpenError> {
        let file = File::create(self.0.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse(self.0.clone())),
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

/// Why the platform could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to the data directory.
    #[error("the data directory {} is in use by another decidr process; stop it, or choose another with --data-dir", .0.display())]
    InUse(PathBuf),
    /// The data directory cannot be used.
    #[error("the data directory cannot be used")]
    Io(#[from] std::io::Error),
    /// The log cannot be opened or read.
    #[error("the event log cannot be opened")]
    Log(#[from] LogError),
    /// The dataflow cannot be started.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl From<BeginError> for OpenError {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Checkpoint(error) => error.into(),
            BeginError::Log(error) => error.into(),
        }
    }
}

/// Whether a checkpoint is begun with, if it fits.
enum Trust {
    Yes,
    No,
}

/// The running platform.
pub struct Platform {
    log: Arc<dyn EventLog>,
    engine: Arc<Engine>,
    live: Arc<Live>,
    walks: Arc<Walks>,
    commands: CommandPath,
    checkpoints: Option<Arc<Checkpoints>>,
    /// End with it.
    _tasks: JoinSet<()>,
    _lock: Option<File>,
}

impl Platform {
    /// Opens the data directory, and computes from its log what is behind its checkpoint, or everything if it has none that
    /// fits.
    pub async fn open(data_dir: &DataDir, config: EngineConfig) -> Result<Self, OpenError> {
        let lock = data_dir.lock()?;
        let log = Arc::new(SqliteLog::open(&data_dir.log()).await?);
        let begun = Self::begin(log.clone(), Some((data_dir.checkpoint(), Trust::Yes)), config).await;
        let mut platform = match begun {
            Err(OpenError::Checkpoint(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the checkpoint is of no use; everything is computed again");
                Self::begin(log, Some((data_dir.checkpoint(), Trust::No)), config).await?
            }
            begun => begun?,
        };
        platform._lock = Some(lock);
        Ok(platform)
    }

    /// Starts on any log, and computes everything from it.
    pub async fn start(log: Arc<dyn EventLog>, config: EngineConfig) -> Result<Self, OpenError> {
        Self::begin(log, None, config).await
    }

    async fn begin(log: Arc<dyn EventLog>, checkpoint: Option<(PathBuf, Trust)>, config: EngineConfig) -> Result<Self, OpenError> {
        let engine = Arc::new(Engine::start(config)?);
        let (reschedule, due) = mpsc::unbounded_channel();
        let of_filters = reschedule.clone();
        // Fails only when the platform is gone.
        let live = Arc::new(Live::telling(Box::new(move |tenant, at| {
            let _ = of_filters.send((Asker::Filters, tenant, at));
        })));
        let walks = Arc::new(Walks::default());
        let walking = walks.clone();
        // Before the sinks: what live queries have heard of, walks have.
        engine.subscribe(Box::new(move |published| walking.apply(published)));
        let sinks: Vec<Arc<dyn Sink>> = vec![live.clone()];
        engine.subscribe(Box::new(move |published| sinks.iter().for_each(|sink| sink.apply(&published.delta))));

        let (through, computed) = mpsc::unbounded_channel();
        // Fails only when the platform is gone.
        engine.subscribe_to_computations(Box::new(move |tenant, generation| {
            let _ = through.send((tenant, generation));
        }));

        engine.subscribe_to_clocks(Box::new(move |tenant, at| {
            let _ = reschedule.send((Asker::Cells, tenant, at));
        }));

        let checkpoints = match checkpoint {
            Some((path, Trust::Yes)) => Some(Arc::new(Checkpoints::begin(path, log.clone(), engine.clone()).await?)),
            Some((path, Trust::No)) => Some(Arc::new(Checkpoints::without(path, log.clone(), engine.clone()))),
            None => None,
        };
        let (started, after) = (Instant::now(), engine.arranged().position());
        let head = replay(&*log, &engine, after, Position::MAX).await?;
        if head > after {
            tracing::info!(events = head - after, seconds = started.elapsed().as_secs_f64(), "computed again from the log");
        }
        let commands = CommandPath::start(log.clone(), engine.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(complete_computations(computed, commands.clone()));
        tasks.spawn(clocks::run(due, commands.clone()));
        if let Some(checkpoints) = &checkpoints {
            tasks.spawn(checkpoints.clone().keep());
        }
        Ok(Self { log, engine, live, walks, commands, checkpoints, _tasks: tasks, _lock: None })
    }

    /// Writes what the next start begins with, if much has come since that was done last; for whoever ends in order.
    pub async fn close(&self) {
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.end().await;
        }
    }

    /// The position of the checkpoint that it began with; 0 if it computed everything from the log.
    pub fn began_at(&self) -> Position {
        self.checkpoints.as_ref().map_or(0, |checkpoints| checkpoints.began_at)
    }

    /// Executes a command.
    pub async fn execute(&self, request: Request) -> Result<Answer, ExecuteError> {
        self.commands.execute(request).await
    }

    /// Executes commands in order; each stands or falls by itself.
    pub async fn execute_all(&self, requests: Vec<Request>) -> Vec<Result<Answer, ExecuteError>> {
        self.commands.execute_all(requests).await
    }

    /// Whether a command of a tenant was done before.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub async fn is_answered(&self, tenant: TenantId, command: CommandId) -> Result<bool, LogError> {
        Ok(!self.log.answers(&[(tenant, command)]).await?.is_empty())
    }

    /// Up to `limit` events of one stream, from version `from` on.
    pub async fn stream(&self, stream: StreamId, from: Version, limit: usize) -> Result<Vec<Recorded>, LogError> {
        self.log.read_stream(stream, from, limit).await
    }

    /// Everything arranged, as of the newest position.
    pub fn arranged(&self) -> Arc<Arranged> {
        self.engine.arranged()
    }

    /// Returns when `position` is arranged; `false` if the dataflow has stopped.
    pub async fn reached(&self, position: Position) -> bool {
        self.engine.reached(position).await
    }

    /// Returns when what is arranged is so; `false` if the dataflow has stopped.
    pub async fn arranged_when(&self, is_so: impl Fn(&Arranged) -> bool) -> bool {
        let mut newest = self.engine.position();
        newest.wait_for(|_| is_so(&self.arranged())).await.is_ok()
    }

    /// Everything arranged, as of a position that has every event which was in the log when this was called; of an older
    /// one only if it takes longer than `patience`.
    pub async fn fresh(&self, patience: Duration) -> Arc<Arranged> {
        let head = self.head();
        // An older answer is an answer too: whoever must not have one says so by a position.
        let _ = tokio::time::timeout(patience, self.reached(head)).await;
        self.arranged()
    }

    /// The newest position of the log.
    pub fn head(&self) -> Position {
        *self.log.head().borrow()
    }

    /// The log's lineage.
    pub fn lineage(&self) -> u32 {
        self.log.lineage()
    }

    /// Live queries.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Standing walks.
    pub(crate) fn walks(&self) -> &Walks {
        &self.walks
    }

    /// The dataflow.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
}

/// Records that computations are through, so that everybody who reads the log shows their cells from the same position on.
async fn complete_computations(mut computed: mpsc::UnboundedReceiver<(TenantId, u64)>, commands: CommandPath) {
    /// How long to wait after the log failed.
    const PAUSE: Duration = Duration::from_secs(1);
    while let Some((tenant, generation)) = computed.recv().await {
        // The tenant's state says whether it was done already; generations may be counted otherwise by another version.
        let command_id = CommandId(Uuid::now_v7());
        let command = Command::Tenant(TenantCommand::CompleteComputation { id: tenant, generation });
        let request = Request { command_id, authority: Authority::Operator, actor: "decidr".into(), correlation_id: command_id.0, command };
        loop {
            match commands.execute(request.clone()).await {
                Ok(_) => break,
                Err(ExecuteError::Log(error)) => {
                    tracing::warn!(%tenant, %error, "a computation is through, and it could not be recorded; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::debug!(%tenant, %error, "a computation is through, and nobody waits for it");
                    break;
                }
            }
        }
    }
}

/// Feeds the log behind position `after`, which is what the dataflow has seen of it, up to `last`; returns the position
/// reached, when it is computed.
pub async fn replay(log: &dyn EventLog, engine: &Engine, after: Position, last: Position) -> Result<Position, LogError> {
    let head = (*log.head().borrow()).min(last);
    let (mut position, mut page) = (after, *REPLAY_PAGES.start());
    while position < head {
        let events = log.read_all(position, page.min((head - position) as usize)).await?;
        page = (2 * page).min(*REPLAY_PAGES.end());
        let Some(newest) = events.last().map(|event| event.position) else {
            return Err(LogError::Damaged(format!("there is no event after position {position}, and the newest is {head}")));
        };
        position = newest;
        engine.accept(events);
        engine.reached(position.saturating_sub(REPLAY_AHEAD)).await;
    }
    engine.reached(head).await;
    Ok(head)
}
