//! Live queries: whoever subscribes gets every later change once, in order.
//!
//! A live query is a collection and a filter over its rows. Queries that are the same share one evaluation and one result
//! for each delta. A query whose filter requires that a cell equals some constant is found by that constant, so that what a
//! change costs does not grow with the queries for other constants. What a subscriber has not read yet waits in a bounded queue; one that falls behind is told so
//! ([`Next::Lagged`]) and must start again from a snapshot: it is never skipped in silence.
//!
//! A filter may ask what time it is. Then some rows come in or go out because time passes, which is an event too: when that is
//! for each row must be found out before anybody listens ([`Unscheduled`]), and the first such moment of each tenant is told to
//! whoever lets time pass ([`Live::telling`]).
//!
//! To begin without a gap: subscribe first, take a snapshot then, and pass over what is not newer than the snapshot.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use decidr_domain::aggregate::attribute::Attribute;
use decidr_domain::delta::{Change, Delta, Row};
use decidr_domain::formula::{Equality, Program};
use decidr_domain::id::{AttributeId, CollectionId, Position, TenantId};
use decidr_domain::schema::Catalog;
use jiff::Timestamp;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use crate::Sink;
use crate::interests::{Interests, QueryId};
pub use crate::query::{Changes, ChangesKind, Gone, Hears, LiveQuery, Op, OpKind};
pub use crate::schedule::SCHEDULED_MAX;
use crate::schedule::{Schedule, Timed};

/// How many deltas may wait for one subscriber.
pub const QUEUE_MAX: usize = 1024;

/// How many changes of entities may wait for one subscriber, but that there may always be one delta.
pub const WAITING_MAX: usize = 100_000;

/// What comes next on a subscription.
#[derive(Debug)]
pub enum Next {
    /// Changes.
    Changes(Arc<Changes>),
    /// The subscriber fell behind, or the meaning of its filter changed: start again from a snapshot.
    Lagged,
    /// The query cannot be answered any more.
    Gone,
}

/// One subscriber's end.
pub struct Subscription {
    queue: mpsc::Receiver<Arc<Changes>>,
    /// How many changes of entities are in the queue.
    waiting: Arc<AtomicUsize>,
    ended: Arc<Mutex<Option<End>>>,
    /// Where it is registered, and as whose.
    state: Weak<Mutex<State>>,
    query: QueryId,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.retain_subscribers(self.query, |subscriber| subscriber.id != self.id);
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Lagged,
    Gone,
}

impl Subscription {
    /// The next message; waits for it.
    pub async fn next(&mut self) -> Next {
        match self.queue.recv().await {
            Some(changes) => self.read(changes),
            None => self.end(),
        }
    }

    /// The next message, if it is there already.
    pub fn try_next(&mut self) -> Option<Next> {
        match self.queue.try_recv() {
            Ok(changes) => Some(self.read(changes)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(self.end()),
        }
    }

    fn read(&self, changes: Arc<Changes>) -> Next {
        self.waiting.fetch_sub(changes.ops.len(), Ordering::Relaxed);
        Next::Changes(changes)
    }

    fn end(&self) -> Next {
        match *self.ended.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(End::Gone) => Next::Gone,
            Some(End::Lagged) | None => Next::Lagged,
        }
    }
}

/// All live queries and who listens to them.
#[derive(Default)]
pub struct Live {
    state: Arc<Mutex<State>>,
}

/// Called when time must be let pass for a tenant at another moment than before; `None` if at none.
pub type DueConsumer = Box<dyn Fn(TenantId, Option<Timestamp>) + Send + Sync>;

#[derive(Default)]
struct State {
    position: Position,
    /// The position of every tenant's newest event up to there.
    newest: FxHashMap<TenantId, Position>,
    /// The schema up to there.
    catalog: Arc<Catalog>,
    /// The distinct queries.
    queries: FxHashMap<QueryId, Shared>,
    /// Those that are the same, but for how their filters were understood.
    alike: HashMap<LiveQuery, Vec<QueryId>>,
    /// By collection, how a change finds the queries that it may concern.
    interests: FxHashMap<(TenantId, CollectionId), Interests>,
    subscribers: usize,
    /// How many ids were given.
    ids: u64,
    /// The queries of a tenant whose filters ask what time it is.
    timed: FxHashMap<TenantId, Vec<QueryId>>,
    /// When the first of their rows is due, as it was told last.
    due: FxHashMap<TenantId, Timestamp>,
    due_consumer: Option<DueConsumer>,
}

impl State {
    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Takes in a query that nobody listens to yet.
    fn register(&mut self, query: LiveQuery, program: Option<Program>, required: Vec<Equality>) -> QueryId {
        let id = self.next_id();
        let interests = self.interests.entry((query.tenant, query.collection)).or_default();
        let found_by = interests.rarest(required);
        interests.insert(id, found_by.as_ref());
        self.alike.entry(query.clone()).or_default().push(id);
        let computing = query.computing(&self.catalog);
        let timed = Timed::of(program.as_ref());
        if matches!(timed, Timed::Unknown(_)) {
            self.timed.entry(query.tenant).or_default().push(id);
        }
        self.queries.insert(id, Shared { query, program, found_by, computing, timed, subscribers: Vec::new() });
        id
    }

    /// Adds one who listens to a query.
    fn add_subscriber(&mut self, query: QueryId, hears: Hears, state: Weak<Mutex<State>>) -> Subscription {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let (waiting, ended) = (Arc::default(), Arc::default());
        let id = self.next_id();
        let subscriber = Subscriber { id, hears, queue: sender, waiting: Arc::clone(&waiting), ended: Arc::clone(&ended) };
        if let Some(shared) = self.queries.get_mut(&query) {
            shared.subscribers.push(subscriber);
            self.subscribers += 1;
        }
        Subscription { queue, waiting, ended, state, query, id }
    }

    /// What time it is for a tenant's filters.
    fn clock(&self, tenant: TenantId) -> Option<Timestamp> {
        self.catalog.tenant(tenant)?.clock()
    }

    /// Tells when something is due for a tenant, if that is another moment than before.
    fn tell_due(&mut self, tenant: TenantId) {
        let queries = self.timed.get(&tenant).into_iter().flatten().filter_map(|id| self.queries.get(id));
        let first = queries.filter_map(|shared| shared.timed.schedule()?.first()).min();
        let before = match first {
            Some(first) => self.due.insert(tenant, first),
            None => self.due.remove(&tenant),
        };
        if let Some(consumer) = self.due_consumer.as_ref().filter(|_| before != first) {
            consumer(tenant, first);
        }
    }

    /// Lets go of subscribers, and of a query that nobody listens to any more.
    fn retain_subscribers(&mut self, id: QueryId, is_kept: impl FnMut(&mut Subscriber) -> bool) {
        let Some(shared) = self.queries.get_mut(&id) else { return };
        let before = shared.subscribers.len();
        shared.subscribers.retain_mut(is_kept);
        self.subscribers -= before - shared.subscribers.len();
        // Somebody will listen to what is not known yet.
        if shared.subscribers.is_empty() && is_known(shared) {
            self.remove(id);
        }
    }

    /// Lets go of a query.
    fn remove(&mut self, id: QueryId) {
        let Some(Shared { query, found_by, timed, .. }) = self.queries.remove(&id) else { return };
        let collection = (query.tenant, query.collection);
        if let Some(interests) = self.interests.get_mut(&collection) {
            interests.remove(id, found_by.as_ref());
            if interests.is_empty() {
                self.interests.remove(&collection);
            }
        }
        if let Some(alike) = self.alike.get_mut(&query) {
            alike.retain(|other| *other != id);
            if alike.is_empty() {
                self.alike.remove(&query);
            }
        }
        if !matches!(timed, Timed::No)
            && let Some(queries) = self.timed.get_mut(&query.tenant)
        {
            queries.retain(|other| *other != id);
            if queries.is_empty() {
                self.timed.remove(&query.tenant);
            }
            self.tell_due(query.tenant);
        }
    }

    /// Takes in another schema: ends what it makes meaningless. Gives the collections whose attributes are others.
    fn change_schema(&mut self, before: &Catalog, catalog: &Catalog) -> Vec<(TenantId, CollectionId)> {
        let is_changed = |tenant| match (before.tenant(tenant), catalog.tenant(tenant)) {
            (Some(before), Some(after)) => !Arc::ptr_eq(before, after),
            (before, after) => before.is_some() || after.is_some(),
        };
        let mut redefined = Vec::new();
        let changed: Vec<_> = self.interests.keys().copied().filter(|(tenant, _)| is_changed(*tenant)).collect();
        for collection in changed {
            if attributes(before, collection) != attributes(catalog, collection) {
                redefined.push(collection);
            }
            let queries: HashSet<QueryId> = self.interests.get(&collection).into_iter().flat_map(Interests::all).collect();
            for id in queries {
                let Some(shared) = self.queries.get_mut(&id) else { continue };
                if let Some(end) = shared.change_schema(catalog) {
                    shared.subscribers.iter().for_each(|subscriber| subscriber.end(end));
                    self.subscribers -= shared.subscribers.len();
                    self.remove(id);
                }
            }
        }
        redefined
    }

    /// Tells everybody what changed since another state of the schema and of the clocks, and of these collections that their
    /// attributes did.
    fn deliver(&mut self, delta: &Delta, before: &Catalog, redefined: &[(TenantId, CollectionId)]) {
        let mut by_collection: FxHashMap<(TenantId, CollectionId), Vec<&Change>> = FxHashMap::default();
        for change in &delta.changes {
            let collection = (change.new.entity.tenant_id, change.new.entity.collection_id);
            if self.interests.contains_key(&collection) {
                by_collection.entry(collection).or_default().push(change);
            }
        }
        // Who keeps more of a result than its entities may have to make it anew, though none of them changed.
        for collection in redefined {
            by_collection.entry(*collection).or_default();
        }
        let mut due: FxHashMap<(TenantId, CollectionId), Vec<QueryId>> = FxHashMap::default();
        let clock = |tenant| before.tenant(tenant).and_then(|schema| schema.clock());
        let asking = delta.newest.iter().map(|(tenant, _)| *tenant).filter(|tenant| self.timed.contains_key(tenant));
        let asking: Vec<TenantId> = asking.collect();
        for tenant in asking.iter().filter(|tenant| clock(**tenant) != self.clock(**tenant)) {
            for id in &self.timed[tenant] {
                let Some(shared) = self.queries.get(id) else { continue };
                let collection = (*tenant, shared.query.collection);
                by_collection.entry(collection).or_default();
                due.entry(collection).or_default().push(*id);
            }
        }
        for (collection, changes) in by_collection {
            let Some(interests) = self.interests.get(&collection) else { continue };
            let moment = Moment {
                logged: delta.position,
                position: self.newest.get(&collection.0).copied().unwrap_or(0),
                before: clock(collection.0),
                now: self.clock(collection.0),
            };
            let is_redefined = redefined.contains(&collection);
            let mut concerned: FxHashMap<QueryId, Vec<&Change>> = FxHashMap::default();
            if is_redefined {
                concerned.extend(interests.all().map(|query| (query, Vec::new())));
            }
            concerned.extend(due.get(&collection).into_iter().flatten().map(|query| (*query, Vec::new())));
            for change in changes.iter().copied().filter(|_| interests.has_conditional()) {
                interests.each_by_value(change, &mut |query| {
                    let of_query = concerned.entry(query).or_default();
                    if of_query.last().is_none_or(|last| !std::ptr::eq(*last, change)) {
                        of_query.push(change);
                    }
                });
            }
            for query in interests.unconditional.clone() {
                concerned.remove(&query);
                self.deliver_to(query, &moment, &changes, is_redefined);
            }
            for (query, changes) in concerned {
                self.deliver_to(query, &moment, &changes, is_redefined);
            }
        }
        for tenant in asking {
            self.tell_due(tenant);
        }
    }

    /// Tells the subscribers of a query what changed; those who hear of the schema also if nothing but that did.
    fn deliver_to(&mut self, id: QueryId, moment: &Moment, changes: &[&Change], is_redefined: bool) {
        let Some(shared) = self.queries.get_mut(&id) else { return };
        let ops = shared.ops(changes, moment);
        if shared.timed.misses() {
            return self.remove(id);
        }
        if ops.is_empty() && !is_redefined {
            return;
        }
        let message = Arc::new(Changes { position: moment.position, kind: ChangesKind::Delta, ops });
        let concerns = |subscriber: &Subscriber| !message.ops.is_empty() || subscriber.hears == Hears::SchemaToo;
        self.retain_subscribers(id, |subscriber| !concerns(subscriber) || subscriber.send(&message));
    }
}

/// When changes happened.
struct Moment {
    /// The position in the log.
    logged: Position,
    /// That of the tenant's newest event.
    position: Position,
    /// What time it was for the tenant before, and is now.
    before: Option<Timestamp>,
    now: Option<Timestamp>,
}

/// One distinct query.
struct Shared {
    query: LiveQuery,
    program: Option<Program>,
    /// What a change finds it by; each change of the collection if there is nothing.
    found_by: Option<Equality>,
    /// The cells that are computed aside, and not shown. Sorted.
    computing: Vec<AttributeId>,
    timed: Timed,
    subscribers: Vec<Subscriber>,
}

struct Subscriber {
    id: u64,
    hears: Hears,
    queue: mpsc::Sender<Arc<Changes>>,
    waiting: Arc<AtomicUsize>,
    ended: Arc<Mutex<Option<End>>>,
}

impl Subscriber {
    /// Whether it is still there after this message was left for it.
    fn send(&self, message: &Arc<Changes>) -> bool {
        let ops = message.ops.len();
        let waiting = self.waiting.fetch_add(ops, Ordering::Relaxed);
        let is_lagging = ops > 0 && waiting > 0 && waiting + ops > WAITING_MAX;
        let sent = if is_lagging { Err(TrySendError::Full(message.clone())) } else { self.queue.try_send(message.clone()) };
        if matches!(sent, Err(TrySendError::Full(_))) {
            metrics::counter!("decidr_live_lagged_total").increment(1);
            self.end(End::Lagged);
        }
        sent.is_ok()
    }

    /// Takes leave of a subscriber: it reads what waits for it, and then this.
    fn end(&self, end: End) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }
}

/// A query whose filter asks what time it is, and of which is not known when rows are due. It misses nothing meanwhile.
#[derive(Debug)]
pub struct Unscheduled {
    state: Weak<Mutex<State>>,
    query: QueryId,
    hears: Hears,
}

impl Drop for Unscheduled {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.queries.get(&self.query).is_some_and(|shared| !is_known(shared)) {
                state.remove(self.query);
            }
        }
    }
}

/// Why nobody can listen to a query whose filter asks what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unschedulable {
    /// The schema changed meanwhile, or too many entities: it must be tried again.
    Outdated,
    /// More rows than [`SCHEDULED_MAX`] would wait for their time.
    TooMany,
}

impl Unscheduled {
    /// Listens, given all rows of a state that the filter may let in at some time. `position` is the state's in the log, and `now`
    /// its clock. Nothing is held while the rows are looked at.
    ///
    /// # Errors
    ///
    /// See [`Unschedulable`].
    pub fn schedule(
        self,
        filter: &Program,
        position: Position,
        now: Option<Timestamp>,
        rows: impl FnOnce(&mut dyn FnMut(&Row) -> bool),
    ) -> Result<Subscription, Unschedulable> {
        let mut schedule = Schedule::new(filter);
        rows(&mut |row| {
            schedule.put(row, filter, now);
            schedule.len() <= SCHEDULED_MAX
        });
        let registry = self.state.upgrade().ok_or(Unschedulable::Outdated)?;
        let mut state = registry.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let Some(shared) = state.queries.get(&self.query) else { return Err(Unschedulable::Outdated) };
        let tenant = shared.query.tenant;
        let others = state.timed.get(&tenant).into_iter().flatten().filter_map(|id| state.queries.get(id)?.timed.schedule());
        if others.map(Schedule::len).sum::<usize>() + schedule.len() > SCHEDULED_MAX {
            return Err(Unschedulable::TooMany);
        }
        let clock = state.clock(tenant);
        let Some(shared) = state.queries.get_mut(&self.query) else { return Err(Unschedulable::Outdated) };
        // Nobody listened to what happened meanwhile: what it made of the rows is all that matters.
        if let Timed::Unknown(missed) = &shared.timed {
            missed.iter().filter(|(at, _)| *at > position).for_each(|(_, row)| schedule.put(row, filter, clock));
        }
        for row in clock.map(|clock| schedule.due(clock)).unwrap_or_default() {
            schedule.put(&row, filter, clock);
        }
        shared.timed = Timed::Known(schedule);
        let subscription = state.add_subscriber(self.query, self.hears, Weak::clone(&self.state));
        state.tell_due(tenant);
        Ok(subscription)
    }
}

/// Whether is known when its rows are due, or none ever is.
fn is_known(shared: &Shared) -> bool {
    !matches!(shared.timed, Timed::Unknown(_))
}

impl Live {
    /// Tells a consumer when time must be let pass for a tenant, because some row comes into a result then or goes out.
    pub fn telling(consumer: DueConsumer) -> Self {
        Self { state: Arc::new(Mutex::new(State { due_consumer: Some(consumer), ..State::default() })) }
    }

    /// Listens to a query, from the next delta on. `program` is the filter's, under the newest schema.
    ///
    /// # Errors
    ///
    /// If the filter asks what time it is, and of no query like it is known when rows are due.
    pub fn subscribe(&self, query: LiveQuery, program: Option<Program>, hears: Hears) -> Result<Subscription, Unscheduled> {
        let required = program.as_ref().map(Program::equalities).unwrap_or_default();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |shared: &Shared| shared.program == program && is_known(shared);
        let alike = state.alike.get(&query).into_iter().flatten().copied();
        let same = alike.clone().find(|id| state.queries.get(id).is_some_and(is_same));
        let id = same.unwrap_or_else(|| state.register(query, program, required));
        let (is_unknown, registry) = (state.queries.get(&id).is_some_and(|shared| !is_known(shared)), Arc::downgrade(&self.state));
        if is_unknown {
            return Err(Unscheduled { state: registry, query: id, hears });
        }
        Ok(state.add_subscriber(id, hears, registry))
    }

    /// The position of the tenant's newest event that was looked at; everything up to there has been handed to subscribers.
    pub fn newest(&self, tenant: TenantId) -> Position {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.newest.get(&tenant).copied().unwrap_or(0)
    }

    /// How many subscribers there are.
    pub fn subscribers(&self) -> usize {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.subscribers
    }
}

impl Sink for Live {
    fn name(&self) -> &'static str {
        "live"
    }

    fn position(&self) -> Position {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).position
    }

    fn apply(&self, delta: &Arc<Delta>) {
        if delta.is_aside {
            // Nobody is shown any of it.
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.newest.extend(delta.newest.iter().copied());
        let before = std::mem::replace(&mut state.catalog, delta.catalog.clone());
        let redefined = if delta.schema_changed { state.change_schema(&before, &delta.catalog) } else { Vec::new() };
        state.deliver(delta, &before, &redefined);
        state.position = delta.position;
        metrics::gauge!("decidr_live_subscribers").set(state.subscribers as f64);
    }
}

/// The attributes of a collection.
fn attributes(catalog: &Catalog, (tenant, collection): (TenantId, CollectionId)) -> Option<&[Arc<Attribute>]> {
    Some(catalog.tenant(tenant)?.collection(collection)?.attributes())
}

impl Shared {
    /// Takes in another schema; how its subscribers end, if it is another query under it.
    fn change_schema(&mut self, catalog: &Catalog) -> Option<End> {
        let is_shown = |cell: &AttributeId| self.query.shows(*cell, catalog);
        // Other cells are shown now, of many rows or all.
        let shows_others = self.computing.iter().any(is_shown);
        self.computing = self.query.computing(catalog);
        match self.query.program(catalog) {
            Err(Gone) => Some(End::Gone),
            // What matched before may not now, and the other way round.
            Ok(program) => (shows_others || program != self.program).then_some(End::Lagged),
        }
    }

    /// Whether nothing changed but what is not shown.
    fn is_the_same<'a>(&'a self, change: &'a Change) -> bool {
        let Some(old) = change.old.as_ref().filter(|_| !self.computing.is_empty()) else { return false };
        let shown = |row: &'a Row| row.cells().filter(|(cell, _)| self.computing.binary_search(cell).is_err());
        old.entity == change.new.entity && shown(old).eq(shown(&change.new))
    }

    /// What changes mean for its result, and that time passed.
    fn ops(&mut self, changes: &[&Change], moment: &Moment) -> Vec<Op> {
        let mut ops = Vec::new();
        let filter = self.program.as_ref();
        for change in changes {
            let was = change.old.as_ref().is_some_and(|row| LiveQuery::matches_at(row, filter, moment.before));
            let is = LiveQuery::matches_at(&change.new, filter, moment.now);
            if was && is && self.is_the_same(change) {
                continue;
            }
            ops.extend(op(change.old.as_ref(), &change.new, was, is));
        }
        let Some(filter) = filter else { return ops };
        match &mut self.timed {
            Timed::No => {}
            Timed::Unknown(missed) => missed.extend(changes.iter().map(|change| (moment.logged, change.new.clone()))),
            Timed::Known(schedule) => {
                // What changed is in the schedule as it is now, so that only what did not is still due.
                changes.iter().for_each(|change| schedule.put(&change.new, filter, moment.now));
                for row in moment.now.map(|now| schedule.due(now)).unwrap_or_default() {
                    schedule.put(&row, filter, moment.now);
                    let matches = |now| LiveQuery::matches_at(&row, Some(filter), now);
                    let (was, is) = (matches(moment.before), matches(moment.now));
                    ops.extend(op(Some(&row), &row, was, is).filter(|_| was != is));
                }
                ops.sort_unstable_by_key(|op| op.id);
            }
        }
        ops
    }
}

/// What it means for a result that a row became another: whether it was in it, and is.
fn op(old: Option<&Row>, new: &Row, was: bool, is: bool) -> Option<Op> {
    let kind = match (was, is) {
        (false, false) => return None,
        (false, true) => OpKind::Insert,
        (true, true) => OpKind::Update,
        (true, false) => OpKind::Delete,
    };
    Some(Op { kind, id: new.entity.id, old: old.filter(|_| was).cloned(), row: is.then(|| new.clone()) })
}

#[cfg(test)]
mod tests {
    use decidr_domain::aggregate::entity::{Entity, Values};
    use decidr_domain::id::EntityId;
    use decidr_domain::layout::Layout;
    use decidr_domain::stamp::Stamp;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    const TENANT: TenantId = TenantId(Uuid::nil());
    const COLLECTION: CollectionId = CollectionId(Uuid::nil());

    /// So many new entities.
    fn delta(position: Position, count: usize) -> Arc<Delta> {
        let change = |n: usize| {
            let entity = Entity {
                id: EntityId(Uuid::from_u128(n as u128)),
                tenant_id: TENANT,
                collection_id: COLLECTION,
                archived: false,
                version: 1,
                values: Values::default(),
                number: 1,
                created: Stamp { at: Timestamp::UNIX_EPOCH, by: "test".into() },
                changes: Vec::new(),
            };
            let new = Row::new(1, Arc::new(entity), Layout::default(), std::iter::empty());
            Change { entity_id: new.entity.id, old: None, new }
        };
        Arc::new(Delta {
            previous: position - 1,
            position,
            newest: vec![(TENANT, position)],
            catalog: Arc::default(),
            schema_changed: false,
            is_aside: false,
            changes: (0..count).map(change).collect(),
        })
    }

    fn listen(live: &Live) -> Subscription {
        let query = LiveQuery { tenant: TENANT, collection: COLLECTION, filter: None };
        live.subscribe(query, None, Hears::Entities).expect("no time is asked for")
    }

    fn read(subscription: &mut Subscription) -> Option<usize> {
        match subscription.try_next()? {
            Next::Changes(changes) => Some(changes.ops.len()),
            next => panic!("{next:?}"),
        }
    }

    #[test]
    fn what_waits_is_bounded_by_its_size() {
        let live = Live::default();
        let (mut slow, mut quick) = (listen(&live), listen(&live));
        // One delta is handed over however large it is; what comes with it is too much, unless it was read.
        live.apply(&delta(1, WAITING_MAX + 1));
        assert_eq!(read(&mut quick), Some(WAITING_MAX + 1));
        live.apply(&delta(2, 10));
        assert_eq!((read(&mut quick), live.subscribers()), (Some(10), 1));
        assert_eq!(read(&mut slow), Some(WAITING_MAX + 1), "what was left for it before is still read");
        assert!(matches!(slow.try_next(), Some(Next::Lagged)));
        // As much as may wait, in many deltas; then one more.
        for position in 3..13 {
            live.apply(&delta(position, WAITING_MAX / 10));
        }
        assert_eq!(live.subscribers(), 1);
        live.apply(&delta(13, 1));
        assert_eq!(live.subscribers(), 0);
        assert_eq!(std::iter::from_fn(|| (!quick.queue.is_empty()).then(|| read(&mut quick))).count(), 10);
        assert!(matches!(quick.try_next(), Some(Next::Lagged)));
    }
}
