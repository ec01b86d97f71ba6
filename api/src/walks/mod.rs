//! Standing walks: what may change what a walk reaches, told to whoever keeps it.
//!
//! A walk is kept by its subscriber ([`reach`]); here is only by which entities a change finds it. A change of an entity, or of a
//! link to one, concerns the walks that have looked at it. What they must look at again waits for them as a set, so that one that
//! is slow has less to do and never falls behind. It is taken together with the state as of which it is complete.

pub(crate) mod reach;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use decidr_dataflow::{Arranged, Published};
use decidr_domain::aggregate::attribute::Attribute;
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::delta::{Change, Row};
use decidr_domain::id::{AttributeId, CollectionId, EntityId, TenantId};
use decidr_domain::schema::TenantSchema;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;

/// How many entities may wait to be looked at again by one walk; if there are more, it looks at all.
const WAITING_MAX: usize = 100_000;

/// How many entities the walks of one tenant may look at together, each of them counted for each walk.
const WATCHED_MAX: usize = 5_000_000;

/// All walks.
#[derive(Default)]
pub(crate) struct Walks(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The newest state that was looked at; none before there was a walk.
    arranged: Option<Arc<Arranged>>,
    walks: FxHashMap<u64, Walk>,
    /// Those that have looked at an entity. Sorted.
    by_entity: FxHashMap<EntityId, Vec<u64>>,
    /// How many walks of a tenant go along a link.
    links: FxHashMap<TenantId, FxHashMap<AttributeId, usize>>,
    /// How many entities the walks of a tenant look at.
    watched: FxHashMap<TenantId, usize>,
    ids: u64,
}

struct Walk {
    tenant: TenantId,
    links: WalkedLinks,
    /// What it has looked at.
    watched: FxHashSet<EntityId>,
    waiting: Again,
    notify: Arc<Notify>,
}

/// The links that a walk goes along, and the collections that they lead through.
#[derive(Default)]
pub(crate) struct WalkedLinks {
    /// From who holds one to whom it leads.
    pub(crate) forward: FxHashSet<AttributeId>,
    /// The other way.
    pub(crate) backward: FxHashSet<AttributeId>,
    pub(crate) collections: FxHashSet<CollectionId>,
}

impl WalkedLinks {
    /// These and others.
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.forward.extend(others.forward);
        self.backward.extend(others.backward);
        self.collections.extend(others.collections);
        self
    }

    /// Whichever way it goes along them.
    pub(crate) fn all(&self) -> FxHashSet<AttributeId> {
        self.forward.union(&self.backward).copied().collect()
    }
}

/// What a walk must look at again.
#[derive(Debug)]
pub(crate) enum Again {
    /// These entities: what leads to them or what they are may be otherwise.
    Heads(FxHashSet<EntityId>),
    /// Everything; of the same rows other cells may be shown than before.
    All { shows_others: bool },
}

impl Again {
    fn add(&mut self, heads: impl IntoIterator<Item = EntityId>) {
        if let Again::Heads(waiting) = self {
            waiting.extend(heads);
            if waiting.len() > WAITING_MAX {
                *self = Again::All { shows_others: false };
            }
        }
    }

    /// Whether there is nothing to look at.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Again::Heads(heads) if heads.is_empty())
    }
}

/// Where a walk hears what it must look at again. Ends when dropped.
pub(crate) struct Watch {
    state: Weak<Mutex<State>>,
    id: u64,
    notify: Arc<Notify>,
}

impl Walks {
    /// Begins to watch for a walk along these links. At first it must look at everything.
    pub(crate) fn watch(&self, tenant: TenantId, links: WalkedLinks, newest: impl FnOnce() -> Arc<Arranged>) -> Watch {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // While nobody walked, nothing was kept; from here on nothing is missed.
        state.arranged.get_or_insert_with(newest);
        state.ids += 1;
        let (id, notify) = (state.ids, Arc::new(Notify::new()));
        let of_tenant = state.links.entry(tenant).or_default();
        for link in links.all() {
            *of_tenant.entry(link).or_default() += 1;
        }
        notify.notify_one();
        state.walks.insert(
            id,
            Walk { tenant, links, watched: FxHashSet::default(), waiting: Again::All { shows_others: false }, notify: notify.clone() },
        );
        Watch { state: Arc::downgrade(&self.0), id, notify }
    }

    /// Takes in what changed.
    pub(crate) fn apply(&self, published: &Published) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.walks.is_empty() {
            // What nobody needs is not kept from being let go.
            state.arranged = None;
            return;
        }
        let before = state.arranged.replace(published.arranged.clone());
        if published.delta.is_aside {
            // Nobody is shown any of it.
            return;
        }
        for change in &published.delta.changes {
            state.tell(change);
        }
        if published.delta.schema_changed {
            let tenants: FxHashSet<TenantId> = published.delta.newest.iter().map(|(tenant, _)| *tenant).collect();
            let others: FxHashMap<TenantId, FxHashSet<CollectionId>> = tenants
                .into_iter()
                .map(|tenant| {
                    let [before, after] = [before.as_ref(), Some(&published.arranged)]
                        .map(|arranged| arranged.and_then(|arranged| arranged.catalog().tenant(tenant)));
                    (tenant, shown_otherwise(before.map(|schema| &**schema), after.map(|schema| &**schema)))
                })
                .filter(|(_, collections)| !collections.is_empty())
                .collect();
            for walk in state.walks.values_mut() {
                if let Some(collections) = others.get(&walk.tenant) {
                    // What a filter means may depend on the attributes of other collections.
                    let shows_others =
                        !walk.links.collections.is_disjoint(collections) || matches!(walk.waiting, Again::All { shows_others: true });
                    walk.waiting = Again::All { shows_others };
                    walk.notify.notify_one();
                }
            }
        }
    }
}

impl State {
    /// Tells the walks that a change concerns: those that have looked at the entity, for it is otherwise or leads elsewhere; and those
    /// that have looked at what it links to and go there backwards.
    fn tell(&mut self, change: &Change) {
        let Some(links) = self.links.get(&change.new.entity.tenant_id) else { return };
        let id = change.entity_id;
        let mut ends: Vec<(AttributeId, EntityId)> = Vec::new();
        for link in links.keys() {
            let targets = |row: &Row| -> FxHashSet<EntityId> { row.entity.values.get(*link).targets().iter().copied().collect() };
            let after = &change.new;
            match &change.old {
                // All its edges come or go, but for those that count whether it is in sight or not.
                Some(before) if before.entity.archived != after.entity.archived => {
                    ends.extend(targets(before).union(&targets(after)).map(|end| (*link, *end)));
                }
                Some(before) if before.entity.values.get(*link) == after.entity.values.get(*link) => {}
                Some(before) => ends.extend(targets(before).symmetric_difference(&targets(after)).map(|end| (*link, *end))),
                None => ends.extend(targets(after).into_iter().map(|end| (*link, end))),
            }
        }
        for walk in self.by_entity.get(&id).into_iter().flatten() {
            if let Some(walk) = self.walks.get_mut(walk) {
                let forward = ends.iter().filter(|(link, _)| walk.links.forward.contains(link)).map(|(_, end)| *end);
                walk.waiting.add(std::iter::once(id).chain(forward));
                walk.notify.notify_one();
            }
        }
        for (link, end) in &ends {
            for walk in self.by_entity.get(end).into_iter().flatten() {
                if let Some(walk) = self.walks.get_mut(walk).filter(|walk| walk.links.backward.contains(link)) {
                    walk.waiting.add([id]);
                    walk.notify.notify_one();
                }
            }
        }
    }

    fn forget(&mut self, entity: EntityId, walk: u64) {
        if let Some(walks) = self.by_entity.get_mut(&entity) {
            if let Ok(place) = walks.binary_search(&walk) {
                walks.remove(place);
            }
            if walks.is_empty() {
                self.by_entity.remove(&entity);
            }
        }
    }
}

/// The collections that have other attributes in one schema than in another, or show other cells of them.
fn shown_otherwise(before: Option<&TenantSchema>, after: Option<&TenantSchema>) -> FxHashSet<CollectionId> {
    let shown = |schema: Option<&TenantSchema>, attribute: &Attribute| schema.and_then(|schema| schema.shown_cell(attribute.id));
    let all = before.into_iter().chain(after).flat_map(|schema| schema.collections()).map(|collection| collection.id());
    let is_same = |id: &CollectionId| {
        let [one, other] = [before, after].map(|schema| schema.and_then(|schema| schema.collection(*id)));
        one.zip(other).is_some_and(|(one, other)| {
            one.attributes() == other.attributes()
                && one.attributes().iter().all(|attribute| shown(before, attribute) == shown(after, attribute))
        })
    };
    all.filter(|id| !is_same(id)).collect()
}

/// The walks of a tenant look at more entities together than there is room for.
pub(crate) struct TooManyWatched;

impl Watch {
    /// Returns when there may be something to look at again.
    pub(crate) async fn changed(&self) {
        self.notify.notified().await;
    }

    /// What must be looked at again, and the state as of which that is all; nothing when the platform ends.
    pub(crate) fn take(&self) -> Option<(Arc<Arranged>, Again)> {
        let state = self.state.upgrade()?;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let arranged = state.arranged.clone()?;
        let walk = state.walks.get_mut(&self.id)?;
        Some((arranged, std::mem::replace(&mut walk.waiting, Again::Heads(FxHashSet::default()))))
    }

    /// Says for entities whether the walk looked at them, as they are in a state. Gives those that it did not look at before, if
    /// there is a newer state: they may have changed unheard.
    ///
    /// # Errors
    ///
    /// If the tenant's walks look at too many; then the walk must end.
    pub(crate) fn update(&self, arranged: &Arc<Arranged>, entities: &[(EntityId, bool)]) -> Result<Vec<EntityId>, TooManyWatched> {
        let Some(state) = self.state.upgrade() else { return Ok(Vec::new()) };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let is_newest = state.arranged.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, arranged));
        let Some(walk) = state.walks.get_mut(&self.id) else { return Ok(Vec::new()) };
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for (entity, is_watched) in entities.iter().copied() {
            if is_watched {
                if walk.watched.insert(entity) {
                    came.push(entity);
                }
            } else if walk.watched.remove(&entity) {
                went.push(entity);
            }
        }
        for entity in &came {
            let walks = state.by_entity.entry(*entity).or_default();
            if let Err(place) = walks.binary_search(&self.id) {
                walks.insert(place, self.id);
            }
        }
        let watched = state.watched.entry(walk.tenant).or_default();
        *watched = (*watched + came.len()).saturating_sub(went.len());
        let is_too_many = *watched > WATCHED_MAX && !came.is_empty();
        for entity in went {
            state.forget(entity, self.id);
        }
        match (is_too_many, is_newest) {
            (true, _) => Err(TooManyWatched),
            (false, true) => Ok(Vec::new()),
            (false, false) => Ok(came),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(registry) = self.state.upgrade() else { return };
        let mut state = registry.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(walk) = state.walks.remove(&self.id) else { return };
        if let Some(of_tenant) = state.links.get_mut(&walk.tenant) {
            for link in walk.links.all() {
                if let Some(count) = of_tenant.get_mut(&link) {
                    *count -= 1;
                }
            }
            of_tenant.retain(|_, count| *count > 0);
            if of_tenant.is_empty() {
                state.links.remove(&walk.tenant);
            }
        }
        if let Some(watched) = state.watched.get_mut(&walk.tenant) {
            *watched = watched.saturating_sub(walk.watched.len());
            if *watched == 0 {
                state.watched.remove(&walk.tenant);
            }
        }
        for (n, entity) in walk.watched.into_iter().enumerate() {
            if n % 1_000 == 999 {
                // Whoever tells of changes need not wait for all.
                drop(state);
                state = registry.lock().unwrap_or_else(PoisonError::into_inner);
            }
            state.forget(entity, self.id);
        }
    }
}
