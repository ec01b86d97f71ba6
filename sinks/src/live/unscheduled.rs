//! How one begins to listen to a query whose filter asks what time it is: by finding out when its rows are due.

use std::sync::{Mutex, PoisonError, Weak};

use decidr_domain::delta::Row;
use decidr_domain::formula::Program;
use decidr_domain::id::Position;
use jiff::Timestamp;

use super::{State, Subscription};
use crate::interests::QueryId;
use crate::query::Hears;
use crate::schedule::{Agenda, SCHEDULED_MAX, Schedule, Timed};

/// A query whose filter asks what time it is, and of which is not known when rows are due. It misses nothing meanwhile.
#[derive(Debug)]
pub struct Unscheduled {
    pub(super) state: Weak<Mutex<State>>,
    pub(super) query: QueryId,
    pub(super) hears: Hears,
}

impl Drop for Unscheduled {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.queries.get(&self.query).is_some_and(|shared| !shared.is_ready()) {
                state.remove(self.query);
            }
        }
    }
}

/// Why nobody can listen to a query whose filter asks what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unschedulable {
    /// The schema changed meanwhile, or too many entities: it must be tried again.
    Outdated,
    /// More rows than [`SCHEDULED_MAX`] would wait for their time.
    TooMany,
}

impl Unscheduled {
    /// Listens, given all rows of a state that the filter may let in at some time. `position` is the state's in the log, and `now`
    /// its clock. Nothing is held while the rows are looked at.
    ///
    /// # Errors
    ///
    /// See [`Unschedulable`].
    pub fn schedule(
        self,
        filter: &Program,
        position: Position,
        now: Option<Timestamp>,
        rows: impl FnOnce(&mut dyn FnMut(&Row) -> bool),
    ) -> Result<Subscription, Unschedulable> {
        let mut schedule = Schedule::new(filter);
        rows(&mut |row| {
            schedule.put(row, filter, now);
            schedule.len() <= SCHEDULED_MAX
        });
        let registry = self.state.upgrade().ok_or(Unschedulable::Outdated)?;
        let mut state = registry.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let Some(shared) = state.queries.get(&self.query) else { return Err(Unschedulable::Outdated) };
        let tenant = shared.query.tenant;
        if state.agendas.get(&tenant).map_or(0, Agenda::rows) + schedule.len() > SCHEDULED_MAX {
            return Err(Unschedulable::TooMany);
        }
        let clock = state.clock(tenant);
        let Some(shared) = state.queries.get_mut(&self.query) else { return Err(Unschedulable::Outdated) };
        // Nobody listened to what happened meanwhile: what it made of the rows is all that matters.
        if let Timed::Unknown(missed) = &shared.timed {
            missed.iter().filter(|(at, _)| *at > position).for_each(|(_, row)| schedule.put(row, filter, clock));
        }
        for row in clock.map(|clock| schedule.due(clock)).unwrap_or_default() {
            schedule.put(&row, filter, clock);
        }
        shared.timed = Timed::Known(schedule);
        let subscription = state.add_subscriber(self.query, self.hears, Weak::clone(&self.state));
        state.note_schedule(self.query);
        state.tell_due(tenant);
        Ok(subscription)
    }
}
