//! Live queries: whoever subscribes gets every later change once, in order.
//!
//! A live query is a collection and a filter over its rows. Queries that are the same share one evaluation and one result
//! for each delta. A query whose filter requires that a cell equals some constant is found by that constant, so that what a
//! change costs does not grow with the queries for other constants. What a subscriber has not read yet waits in a bounded queue; one that falls behind is told so
//! ([`Next::Lagged`]) and must start again from a snapshot: it is never skipped in silence.
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
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use crate::Sink;
use crate::interests::{Interests, QueryId};
pub use crate::query::{Changes, ChangesKind, Gone, Hears, LiveQuery, Op, OpKind};

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
        self.queries.insert(id, Shared { query, program, found_by, computing, subscribers: Vec::new() });
        id
    }

    /// Lets go of subscribers, and of a query that nobody listens to any more.
    fn retain_subscribers(&mut self, id: QueryId, is_kept: impl FnMut(&mut Subscriber) -> bool) {
        let Some(shared) = self.queries.get_mut(&id) else { return };
        let before = shared.subscribers.len();
        shared.subscribers.retain_mut(is_kept);
        self.subscribers -= before - shared.subscribers.len();
        if !shared.subscribers.is_empty() {
            return;
        }
        let Some(Shared { query, found_by, .. }) = self.queries.remove(&id) else { return };
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
    }

    /// Takes in another schema: ends what it makes meaningless. Gives the collections whose attributes are others.
    fn change_schema(&mut self, catalog: &Arc<Catalog>) -> Vec<(TenantId, CollectionId)> {
        let before = std::mem::replace(&mut self.catalog, catalog.clone());
        let is_changed = |tenant| match (before.tenant(tenant), catalog.tenant(tenant)) {
            (Some(before), Some(after)) => !Arc::ptr_eq(before, after),
            (before, after) => before.is_some() || after.is_some(),
        };
        let mut redefined = Vec::new();
        let changed: Vec<_> = self.interests.keys().copied().filter(|(tenant, _)| is_changed(*tenant)).collect();
        for collection in changed {
            if attributes(&before, collection) != attributes(catalog, collection) {
                redefined.push(collection);
            }
            let queries: HashSet<QueryId> = self.interests.get(&collection).into_iter().flat_map(Interests::all).collect();
            for id in queries {
                let Some(shared) = self.queries.get_mut(&id) else { continue };
                if let Some(end) = shared.change_schema(catalog) {
                    self.retain_subscribers(id, |subscriber| {
                        subscriber.end(end);
                        false
                    });
                }
            }
        }
        redefined
    }

    /// Tells everybody what changed, and of these collections that their attributes did.
    fn deliver(&mut self, changes: &[Change], redefined: &[(TenantId, CollectionId)]) {
        let mut by_collection: FxHashMap<(TenantId, CollectionId), Vec<&Change>> = FxHashMap::default();
        for change in changes {
            let collection = (change.new.entity.tenant_id, change.new.entity.collection_id);
            if self.interests.contains_key(&collection) {
                by_collection.entry(collection).or_default().push(change);
            }
        }
        // Who keeps more of a result than its entities may have to make it anew, though none of them changed.
        for collection in redefined {
            by_collection.entry(*collection).or_default();
        }
        for (collection, changes) in by_collection {
            let Some(interests) = self.interests.get(&collection) else { continue };
            let position = self.newest.get(&collection.0).copied().unwrap_or(0);
            let is_redefined = redefined.contains(&collection);
            let mut concerned: FxHashMap<QueryId, Vec<&Change>> = FxHashMap::default();
            if is_redefined {
                concerned.extend(interests.all().map(|query| (query, Vec::new())));
            }
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
                self.deliver_to(query, position, &changes, is_redefined);
            }
            for (query, changes) in concerned {
                self.deliver_to(query, position, &changes, is_redefined);
            }
        }
    }

    /// Tells the subscribers of a query what changed; those who hear of the schema also if nothing but that did.
    fn deliver_to(&mut self, id: QueryId, position: Position, changes: &[&Change], is_redefined: bool) {
        let Some(shared) = self.queries.get(&id) else { return };
        let ops = shared.ops(changes);
        if ops.is_empty() && !is_redefined {
            return;
        }
        let message = Arc::new(Changes { position, kind: ChangesKind::Delta, ops });
        let concerns = |subscriber: &Subscriber| !message.ops.is_empty() || subscriber.hears == Hears::SchemaToo;
        self.retain_subscribers(id, |subscriber| !concerns(subscriber) || subscriber.send(&message));
    }
}

/// One distinct query.
struct Shared {
    query: LiveQuery,
    program: Option<Program>,
    /// What a change finds it by; each change of the collection if there is nothing.
    found_by: Option<Equality>,
    /// The cells that are computed aside, and not shown. Sorted.
    computing: Vec<AttributeId>,
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

impl Live {
    /// Listens to a query, from the next delta on. `program` is the filter's, under the newest schema.
    pub fn subscribe(&self, query: LiveQuery, program: Option<Program>, hears: Hears) -> Subscription {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let (waiting, ended) = (Arc::default(), Arc::default());
        let required = program.as_ref().map(Program::equalities).unwrap_or_default();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let subscriber_id = state.next_id();
        let alike = state.alike.get(&query).into_iter().flatten().copied();
        let same = alike.clone().find(|id| state.queries.get(id).is_some_and(|shared| shared.program == program));
        let query_id = same.unwrap_or_else(|| state.register(query, program, required));
        let subscriber = Subscriber { id: subscriber_id, hears, queue: sender, waiting: Arc::clone(&waiting), ended: Arc::clone(&ended) };
        if let Some(shared) = state.queries.get_mut(&query_id) {
            shared.subscribers.push(subscriber);
            state.subscribers += 1;
        }
        Subscription { queue, waiting, ended, state: Arc::downgrade(&self.state), query: query_id, id: subscriber_id }
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
        let redefined = if delta.schema_changed { state.change_schema(&delta.catalog) } else { Vec::new() };
        state.deliver(&delta.changes, &redefined);
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

    /// What changes mean for its result.
    fn ops(&self, changes: &[&Change]) -> Vec<Op> {
        let filter = self.program.as_ref();
        let mut ops = Vec::new();
        for change in changes {
            let was = change.old.as_ref().is_some_and(|row| LiveQuery::matches(row, filter));
            let is = LiveQuery::matches(&change.new, filter);
            if was && is && self.is_the_same(change) {
                continue;
            }
            let kind = match (was, is) {
                (false, false) => continue,
                (false, true) => OpKind::Insert,
                (true, true) => OpKind::Update,
                (true, false) => OpKind::Delete,
            };
            let old = change.old.clone().filter(|_| was);
            ops.push(Op { kind, id: change.entity_id, old, row: is.then(|| change.new.clone()) });
        }
        ops
    }
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
        live.subscribe(LiveQuery { tenant: TENANT, collection: COLLECTION, filter: None }, None, Hears::Entities)
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
