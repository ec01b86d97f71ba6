//! What the workers' threads run: worker 0 takes the queue, lets one timestamp at a time into the graph, and publishes what
//! comes out when every worker is through; the others compute their share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use decidr_domain::aggregate::tenant::TenantEvent;
use decidr_domain::delta::{Change, Delta};
use decidr_domain::event::{Event, Recorded};
use decidr_domain::id::{Position, TenantId};
use decidr_domain::schema::{Catalog, Staging};
use jiff::Timestamp;
use rpds::HashTrieMapSync;
use rustc_hash::FxHashMap;
use timely::worker::Worker;

use crate::compute::{Backlog, Due, Progress};
use crate::engine::{EngineConfig, Published, Queued, Shared};
use crate::indexer::Indexer;
use crate::message::{Feed, Message};
use crate::render::Batches;
use crate::snapshot::Arranged;
use crate::types::{Time, slice_after, time_of};
use crate::worker::{Graph, Through};

/// How many entities a slice of what is computed aside may have.
const SLICE_LIMITS: RangeInclusive<usize> = 1..=32_768;

/// Worker 0: feeds the graph, one batch or slice at a time, and publishes what comes out.
pub(crate) fn conduct(worker: &mut Worker, shared: &Shared, queued: &Receiver<Queued>, done: &Receiver<Through>, config: EngineConfig) {
    shared.wake_too(worker);
    let graph = Graph::build(worker);
    let peers = graph.peers();
    let mut conductor = Conductor {
        graph,
        peers,
        shared,
        done,
        catalog: Arc::default(),
        newest: HashTrieMapSync::new_sync(),
        position: 0,
        time: 0,
        feed: Feed::default(),
        backlog: Backlog::default(),
        due: BTreeMap::new(),
        rescheduled: BTreeSet::new(),
        staging: BTreeMap::new(),
        staged_at: HashTrieMapSync::new_sync(),
        effort: HashTrieMapSync::new_sync(),
        steps: 0,
        slice_time: config.slice_time,
        slice_limit: *SLICE_LIMITS.start(),
        indexer: Indexer::new(shared.arranged.load().indexes.clone()),
        is_restoring: false,
        awaited: None,
    };
    let mut batch: VecDeque<Recorded> = VecDeque::new();
    let mut accepted = Instant::now();
    let mut vigil = Vigil::default();
    // What comes behind the batch, and is no event.
    let mut rows = None;
    while !shared.stopping.load(Ordering::SeqCst) {
        while batch.len() < config.batch_size_max
            && rows.is_none()
            && let Ok(next) = queued.try_recv()
        {
            let Queued::Events(at, more) = next else {
                rows = Some(next);
                break;
            };
            if batch.is_empty() {
                // Nothing is copied then.
                (accepted, batch) = (at, more.into());
            } else {
                batch.extend(more);
            }
        }
        // What is shown at some position must be computed by then: here it may not be, though it was where it was decided.
        let waits = |event: &Recorded| match &event.event {
            Event::Tenant(TenantEvent::ComputationCompleted { id, .. }) => conductor.backlog.tenants.contains_key(id),
            _ => false,
        };
        let is_completion = |event: &Recorded| matches!(event.event, Event::Tenant(TenantEvent::ComputationCompleted { .. }));
        let end = match batch.front() {
            Some(first) if waits(first) => 0,
            Some(_) => batch.iter().skip(1).position(is_completion).map_or(batch.len(), |place| place + 1),
            None => 0,
        };
        if end > 0 {
            let events = if end == batch.len() { std::mem::take(&mut batch) } else { batch.drain(..end).collect() };
            if conductor.events(events, accepted).is_none() {
                return;
            }
        }
        conductor.tend_indexes();
        if batch.is_empty()
            && let Some(rows) = rows.take()
        {
            if conductor.restore(rows).is_none() {
                return;
            }
            continue;
        }
        // Between rows nothing else may have a timestamp: theirs is not over.
        let has_backlog = !conductor.is_restoring && (!conductor.backlog.tenants.is_empty() || conductor.backlog.is_sweeping);
        if let Some(time) = slice_after(conductor.time).filter(|_| has_backlog) {
            if conductor.slice(time).is_none() {
                return;
            }
        } else if end == 0 && !vigil.sees(|| !queued.is_empty()) {
            // Only if nothing was done since it was seen that there is nothing to do: what was done may have taken the
            // call that would end this.
            vigil.sleep(|| conductor.graph.step());
        }
    }
}

/// Looks out for a moment before it sleeps, if sleep was short the last time: to be woken takes about as long as one change.
#[derive(Default)]
struct Vigil {
    slept_long: bool,
}

impl Vigil {
    /// How long it looks out.
    const LENGTH: Duration = Duration::from_micros(100);

    /// Whether something comes before it is time to sleep.
    fn sees(&self, something: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        while !self.slept_long && start.elapsed() < Self::LENGTH {
            if something() {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    fn sleep(&mut self, until_woken: impl FnOnce()) {
        let start = Instant::now();
        until_woken();
        self.slept_long = start.elapsed() > 4 * Self::LENGTH;
    }
}

/// Worker 0's view of all workers.
struct Conductor<'a> {
    graph: Graph<'a>,
    peers: usize,
    shared: &'a Shared,
    done: &'a Receiver<Through>,
    catalog: Arc<Catalog>,
    newest: HashTrieMapSync<TenantId, Position>,
    position: Position,
    time: Time,
    feed: Feed,
    /// What is still to be computed aside, all workers together.
    backlog: Backlog,
    /// When time must be let pass for a tenant, by worker.
    due: BTreeMap<(TenantId, usize), Timestamp>,
    /// The tenants of which nobody was told yet that this changed.
    rescheduled: BTreeSet<TenantId>,
    /// The tenants that stage something, with the generation of which it was said last that it is through.
    staging: BTreeMap<TenantId, u64>,
    /// Where in the log the oldest definition is that they stage.
    staged_at: HashTrieMapSync<TenantId, Position>,
    /// How many steps evaluations took that followed from events and took long.
    effort: HashTrieMapSync<TenantId, u64>,
    /// How many steps all of them took, also those computed aside.
    steps: u64,
    slice_time: Duration,
    slice_limit: usize,
    indexer: Indexer,
    /// Whether the timestamp in the graph is one that takes in rows.
    is_restoring: bool,
    /// How many rows there are to come, if there are, without which nothing that is computed is complete.
    awaited: Option<usize>,
}

impl Conductor<'_> {
    /// Lets events in as one timestamp; `None` if another worker has ended.
    fn events(&mut self, events: VecDeque<Recorded>, accepted: Instant) -> Option<()> {
        let last = events.back()?.position;
        let started = Instant::now();
        metrics::histogram!("decidr_dataflow_batch_size").record(events.len() as f64);
        self.begin(time_of(last));
        let mut schema_changed = false;
        let mut written: FxHashMap<TenantId, Position> = FxHashMap::default();
        for event in events {
            written.insert(event.tenant, event.position);
            if !matches!(event.event, Event::Entity(_)) {
                schema_changed |= self.change_schema(event.tenant, event.position, &event.event);
            }
            self.feed.give(event, self.peers, &mut |message| self.graph.send(message));
        }
        written.iter().for_each(|(tenant, position)| self.newest.insert_mut(*tenant, *position));
        let previous = std::mem::replace(&mut self.position, last);
        let (arranged, changes) = self.through(true)?;
        let delta = Delta {
            previous,
            position: last,
            newest: written.into_iter().collect(),
            catalog: self.catalog.clone(),
            schema_changed,
            is_aside: false,
            changes,
        };
        self.hand_out(delta, arranged, accepted);
        self.shared.position.send_replace(last);
        metrics::gauge!("decidr_dataflow_position").set(last as f64);
        metrics::histogram!("decidr_dataflow_batch_seconds").record(started.elapsed());
        metrics::histogram!("decidr_commit_to_delta_seconds").record(accepted.elapsed());
        self.graph.tidy();
        Some(())
    }

    /// Takes in rows, or ends the timestamp that they are of; `None` if another worker has ended.
    fn restore(&mut self, queued: Queued) -> Option<()> {
        match queued {
            Queued::Events(..) => debug_assert!(false, "they are a batch"),
            Queued::RowsBegin(entities) => self.awaited = Some(entities),
            Queued::Rows(position, rows) => {
                self.begin_restoring(position);
                for row in rows {
                    self.feed.restored(&row.entity);
                    self.graph.send(Message::Restored(row));
                }
                self.graph.give_way();
            }
            Queued::RowsEnd(position, newest, done) => {
                self.begin_restoring(position);
                (self.is_restoring, self.awaited) = (false, None);
                newest.iter().for_each(|(tenant, position)| self.newest.insert_mut(*tenant, *position));
                let previous = std::mem::replace(&mut self.position, position);
                let (arranged, changes) = self.through(false)?;
                let catalog = self.catalog.clone();
                let delta = Delta { previous, position, newest, catalog, schema_changed: false, is_aside: false, changes };
                self.hand_out(delta, arranged, Instant::now());
                self.shared.position.send_replace(position);
                // Whoever waited may have gone.
                let _ = done.send(());
                self.graph.tidy();
            }
        }
        Some(())
    }

    /// Begins the timestamp at which rows are taken in, if that is not done yet.
    fn begin_restoring(&mut self, position: Position) {
        if std::mem::replace(&mut self.is_restoring, true) {
            return;
        }
        // Behind the last event of the schema, which may be at the position itself, and what it staged.
        let behind = slice_after(self.time).filter(|_| self.position == position);
        self.begin(behind.unwrap_or_else(|| time_of(position)));
        for worker in 0..self.peers as u64 {
            self.graph.send(Message::Restore { worker, entities: self.awaited.unwrap_or_default() });
        }
    }

    /// Applies an event to the schema, if it is one of the schema.
    fn change_schema(&mut self, tenant: TenantId, position: Position, event: &Event) -> bool {
        let generation = |catalog: &Catalog| catalog.tenant(tenant).and_then(|schema| schema.staging()).map(Staging::generation);
        let before = generation(&self.catalog);
        let changed = Arc::make_mut(&mut self.catalog).apply(tenant, event);
        match generation(&self.catalog) {
            after if after == before => {}
            Some(_) => {
                self.staging.entry(tenant).or_default();
                if before.is_none() {
                    self.staged_at.insert_mut(tenant, position);
                }
            }
            None => {
                self.staging.remove(&tenant);
                self.staged_at.remove_mut(&tenant);
            }
        }
        changed
    }

    /// Computes a slice of what is computed aside.
    fn slice(&mut self, time: Time) -> Option<()> {
        let started = Instant::now();
        self.begin(time);
        for worker in 0..self.peers as u64 {
            self.graph.send(Message::Slice { worker, limit: self.slice_limit });
        }
        // What is computed aside waits for others, and nobody for it.
        let (arranged, changes) = self.through(false)?;
        let delta = Delta {
            previous: self.position,
            position: self.position,
            newest: Vec::new(),
            catalog: self.catalog.clone(),
            schema_changed: false,
            is_aside: true,
            changes,
        };
        self.hand_out(delta, arranged, started);
        self.graph.tidy();
        let taken = started.elapsed().as_secs_f64().max(1e-6);
        metrics::histogram!("decidr_dataflow_slice_seconds").record(taken);
        // One of nobody says nothing about how many fit.
        if self.backlog.sliced > 0 {
            let fit = self.backlog.sliced as f64 * self.slice_time.as_secs_f64() / taken;
            // At most twice as many as the last time, for entities are not all alike.
            self.slice_limit = (fit as usize).min(self.slice_limit * 2).clamp(*SLICE_LIMITS.start(), *SLICE_LIMITS.end());
        }
        Some(())
    }

    /// Publishes the newest state with other indexes, if there are others.
    fn tend_indexes(&mut self) {
        if self.indexer.tend(|| self.shared.arranged.load_full()) {
            let newest = Arranged::clone(&self.shared.arranged.load());
            self.shared.arranged.store(Arc::new(Arranged { indexes: self.indexer.indexes(), ..newest }));
        }
    }

    fn begin(&mut self, time: Time) {
        self.time = time;
        self.shared.current.store(time, Ordering::SeqCst);
        self.graph.advance_to(time);
    }

    /// Waits until the timestamp is through on all workers; gives everything arranged, and what changed, by entity. What it
    /// took is kept if it `counts`.
    fn through(&mut self, counts: bool) -> Option<(Arc<Arranged>, Vec<Change>)> {
        let time = self.time;
        self.graph.advance_to(time + 1);
        while !self.graph.is_through(time) {
            self.graph.step();
        }
        let Through { batches, mut changes, mut backlog, due, effort, .. } = self.graph.publish(time);
        self.reschedule(0, due);
        let mut efforts = vec![effort];
        let mut workers = vec![Batches::default(); self.peers];
        workers[0] = batches;
        for _ in 1..self.peers {
            // The others pass at the same progress message; if one has ended, so does the process.
            let through = self.done.recv().ok()?;
            debug_assert_eq!(through.time, time, "one timestamp is in the graph at a time");
            workers[through.worker] = through.batches;
            changes.extend(through.changes);
            self.reschedule(through.worker, through.due);
            efforts.push(through.effort);
            backlog.is_sweeping |= through.backlog.is_sweeping;
            backlog.sliced = backlog.sliced.max(through.backlog.sliced);
            for (tenant, progress) in through.backlog.tenants {
                let all: &mut Progress = backlog.tenants.entry(tenant).or_default();
                all.done += progress.done;
                all.total += progress.total;
            }
            for (tenant, finished) in through.backlog.finished {
                *backlog.finished.entry(tenant).or_default() += finished;
            }
        }
        for (tenant, progress) in &mut backlog.tenants {
            let finished = backlog.finished.get(tenant).copied().unwrap_or(0);
            (progress.done, progress.total) = (progress.done + finished, progress.total + finished);
        }
        if self.peers > 1 {
            changes.sort_unstable_by_key(|change| change.entity_id);
        }
        for (tenant, steps) in efforts.into_iter().flatten() {
            self.steps = self.steps.saturating_add(steps);
            if counts {
                let before = self.effort.get(&tenant).copied().unwrap_or(0);
                self.effort.insert_mut(tenant, before.saturating_add(steps));
            }
        }
        self.indexer.apply(&changes);
        let arranged = Arc::new(Arranged {
            position: self.position,
            catalog: self.catalog.clone(),
            newest: self.newest.clone(),
            computing: Arc::new(backlog.tenants.clone()),
            staged_at: self.staged_at.clone(),
            effort: self.effort.clone(),
            steps: self.steps,
            workers,
            indexes: self.indexer.indexes(),
        });
        self.backlog = backlog;
        Some((arranged, changes))
    }

    fn reschedule(&mut self, worker: usize, due: Due) {
        for (tenant, at) in due {
            match at {
                Some(at) => self.due.insert((tenant, worker), at),
                None => self.due.remove(&(tenant, worker)),
            };
            self.rescheduled.insert(tenant);
        }
    }

    /// Publishes what is arranged, and tells everybody.
    fn hand_out(&mut self, delta: Delta, arranged: Arc<Arranged>, accepted: Instant) {
        self.shared.arranged.store(arranged.clone());
        let published = Published { delta: Arc::new(delta), arranged, accepted };
        for consumer in self.shared.consumers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            consumer(&published);
        }
        for (tenant, told) in &mut self.staging {
            let generation = self.catalog.tenant(*tenant).and_then(|schema| schema.staging()).map_or(0, Staging::generation);
            if generation > *told && self.awaited.is_none() && !self.backlog.tenants.contains_key(tenant) {
                *told = generation;
                for consumer in self.shared.computation_consumers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
                    consumer(*tenant, generation);
                }
            }
        }
        for tenant in std::mem::take(&mut self.rescheduled) {
            let at = self.due.range((tenant, 0)..=(tenant, usize::MAX)).map(|(_, at)| *at).min();
            for consumer in self.shared.clock_consumers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
                consumer(tenant, at);
            }
        }
    }
}

/// Any other worker: computes its share, and hands it to worker 0 when a timestamp is through.
pub(crate) fn follow(worker: &mut Worker, shared: &Shared, through: &Sender<Through>) {
    shared.wake_too(worker);
    let mut graph = Graph::build(worker);
    // Only worker 0 has input.
    graph.close();
    let mut published: Time = 0;
    while !shared.ended.load(Ordering::SeqCst) {
        graph.step();
        // Worker 0 lets the next timestamp in only when it has what is published here.
        let reached = shared.current.load(Ordering::SeqCst);
        if reached > published && graph.is_through(reached) {
            published = reached;
            if through.send(graph.publish(reached)).is_err() {
                return;
            }
            graph.tidy();
        }
    }
}
