//! Indexes: the entities of a collection by what a cell of theirs holds, so that those that equal a constant are found
//! without a look at the others.
//!
//! An index is made when somebody looks for what it would find (`indexer`), and let go of when nobody has for some time. It
//! says which entities *may* hold a value: one that holds another now stays where it was until the index is made anew. So
//! nothing is ever taken out of it, and whoever uses it looks at the rows that it names.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use decidr_domain::formula::{Equality, ValueKey};
use decidr_domain::id::{AttributeId, CollectionId, EntityId, TenantId};
use rpds::{HashTrieMapSync, RedBlackTreeSetSync};
use uuid::Uuid;

use crate::activators::Activators;
use crate::types::Size;

/// Collections of fewer entities are looked at whole.
pub(crate) const ENTITIES_MIN: u64 = 512;

/// Of how many entities an index must leave all but one out, or the collection is looked at whole, which goes faster for each.
const SELECTIVITY_MIN: u64 = 8;

/// How many entities may be added to an index, beside a quarter of its own, until it is made anew.
pub(crate) const ADDED_MAX: usize = 4096;

/// How many indexes a tenant has at most; another one takes the place of that which was not used for the longest time.
pub(crate) const INDEXES_MAX: usize = 32;

/// How many indexes may wait to be made, and how many of one tenant.
const WANTED_MAX: usize = 256;
const WANTED_OF_TENANT_MAX: usize = 4;

/// What an index is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IndexOf {
    pub(crate) tenant: TenantId,
    pub(crate) collection: CollectionId,
    pub(crate) cell: AttributeId,
}

/// An entity under a key.
pub(crate) type Entry = (ValueKey, EntityId);

/// An index, as of one timestamp.
#[derive(Clone)]
pub(crate) struct Index {
    /// As of when it was made, sorted.
    pub(crate) made: Arc<[Entry]>,
    /// What came to hold a value since then.
    pub(crate) added: RedBlackTreeSetSync<Entry>,
    /// When it was used last, in seconds since there are indexes.
    pub(crate) used: Arc<AtomicU64>,
}

impl Index {
    fn made(&self, key: ValueKey) -> &[Entry] {
        let start = self.made.partition_point(|(there, _)| *there < key);
        let length = self.made[start..].partition_point(|(there, _)| *there == key);
        &self.made[start..start + length]
    }

    /// Whether so much was added that it should be made anew.
    pub(crate) fn is_grown(&self) -> bool {
        self.added.size() > ADDED_MAX + self.made.len() / 4
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
pub(crate) struct Wanted {
    pub(crate) start: Instant,
    pub(crate) is_some: AtomicBool,
    pub(crate) indexes: Mutex<VecDeque<IndexOf>>,
    pub(crate) activators: Arc<Activators>,
}

/// The indexes as of one timestamp.
#[derive(Clone)]
pub(crate) struct Indexes {
    pub(crate) indexes: HashTrieMapSync<IndexOf, Index>,
    pub(crate) wanted: Arc<Wanted>,
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
        let best = best.min_by_key(|(index, equality)| count(index, &equality.keys));
        let is_of_use = |(index, equality): &(&Index, &Equality)| count(index, &equality.keys) as u64 * SELECTIVITY_MIN <= entities;
        if let Some((index, equality)) = best.filter(is_of_use) {
            index.used.store(self.wanted.start.elapsed().as_secs(), Ordering::Relaxed);
            return Some(index.find(&equality.keys));
        }
        // Another may be of more use.
        let missing: Vec<&Equality> = required.iter().filter(|equality| index(equality).is_none()).collect();
        if missing.is_empty() {
            return None;
        }
        let mut wanted = self.wanted.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        for equality in missing {
            let of = IndexOf { tenant, collection, cell: equality.cell };
            let of_tenant = wanted.iter().filter(|other| other.tenant == tenant).count();
            if wanted.len() < WANTED_MAX && of_tenant < WANTED_OF_TENANT_MAX && !wanted.contains(&of) {
                wanted.push_back(of);
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
