//! The threads that run the dataflow: what is queued becomes one batch, one timestamp; when every worker is through, the
//! arrangements are published and the delta is handed out. Only here is a worker stepped.
//!
//! Worker 0 takes the queue and waits for the others, so that one timestamp is in the graph at a time; what arrives
//! meanwhile becomes the next batch, which so grows with the load. Workers sleep when there is nothing to do.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, unbounded};
use decidr_domain::arrangements::{Arrangements, Reached, Snapshot};
use decidr_domain::delta::{Change, Delta};
use decidr_domain::event::{Event, Recorded};
use decidr_domain::id::{Position, TenantId};
use decidr_domain::schema::Catalog;
use rpds::HashTrieMapSync;
use rustc_hash::FxHashMap;
use timely::communication::WorkerGuards;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::progress::Antichain;
use timely::scheduling::SyncActivator;
use timely::worker::Worker;
use tokio::sync::watch;

use crate::compute::Store;
use crate::message::{Message, WireEvent};
use crate::render::{Batches, Input, Traces, render};
use crate::snapshot::Arranged;

/// How the engine runs.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// How many workers, each a thread. At least one.
    pub workers: usize,
    /// The most events that one timestamp takes.
    pub batch_size_max: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { workers: 1, batch_size_max: 8192 }
    }
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
#[error("the dataflow's workers could not be started: {0}")]
pub struct EngineError(String);

/// Called with every delta, in order, by the thread that computed it. The arrangements show the delta's position already.
pub type DeltaConsumer = Box<dyn FnMut(&Published) + Send>;

/// What a timestamp gave.
pub struct Published {
    /// What changed.
    pub delta: Arc<Delta>,
    /// Everything, as of the delta's position.
    pub arranged: Arc<Arranged>,
    /// When the oldest of its events was handed over, which is right after it was recorded.
    pub accepted: Instant,
}

/// The running dataflow. Ends when dropped.
pub struct Engine {
    queue: Sender<(Instant, Vec<Recorded>)>,
    shared: Arc<Shared>,
    workers: Mutex<Option<WorkerGuards<()>>>,
}

struct Shared {
    arranged: ArcSwap<Arranged>,
    position: watch::Sender<Position>,
    consumers: Mutex<Vec<DeltaConsumer>>,
    activators: Mutex<Vec<SyncActivator>>,
    /// The timestamp that is in the graph.
    current: AtomicU64,
    stopping: AtomicBool,
    /// Whether worker 0 has ended; the others must not before it, for it may need them for what is under way.
    ended: AtomicBool,
}

/// What one worker gives when it is through with a timestamp.
struct Through {
    worker: usize,
    position: Position,
    batches: Batches,
    changes: Vec<Change>,
}

impl Engine {
    /// Starts the workers.
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        let workers = config.workers.max(1);
        let empty = Arranged {
            position: 0,
            catalog: Arc::default(),
            newest: HashTrieMapSync::new_sync(),
            workers: vec![Batches::default(); workers],
        };
        let shared = Arc::new(Shared {
            arranged: ArcSwap::from_pointee(empty),
            position: watch::Sender::new(0),
            consumers: Mutex::default(),
            activators: Mutex::default(),
            current: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let (queue, queued) = unbounded::<(Instant, Vec<Recorded>)>();
        let (through, done) = unbounded::<Through>();
        let theirs = shared.clone();
        let workers = timely::execute(timely::Config::process(workers), move |worker| {
            let index = worker.index();
            let run = AssertUnwindSafe(|| match index {
                0 => {
                    conduct(worker, &theirs, &queued, &done, config.batch_size_max);
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
}

impl Arrangements for Engine {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.arranged()
    }

    fn accept(&self, events: Vec<Recorded>) {
        // The queue is gone only when the workers have ended; then nobody waits for these events either.
        let _ = self.queue.send((Instant::now(), events));
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
    /// Wakes every worker.
    fn wake(&self) {
        for activator in self.activators.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // Fails only if the worker has ended.
            let _ = activator.activate();
        }
    }
}

/// One worker with its share of the graph.
struct Graph<'a> {
    worker: &'a mut Worker,
    input: Input,
    probe: ProbeHandle<Position>,
    traces: Traces,
    changes: Rc<RefCell<Vec<Change>>>,
}

impl<'a> Graph<'a> {
    fn build(worker: &'a mut Worker, shared: &Shared) -> Self {
        // Activating the empty path schedules no operator, but wakes the thread.
        shared.activators.lock().unwrap_or_else(PoisonError::into_inner).push(worker.sync_activator_for(vec![]));
        let (mut input, probe, changes) = (Input::new_with_builder(), ProbeHandle::new(), Rc::default());
        let store = Store::new(Rc::clone(&changes));
        let traces = worker.dataflow::<Position, _, _>(|scope| render(scope, &mut input, store, &probe));
        Self { worker, input, probe, traces, changes }
    }

    /// What this worker has when `position` is through.
    fn publish(&mut self, position: Position) -> (Batches, Vec<Change>) {
        let upper = Antichain::from_elem(position + 1);
        (self.traces.publish(upper.borrow()), self.changes.take())
    }
}

/// Worker 0: feeds the graph, one batch at a time, and publishes what comes out.
fn conduct(
    worker: &mut Worker,
    shared: &Shared,
    queued: &Receiver<(Instant, Vec<Recorded>)>,
    done: &Receiver<Through>,
    batch_size_max: usize,
) {
    let mut graph = Graph::build(worker, shared);
    let peers = graph.worker.peers();
    let mut catalog = Arc::<Catalog>::default();
    let mut newest = HashTrieMapSync::<TenantId, Position>::new_sync();
    let mut position: Position = 0;
    let mut batch: Vec<Recorded> = Vec::new();
    let mut accepted = Instant::now();
    while !shared.stopping.load(Ordering::SeqCst) {
        while batch.len() < batch_size_max
            && let Ok((at, more)) = queued.try_recv()
        {
            if batch.is_empty() {
                accepted = at;
            }
            batch.extend(more);
        }
        let Some(last) = batch.last().map(|event| event.position) else {
            graph.worker.step_or_park(None);
            continue;
        };
        let started = Instant::now();
        metrics::histogram!("decidr_dataflow_batch_size").record(batch.len() as f64);
        shared.current.store(last, Ordering::SeqCst);
        graph.input.advance_to(last);
        let mut schema_changed = false;
        let mut written: FxHashMap<TenantId, Position> = FxHashMap::default();
        for event in batch.drain(..) {
            let Recorded { tenant, event, position, .. } = event;
            written.insert(tenant, position);
            match event {
                Event::Entity(ref about) => {
                    let id = about.id();
                    graph.input.send(Message::Entity { id, event: WireEvent(Box::new(event)) });
                }
                event => {
                    schema_changed |= Arc::make_mut(&mut catalog).apply(tenant, &event);
                    let event = WireEvent(Box::new(event));
                    for worker in 0..peers as u64 {
                        graph.input.send(Message::Schema { worker, tenant, event: event.clone() });
                    }
                }
            }
        }
        graph.input.advance_to(last + 1);
        graph.input.flush();
        while graph.probe.less_equal(&last) {
            graph.worker.step_or_park(None);
        }
        let (batches, mut changes) = graph.publish(last);
        let mut workers = vec![Batches::default(); peers];
        workers[0] = batches;
        for _ in 1..peers {
            // The others pass at the same progress message; if one has ended, so does the process.
            let Ok(through) = done.recv() else { return };
            debug_assert_eq!(through.position, last, "one timestamp is in the graph at a time");
            workers[through.worker] = through.batches;
            changes.extend(through.changes);
        }
        if peers > 1 {
            changes.sort_unstable_by_key(|change| change.entity_id);
        }
        written.iter().for_each(|(tenant, position)| newest.insert_mut(*tenant, *position));
        let arranged = Arc::new(Arranged { position: last, catalog: catalog.clone(), newest: newest.clone(), workers });
        let catalog = catalog.clone();
        let delta =
            Arc::new(Delta { previous: position, position: last, newest: written.into_iter().collect(), catalog, schema_changed, changes });
        position = last;
        shared.arranged.store(arranged.clone());
        let published = Published { delta, arranged, accepted };
        for consumer in shared.consumers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            consumer(&published);
        }
        shared.position.send_replace(last);
        metrics::gauge!("decidr_dataflow_position").set(last as f64);
        metrics::histogram!("decidr_dataflow_batch_seconds").record(started.elapsed());
        metrics::histogram!("decidr_commit_to_delta_seconds").record(accepted.elapsed());
    }
}

/// Any other worker: computes its share, and hands it to worker 0 when a timestamp is through.
fn follow(worker: &mut Worker, shared: &Shared, through: &Sender<Through>) {
    let mut graph = Graph::build(worker, shared);
    let index = graph.worker.index();
    let Graph { input, .. } = &mut graph;
    // Only worker 0 has input; this worker's must not hold anybody back.
    std::mem::replace(input, Input::new_with_builder()).close();
    let mut published: Position = 0;
    while !shared.ended.load(Ordering::SeqCst) {
        graph.worker.step_or_park(None);
        // Worker 0 lets the next timestamp in only when it has what is published here.
        let reached = shared.current.load(Ordering::SeqCst);
        if reached > published && !graph.probe.less_equal(&reached) {
            let (batches, changes) = graph.publish(reached);
            published = reached;
            if through.send(Through { worker: index, position: reached, batches, changes }).is_err() {
                return;
            }
        }
    }
}
