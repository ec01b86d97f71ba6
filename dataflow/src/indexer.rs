//! How indexes come to be and are kept up to date.
//!
//! An index is made aside from what is arranged; what changes meanwhile is written down and added. When it has grown by a
//! quarter it is made anew.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use decidr_domain::delta::{Change, Row};
use decidr_domain::formula::{Cells as _, ValueKey};
use decidr_domain::id::{AttributeId, CollectionId};
use rustc_hash::FxHashMap;

use crate::index::{Entry, INDEXES_MAX, Index, IndexOf, Indexes};
use crate::snapshot::Arranged;

/// How long an index is kept that nobody uses.
const UNUSED_MAX: Duration = Duration::from_secs(600);

/// An index as it was made; nothing if that went wrong.
type Finished = (IndexOf, Option<Arc<[Entry]>>);

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
                    if index.is_grown() && !self.making.contains_key(of) && !grown.contains(of) {
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
        let mut indexes = wanted.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        for of in more {
            if !indexes.contains(&of) {
                indexes.push_back(of);
            }
        }
        drop(indexes);
        wanted.is_some.store(true, Ordering::Release);
    }

    /// Begins to make what is wanted from the newest state, one index at a time, and takes in what is made; returns whether
    /// there are other indexes now. Between two timestamps.
    pub(crate) fn tend(&mut self, newest: impl FnOnce() -> Arc<Arranged>) -> bool {
        let mut is_changed = false;
        while let Ok((of, made)) = self.finished.1.try_recv() {
            let added = self.making.remove(&of).unwrap_or_default().into_iter().collect();
            let Some(made) = made else {
                self.let_go(&of);
                is_changed = true;
                continue;
            };
            self.make_room(of);
            // To be made anew is no use.
            let before = self.indexes.indexes.get(&of).map(|index| index.used.clone());
            let used = before.unwrap_or_else(|| Arc::new(AtomicU64::new(self.indexes.wanted.start.elapsed().as_secs())));
            self.indexes.indexes.insert_mut(of, Index { made, added, used });
            is_changed = true;
        }
        if self.making.is_empty() && self.indexes.wanted.is_some.load(Ordering::Acquire) {
            let mut wanted = self.indexes.wanted.indexes.lock().unwrap_or_else(PoisonError::into_inner);
            // Of one that is there what was added is the reason.
            let indexes = &self.indexes.indexes;
            let is_due = |of: &IndexOf| indexes.get(of).is_none_or(Index::is_grown);
            let next = std::iter::from_fn(|| wanted.pop_front()).find(is_due);
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
        let entries = move || {
            let mut entries: Vec<Entry> = Vec::with_capacity(arranged.count(of.collection) as usize);
            arranged.scan(of.collection, None, |row| {
                entries.extend(key(row, of.cell).map(|key| (key, row.entity.id)));
                true
            });
            entries.sort_unstable();
            entries.into()
        };
        let make = move || {
            // Others could not be made before it is known that this one will not be.
            let made = std::panic::catch_unwind(AssertUnwindSafe(entries)).ok();
            // Fails only if the engine has ended.
            let _ = finished.send((of, made));
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
    use decidr_domain::formula::Equality;
    use decidr_domain::id::{EntityId, TenantId};
    use decidr_domain::layout::Layout;
    use decidr_domain::stamp::Stamp;
    use decidr_domain::value::Value;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::index::{ADDED_MAX, ENTITIES_MIN};
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

        /// Somebody looks, and so it is made.
        fn make(&mut self, of: AttributeId) {
            assert_eq!(self.find(TENANT, of, 7), None);
            self.begin();
            self.end();
        }

        /// So much is added that it must be made anew.
        fn grow(&mut self, of: AttributeId) {
            let many: Vec<_> = (0..ADDED_MAX + 1).map(|n| change(None, row(n, false, &[(of, n as i64)]))).collect();
            self.indexer.apply(&many);
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
        world.make(of);
        world.grow(of);
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
            world.make(cell(n));
            assert_eq!(world.find(TENANT, cell(n), 1), Some(vec![]));
        }
        assert_eq!(world.indexer.indexes.indexes.size(), INDEXES_MAX);
        assert_eq!(world.indexer.cells[&COLLECTION].len(), INDEXES_MAX);
    }

    #[test]
    fn what_does_not_leave_out_most_is_no_use() {
        let (mut world, of) = (World::new(), cell(0));
        world.make(of);
        assert!(world.indexer.indexes().find(TENANT, COLLECTION, ENTITIES_MIN - 1, &equals(of, 7)).is_none());
        assert!(world.indexer.indexes().find(TENANT, COLLECTION, ENTITIES_MIN, &equals(of, 7)).is_some());
    }

    #[test]
    fn an_index_of_no_use_hides_no_other() {
        let (mut world, of, other) = (World::new(), cell(0), cell(1));
        let seven = equals(of, 7)[0].keys[0];
        let made = (0..ENTITIES_MIN).map(|n| (seven, EntityId(Uuid::from_u128(n.into())))).collect();
        let all = Index { made, added: Default::default(), used: Arc::default() };
        world.indexer.indexes.indexes.insert_mut(IndexOf { tenant: TENANT, collection: COLLECTION, cell: of }, all);
        let both = [equals(of, 7), equals(other, 1)].concat();
        let find = |world: &World, required: &[Equality]| world.indexer.indexes().find(TENANT, COLLECTION, ENTITIES_MIN, required);
        assert_eq!(find(&world, &both), None, "all are sevens");
        world.begin();
        world.end();
        world.indexer.apply(&[change(None, row(1, false, &[(other, 1)]))]);
        assert_eq!(find(&world, &both), Some(vec![EntityId(Uuid::from_u128(1))]));
        assert_eq!(find(&world, &equals(of, 7)), None);
    }

    #[test]
    fn to_be_made_anew_is_no_use() {
        let (mut world, of) = (World::new(), cell(0));
        world.make(of);
        let used = |world: &World| world.indexer.indexes.indexes.values().next().unwrap().used.clone();
        used(&world).store(77, Ordering::Relaxed);
        world.grow(of);
        world.begin();
        world.end();
        assert_eq!(world.indexer.indexes().size().updates, 0, "it is made from what is arranged, which here is nothing");
        assert_eq!(used(&world).load(Ordering::Relaxed), 77);
    }
}
