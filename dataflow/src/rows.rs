//! Where rows lie. The arrangement of rows holds numbers, so that its merges copy plain words and touch no row; a table of
//! each worker says which row a number stands for.
//!
//! A number is given to another row only when nobody can ask for the one before: when no published state is held any more
//! in which that row was the newest of its entity. Within the arrangement a number may come again even for one entity, for
//! what is asked is how often it counts, and by then the earlier row's updates have cancelled each other.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use decidr_domain::delta::Row;

use crate::types::Time;

/// Stands for a row of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowId(u32);

/// How many rows are in a chunk.
const CHUNK: usize = 1 << 10;

type Chunk = Box<[Mutex<Option<Row>>]>;

/// The rows of one worker as others may read them, as of one timestamp.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    chunks: Arc<Vec<Arc<Chunk>>>,
    /// How many rows there are.
    rows: usize,
    /// Held for as long as the rows of the timestamp must stay.
    _published: Arc<()>,
}

impl Rows {
    /// The row; `None` only for a number that was not the newest of an entity as of the timestamp.
    pub(crate) fn get(&self, id: RowId) -> Option<Row> {
        at(&self.chunks, id).lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much memory the rows of the table take: as many times what those of a sample take as there are.
    pub(crate) fn bytes(&self) -> usize {
        const SAMPLE: usize = 1 << 12;
        let places = self.chunks.len() * CHUNK;
        let sampled = (0..places).step_by(places.div_ceil(SAMPLE).max(1)).filter_map(|place| self.get(RowId(place as u32)));
        let (count, bytes) = sampled.fold((0, 0), |(count, bytes), row| (count + 1, bytes + row.bytes()));
        places * size_of::<Mutex<Option<Row>>>() + (bytes as f64 * self.rows as f64 / f64::from(count.max(1))) as usize
    }
}

fn at(chunks: &[Arc<Chunk>], RowId(id): RowId) -> &Mutex<Option<Row>> {
    &chunks[id as usize / CHUNK][id as usize % CHUNK]
}

/// What the worker knows of its rows.
#[derive(Default)]
pub(crate) struct RowTable {
    chunks: Arc<Vec<Arc<Chunk>>>,
    free: Vec<RowId>,
    /// Rows that were replaced since the last publication, with when each came to be.
    replaced: Vec<(RowId, Time)>,
    /// What was published and may still be held, the oldest first.
    published: Vec<Publication>,
}

/// A table that the operator writes to and the worker publishes.
pub(crate) type SharedRowTable = Rc<RefCell<RowTable>>;

struct Publication {
    time: Time,
    held: Arc<()>,
    /// Rows that it shows and the next one does not.
    replaced: Vec<(RowId, Time)>,
}

impl RowTable {
    /// Takes in a row.
    ///
    /// # Panics
    /// With four thousand million rows on one worker, for which there is no memory.
    pub(crate) fn insert(&mut self, row: Row) -> RowId {
        let id = self.free.pop().unwrap_or_else(|| {
            let first = u32::try_from(self.chunks.len() * CHUNK).expect("memory ends before");
            let chunk: Chunk = (0..CHUNK).map(|_| Mutex::default()).collect();
            Arc::make_mut(&mut self.chunks).push(Arc::new(chunk));
            self.free.extend((first..first + CHUNK as u32).rev().map(RowId));
            self.free.pop().expect("a chunk has rows")
        });
        *at(&self.chunks, id).lock().unwrap_or_else(PoisonError::into_inner) = Some(row);
        id
    }

    /// Notes that a row is not the newest of its entity any more, and when it came to be.
    pub(crate) fn replace(&mut self, id: RowId, since: Time) {
        self.replaced.push((id, since));
    }

    /// What others may read from now on; forgets the rows that nobody can ask for any more.
    pub(crate) fn publish(&mut self, time: Time) -> Rows {
        let replaced = std::mem::take(&mut self.replaced);
        match self.published.last_mut() {
            Some(last) => last.replaced.extend(replaced),
            None => self.forget(replaced),
        }
        for mut publication in std::mem::take(&mut self.published) {
            // It is asked for alone, as that sees all that whoever let go of it did before.
            if Arc::get_mut(&mut publication.held).is_none() {
                self.published.push(publication);
                continue;
            }
            // An older publication that is held shows those of its rows that were there already.
            let older = self.published.last_mut();
            let stays = |since| older.as_ref().is_some_and(|older| since <= older.time);
            let (stay, go): (Vec<_>, Vec<_>) = publication.replaced.into_iter().partition(|(_, since)| stays(*since));
            older.into_iter().for_each(|older| older.replaced.extend(&stay));
            self.forget(go);
        }
        let held = Arc::new(());
        self.published.push(Publication { time, held: held.clone(), replaced: Vec::new() });
        Rows { chunks: self.chunks.clone(), rows: self.chunks.len() * CHUNK - self.free.len(), _published: held }
    }

    fn forget(&mut self, rows: Vec<(RowId, Time)>) {
        for (id, _) in rows {
            drop(at(&self.chunks, id).lock().unwrap_or_else(PoisonError::into_inner).take());
            self.free.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use decidr_domain::aggregate::entity::{Entity, Values};
    use decidr_domain::id::{CollectionId, EntityId, TenantId};
    use decidr_domain::layout::Layout;
    use decidr_domain::stamp::Stamp;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn row(since: Time) -> Row {
        let entity = Entity {
            id: EntityId(Uuid::nil()),
            tenant_id: TenantId(Uuid::nil()),
            collection_id: CollectionId(Uuid::nil()),
            archived: false,
            version: 1,
            values: Values::default(),
            number: 1,
            created: Stamp { at: Timestamp::UNIX_EPOCH, by: "test".into() },
            changes: Vec::new(),
        };
        Row::new(since, Arc::new(entity), Layout::default(), std::iter::empty())
    }

    #[test]
    fn a_publication_keeps_what_it_shows_and_nothing_else() {
        let mut table = RowTable::default();
        let first = table.insert(row(1));
        let held = table.publish(1);
        let mut newest = first;
        let mut ids = vec![first];
        for time in 2..=10 {
            table.replace(newest, time - 1);
            newest = table.insert(row(time));
            ids.push(newest);
            drop(table.publish(time));
        }
        assert_eq!(held.get(first).map(|row| row.since), Some(1), "who holds a publication reads what it showed");
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.len() <= 4, "rows in between, which nobody holds, make room: {ids:?}");
        drop(held);
        table.publish(11);
        assert_eq!(at(&table.chunks, first).lock().unwrap().as_ref().map(|row| row.since), None, "and then it goes");
    }
}
