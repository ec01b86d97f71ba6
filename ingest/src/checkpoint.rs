//! Checkpoints: every entity as it was at some position, with all that was computed about it, in a file beside the log.
//!
//! The log stays the only truth: a checkpoint saves whoever starts from reading and computing what is behind it, and can be
//! thrown away. It is believed only by the program that wrote it, for another may compute otherwise, and for the log that it
//! is of ([`Head`]).
//!
//! ```text
//! "decidr checkpoint 1\n"   Head   Rows   Rows   …   how many rows there were
//! ```
//! Each part but the first is its length and its CRC-32, four bytes each, little-endian, and then what postcard makes of it,
//! with one more byte that says what it is. `Rows` are some thousand; what many of them have in common, as their collections
//! and attributes, is there once.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::Hash;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use decidr_domain::aggregate::entity::{Entity, Values};
use decidr_domain::delta::Row;
use decidr_domain::id::{AttributeId, CollectionId, EntityId, EventId, Position, TenantId, Version};
use decidr_domain::layout::Layout;
use decidr_domain::stamp::Stamp;
use decidr_domain::value::Value;
use ecow::EcoString;
use jiff::Timestamp;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8] = b"decidr checkpoint 1\n";

/// How many rows are in a block, at most.
pub const BLOCK_ROWS: usize = 4_096;

/// How long a part may be, in bytes; a longer one is damaged.
const PART_MAX: usize = 1 << 30;

/// How many threads read a checkpoint, at most.
const THREADS_MAX: usize = 4;

// The kinds of parts.
const HEAD: u8 = 0;
const ROWS: u8 = 1;
const END: u8 = 2;

/// Of what a checkpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which program wrote it.
    pub program: u64,
    /// The lineage of the log.
    pub lineage: u32,
    /// The position.
    pub position: Position,
    /// The event at this position: a log of the same lineage may have been put back and have gone on otherwise.
    pub event_id: EventId,
    /// The position of every tenant's newest event.
    pub newest: Vec<(TenantId, Position)>,
    /// How many rows there are.
    pub rows: u64,
}

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be written or read.
    #[error("the checkpoint's file cannot be used")]
    Io(#[from] io::Error),
    /// The file does not hold what was written.
    #[error("the checkpoint is damaged: {0}")]
    Damaged(String),
}

fn damaged(what: impl ToString) -> CheckpointError {
    CheckpointError::Damaged(what.to_string())
}

/// Some rows. What is a number stands for an item of a list.
#[derive(Default, Serialize, Deserialize)]
struct Rows {
    homes: Vec<(TenantId, CollectionId)>,
    actors: Vec<EcoString>,
    stored_layouts: Vec<Vec<AttributeId>>,
    computed_layouts: Vec<Vec<AttributeId>>,
    rows: Vec<PlainRow>,
}

#[derive(Serialize, Deserialize)]
struct PlainRow {
    id: EntityId,
    home: u32,
    archived: bool,
    version: Version,
    number: u64,
    created: PlainStamp,
    changes: Vec<(AttributeId, PlainStamp)>,
    stored: PlainCells,
    computed: PlainCells,
}

/// Microseconds since 1970, and the actor.
type PlainStamp = (i64, u32);

/// A layout and its values.
type PlainCells = (u32, Vec<Value>);

/// Items, each once, with their numbers.
struct Numbered<K> {
    numbers: HashMap<K, u32, FxBuildHasher>,
    items: Vec<K>,
    last: Option<(K, u32)>,
}

impl<K: Clone + Eq + Hash> Numbered<K> {
    fn new() -> Self {
        Self { numbers: HashMap::default(), items: Vec::new(), last: None }
    }

    fn number(&mut self, item: &K) -> u32 {
        // Mostly it is the one before.
        if let Some((_, number)) = self.last.as_ref().filter(|(last, _)| last == item) {
            return *number;
        }
        let next = self.items.len() as u32;
        let number = *self.numbers.entry(item.clone()).or_insert(next);
        if number == next {
            self.items.push(item.clone());
        }
        self.last = Some((item.clone(), number));
        number
    }
}

impl Rows {
    fn of(rows: &[Row]) -> Self {
        let (mut homes, mut actors) = (Numbered::new(), Numbered::new());
        let (mut stored_layouts, mut computed_layouts) = (Numbered::new(), Numbered::new());
        let mut plain = Vec::with_capacity(rows.len());
        for row in rows {
            let entity = &row.entity;
            let mut stamp = |stamp: &Stamp| (stamp.at.as_microsecond(), actors.number(&stamp.by));
            plain.push(PlainRow {
                id: entity.id,
                home: homes.number(&(entity.tenant_id, entity.collection_id)),
                archived: entity.archived,
                version: entity.version,
                number: entity.number,
                created: stamp(&entity.created),
                changes: entity.changes.iter().map(|(attribute, at)| (*attribute, stamp(at))).collect(),
                stored: (stored_layouts.number(entity.values.layout()), entity.values.iter().map(|(_, value)| value.clone()).collect()),
                computed: (computed_layouts.number(row.layout()), row.values().to_vec()),
            });
        }
        let ids = |layouts: Numbered<Layout>| layouts.items.iter().map(|layout| layout.ids().to_vec()).collect();
        let (stored_layouts, computed_layouts) = (ids(stored_layouts), ids(computed_layouts));
        Self { homes: homes.items, actors: actors.items, stored_layouts, computed_layouts, rows: plain }
    }

    fn read(part: &[u8]) -> Result<Vec<Row>, CheckpointError> {
        postcard::from_bytes::<Rows>(part).map_err(damaged)?.into_rows()
    }

    fn into_rows(self) -> Result<Vec<Row>, CheckpointError> {
        let Self { homes, actors, stored_layouts, computed_layouts, rows } = self;
        let (stored_layouts, computed_layouts) = (layouts(stored_layouts)?, layouts(computed_layouts)?);
        let missing = || damaged("a row refers to what is not there");
        let stamp = |(at, by): PlainStamp| {
            let at = Timestamp::from_microsecond(at).map_err(damaged)?;
            Ok::<_, CheckpointError>(Stamp { at, by: actors.get(by as usize).ok_or_else(missing)?.clone() })
        };
        let layout = |layouts: &[Layout], (layout, values): &PlainCells| {
            let layout = layouts.get(*layout as usize).ok_or_else(missing)?;
            let is_whole = layout.ids().len() == values.len() && !values.iter().any(Value::is_blank);
            if is_whole { Ok(layout.clone()) } else { Err(damaged("a row has other cells than it says")) }
        };
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            let (tenant_id, collection_id) = *homes.get(row.home as usize).ok_or_else(missing)?;
            let changes = row.changes.into_iter().map(|(attribute, at)| Ok((attribute, stamp(at)?)));
            let entity = Entity {
                id: row.id,
                tenant_id,
                collection_id,
                archived: row.archived,
                version: row.version,
                values: Values::new(layout(&stored_layouts, &row.stored)?, row.stored.1.into_boxed_slice()),
                number: row.number,
                created: stamp(row.created)?,
                changes: changes.collect::<Result<_, CheckpointError>>()?,
            };
            out.push(Row::new(0, Arc::new(entity), layout(&computed_layouts, &row.computed)?, row.computed.1.into_iter()));
        }
        Ok(out)
    }
}

fn layouts(of: Vec<Vec<AttributeId>>) -> Result<Vec<Layout>, CheckpointError> {
    match of.iter().all(|ids| ids.is_sorted_by(|one, next| one < next)) {
        true => Ok(of.iter().map(|ids| Layout::of(ids)).collect()),
        false => Err(damaged("attributes are not in order")),
    }
}

/// Writes a checkpoint. It is in its place when it is whole and synced, and not before; what is not finished is deleted.
pub struct Writer {
    file: BufWriter<File>,
    unfinished: PathBuf,
    path: PathBuf,
    rows: u64,
}

impl Writer {
    /// Begins a checkpoint that is to be at `path`.
    ///
    /// # Errors
    /// If there cannot be a file beside it.
    pub fn create(path: &Path, head: &Head) -> Result<Self, CheckpointError> {
        let unfinished = path.with_extension("unfinished");
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
        file.write_all(MAGIC)?;
        let mut writer = Self { file, unfinished, path: path.to_owned(), rows: 0 };
        writer.part(HEAD, head)?;
        Ok(writer)
    }

    /// Adds rows, [`BLOCK_ROWS`] at most.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&mut self, rows: &[Row]) -> Result<(), CheckpointError> {
        self.rows += rows.len() as u64;
        self.part(ROWS, &Rows::of(rows))
    }

    /// Ends it, and puts it in its place.
    ///
    /// # Errors
    /// If it cannot be written, synced or put there; what was there before is there still.
    pub fn finish(mut self) -> Result<(), CheckpointError> {
        let rows = self.rows;
        self.part(END, &rows)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.unfinished, &self.path)?;
        // The folder, too, for the name is in it.
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn part(&mut self, kind: u8, part: &impl Serialize) -> Result<(), CheckpointError> {
        let mut bytes = postcard::to_stdvec(part).map_err(damaged)?;
        bytes.push(kind);
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= PART_MAX);
        let length = length.ok_or_else(|| damaged(format!("a part of {} bytes is too long", bytes.len())))?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&crc32fast::hash(&bytes).to_le_bytes())?;
        self.file.write_all(&bytes)?;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Once it is finished it is not there; else whatever room it took may be what others need.
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

/// Reads a checkpoint.
pub struct Reader {
    file: BufReader<File>,
    /// How many pieces of them were read.
    pieces: u64,
    /// How many rows there are, when all were read.
    expected: Option<u64>,
}

impl Reader {
    /// Opens the checkpoint at `path`, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Option<(Head, Self)>, CheckpointError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut reader = Self { file: BufReader::with_capacity(1 << 20, file), pieces: 0, expected: None };
        let mut magic = [0; MAGIC.len()];
        reader.file.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(damaged("it is of another format"));
        }
        let mut head = reader.part()?;
        match head.pop() {
            Some(HEAD) => Ok(Some((postcard::from_bytes(&head).map_err(damaged)?, reader))),
            _ => Err(damaged("it does not say what it is of")),
        }
    }

    /// Gives all rows, in pieces, in the order in which they were written; they are since 0. Several threads read them.
    ///
    /// # Errors
    /// If they cannot be read, or are not what was written. Some of them may have been given by then.
    pub fn rows(self, mut give: impl FnMut(Vec<Row>)) -> Result<(), CheckpointError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let reader = Mutex::new(self);
        let (sender, read) = sync_channel(2 * threads);
        let run = |sender: SyncSender<Result<_, CheckpointError>>| {
            loop {
                let part = reader.lock().unwrap_or_else(PoisonError::into_inner).rows_part();
                let rows = match part {
                    Ok(None) => return,
                    Ok(Some((place, part))) => Rows::read(&part).map(|rows| (place, rows)),
                    Err(error) => Err(error),
                };
                let is_wrong = rows.is_err();
                // Nobody waits for more when something was wrong.
                if sender.send(rows).is_err() || is_wrong {
                    return;
                }
            }
        };
        let count = std::thread::scope(|scope| {
            (0..threads).for_each(|_| {
                drop(scope.spawn({
                    let (run, sender) = (&run, sender.clone());
                    move || run(sender)
                }))
            });
            drop(sender);
            let (mut early, mut next, mut count) = (BTreeMap::new(), 1, 0);
            for rows in read {
                let (place, rows) = rows?;
                early.insert(place, rows);
                while let Some(rows) = early.remove(&next) {
                    count += rows.len() as u64;
                    give(rows);
                    next += 1;
                }
            }
            Ok::<_, CheckpointError>(count)
        })?;
        let reader = reader.into_inner().unwrap_or_else(PoisonError::into_inner);
        match reader.expected {
            Some(expected) if expected == count => Ok(()),
            _ => Err(damaged(format!("it has {count} rows, and should have others"))),
        }
    }

    /// What the next rows are written as, and which these are; nothing if there are no more.
    fn rows_part(&mut self) -> Result<Option<(u64, Vec<u8>)>, CheckpointError> {
        if self.expected.is_some() {
            return Ok(None);
        }
        let mut part = self.part()?;
        match part.pop() {
            Some(ROWS) => {
                self.pieces += 1;
                Ok(Some((self.pieces, part)))
            }
            Some(END) => {
                self.expected = Some(postcard::from_bytes(&part).map_err(damaged)?);
                Ok(None)
            }
            _ => Err(damaged("a part is of no kind that there is")),
        }
    }

    fn part(&mut self) -> Result<Vec<u8>, CheckpointError> {
        let (mut length, mut sum) = ([0; 4], [0; 4]);
        self.file.read_exact(&mut length)?;
        self.file.read_exact(&mut sum)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > PART_MAX {
            return Err(damaged(format!("a part of {length} bytes is too long")));
        }
        let mut bytes = Vec::new();
        // Not more than there is, whatever the length says.
        (&mut self.file).take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() != length || crc32fast::hash(&bytes) != u32::from_le_bytes(sum) {
            return Err(damaged("a part is not what was written"));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn row(n: u128) -> Row {
        let ids: Vec<_> = (1..=n % 4).map(|id| AttributeId(Uuid::from_u128(id))).collect();
        let value = |id: u128| match (n + id) % 6 {
            0 => Value::from(n as i64),
            1 => Value::text(format!("text {n}")),
            2 => Value::Links((0..n % 5 + 1).map(|id| EntityId(Uuid::from_u128(id))).collect()),
            3 => Value::list([Value::Bool(true), Value::Date(jiff::civil::date(2026, 11, 28))]),
            4 => Value::error(decidr_domain::value::ErrorKind::Div0, "division by zero"),
            _ => Value::DateTime(Timestamp::from_microsecond(n as i64 * 1_000_003).unwrap()),
        };
        let stamp = |n: i64| Stamp { at: Timestamp::from_microsecond(n).unwrap(), by: format!("user {}", n % 3).into() };
        let entity = Entity {
            id: EntityId(Uuid::from_u128(n)),
            tenant_id: TenantId(Uuid::from_u128(n % 2)),
            collection_id: CollectionId(Uuid::from_u128(n % 3)),
            archived: n.is_multiple_of(7),
            version: n as Version + 1,
            values: ids.iter().map(|id| (*id, value(id.0.as_u128()))).collect(),
            number: n as u64,
            created: stamp(n as i64),
            changes: ids.iter().map(|id| (*id, stamp(2 * n as i64))).collect(),
        };
        let computed: Vec<_> = (0..n % 3).map(|id| AttributeId(Uuid::from_u128(100 + id))).collect();
        Row::new(
            0,
            Arc::new(entity),
            Layout::of(&computed),
            computed.iter().map(|id| value(id.0.as_u128())).collect::<Vec<_>>().into_iter(),
        )
    }

    fn head() -> Head {
        let newest = vec![(TenantId(Uuid::from_u128(0)), 7), (TenantId(Uuid::from_u128(1)), 9)];
        Head { program: 1, lineage: 2, position: 9, event_id: EventId(Uuid::from_u128(4)), newest, rows: 0 }
    }

    fn write(path: &Path, rows: &[Row]) {
        let mut writer = Writer::create(path, &head()).unwrap();
        rows.chunks(30).for_each(|rows| writer.write(rows).unwrap());
        writer.finish().unwrap();
    }

    fn read(path: &Path) -> Result<Vec<Row>, CheckpointError> {
        let (read, reader) = Reader::open(path)?.expect("it is there");
        assert_eq!(read, head());
        let mut rows = Vec::new();
        reader.rows(|some| rows.extend(some))?;
        rows.sort_unstable_by_key(|row| row.entity.id);
        Ok(rows)
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        assert!(Reader::open(&path).unwrap().is_none());
        let rows: Vec<Row> = (0..100).map(row).collect();
        write(&path, &rows[..50]);
        write(&path, &rows);
        assert_eq!(read(&path).unwrap(), rows);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn what_is_not_finished_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let rows: Vec<Row> = (0..40).map(row).collect();
        write(&path, &rows);
        let mut writer = Writer::create(&path, &head()).unwrap();
        writer.write(&rows[..1]).unwrap();
        drop(writer);
        assert_eq!(read(&path).unwrap(), rows);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        write(&path, &(0..12).map(row).collect::<Vec<_>>());
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            assert!(read(&path).is_err(), "byte {place}");
            std::fs::write(&path, &whole[..place]).unwrap();
            assert!(read(&path).is_err(), "the first {place} bytes");
        }
    }
}
