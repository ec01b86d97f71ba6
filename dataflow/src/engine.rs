//! The threads that run the dataflow: what is queued becomes one batch, one timestamp; when every worker is through, the
//! arrangements are published and the delta is handed out.
//!
//! Worker 0 takes the queue and waits for the others, so that one timestamp is in the graph at a time; what arrives
//! meanwhile becomes the next batch, which so grows with the load. Workers sleep when there is nothing to do.
//!
//! What the schema stages is computed between the batches, a slice after each, or one after the other when no events wait.
//! A slice is as large as it may be to take [`EngineConfig::slice_time`].

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Sender, unbounded};
use decidr_domain::arrangements::{Arrangements, Reached, Snapshot};
use decidr_domain::delta::{Delta, Row};
use decidr_domain::event::Recorded;
use decidr_domain::id::{Position, TenantId};
use jiff::Timestamp;
use rpds::HashTrieMapSync;
use timely::communication::WorkerGuards;
use timely::worker::Worker;
use tokio::sync::{oneshot, watch};

use crate::activators::Activators;
use crate::conductor::{conduct, follow};
use crate::index::Indexes;
use crate::render::Batches;
use crate::snapshot::Arranged;
use crate::worker::Through;

/// How the engine runs.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// How many workers, each a thread. At least one.
    pub workers: usize,
    /// The most events that one timestamp takes.
    pub batch_size_max: usize,
    /// How long a slice of what is computed aside should take; events that arrive meanwhile wait for it.
    pub slice_time: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { workers: 1, batch_size_max: 8192, slice_time: Duration::from_millis(4) }
    }
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
#[error("the dataflow's workers could not be started: {0}")]
pub struct EngineError(String);

/// Called with every delta, in order, by the thread that computed it. The arrangements show the delta's position already.
pub type DeltaConsumer = Box<dyn FnMut(&Published) + Send>;

/// Called when everything that a tenant's schema stages is computed, with the generation that it is of; perhaps several
/// times with the same.
pub type ComputationConsumer = Box<dyn FnMut(TenantId, u64) + Send>;

/// Called when time must be let pass for a tenant at another moment than before: [`TenantCommand::AdvanceClock`] then
/// changes what its formulas give; [`Timestamp::MIN`] if it is to be told at all what time it is, nothing if no formula
/// waits for anything.
///
/// [`TenantCommand::AdvanceClock`]: decidr_domain::aggregate::tenant::TenantCommand::AdvanceClock
pub type ClockConsumer = Box<dyn FnMut(TenantId, Option<Timestamp>) + Send>;

/// What a timestamp gave.
pub struct Published {
    /// What changed.
    pub delta: Arc<Delta>,
    /// Everything, as of the delta's position.
    pub arranged: Arc<Arranged>,
    /// When the oldest of its events was handed over, which is right after it was recorded.
    pub accepted: Instant,
}

/// What is queued for the dataflow.
pub(crate) enum Queued {
    /// Events, and when they were handed over.
    Events(Instant, Vec<Recorded>),
    /// That what comes next are the events of the schema up to the position of so many rows.
    RowsBegin(usize),
    /// Rows as they were at a position.
    Rows(Position, Vec<Row>),
    /// That there are no more of these, the position of every tenant's newest event up to there, and who waits for them.
    RowsEnd(Position, Vec<(TenantId, Position)>, oneshot::Sender<()>),
}

/// The running dataflow. Ends when dropped.
pub struct Engine {
    queue: Sender<Queued>,
    shared: Arc<Shared>,
    workers: Mutex<Option<WorkerGuards<()>>>,
}

/// What the threads share with whoever asks.
pub(crate) struct Shared {
    pub(crate) arranged: ArcSwap<Arranged>,
    pub(crate) position: watch::Sender<Position>,
    pub(crate) consumers: Mutex<Vec<DeltaConsumer>>,
    pub(crate) computation_consumers: Mutex<Vec<ComputationConsumer>>,
    pub(crate) clock_consumers: Mutex<Vec<ClockConsumer>>,
    pub(crate) activators: Arc<Activators>,
    /// The timestamp that is in the graph.
    pub(crate) current: AtomicU64,
    pub(crate) stopping: AtomicBool,
    /// Whether worker 0 has ended; the others must not before it, for it may need them for what is under way.
    pub(crate) ended: AtomicBool,
}

impl Engine {
    /// Starts the workers.
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        let workers = config.workers.max(1);
        let activators = Arc::<Activators>::default();
        let empty = Arranged {
            position: 0,
            catalog: Arc::default(),
            newest: HashTrieMapSync::new_sync(),
            computing: Arc::default(),
            staged_at: HashTrieMapSync::new_sync(),
            effort: HashTrieMapSync::new_sync(),
            steps: 0,
            workers: vec![Batches::default(); workers],
            indexes: Indexes::new(activators.clone()),
        };
        let shared = Arc::new(Shared {
            arranged: ArcSwap::from_pointee(empty),
            position: watch::Sender::new(0),
            consumers: Mutex::default(),
            computation_consumers: Mutex::default(),
            clock_consumers: Mutex::default(),
            activators,
            current: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let (queue, queued) = unbounded::<Queued>();
        let (through, done) = unbounded::<Through>();
        let theirs = shared.clone();
        let workers = timely::execute(timely::Config::process(workers), move |worker| {
            let index = worker.index();
            let run = AssertUnwindSafe(|| match index {
                0 => {
                    conduct(worker, &theirs, &queued, &done, config);
                    theirs.ended.store(true, Ordering::SeqCst);
                    theirs.wake();
                }
                _ => follow(worker, &theirs, &through),
            });
            // A dataflow that lost a worker hangs, and nobody may go on with half of it.
            if std::panic::catch_unwind(run).is_err() {
                tracing::error!(worker = index, "a worker of the dataflow panicked; the process ends");
                std::process::abort();
            }
        })
        .map_err(EngineError)?;
        Ok(Self { queue, shared, workers: Mutex::new(Some(workers)) })
    }

    /// Everything arranged, as of the newest position. Never goes back.
    pub fn arranged(&self) -> Arc<Arranged> {
        self.shared.arranged.load_full()
    }

    /// The newest position that is arranged, and every newer one.
    pub fn position(&self) -> watch::Receiver<Position> {
        self.shared.position.subscribe()
    }

    /// Calls `consumer` with every delta from now on. It runs on the dataflow's thread: it must not block.
    pub fn subscribe(&self, consumer: DeltaConsumer) {
        self.shared.consumers.lock().unwrap_or_else(PoisonError::into_inner).push(consumer);
    }

    /// Calls `consumer` with every computation that is through from now on, until an event says that it is shown. It runs on
    /// the dataflow's thread: it must not block.
    pub fn subscribe_to_computations(&self, consumer: ComputationConsumer) {
        self.shared.computation_consumers.lock().unwrap_or_else(PoisonError::into_inner).push(consumer);
    }
}

impl Engine {
    /// Begins with so many entities as they were at some position, with what was computed about them by a program that computes alike,
    /// in place of the events that they came from. First of all come the events of the schema up to that position, which
    /// are accepted as ever; then rows, by [`Engine::restore`]; then [`Engine::restored`], and the events behind the position.
    pub fn restore_schema(&self, events: Vec<Recorded>, entities: usize) {
        // As when events are accepted.
        let _ = self.queue.send(Queued::RowsBegin(entities));
        self.accept(events);
    }

    /// Takes in some of the rows, which are since 0; each comes once.
    pub fn restore(&self, position: Position, rows: Vec<Row>) {
        // As when events are accepted.
        let _ = self.queue.send(Queued::Rows(position, rows));
        self.shared.wake();
    }

    /// Ends what [`Engine::restore_schema`] began: `newest` has the position of every tenant's newest event up to the position. What
    /// is returned comes when all is arranged, and fails if the dataflow has stopped.
    pub fn restored(&self, position: Position, newest: Vec<(TenantId, Position)>) -> oneshot::Receiver<()> {
        let (done, arranged) = oneshot::channel();
        // As when events are accepted.
        let _ = self.queue.send(Queued::RowsEnd(position, newest, done));
        self.shared.wake();
        arranged
    }

    /// Calls `consumer` whenever it changes when time must be let pass for a tenant, from now on. It runs on the dataflow's
    /// thread: it must not block.
    pub fn subscribe_to_clocks(&self, consumer: ClockConsumer) {
        self.shared.clock_consumers.lock().unwrap_or_else(PoisonError::into_inner).push(consumer);
    }
}

impl Arrangements for Engine {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.arranged()
    }

    fn accept(&self, events: Vec<Recorded>) {
        // The queue is gone only when the workers have ended; then nobody waits for these events either.
        let _ = self.queue.send(Queued::Events(Instant::now(), events));
        self.shared.wake();
    }

    fn reached(&self, position: Position) -> Reached<'_> {
        let mut newest = self.position();
        Box::pin(async move { newest.wait_for(|newest| *newest >= position).await.is_ok() })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.wake();
        // Joins the threads; a worker that panicked has ended the process.
        drop(self.workers.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Shared {
    /// Wakes this worker too, when all are woken.
    pub(crate) fn wake_too(&self, worker: &Worker) {
        self.activators.wake_too(worker);
    }

    /// Wakes every worker.
    pub(crate) fn wake(&self) {
        self.activators.wake();
    }
}
