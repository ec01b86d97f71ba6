//! The same histories computed by several processes together, each of which knows the oracle and compares its own share.
//!
//! The words that a history is made from are known to every process, so that each knows what comes next and when it is
//! through. Only what a dataflow's workers tell one another goes between them, and after each timestamp a word that it is
//! through, for one timestamp is in the graph at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use decidr_domain::aggregate::tenant::TenantEvent;
use decidr_domain::event::{Event, Recorded};
use decidr_domain::id::Position;
use rpds::HashTrieMapSync;
use timely::worker::Worker;
use timely::{CommunicationConfig, WorkerConfig};

use super::Oracle;
use super::histories::{Extent, History, Mirror};
use crate::Arranged;
use crate::index::Indexes;
use crate::message::{Feed, Message, route};
use crate::render::Batches;
use crate::types::{Time, slice_after, time_of};
use crate::worker::{Graph, Through};

/// One of the processes.
pub struct Member {
    /// Which one; the first is fed with the events.
    pub process: usize,
    /// Where they listen, each at its own.
    pub addresses: Vec<String>,
}

/// Called in each process when it is through with a timestamp; returns when all are.
pub type Barrier = Box<dyn FnMut() + Send>;

/// What the next history is made from, and how it is cut into batches; nothing if those that there were are enough. The same
/// in each process.
pub type Next = Box<dyn FnMut(&[Extent]) -> Option<(Vec<u32>, Vec<u8>)> + Send>;

/// How much is computed aside after each batch: a little, so that much happens in between.
const SLICES: [usize; 2] = [1, 2];

/// How many slices compute aside all that there is before it is shown, in every process: each is of some cells or
/// contributions of one collection, or clears one away.
fn last_slices(oracle: &Oracle) -> usize {
    let collections = oracle.catalog.tenants().flat_map(|schema| schema.collections());
    16 + collections.map(|collection| 1 + 3 * collection.attributes().len()).sum::<usize>()
}

/// More than there are entities.
const ALL: usize = 10_000;

/// Runs histories until there are no more; returns how much they were.
///
/// Ends the process at the first difference in its share, for a dataflow that lost a worker hangs.
///
/// # Errors
/// If the processes do not find one another.
pub fn run(member: Member, next: Next, barrier: Barrier) -> Result<Vec<Extent>, String> {
    let Member { process, addresses } = member;
    let communication = CommunicationConfig::Cluster { threads: 1, process, addresses, report: false, zerocopy: false };
    let config = timely::Config { communication, worker: WorkerConfig::default() };
    let work = Mutex::new(Some((next, barrier)));
    let guards = timely::execute(config, move |worker| {
        let (mut next, mut barrier) = work.lock().unwrap_or_else(PoisonError::into_inner).take().expect("each process has one worker");
        let work = AssertUnwindSafe(|| {
            let mut extents = Vec::new();
            while let Some((words, splits)) = next(&extents) {
                extents.push(Share::new(worker).run(History::new(words, splits), &mut barrier));
            }
            extents
        });
        catch_unwind(work).unwrap_or_else(|_| std::process::exit(1))
    })?;
    guards.join().into_iter().next().expect("each process has one worker")
}

/// One process's share of the graph of one history.
struct Share<'a> {
    graph: Graph<'a>,
    feed: Feed,
    index: usize,
    peers: usize,
    time: Time,
    mirror: Mirror,
}

impl<'a> Share<'a> {
    fn new(worker: &'a mut Worker) -> Self {
        let (index, peers) = (worker.index(), worker.peers());
        let mut graph = Graph::build(worker);
        if index > 0 {
            graph.close();
        }
        Self { graph, feed: Feed::default(), index, peers, time: 0, mirror: Mirror::default() }
    }

    fn run(mut self, mut history: History, barrier: &mut Barrier) -> Extent {
        while let Some(batch) = history.next() {
            let is_completion = |event: &Recorded| matches!(event.event, Event::Tenant(TenantEvent::ComputationCompleted { .. }));
            let position = batch.last().expect("a batch has events").position;
            let mut newest = None;
            for part in batch.chunk_by(|_, next| !is_completion(next)) {
                if is_completion(&part[0]) {
                    for _ in 0..last_slices(history.oracle()) {
                        newest = Some(self.slice(ALL, barrier));
                    }
                    let backlog = &newest.as_ref().expect("a step came before").backlog;
                    assert!(backlog.tenants.is_empty() && !backlog.is_sweeping, "all is computed before it is shown");
                }
                newest = Some(self.events(part, barrier));
            }
            for limit in SLICES {
                newest = Some(self.slice(limit, barrier));
            }
            self.check(position, newest.expect("a step came before").batches, history.oracle());
        }
        history.extent()
    }

    fn events(&mut self, events: &[Recorded], barrier: &mut Barrier) -> Through {
        self.begin(time_of(events.last().expect("a batch has events").position));
        for event in events.iter().filter(|_| self.index == 0) {
            self.feed.give(event.clone(), self.peers, &mut |message| self.graph.send(message));
        }
        self.through(false, barrier)
    }

    fn slice(&mut self, limit: usize, barrier: &mut Barrier) -> Through {
        self.begin(slice_after(self.time).expect("there are more slices than cells"));
        for worker in (0..self.peers as u64).filter(|_| self.index == 0) {
            self.graph.send(Message::Slice { worker, limit });
        }
        self.through(true, barrier)
    }

    fn begin(&mut self, time: Time) {
        self.time = time;
        if self.index == 0 {
            self.graph.advance_to(time);
        }
    }

    fn through(&mut self, is_aside: bool, barrier: &mut Barrier) -> Through {
        if self.index == 0 {
            self.graph.advance_to(self.time + 1);
        }
        while !self.graph.is_through(self.time) {
            self.graph.step();
        }
        let mut through = self.graph.publish(self.time);
        self.mirror.take_in(&std::mem::take(&mut through.changes), is_aside);
        self.graph.tidy();
        barrier();
        through
    }

    fn check(&self, position: Position, batches: Batches, oracle: &Oracle) {
        let mut workers = vec![Batches::default(); self.peers];
        workers[self.index] = batches;
        let arranged = Arranged {
            position,
            catalog: Arc::new(oracle.catalog.clone()),
            newest: HashTrieMapSync::new_sync(),
            computing: Arc::default(),
            staged_at: HashTrieMapSync::new_sync(),
            effort: HashTrieMapSync::new_sync(),
            steps: 0,
            indexes: Indexes::new(Arc::default()),
            workers,
        };
        self.mirror.check(position, &arranged, oracle, &|id| (route(id) % self.peers as u64) as usize == self.index);
    }
}
