//! A log in memory, for tests: the obvious implementation that others are compared with.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use decidr_domain::event::{Event, Recorded};
use decidr_domain::id::{AggregateKind, CommandId, Position, StreamId, TenantId, Version};
use tokio::sync::watch;

use super::{Answer, Append, Appended, EventLog, LogError, LogFuture};

/// A log that ends with the process. Events pass through their stored form, as in any other log.
pub struct MemoryLog {
    state: Mutex<State>,
    head: watch::Sender<Position>,
}

#[derive(Default)]
struct State {
    events: Vec<Recorded>,
    versions: HashMap<StreamId, Version>,
    answers: HashMap<(TenantId, CommandId), Answer>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self { state: Mutex::default(), head: watch::Sender::new(0) }
    }
}

impl MemoryLog {
    fn append_now(&self, batch: &[Append]) -> Result<Vec<Appended>, LogError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::with_capacity(batch.len());
        for append in batch {
            out.push(state.append(append)?);
        }
        self.head.send_replace(state.events.len() as Position);
        Ok(out)
    }
}

impl State {
    fn append(&mut self, append: &Append) -> Result<Appended, LogError> {
        if let Some(answer) = self.answers.get(&(append.issuer, append.command_id)) {
            return Ok(Appended::Repeated(*answer));
        }
        let mut versions = HashMap::new();
        for new in &append.events {
            let version = versions.entry(new.stream).or_insert_with(|| self.versions.get(&new.stream).copied().unwrap_or(0));
            if new.version != *version + 1 {
                return Ok(Appended::Conflict { stream: new.stream, actual: self.versions.get(&new.stream).copied().unwrap_or(0) });
            }
            *version += 1;
        }
        for new in &append.events {
            let position = self.events.len() as Position + 1;
            let event =
                Event::from_stored(new.stream.kind, &new.event.to_stored()).map_err(|source| LogError::Event { position, source })?;
            let (stream, version, metadata) = (new.stream, new.version, new.metadata.clone());
            self.events.push(Recorded { position, stream, version, tenant: append.tenant, event, metadata });
        }
        self.versions.extend(versions);
        let answer =
            Answer { subject: append.subject, version: append.version, position: append.answer_position(self.events.len() as Position) };
        self.answers.insert((append.issuer, append.command_id), answer);
        Ok(Appended::New(answer))
    }
}

impl EventLog for MemoryLog {
    fn append<'a>(&'a self, batch: &'a [Append]) -> LogFuture<'a, Vec<Appended>> {
        Box::pin(async move { self.append_now(batch) })
    }

    fn answers<'a>(&'a self, commands: &'a [(TenantId, CommandId)]) -> LogFuture<'a, HashMap<(TenantId, CommandId), Answer>> {
        Box::pin(async move {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(commands.iter().filter_map(|key| state.answers.get(key).map(|answer| (*key, *answer))).collect())
        })
    }

    fn read_stream(&self, stream: StreamId, from: Version, limit: usize) -> LogFuture<'_, Vec<Recorded>> {
        Box::pin(async move {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(state.events.iter().filter(|event| event.stream == stream && event.version >= from).take(limit).cloned().collect())
        })
    }

    fn read_all(&self, after: Position, limit: usize) -> LogFuture<'_, Vec<Recorded>> {
        Box::pin(async move {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(state.events.iter().skip(after as usize).take(limit).cloned().collect())
        })
    }

    fn read_schema(&self, last: Position) -> LogFuture<'_, Vec<Recorded>> {
        Box::pin(async move {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let is_of_schema = |event: &&Recorded| event.position <= last && event.stream.kind != AggregateKind::Entity;
            Ok(state.events.iter().filter(is_of_schema).cloned().collect())
        })
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    fn lineage(&self) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::event_log_conformance!(|| async { (MemoryLog::default(), ()) });
}
