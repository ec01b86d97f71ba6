//! The embedded log: one SQLite file, write-ahead logging, synced at every commit.
//!
//! Positions come from the one row of the table `log`, which the transaction locks until it commits; the same statement
//! checks that nobody else has taken over writing. Many commands share a transaction, which is what pays for the sync.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use decidr_domain::event::{Event, Metadata, Recorded, Stored};
use decidr_domain::id::{CommandId, EventId, Position, StreamId, TenantId, Version};
use futures_util::{Stream, TryStreamExt as _};
use jiff::Timestamp;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Row, Sqlite, SqliteConnection};
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use super::{Answer, Append, Appended, EventLog, LogError, LogFuture};

/// The version of the tables in `sql/schema.sql`.
const FORMAT: i64 = 1;

/// How many rows one statement inserts or looks up; smaller rests use smaller statements, so that few texts are prepared.
const CHUNKS: [usize; 4] = [128, 32, 8, 1];

const EVENT_COLUMNS: usize = 13;

/// An event as it is read, which [`Frames`] takes apart: fields that end with a space, five ids, and two texts of which the
/// fields say how long they are.
///
/// Each column of each row is memory that one thread takes and another gives back, which costs more than what is in it: an
/// event comes as one column, and many events come as one row.
const FRAME: &str = "concat(position, ' ', version, ' ', shape, ' ', recorded_at, ' ', event_type, ' ', stream, ' ', octet_length(actor), ' ', \
     octet_length(data), ' ', tenant || event_id || command_id || causation_id || correlation_id, actor, data)";

/// How many events come as one row when the whole log is read.
const FRAMES_TOGETHER: Position = 64;

/// How many rows may wait to be decoded.
const ROWS_AHEAD: usize = 32;

/// A log in a SQLite file.
pub struct SqliteLog {
    writer: Mutex<Option<SqlitePool>>,
    readers: SqlitePool,
    epoch: i64,
    lineage: u32,
    head: watch::Sender<Position>,
}

fn storage<E: std::error::Error + Send + Sync + 'static>(operation: &'static str) -> impl FnOnce(E) -> LogError {
    move |source| LogError::Storage { operation, source: Box::new(source) }
}

impl SqliteLog {
    /// Opens the log in `file` for writing, and makes it if it is not there. Whoever had it open for writing before
    /// cannot append any more.
    pub async fn open(file: &Path) -> Result<Self, LogError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .page_size(8192)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(std::time::Duration::from_secs(10))
            .row_buffer_size(ROWS_AHEAD)
            .pragma("cache_size", "-65536")
            .pragma("wal_autocheckpoint", "4000");
        let one = || SqlitePoolOptions::new().min_connections(1).idle_timeout(None).max_lifetime(None);
        let writer = one().max_connections(1).connect_with(options.clone()).await.map_err(storage("open the file"))?;
        sqlx::raw_sql(include_str!("sql/schema.sql")).execute(&writer).await.map_err(storage("create the tables"))?;
        let lineage = (Uuid::new_v4().as_u128() as u32 | 1) as i64;
        sqlx::query("INSERT INTO log (id, format, lineage, epoch, position) VALUES (1, ?, ?, 0, 0) ON CONFLICT DO NOTHING")
            .bind(FORMAT)
            .bind(lineage)
            .execute(&writer)
            .await
            .map_err(storage("name the log"))?;
        let row = sqlx::query("UPDATE log SET epoch = epoch + 1 WHERE id = 1 RETURNING format, lineage, epoch, position")
            .fetch_one(&writer)
            .await
            .map_err(storage("take over writing"))?;
        let (format, lineage, epoch, position): (i64, i64, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
        if format != FORMAT {
            return Err(LogError::Damaged(format!("its format is {format}, and this program knows {FORMAT}")));
        }
        // Whether each of them is there is seen when they are read: to count them takes as long as a part of that.
        let (newest,): (i64,) = sqlx::query_as("SELECT COALESCE(MAX(position), 0) FROM events")
            .fetch_one(&writer)
            .await
            .map_err(storage("find the newest event"))?;
        if newest != position {
            return Err(LogError::Damaged(format!("its newest event is at position {newest}, and should be at {position}")));
        }
        let readers = one().max_connections(4).connect_with(options.read_only(true)).await.map_err(storage("open the file for reading"))?;
        let writer = Mutex::new(Some(writer));
        Ok(Self { writer, readers, epoch, lineage: lineage as u32, head: watch::Sender::new(position as Position) })
    }

    /// Opens the log in `file` for reading, also while another process writes it. Its head is the one at the time of
    /// opening; to append to it is refused.
    pub async fn open_for_reading(file: &Path) -> Result<Self, LogError> {
        let options = SqliteConnectOptions::new().filename(file).read_only(true).row_buffer_size(ROWS_AHEAD);
        let options = options.busy_timeout(std::time::Duration::from_secs(10));
        let readers =
            SqlitePoolOptions::new().max_connections(2).connect_with(options).await.map_err(storage("open the file for reading"))?;
        let row = sqlx::query("SELECT lineage, position FROM log WHERE id = 1")
            .fetch_one(&readers)
            .await
            .map_err(storage("read the log's name"))?;
        let (lineage, position): (i64, i64) = (row.get(0), row.get(1));
        Ok(Self { writer: Mutex::new(None), readers, epoch: 0, lineage: lineage as u32, head: watch::Sender::new(position as Position) })
    }

    /// The events that registered tenants.
    pub async fn tenants(&self) -> Result<Vec<Recorded>, LogError> {
        let sql = format!("SELECT CAST({FRAME} AS BLOB) FROM events WHERE event_type = 'TenantRegistered' ORDER BY position");
        decoded(sqlx::query(AssertSqlSafe(sql)).fetch(&self.readers), 0, "read the tenants").await
    }

    async fn append_now(&self, batch: &[Append]) -> Result<Vec<Appended>, LogError> {
        let writer = self.writer.lock().await;
        let writer = writer.as_ref().ok_or(LogError::Fenced)?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(storage("begin"))?;
        let row = sqlx::query("SELECT epoch, position FROM log WHERE id = 1")
            .fetch_one(&mut *transaction)
            .await
            .map_err(storage("read the newest position"))?;
        let (epoch, mut position): (i64, i64) = (row.get(0), row.get(1));
        if epoch != self.epoch {
            return Err(LogError::Fenced);
        }
        let commands: Vec<_> = batch.iter().map(|append| (append.issuer, append.command_id)).collect();
        let mut answers = answers(&mut transaction, &commands).await?;
        let mut versions = versions(&mut transaction, batch).await?;

        let mut out = Vec::with_capacity(batch.len());
        let (mut events, mut remembered) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for append in batch {
            if let Some(answer) = answers.get(&(append.issuer, append.command_id)) {
                out.push(Appended::Repeated(*answer));
                continue;
            }
            let mut next: HashMap<StreamId, Version> = HashMap::with_capacity(1);
            let conflict = append.events.iter().find(|new| {
                let version = next.entry(new.stream).or_insert_with(|| versions.get(&new.stream).copied().unwrap_or(0));
                *version += 1;
                new.version != *version
            });
            if let Some(new) = conflict {
                out.push(Appended::Conflict { stream: new.stream, actual: versions.get(&new.stream).copied().unwrap_or(0) });
                continue;
            }
            versions.extend(next);
            for new in &append.events {
                position += 1;
                events.push((position, append.tenant, new, new.event.to_stored()));
            }
            let answer =
                Answer { subject: append.subject, version: append.version, position: append.answer_position(position as Position) };
            answers.insert((append.issuer, append.command_id), answer);
            remembered.push((append, answer));
            out.push(Appended::New(answer));
        }

        for chunk in chunks(&events) {
            let mut query = sqlx::query(AssertSqlSafe(insert("events", EVENT_COLUMNS, chunk.len())));
            for (position, tenant, new, stored) in chunk {
                query = bind_event(query, *position, *tenant, new, stored);
            }
            query.execute(&mut *transaction).await.map_err(storage("insert events"))?;
        }
        for chunk in chunks(&remembered) {
            let mut query = sqlx::query(AssertSqlSafe(insert("commands", 5, chunk.len())));
            for (append, answer) in chunk {
                query = query.bind(blob(append.issuer.0)).bind(blob(append.command_id.0)).bind(answer.subject.to_string());
                query = query.bind(i64::from(answer.version)).bind(answer.position as i64);
            }
            query.execute(&mut *transaction).await.map_err(storage("remember commands"))?;
        }
        sqlx::query("UPDATE log SET position = ? WHERE id = 1")
            .bind(position)
            .execute(&mut *transaction)
            .await
            .map_err(storage("move the newest position"))?;
        transaction.commit().await.map_err(storage("commit"))?;
        self.head.send_replace(position as Position);
        Ok(out)
    }
}

/// `items` in pieces whose lengths are among [`CHUNKS`].
fn chunks<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= items.len())?;
        let (chunk, rest) = items.split_at(size);
        items = rest;
        Some(chunk)
    })
}

fn insert(table: &str, columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("INSERT INTO {table} VALUES {}", vec![row; rows].join(","))
}

fn blob(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

type EventQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind_event<'q>(query: EventQuery<'q>, position: i64, tenant: TenantId, new: &super::NewEvent, stored: &Stored<'_>) -> EventQuery<'q> {
    query
        .bind(position)
        .bind(new.stream.to_string())
        .bind(i64::from(new.version))
        .bind(blob(tenant.0))
        .bind(stored.event_type.to_string())
        .bind(i64::from(stored.shape))
        .bind(stored.data.to_string())
        .bind(blob(new.metadata.event_id.0))
        .bind(blob(new.metadata.command_id.0))
        .bind(blob(new.metadata.causation_id))
        .bind(blob(new.metadata.correlation_id))
        .bind(new.metadata.actor.clone())
        .bind(new.metadata.recorded_at.as_microsecond())
}

async fn answers(
    connection: &mut SqliteConnection,
    commands: &[(TenantId, CommandId)],
) -> Result<HashMap<(TenantId, CommandId), Answer>, LogError> {
    let mut out = HashMap::new();
    for chunk in chunks(commands) {
        let sql = format!(
            "SELECT issuer, command_id, subject, version, position FROM commands WHERE (issuer, command_id) IN (VALUES {})",
            vec!["(?,?)"; chunk.len()].join(",")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (tenant, command) in chunk {
            query = query.bind(blob(tenant.0)).bind(blob(command.0));
        }
        for row in query.fetch_all(&mut *connection).await.map_err(storage("look up commands"))? {
            let subject: String = row.get(2);
            let subject = subject.parse().map_err(|_| LogError::Damaged(format!("`{subject}` is not a stream's name")))?;
            let answer = Answer { subject, version: row.get::<i64, _>(3) as Version, position: row.get::<i64, _>(4) as Position };
            out.insert((TenantId(uuid(&row, 0)?), CommandId(uuid(&row, 1)?)), answer);
        }
    }
    Ok(out)
}

/// The versions of all streams that the batch appends to; those that are not there are left out.
async fn versions(connection: &mut SqliteConnection, batch: &[Append]) -> Result<HashMap<StreamId, Version>, LogError> {
    let mut streams: Vec<StreamId> = batch.iter().flat_map(|append| &append.events).map(|new| new.stream).collect();
    streams.sort_unstable();
    streams.dedup();
    let mut out = HashMap::new();
    for chunk in chunks(&streams) {
        let sql = format!("SELECT stream, MAX(version) FROM events WHERE stream IN ({}) GROUP BY stream", vec!["?"; chunk.len()].join(","));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for stream in chunk {
            query = query.bind(stream.to_string());
        }
        for row in query.fetch_all(&mut *connection).await.map_err(storage("look up versions"))? {
            out.insert(stream(&row, 0)?, row.get::<i64, _>(1) as Version);
        }
    }
    Ok(out)
}

fn uuid(row: &SqliteRow, column: usize) -> Result<Uuid, LogError> {
    Uuid::from_slice(row.get(column)).map_err(|_| LogError::Damaged(format!("column {column} of a row does not hold an id")))
}

fn stream(row: &SqliteRow, column: usize) -> Result<StreamId, LogError> {
    let name: &str = row.get(column);
    name.parse().map_err(|_| LogError::Damaged(format!("`{name}` is not a stream's name")))
}

/// What is left of events that were read as [`FRAME`].
struct Frames<'a>(&'a [u8]);

impl<'a> Frames<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    /// What ends with a space.
    fn field(&mut self) -> Option<&'a str> {
        let field = self.text(self.0.iter().position(|byte| *byte == b' ')?)?;
        self.bytes(1)?;
        Some(field)
    }

    fn parsed<T: FromStr>(&mut self) -> Option<T> {
        self.field()?.parse().ok()
    }

    fn id(&mut self) -> Option<Uuid> {
        Uuid::from_slice(self.bytes(size_of::<Uuid>())?).ok()
    }

    /// The circumstances of the next event, and how it is stored.
    fn next(&mut self) -> Option<(Head, Stored<'a>)> {
        let (position, version, shape) = (self.parsed()?, self.parsed()?, self.parsed()?);
        let recorded_at = Timestamp::from_microsecond(self.parsed()?).ok()?;
        let (event_type, stream) = (self.field()?, self.parsed()?);
        let (actor, data) = (self.parsed()?, self.parsed()?);
        let (tenant, event_id, command_id) = (TenantId(self.id()?), EventId(self.id()?), CommandId(self.id()?));
        let (causation_id, correlation_id) = (self.id()?, self.id()?);
        let actor = self.text(actor)?.into();
        let metadata = Metadata { event_id, command_id, causation_id, correlation_id, actor, recorded_at };
        let stored = Stored { event_type: event_type.into(), shape, data: self.text(data)?.into() };
        Some((Head { position, stream, version, tenant, metadata }, stored))
    }
}

/// An event but for what happened.
struct Head {
    position: Position,
    stream: StreamId,
    version: Version,
    tenant: TenantId,
    metadata: Metadata,
}

/// Decodes events, about so many, while more are read.
async fn decoded(
    mut rows: impl Stream<Item = Result<SqliteRow, sqlx::Error>> + Unpin,
    count: usize,
    operation: &'static str,
) -> Result<Vec<Recorded>, LogError> {
    let mut events: Vec<Recorded> = Vec::with_capacity(count);
    while let Some(row) = rows.try_next().await.map_err(storage(operation))? {
        let mut frames = Frames(row.try_get(0).map_err(storage(operation))?);
        while !frames.0.is_empty() {
            let damaged = || LogError::Damaged(format!("what comes after {} cannot be read", place(&events)));
            let (Head { position, stream, version, tenant, metadata }, stored) = frames.next().ok_or_else(damaged)?;
            let event = Event::from_stored(stream.kind, &stored).map_err(|source| LogError::Event { position, source })?;
            events.push(Recorded { position, stream, version, tenant, event, metadata });
        }
    }
    Ok(events)
}

/// Where the last of these events is.
fn place(events: &[Recorded]) -> String {
    events.last().map_or_else(|| "where it was read from".to_owned(), |event| format!("position {}", event.position))
}

impl EventLog for SqliteLog {
    fn append<'a>(&'a self, batch: &'a [Append]) -> LogFuture<'a, Vec<Appended>> {
        Box::pin(self.append_now(batch))
    }

    fn answers<'a>(&'a self, commands: &'a [(TenantId, CommandId)]) -> LogFuture<'a, HashMap<(TenantId, CommandId), Answer>> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await.map_err(storage("reach the file"))?;
            answers(&mut connection, commands).await
        })
    }

    fn read_stream(&self, stream: StreamId, from: Version, limit: usize) -> LogFuture<'_, Vec<Recorded>> {
        Box::pin(async move {
            let sql = format!("SELECT CAST({FRAME} AS BLOB) FROM events WHERE stream = ? AND version >= ? ORDER BY version LIMIT ?");
            let query = sqlx::query(AssertSqlSafe(sql)).bind(stream.to_string()).bind(i64::from(from)).bind(limit as i64);
            decoded(query.fetch(&self.readers), 0, "read a stream").await
        })
    }

    fn read_all(&self, after: Position, limit: usize) -> LogFuture<'_, Vec<Recorded>> {
        Box::pin(async move {
            let last = after.saturating_add(limit as Position).min(*self.head.borrow());
            if last <= after {
                return Ok(Vec::new());
            }
            // Events that are together in the table are aggregated in the order of their keys, which is checked below.
            let sql = format!(
                "WITH RECURSIVE pages (first) AS (SELECT ?1 UNION ALL SELECT first + {FRAMES_TOGETHER} FROM pages WHERE first + {FRAMES_TOGETHER} <= ?2) \
                 SELECT (SELECT CAST(group_concat({FRAME}, '') AS BLOB) FROM events \
                 WHERE position BETWEEN first AND min(first + {FRAMES_TOGETHER} - 1, ?2)) FROM pages"
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(after as i64 + 1).bind(last as i64);
            let events = decoded(query.fetch(&self.readers), (last - after) as usize, "read the log").await?;
            match (after + 1..=last).zip(&events).find(|(position, event)| *position != event.position) {
                None if events.len() as u64 == last - after => Ok(events),
                _ => Err(LogError::Damaged(format!("it does not have each event from {} to {last} in its place", after + 1))),
            }
        })
    }

    fn read_schema(&self, last: Position) -> LogFuture<'_, Vec<Recorded>> {
        Box::pin(async move {
            // The condition of the index, letter by letter.
            let sql = format!(
                "SELECT CAST({FRAME} AS BLOB) FROM events WHERE substr(stream, 1, 7) <> 'entity-' AND position <= ? ORDER BY position"
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(last as i64);
            decoded(query.fetch(&self.readers), 0, "read the schema").await
        })
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    fn lineage(&self) -> u32 {
        self.lineage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn temporary() -> (SqliteLog, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (SqliteLog::open(&folder.path().join("log.sqlite")).await.unwrap(), folder)
    }

    crate::event_log_conformance!(temporary);

    #[tokio::test]
    async fn what_was_appended_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.sqlite");
        let log = SqliteLog::open(&file).await.unwrap();
        let append = super::super::conformance::create_space(1);
        let first = log.append(std::slice::from_ref(&append)).await.unwrap();
        let (before, lineage) = (log.read_all(0, 10).await.unwrap(), log.lineage());
        drop(log);
        let log = SqliteLog::open(&file).await.unwrap();
        assert_eq!((log.read_all(0, 10).await.unwrap(), log.lineage(), *log.head().borrow()), (before, lineage, 1));
        let Appended::New(answer) = first[0] else { panic!("{first:?}") };
        assert_eq!(log.append(&[append]).await.unwrap(), [Appended::Repeated(answer)]);
    }

    #[tokio::test]
    async fn whoever_opens_it_later_fences_the_earlier() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.sqlite");
        let (old, new) = (SqliteLog::open(&file).await.unwrap(), SqliteLog::open(&file).await.unwrap());
        let append = [super::super::conformance::create_space(1)];
        assert!(matches!(old.append(&append).await, Err(LogError::Fenced)));
        assert!(matches!(new.append(&append).await.unwrap()[..], [Appended::New(_)]));
    }

    #[tokio::test]
    async fn a_missing_event_is_found() {
        for (missing, found_at) in [(1, "read"), (2, "open")] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("log.sqlite");
            let log = SqliteLog::open(&file).await.unwrap();
            log.append(&[1, 2].map(super::super::conformance::create_space)).await.unwrap();
            let writer = log.writer.lock().await.take().unwrap();
            let sql = format!("DROP TRIGGER events_are_not_deleted; DELETE FROM events WHERE position = {missing}");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&writer).await.unwrap();
            let error = match SqliteLog::open(&file).await {
                Ok(log) => log.read_all(0, 10).await.map_err(|error| ("read", error)).unwrap_err(),
                Err(error) => ("open", error),
            };
            assert!(matches!(error, (place, LogError::Damaged(_)) if place == found_at), "{missing}: {error:?}");
        }
    }

    #[tokio::test]
    async fn events_cannot_be_changed_or_deleted() {
        let (log, _folder) = temporary().await;
        log.append(&[super::super::conformance::create_space(1)]).await.unwrap();
        let writer = log.writer.lock().await;
        for sql in ["UPDATE events SET data = '{}'", "DELETE FROM events"] {
            let error = sqlx::query(sql).execute(writer.as_ref().unwrap()).await.unwrap_err();
            assert!(error.to_string().contains("immutable"), "{error}");
        }
    }
}
