//! How one begins to listen to a query whose filter asks what time it is: by finding out when its rows are due.

use std::sync::{Mutex, PoisonError, Weak};

use decidr_domain::delta::Row;
use decidr_domain::formula::Program;
use decidr_domain::id::{EntityId, Position};
use jiff::Timestamp;
use rustc_hash::FxHashMap;

use super::{State, Subscription};
use crate::interests::QueryId;
use crate::query::Hears;
use crate::schedule::{Agenda, SCHEDULED_MAX, Schedule, Timed};

/// How many rows that changed meanwhile are looked at while everybody waits.
const LITTLE: usize = 100;

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
        if schedule.len() > SCHEDULED_MAX {
            // Not all rows were looked at.
            return Err(Unschedulable::TooMany);
        }
        let registry = self.state.upgrade().ok_or(Unschedulable::Outdated)?;
        let mut clock = now;
        let mut state = loop {
            let mut state = registry.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(id) = state.ready_alike(self.query) {
                // Somebody else was faster with the same.
                return Ok(state.add_subscriber(id, self.hears, Weak::clone(&self.state)));
            }
            let Some(shared) = state.queries.get_mut(&self.query) else { return Err(Unschedulable::Outdated) };
            let Timed::Unknown(missed) = &mut shared.timed else { return Err(Unschedulable::Outdated) };
            let (missed, tenant) = (std::mem::take(missed), shared.query.tenant);
            let newest = state.clock(tenant);
            if missed.is_empty() && clock == newest {
                break state;
            }
            // Many may have changed, or be due: meanwhile nobody need wait, and of a row only the last counts.
            let is_little = missed.len() <= LITTLE && clock == newest;
            let guard = is_little.then_some(state);
            let missed = missed.into_iter().filter(|(at, _)| *at > position);
            let last: FxHashMap<EntityId, Row> = missed.map(|(_, row)| (row.entity.id, row)).collect();
            last.values().for_each(|row| schedule.put(row, filter, newest));
            for row in newest.map(|newest| schedule.due(newest)).unwrap_or_default() {
                schedule.put(&row, filter, newest);
            }
            clock = newest;
            if let Some(state) = guard {
                break state;
            }
        };
        let state = &mut *state;
        let Some(shared) = state.queries.get_mut(&self.query) else { return Err(Unschedulable::Outdated) };
        let tenant = shared.query.tenant;
        if state.agendas.get(&tenant).map_or(0, Agenda::rows) + schedule.len() > SCHEDULED_MAX {
            return Err(Unschedulable::TooMany);
        }
        shared.timed = Timed::Known(schedule);
        let subscription = state.add_subscriber(self.query, self.hears, Weak::clone(&self.state));
        state.note_schedule(self.query);
        state.tell_due(tenant);
        Ok(subscription)
    }
}

#[cfg(test)]
mod tests {
    use decidr_domain::formula::{Attributes, Expression, Resolved};
    use decidr_domain::id::{CollectionId, TenantId};
    use uuid::Uuid;

    use super::*;
    use crate::{Live, LiveQuery};

    struct Nothing;

    impl Attributes for Nothing {
        fn resolve(&self, _: &str) -> Resolved {
            Resolved::Unknown
        }
        fn names(&self) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn those_who_begin_at_once_share_a_schedule() {
        let live = Live::default();
        let (filter, program) = Expression::from_user("YEAR(NOW()) > 2000", &Nothing).unwrap();
        let query = LiveQuery { tenant: TenantId(Uuid::nil()), collection: CollectionId(Uuid::nil()), filter: Some(filter) };
        let begun: Vec<_> = (0..10).map(|_| live.subscribe(query.clone(), Some(program.clone()), Hears::Entities).err().unwrap()).collect();
        let subscriptions: Vec<_> = begun.into_iter().map(|unscheduled| unscheduled.schedule(&program, 0, None, |_| {}).unwrap()).collect();
        assert_eq!(live.subscribers(), 10);
        assert_eq!(live.state.lock().unwrap().queries.len(), 1);
        drop(subscriptions);
        assert_eq!(live.state.lock().unwrap().queries.len(), 0);
    }
}
