//! The entities of a worker, and those of them that the timestamp touched.

use std::hash::BuildHasher as _;
use std::ops::{Index, IndexMut};

use decidr_domain::id::EntityId;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::record::{Record, Touched};
use crate::rows::RowId;

/// The place of an entity's record on its worker. Entities never go, so that it is the entity's for good; within a worker
/// they are called by it, which spares a search each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(u32);

impl Slot {
    /// Under which number its rows are.
    pub(super) fn row(self) -> RowId {
        RowId(self.0)
    }
}

/// How many records are in a chunk: what is there is not moved when more come.
const CHUNK: usize = 1 << 10;

/// The records of all entities of a worker.
#[derive(Default)]
pub(super) struct Records {
    chunks: Vec<Vec<Record>>,
    slots: FxHashMap<EntityId, Slot>,
    /// What was found, by a part of the id's hash.
    recent: Vec<Option<(EntityId, Slot)>>,
}

/// Of how many entities it is remembered where they are, as a power of two: what fits into a processor's second cache.
const RECENT_BITS: u32 = 12;

impl Records {
    /// Where the record of an entity is, if there is one.
    pub(super) fn find(&self, id: EntityId) -> Option<Slot> {
        self.slots.get(&id).copied()
    }

    /// [`Records::find`] for one of many that are looked for in a row, some of them again and again: these are found near by, where
    /// the search among millions waits for memory.
    pub(super) fn find_among_many(&mut self, id: EntityId) -> Option<Slot> {
        if self.recent.is_empty() {
            self.recent = vec![None; 1 << RECENT_BITS];
        }
        let place = (FxBuildHasher.hash_one(id) >> (u64::BITS - RECENT_BITS)) as usize;
        match self.recent[place] {
            Some((there, slot)) if there == id => Some(slot),
            _ => {
                let slot = self.find(id)?;
                self.recent[place] = Some((id, slot));
                Some(slot)
            }
        }
    }

    /// Where the record of an entity is; makes one if there is none.
    ///
    /// # Panics
    /// With four thousand million entities on one worker, for which there is no memory.
    pub(super) fn find_or_insert(&mut self, id: EntityId) -> Slot {
        *self.slots.entry(id).or_insert_with(|| {
            let is_full = self.chunks.last().is_none_or(|last| last.len() == CHUNK);
            if is_full {
                self.chunks.push(Vec::with_capacity(CHUNK));
            }
            let chunk = self.chunks.len() - 1;
            let place = self.chunks[chunk].len();
            self.chunks[chunk].push(Record::new(id));
            Slot(u32::try_from(chunk * CHUNK + place).expect("memory ends before"))
        })
    }

    /// Makes room.
    pub(super) fn reserve(&mut self, more: usize) {
        self.slots.reserve(more);
    }

    /// The record of an entity, if there is one.
    pub(super) fn get_mut(&mut self, id: EntityId) -> Option<(Slot, &mut Record)> {
        let slot = self.find(id)?;
        Some((slot, &mut self[slot]))
    }
}

impl Index<Slot> for Records {
    type Output = Record;

    fn index(&self, Slot(slot): Slot) -> &Record {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}

impl IndexMut<Slot> for Records {
    fn index_mut(&mut self, Slot(slot): Slot) -> &mut Record {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}

/// What a timestamp did, by entity.
#[derive(Default)]
pub(super) struct TouchedEntities(Vec<Touched>);

/// For how many there stays room for the timestamps to come.
const KEPT: usize = 1 << 16;

impl TouchedEntities {
    /// What the timestamp did to this entity. The entity's row from before is there until the end, and not in the record.
    pub(super) fn touch(&mut self, slot: Slot, record: &mut Record) -> &mut Touched {
        let place = record.touched().unwrap_or_else(|| {
            self.0.push(Touched::new(slot, record.touch(self.0.len())));
            self.0.len() - 1
        });
        &mut self.0[place]
    }

    /// Nothing was done to the entity that was touched last, whose record this is: it is as if it had not been.
    pub(super) fn forget_last(&mut self, record: &mut Record) {
        debug_assert_eq!(record.touched(), self.0.len().checked_sub(1), "it is the last");
        if let Some(last) = self.0.pop() {
            record.untouch(last.before);
        }
    }

    /// What the timestamp did to the entity of this record, if it touched it.
    pub(super) fn get(&self, record: &Record) -> Option<&Touched> {
        self.0.get(record.touched()?)
    }

    /// Makes room.
    pub(super) fn reserve(&mut self, more: usize) {
        self.0.reserve(more);
    }

    /// Every touched entity, in no order.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.0.iter().map(|touched| touched.slot)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(KEPT);
    }
}
