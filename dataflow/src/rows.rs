//! Where rows lie. The arrangement of rows holds numbers, so that its merges copy plain words and touch no row; a table of
//! each worker has the rows behind a number.
//!
//! A number stands for an entity, for good; behind it are the versions of the entity's row, each with the timestamp since
//! which it is so. A version goes when nobody can ask for it any more: when no published state is held in which it was the
//! newest.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use decidr_domain::delta::Row;

use crate::types::Time;

/// Stands for the row of an entity of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowId(pub(crate) u32);

/// How many numbers are in a chunk.
const CHUNK: usize = 1 << 10;

/// How many rows or entities are looked at together before something is done with each.
pub(crate) const WARMED: usize = 32;

type Chunk = Box<[Mutex<Versions>]>;

/// The versions of one row.
#[derive(Default)]
struct Versions {
    newest: Option<Row>,
    /// The one before it, if somebody may ask for it.
    previous: Option<Row>,
    /// Those before that, which are there only while a state is held for long; the newest last.
    #[allow(clippy::box_collection, reason = "hardly ever there, and so it takes one word")]
    older: Option<Box<Vec<Row>>>,
}

impl Versions {
    /// The row as of a timestamp.
    fn at(&self, time: Time) -> Option<&Row> {
        let older = self.older.iter().flat_map(|older| older.iter().rev());
        self.newest.iter().chain(&self.previous).chain(older).find(|row| row.since <= time)
    }

    /// Takes in a newer row; returns the one before.
    fn push(&mut self, row: Row) -> Option<Row> {
        let before = self.newest.replace(row)?;
        if let Some(older) = self.previous.replace(before.clone()) {
            self.older.get_or_insert_default().push(older);
        }
        Some(before)
    }

    /// Lets go of the version of a timestamp, which is not the newest.
    fn forget(&mut self, since: Time) -> Option<Row> {
        if self.previous.as_ref().is_some_and(|row| row.since == since) {
            let next = self.older.as_mut().and_then(|older| older.pop());
            self.let_go_of_list();
            return std::mem::replace(&mut self.previous, next);
        }
        let older = self.older.as_mut()?;
        let place = older.iter().position(|row| row.since == since)?;
        let row = older.remove(place);
        self.let_go_of_list();
        Some(row)
    }

    fn let_go_of_list(&mut self) {
        self.older.take_if(|older| older.is_empty());
    }
}

/// The rows of one worker as others may read them, as of one timestamp.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    chunks: Arc<Vec<Arc<Chunk>>>,
    time: Time,
    /// How many rows there are.
    rows: usize,
    /// Held for as long as the rows of the timestamp must stay.
    _published: Arc<()>,
}

impl Rows {
    /// The row; `None` only for a number whose entity was not there yet.
    pub(crate) fn get(&self, id: RowId) -> Option<Row> {
        lock(at(&self.chunks, id)).at(self.time).cloned()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// All rows.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Row> {
        (0..self.chunks.len() * CHUNK).filter_map(|place| self.get(RowId(place as u32)))
    }

    /// How much memory the rows of the table take: as many times what those of a sample take as there are.
    pub(crate) fn bytes(&self) -> usize {
        const SAMPLE: usize = 1 << 12;
        let places = self.chunks.len() * CHUNK;
        let sampled = (0..places).step_by(places.div_ceil(SAMPLE).max(1)).filter_map(|place| self.get(RowId(place as u32)));
        let (count, bytes) = sampled.fold((0, 0), |(count, bytes), row| (count + 1, bytes + row.bytes()));
        places * size_of::<Mutex<Versions>>() + (bytes as f64 * self.rows as f64 / f64::from(count.max(1))) as usize
    }
}

fn at(chunks: &[Arc<Chunk>], RowId(id): RowId) -> &Mutex<Versions> {
    &chunks[id as usize / CHUNK][id as usize % CHUNK]
}

fn lock(versions: &Mutex<Versions>) -> std::sync::MutexGuard<'_, Versions> {
    versions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the worker knows of its rows.
#[derive(Default)]
pub(crate) struct RowTable {
    chunks: Arc<Vec<Arc<Chunk>>>,
    rows: usize,
    /// Rows that were replaced since the last publication.
    replaced: Vec<(RowId, Row)>,
    /// What was published and may still be held, the oldest first.
    published: Vec<Publication>,
}

/// A table that the operator writes to and the worker publishes.
pub(crate) type SharedRowTable = Rc<RefCell<RowTable>>;

struct Publication {
    time: Time,
    held: Arc<()>,
    /// Rows that it shows and the next one does not.
    replaced: Vec<(RowId, Row)>,
}

impl RowTable {
    /// Takes in the row that an entity has from now on; one at most in a timestamp.
    pub(crate) fn set(&mut self, id: RowId, row: Row) {
        while id.0 as usize >= self.chunks.len() * CHUNK {
            let chunk: Chunk = (0..CHUNK).map(|_| Mutex::default()).collect();
            Arc::make_mut(&mut self.chunks).push(Arc::new(chunk));
        }
        match lock(at(&self.chunks, id)).push(row) {
            Some(before) => self.replaced.push((id, before)),
            None => self.rows += 1,
        }
    }

    /// Looks at where a row lies that is about to be replaced, so that many such looks wait for memory together.
    pub(crate) fn look(&self, id: RowId) {
        if let Some(chunk) = self.chunks.get(id.0 as usize / CHUNK) {
            // To ask for the lock itself would wait.
            std::hint::black_box(chunk[id.0 as usize % CHUNK].is_poisoned());
        }
    }

    /// What others may read from now on.
    pub(crate) fn publish(&mut self, time: Time) -> Rows {
        let replaced = std::mem::take(&mut self.replaced);
        match self.published.last_mut() {
            // Nothing has replaced what the newest one shows until now.
            Some(last) => last.replaced = replaced,
            None => self.forget(replaced),
        }
        let held = Arc::new(());
        self.published.push(Publication { time, held: held.clone(), replaced: Vec::new() });
        Rows { chunks: self.chunks.clone(), time, rows: self.rows, _published: held }
    }

    /// Forgets the rows that nobody can ask for any more.
    pub(crate) fn tidy(&mut self) {
        // What the newest one shows nothing has replaced.
        let Some(newest) = self.published.pop() else { return };
        for mut publication in std::mem::take(&mut self.published) {
            // It is asked for alone, as that sees all that whoever let go of it did before.
            if Arc::get_mut(&mut publication.held).is_none() {
                self.published.push(publication);
                continue;
            }
            // An older publication that is held shows those of its rows that were there already.
            if let Some(older) = self.published.last_mut() {
                older.replaced.extend(publication.replaced.extract_if(.., |(_, row)| row.since <= older.time));
            }
            self.forget(publication.replaced);
        }
        self.published.push(newest);
    }

    fn forget(&mut self, mut rows: Vec<(RowId, Row)>) {
        while !rows.is_empty() {
            let some = rows.split_off(rows.len().saturating_sub(WARMED));
            self.warm(&some);
            for (id, row) in some {
                let version = lock(at(&self.chunks, id)).forget(row.since);
                debug_assert!(version.is_some(), "each version goes once");
                // Both go here, behind the lock, so that nobody waits for it.
            }
        }
    }

    /// Looks at rows that are about to go, so that these looks wait for memory together.
    fn warm(&self, rows: &[(RowId, Row)]) {
        // To ask for the lock itself would wait.
        let seen = rows.iter().fold(0, |seen, (id, row)| seen ^ row.since ^ u64::from(at(&self.chunks, *id).is_poisoned()));
        let seen = rows.iter().fold(seen, |seen, (_, row)| seen ^ row.entity.version as u64);
        std::hint::black_box(rows.iter().fold(seen, |seen, (_, row)| {
            let is_blank = row.entity.values.iter().next().is_some_and(|(_, value)| value.is_blank());
            seen ^ u64::from(is_blank) ^ row.entity.changes.first().map_or(0, |(_, stamp)| stamp.at.as_second() as u64)
        }));
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

    const ID: RowId = RowId(1_500);

    fn count(table: &RowTable) -> usize {
        let versions = lock(at(&table.chunks, ID));
        let older = versions.older.as_ref().map_or(0, |older| older.len());
        usize::from(versions.newest.is_some()) + usize::from(versions.previous.is_some()) + older
    }

    #[test]
    fn a_publication_keeps_what_it_shows_and_nothing_else() {
        let mut table = RowTable::default();
        table.set(ID, row(1));
        let first = table.publish(1);
        let mut second = None;
        for time in 2..=10 {
            table.set(ID, row(time));
            let published = table.publish(time);
            table.tidy();
            assert_eq!(published.get(ID).map(|row| row.since), Some(time));
            assert_eq!(published.get(RowId(1)), None);
            if time == 5 {
                second = Some(published);
            }
        }
        let shown = |rows: &Rows| rows.get(ID).map(|row| row.since);
        assert_eq!((shown(&first), second.as_ref().and_then(shown)), (Some(1), Some(5)), "who holds a publication reads what it showed");
        table.publish(11);
        table.tidy();
        assert_eq!(count(&table), 3, "rows in between, which nobody holds, go");
        drop(first);
        table.publish(12);
        table.tidy();
        assert_eq!((count(&table), second.as_ref().and_then(shown)), (2, Some(5)));
        drop(second);
        table.publish(13);
        table.tidy();
        assert_eq!(count(&table), 1);
    }

    #[test]
    fn what_came_later_is_not_shown() {
        let mut table = RowTable::default();
        let before = table.publish(1);
        table.set(ID, row(2));
        let after = table.publish(2);
        assert_eq!(after.get(ID).map(|row| row.since), Some(2));
        assert!(before.chunks.is_empty(), "its arrangement has no number to ask for");
        table.set(RowId(ID.0 + 1), row(3));
        assert_eq!(after.get(RowId(ID.0 + 1)), None);
    }
}
