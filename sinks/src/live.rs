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

mod shared;
mod subscription;
mod unscheduled;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use decidr_domain::aggregate::attribute::Attribute;
use decidr_domain::aggregate::user::User;
use decidr_domain::delta::{Change, Delta};
use decidr_domain::formula::{Equality, Program};
use decidr_domain::id::{AttributeId, CollectionId, Key, Position, TenantId, UserId};
use decidr_domain::schema::Catalog;
use jiff::Timestamp;
use rustc_hash::FxHashMap;

use crate::Sink;
use crate::interests::{Interests, QueryId};
pub use crate::query::{Changes, ChangesKind, Gone, Hears, LiveQuery, Op, OpKind};
pub use crate::schedule::SCHEDULED_MAX;
use crate::schedule::{Agenda, Timed};
use shared::{Moment, Shared};
use subscription::{End, Subscriber};
pub use subscription::{Next, QUEUE_MAX, Subscription, WAITING_MAX};
pub use unscheduled::{Unschedulable, Unscheduled};

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
    /// When rows of a tenant's queries are due, whose filters ask what time it is.
    agendas: FxHashMap<TenantId, Agenda>,
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
        self.queries.insert(id, Shared { query, program, found_by, computing, timed, subscribers: Vec::new() });
        id
    }

    /// Adds one who listens to a query.
    fn add_subscriber(&mut self, query: QueryId, hears: Hears, state: Weak<Mutex<State>>) -> Subscription {
        let (subscription, subscriber) = Subscription::new(state, query, self.next_id(), hears);
        if let Some(shared) = self.queries.get_mut(&query) {
            shared.subscribers.push(subscriber);
            self.subscribers += 1;
        }
        subscription
    }

    /// What time it is for a tenant's filters.
    fn clock(&self, tenant: TenantId) -> Option<Timestamp> {
        self.catalog.tenant(tenant)?.clock()
    }

    /// Notes when rows of a query are due, after its schedule changed. Whoever listens to one for which too many wait must start
    /// again, and is told so then.
    fn note_schedule(&mut self, id: QueryId) {
        let Some(shared) = self.queries.get(&id) else { return };
        let Some(schedule) = shared.timed.schedule() else { return };
        let agenda = self.agendas.entry(shared.query.tenant).or_default();
        agenda.note(id, schedule);
        if agenda.rows() > SCHEDULED_MAX {
            self.end(id, End::Lagged);
        }
    }

    /// Tells when something is due for a tenant, if that is another moment than before.
    fn tell_due(&mut self, tenant: TenantId) {
        let Some(agenda) = self.agendas.get_mut(&tenant) else { return };
        if let (Some(first), Some(consumer)) = (agenda.news(), &self.due_consumer) {
            consumer(tenant, first);
        }
        if agenda.is_empty() {
            self.agendas.remove(&tenant);
        }
    }

    /// Takes leave of all who listen to a query, and of it.
    fn end(&mut self, id: QueryId, end: End) {
        let Some(shared) = self.queries.get(&id) else { return };
        shared.subscribers.iter().for_each(|subscriber| subscriber.end(end));
        self.subscribers -= shared.subscribers.len();
        self.remove(id);
    }

    /// Lets go of subscribers, and of a query that nobody listens to any more.
    fn retain_subscribers(&mut self, id: QueryId, is_kept: impl FnMut(&mut Subscriber) -> bool) {
        let Some(shared) = self.queries.get_mut(&id) else { return };
        let before = shared.subscribers.len();
        shared.subscribers.retain_mut(is_kept);
        self.subscribers -= before - shared.subscribers.len();
        // Somebody will listen to what is not known yet.
        if shared.subscribers.is_empty() && shared.is_ready() {
            self.remove(id);
        }
    }

    /// Lets go of a query.
    fn remove(&mut self, id: QueryId) {
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
        if let Some(agenda) = self.agendas.get_mut(&query.tenant) {
            agenda.forget(id);
        }
        self.tell_due(query.tenant);
    }

    /// A query that is the same, to which one may listen.
    fn ready(&self, query: &LiveQuery, program: Option<&Program>) -> Option<QueryId> {
        let is_same = |shared: &Shared| shared.program.as_ref() == program && shared.is_ready();
        self.alike.get(query)?.iter().copied().find(|id| self.queries.get(id).is_some_and(is_same))
    }

    /// Another query like this one, to which one may listen.
    fn ready_alike(&self, id: QueryId) -> Option<QueryId> {
        let own = self.queries.get(&id)?;
        self.ready(&own.query, own.program.as_ref())
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
            // Users come in the order of their names.
            let has_other_users = shows_users(catalog, collection) && users(before, collection.0) != users(catalog, collection.0);
            if has_other_users || attributes(before, collection) != attributes(catalog, collection) {
                redefined.push(collection);
            }
            let queries: HashSet<QueryId> = self.interests.get(&collection).into_iter().flat_map(Interests::all).collect();
            // Entities show their cells by other keys, though none of them changed.
            let shows_otherwise = keys(before, collection).ne(keys(catalog, collection));
            for id in queries {
                let Some(shared) = self.queries.get_mut(&id) else { continue };
                if let Some(end) = shared.change_schema(catalog).or(shows_otherwise.then_some(End::Lagged)) {
                    self.end(id, end);
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
        let clock = |tenant| before.tenant(tenant).and_then(|schema| schema.clock());
        let mut due: FxHashMap<(TenantId, CollectionId), Vec<QueryId>> = FxHashMap::default();
        for (tenant, _) in &delta.newest {
            let Some(now) = self.clock(*tenant).filter(|now| clock(*tenant) != Some(*now)) else { continue };
            for id in self.agendas.get(tenant).into_iter().flat_map(|agenda| agenda.due(now)) {
                let Some(shared) = self.queries.get(&id) else { continue };
                let collection = (*tenant, shared.query.collection);
                by_collection.entry(collection).or_default();
                due.entry(collection).or_default().push(id);
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
        for (tenant, _) in &delta.newest {
            self.tell_due(*tenant);
        }
    }

    /// Tells the subscribers of a query what changed; those who hear of the schema also if nothing but that did.
    fn deliver_to(&mut self, id: QueryId, moment: &Moment, changes: &[&Change], is_redefined: bool) {
        let Some(shared) = self.queries.get_mut(&id) else { return };
        let ops = shared.ops(changes, moment);
        if shared.timed.misses() {
            return self.remove(id);
        }
        if shared.timed.schedule().is_some() {
            self.note_schedule(id);
        }
        if ops.is_empty() && !is_redefined {
            return;
        }
        let message = Arc::new(Changes { position: moment.position, kind: ChangesKind::Delta, ops });
        let concerns = |subscriber: &Subscriber| !message.ops.is_empty() || subscriber.hears == Hears::SchemaToo;
        self.retain_subscribers(id, |subscriber| !concerns(subscriber) || subscriber.send(&message));
    }
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
        let same = state.ready(&query, program.as_ref());
        let id = same.unwrap_or_else(|| state.register(query, program, required));
        let registry = Arc::downgrade(&self.state);
        if state.queries.get(&id).is_some_and(|shared| !shared.is_ready()) {
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

/// The attributes of a collection by what they are called.
fn keys(catalog: &Catalog, collection: (TenantId, CollectionId)) -> impl Iterator<Item = (AttributeId, &Key)> {
    attributes(catalog, collection).unwrap_or_default().iter().map(|attribute| (attribute.id, &attribute.key))
}

/// The users of a tenant.
fn users(catalog: &Catalog, tenant: TenantId) -> Option<&Arc<BTreeMap<UserId, User>>> {
    Some(&catalog.tenant(tenant)?.users)
}

/// Whether an attribute of a collection holds users, or looks them up.
fn shows_users(catalog: &Catalog, (tenant, collection): (TenantId, CollectionId)) -> bool {
    catalog.tenant(tenant).is_some_and(|schema| {
        let collection = schema.collection(collection);
        collection.is_some_and(|collection| collection.attributes().iter().any(|attribute| schema.shows_users(attribute)))
    })
}

/// The attributes of a collection.
fn attributes(catalog: &Catalog, (tenant, collection): (TenantId, CollectionId)) -> Option<&[Arc<Attribute>]> {
    Some(catalog.tenant(tenant)?.collection(collection)?.attributes())
}
