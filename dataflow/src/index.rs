//! Indexes: the entities of a collection by what a cell of theirs holds, so that those that equal a constant are found
//! without a look at the others.
//!
//! An index is made when somebody looks for what it would find, and let go of when nobody has for some time. It is made
//! aside from what is arranged; what changes meanwhile is written down and added. It says which entities *may* hold a value:
//! one that holds another now stays where it was until the index is made anew, which it is when it has grown by a quarter.
//! So nothing is ever taken out of it, and whoever uses it looks at the rows that it names.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use decidr_domain::delta::{Change, Row};
use decidr_domain::formula::{Cells as _, Equality, ValueKey};
use decidr_domain::id::{AttributeId, CollectionId, EntityId, TenantId};
use rpds::{HashTrieMapSync, RedBlackTreeSetSync};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use crate::engine::Activators;
use crate::snapshot::{Arranged, Size};

/// Collections of fewer entities are looked at whole.
const ENTITIES_MIN: u64 = 512;

/// Of how many entities an index must leave all but one out, or the collection is looked at whole, which goes faster for each.
const SELECTIVITY_MIN: u64 = 8;

/// How many indexes a tenant has at most; another one takes the place of that which was not used for the longest time.
const INDEXES_MAX: usize = 32;

/// How long an index is kept that nobody uses.
const UNUSED_MAX: Duration = Duration::from_secs(600);

/// How many entities may be added to an index, but a quarter of its own, until it is made anew.
const ADDED_MAX: usize = 4096;

/// What an index is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IndexOf {
    pub(crate) tenant: TenantId,
    pub(crate) collection: CollectionId,
    pub(crate) cell: AttributeId,
}

type Entry = (ValueKey, EntityId);

/// An index, as of one timestamp.
#[derive(Clone)]
struct Index {
    /// As of when it was made, sorted.
    made: Arc<[Entry]>,
    /// What came to hold a value since then.
    added: RedBlackTreeSetSync<Entry>,
    /// When it was used last, in seconds since there are indexes.
    used: Arc<AtomicU64>,
}

impl Index {
    fn made(&self, key: ValueKey) -> &[Entry] {
        let start = self.made.partition_point(|(there, _)| *there < key);
        let length = self.made[start..].partition_point(|(there, _)| *there == key);
        &self.made[start..start + length]
    }

    fn find(&self, keys: &[ValueKey]) -> Vec<EntityId> {
        let mut found = Vec::new();
        for key in keys {
            found.extend(self.made(*key).iter().map(|(_, id)| *id));
            let bounds = (Bound::Included((*key, EntityId(Uuid::nil()))), Bound::Included((*key, EntityId(Uuid::max()))));
            found.extend(self.added.range(bounds).map(|(_, id)| *id));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What is looked for and there is no index of.
struct Wanted {
    start: Instant,
    is_some: AtomicBool,
    indexes: Mutex<Vec<IndexOf>>,
    activators: Arc<Activators>,
}

/// The indexes as of one timestamp.
#[derive(Clone)]
pub(crate) struct Indexes {
    indexes: HashTrieMapSync<IndexOf, Index>,
    wanted: Arc<Wanted>,
}

impl Indexes {
    /// None; who is activated makes those that are wanted.
    pub(crate) fn new(activators: Arc<Activators>) -> Self {
        let wanted = Wanted { start: Instant::now(), is_some: AtomicBool::new(false), indexes: Mutex::default(), activators };
        Self { indexes: HashTrieMapSync::new_sync(), wanted: Arc::new(wanted) }
    }

    /// The entities that may be as these all require, of so many in the collection, by their ids. Nothing if it is no use to
    /// know them, or if they are not known; then they may be the next time.
    pub(crate) fn find(&self, tenant: TenantId, collection: CollectionId, entities: u64, required: &[Equality]) -> Option<Vec<EntityId>> {
        if entities < ENTITIES_MIN {
            return None;
        }
        let index = |equality: &Equality| self.indexes.get(&IndexOf { tenant, collection, cell: equality.cell });
        let count = |index: &Index, keys: &[ValueKey]| -> usize { keys.iter().map(|key| index.made(*key).len()).sum() };
        let best = required.iter().filter_map(|equality| Some((index(equality)?, equality)));
        if let Some((index, equality)) = best.min_by_key(|(index, equality)| count(index, &equality.keys)) {
            index.used.store(self.wanted.start.elapsed().as_secs(), Ordering::Relaxed);
            let is_of_use = count(index, &equality.keys) as u64 * SELECTIVITY_MIN <= entities;
            return is_of_use.then(|| index.find(&equality.keys));
        }
        let mut wanted = self.wanted.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        for equality in required {
            let of = IndexOf { tenant, collection, cell: equality.cell };
            if wanted.len() < INDEXES_MAX && !wanted.contains(&of) {
                wanted.push(of);
            }
        }
        drop(wanted);
        self.wanted.is_some.store(true, Ordering::Release);
        self.wanted.activators.wake();
        None
    }

    /// How much they hold.
    pub(crate) fn size(&self) -> Size {
        /// How many bytes a node of a tree has beside its entry.
        const NODE: usize = 64;
        let sizes = self.indexes.values().map(|index| (index.made.len(), index.added.size()));
        let (made, added) = sizes.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        Size { updates: made + added, bytes: (made + added) * size_of::<Entry>() + added * NODE }
    }
}

/// An index as it was made.
type Finished = (IndexOf, Arc<[Entry]>);

/// Makes indexes and keeps them up to date; worker 0 has it.
pub(crate) struct Indexer {
    indexes: Indexes,
    /// What was added to those that are being made, since the state that they are made from.
    making: FxHashMap<IndexOf, Vec<Entry>>,
    /// Which cells of a collection are in indexes or will be.
    cells: FxHashMap<CollectionId, Vec<IndexOf>>,
    finished: (Sender<Finished>, Receiver<Finished>),
    looked_for_unused: Instant,
}

impl Indexer {
    pub(crate) fn new(indexes: Indexes) -> Self {
        let looked_for_unused = Instant::now();
        Self { indexes, making: FxHashMap::default(), cells: FxHashMap::default(), finished: unbounded(), looked_for_unused }
    }

    /// The indexes as of the last timestamp.
    pub(crate) fn indexes(&self) -> Indexes {
        self.indexes.clone()
    }

    /// Takes in what changed in a timestamp.
    pub(crate) fn apply(&mut self, changes: &[Change]) {
        if self.cells.is_empty() {
            return;
        }
        let mut grown = Vec::new();
        for change in changes {
            for of in self.cells.get(&change.new.entity.collection_id).into_iter().flatten() {
                let new = key(&change.new, of.cell);
                let Some(new) = new.filter(|_| new != change.old.as_ref().and_then(|old| key(old, of.cell))) else { continue };
                if let Some(added) = self.making.get_mut(of) {
                    added.push((new, change.entity_id));
                }
                if let Some(index) = self.indexes.indexes.get_mut(of) {
                    index.added.insert_mut((new, change.entity_id));
                    if index.added.size() > ADDED_MAX + index.made.len() / 4 && !self.making.contains_key(of) && !grown.contains(of) {
                        grown.push(*of);
                    }
                }
            }
        }
        if !grown.is_empty() {
            self.want(grown);
        }
    }

    fn want(&self, more: Vec<IndexOf>) {
        let wanted = &self.indexes.wanted;
        wanted.indexes.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
        wanted.is_some.store(true, Ordering::Release);
    }

    /// Begins to make what is wanted from the newest state, one index at a time, and takes in what is made; returns whether
    /// there are other indexes now. Between two timestamps.
    pub(crate) fn tend(&mut self, newest: impl FnOnce() -> Arc<Arranged>) -> bool {
        let mut is_changed = false;
        while let Ok((of, made)) = self.finished.1.try_recv() {
            let added = self.making.remove(&of).unwrap_or_default().into_iter().collect();
            self.make_room(of);
            let used = Arc::new(AtomicU64::new(self.indexes.wanted.start.elapsed().as_secs()));
            self.indexes.indexes.insert_mut(of, Index { made, added, used });
            is_changed = true;
        }
        if self.making.is_empty() && self.indexes.wanted.is_some.load(Ordering::Acquire) {
            let mut wanted = self.indexes.wanted.indexes.lock().unwrap_or_else(PoisonError::into_inner);
            // Of one that is there what was added is the reason.
            let indexes = &self.indexes.indexes;
            let is_due = |of: &IndexOf| indexes.get(of).is_none_or(|index| index.added.size() > ADDED_MAX + index.made.len() / 4);
            let next = std::iter::from_fn(|| wanted.pop()).find(is_due);
            self.indexes.wanted.is_some.store(!wanted.is_empty(), Ordering::Release);
            drop(wanted);
            if let Some(of) = next {
                self.make(of, newest());
            }
        }
        const LOOK_EVERY: Duration = Duration::from_secs(30);
        if !self.cells.is_empty() && self.looked_for_unused.elapsed() > LOOK_EVERY {
            self.looked_for_unused = Instant::now();
            let oldest = self.indexes.wanted.start.elapsed().saturating_sub(UNUSED_MAX).as_secs();
            let unused = self.indexes.indexes.iter().filter(|(_, index)| index.used.load(Ordering::Relaxed) < oldest);
            let unused: Vec<IndexOf> = unused.map(|(of, _)| *of).collect();
            is_changed |= !unused.is_empty();
            unused.iter().for_each(|of| self.let_go(of));
        }
        is_changed
    }

    fn make(&mut self, of: IndexOf, arranged: Arc<Arranged>) {
        let (finished, activators) = (self.finished.0.clone(), self.indexes.wanted.activators.clone());
        let make = move || {
            let mut entries: Vec<Entry> = Vec::with_capacity(arranged.count(of.collection) as usize);
            arranged.scan(of.collection, None, |row| {
                entries.extend(key(row, of.cell).map(|key| (key, row.entity.id)));
                true
            });
            entries.sort_unstable();
            // Fails only if the engine has ended.
            let _ = finished.send((of, entries.into()));
            activators.wake();
        };
        match std::thread::Builder::new().name("index".to_owned()).spawn(make) {
            Ok(_) => {
                self.making.insert(of, Vec::new());
                let cells = self.cells.entry(of.collection).or_default();
                if !cells.contains(&of) {
                    cells.push(of);
                }
            }
            Err(error) => tracing::warn!(%error, "no thread to make an index with; collections are looked at whole"),
        }
    }

    /// Lets go of the index of a tenant that was not used for the longest time, if it has as many as it may.
    fn make_room(&mut self, of: IndexOf) {
        let of_tenant = self.indexes.indexes.iter().filter(|(other, _)| other.tenant == of.tenant && **other != of);
        let all: Vec<(u64, IndexOf)> = of_tenant.map(|(other, index)| (index.used.load(Ordering::Relaxed), *other)).collect();
        if let Some((_, oldest)) = all.iter().min_by_key(|(used, _)| *used).filter(|_| all.len() >= INDEXES_MAX) {
            self.let_go(oldest);
        }
    }

    fn let_go(&mut self, of: &IndexOf) {
        self.indexes.indexes.remove_mut(of);
        if let Some(cells) = self.cells.get_mut(&of.collection).filter(|_| !self.making.contains_key(of)) {
            cells.retain(|other| other != of);
            if cells.is_empty() {
                self.cells.remove(&of.collection);
            }
        }
    }
}

/// Under what a row is found; archived ones are not.
fn key(row: &Row, cell: AttributeId) -> Option<ValueKey> {
    if row.entity.archived { None } else { ValueKey::of(&row.cell(cell)) }
}

#[cfg(test)]
mod tests {
    use decidr_domain::aggregate::entity::{Entity, Values};
    use decidr_domain::layout::Layout;
    use decidr_domain::stamp::Stamp;
    use decidr_domain::value::Value;
    use jiff::Timestamp;

    use super::*;
    use crate::{Engine, EngineConfig};

    const TENANT: TenantId = TenantId(Uuid::from_u128(1));
    const COLLECTION: CollectionId = CollectionId(Uuid::from_u128(2));

    fn cell(n: u128) -> AttributeId {
        AttributeId(Uuid::from_u128(10 + n))
    }

    fn equals(of: AttributeId, value: i64) -> [Equality; 1] {
        [Equality { cell: of, keys: ValueKey::of_constant(&Value::from(value)).unwrap() }]
    }

    fn row(id: usize, archived: bool, values: &[(AttributeId, i64)]) -> Row {
        let entity = Entity {
            id: EntityId(Uuid::from_u128(id as u128)),
            tenant_id: TENANT,
            collection_id: COLLECTION,
            archived,
            version: 1,
            values: Values::from_iter(values.iter().map(|(id, value)| (*id, Value::from(*value)))),
            number: 1,
            created: Stamp { at: Timestamp::UNIX_EPOCH, by: "test".into() },
            changes: Vec::new(),
        };
        Row::new(1, Arc::new(entity), Layout::default(), std::iter::empty())
    }

    fn change(old: Option<Row>, new: Row) -> Change {
        Change { entity_id: new.entity.id, old, new }
    }

    struct World {
        empty: Arc<Arranged>,
        indexer: Indexer,
    }

    impl World {
        fn new() -> Self {
            let empty = Engine::start(EngineConfig::default()).unwrap().arranged();
            Self { empty, indexer: Indexer::new(Indexes::new(Arc::default())) }
        }

        fn begin(&mut self) {
            assert!(!self.indexer.tend(|| self.empty.clone()));
        }

        fn end(&mut self) {
            while !self.indexer.tend(|| self.empty.clone()) {
                std::thread::yield_now();
            }
        }

        fn find(&self, tenant: TenantId, of: AttributeId, value: i64) -> Option<Vec<u128>> {
            found(&self.indexer.indexes(), tenant, of, value)
        }
    }

    fn found(indexes: &Indexes, tenant: TenantId, of: AttributeId, value: i64) -> Option<Vec<u128>> {
        let found = indexes.find(tenant, COLLECTION, 1_000_000, &equals(of, value))?;
        Some(found.into_iter().map(|id| id.0.as_u128()).collect())
    }

    #[test]
    fn what_comes_while_an_index_is_made_is_in_it() {
        let (mut world, of) = (World::new(), cell(0));
        assert_eq!(world.find(TENANT, of, 7), None);
        world.begin();
        let (seven, eight) = (row(1, false, &[(of, 7)]), row(1, false, &[(of, 8)]));
        world.indexer.apply(&[change(None, seven.clone()), change(None, row(2, true, &[(of, 7)])), change(None, row(3, false, &[]))]);
        assert_eq!(world.find(TENANT, of, 7), None, "it is not made yet");
        world.end();
        let before = world.indexer.indexes();
        assert_eq!(world.find(TENANT, of, 7), Some(vec![1]));
        world.indexer.apply(&[change(Some(seven), eight), change(Some(row(2, true, &[(of, 7)])), row(2, false, &[(of, 7)]))]);
        assert_eq!((world.find(TENANT, of, 8), world.find(TENANT, of, 9)), (Some(vec![1]), Some(vec![])));
        assert!(world.find(TENANT, of, 7).unwrap().contains(&2), "it came back into sight");
        assert_eq!((found(&before, TENANT, of, 7), found(&before, TENANT, of, 8)), (Some(vec![1]), Some(vec![])));
        assert_eq!(world.find(TenantId(Uuid::from_u128(9)), of, 8), None, "it is of its tenant alone");
    }

    #[test]
    fn an_index_that_has_grown_is_made_anew_and_serves_meanwhile() {
        let (mut world, of) = (World::new(), cell(0));
        assert_eq!(world.find(TENANT, of, 7), None);
        world.begin();
        world.end();
        let many: Vec<_> = (0..ADDED_MAX + 1).map(|n| change(None, row(n, false, &[(of, n as i64)]))).collect();
        world.indexer.apply(&many);
        world.begin();
        world.indexer.apply(&[change(None, row(10_000, false, &[(of, 5)]))]);
        assert_eq!(world.find(TENANT, of, 5), Some(vec![5, 10_000]));
        world.end();
        assert_eq!(world.find(TENANT, of, 5), Some(vec![10_000]), "it is made from what is arranged, which here is nothing");
        assert_eq!(world.indexer.indexes().size().updates, 1);
    }

    #[test]
    fn there_are_so_many_at_most() {
        let mut world = World::new();
        for n in 0..INDEXES_MAX as u128 + 3 {
            assert_eq!(world.find(TENANT, cell(n), 1), None);
            world.begin();
            world.end();
            assert_eq!(world.find(TENANT, cell(n), 1), Some(vec![]));
        }
        assert_eq!(world.indexer.indexes.indexes.size(), INDEXES_MAX);
        assert_eq!(world.indexer.cells[&COLLECTION].len(), INDEXES_MAX);
    }

    #[test]
    fn what_does_not_leave_out_most_is_no_use() {
        let (mut world, of) = (World::new(), cell(0));
        assert_eq!(world.find(TENANT, of, 7), None);
        world.begin();
        world.end();
        assert!(world.indexer.indexes().find(TENANT, COLLECTION, ENTITIES_MIN - 1, &equals(of, 7)).is_none());
        assert!(world.indexer.indexes().find(TENANT, COLLECTION, ENTITIES_MIN, &equals(of, 7)).is_some());
    }
}
