//! One distinct live query: what a change, or time that passes, means for its result.

use decidr_domain::delta::{Change, Row};
use decidr_domain::formula::{Equality, Program};
use decidr_domain::id::{AttributeId, Position};
use decidr_domain::schema::Catalog;
use jiff::Timestamp;

use super::{End, Subscriber};
use crate::query::{Gone, LiveQuery, Op, OpKind};
use crate::schedule::Timed;

/// When changes happened.
pub(super) struct Moment {
    /// The position in the log.
    pub(super) logged: Position,
    /// That of the tenant's newest event.
    pub(super) position: Position,
    /// What time it was for the tenant before, and is now.
    pub(super) before: Option<Timestamp>,
    pub(super) now: Option<Timestamp>,
}

/// One distinct query.
pub(super) struct Shared {
    pub(super) query: LiveQuery,
    pub(super) program: Option<Program>,
    /// What a change finds it by; each change of the collection if there is nothing.
    pub(super) found_by: Option<Equality>,
    /// The cells that are computed aside, and not shown. Sorted.
    pub(super) computing: Vec<AttributeId>,
    pub(super) timed: Timed,
    pub(super) subscribers: Vec<Subscriber>,
}

impl Shared {
    /// Whether anybody may listen: it is known when its rows are due, or they never are.
    pub(super) fn is_ready(&self) -> bool {
        !matches!(self.timed, Timed::Unknown(_))
    }

    /// Takes in another schema; how its subscribers end, if it is another query under it.
    pub(super) fn change_schema(&mut self, catalog: &Catalog) -> Option<End> {
        let is_shown = |cell: &AttributeId| self.query.shows(*cell, catalog);
        // Other cells are shown now, of many rows or all.
        let shows_others = self.computing.iter().any(is_shown);
        self.computing = self.query.computing(catalog);
        match self.query.program(catalog) {
            Err(Gone) => Some(End::Gone),
            // What matched before may not now, and the other way round.
            Ok(program) => (shows_others || program != self.program).then_some(End::Lagged),
        }
    }

    /// Whether nothing changed but what is not shown.
    fn is_the_same<'a>(&'a self, change: &'a Change) -> bool {
        let Some(old) = change.old.as_ref().filter(|_| !self.computing.is_empty()) else { return false };
        old.shows_the_same(&change.new, |cell| self.computing.binary_search(&cell).is_err())
    }

    /// What changes mean for its result, and that time passed.
    pub(super) fn ops(&mut self, changes: &[&Change], moment: &Moment) -> Vec<Op> {
        let mut ops = Vec::new();
        let filter = self.program.as_ref();
        for change in changes {
            let was = change.old.as_ref().is_some_and(|row| LiveQuery::matches_at(row, filter, moment.before));
            let is = LiveQuery::matches_at(&change.new, filter, moment.now);
            if was && is && self.is_the_same(change) {
                continue;
            }
            ops.extend(op(change.old.as_ref(), &change.new, was, is));
        }
        let Some(filter) = filter else { return ops };
        match &mut self.timed {
            Timed::No => {}
            Timed::Unknown(missed) => missed.extend(changes.iter().map(|change| (moment.logged, change.new.clone()))),
            Timed::Known(schedule) => {
                // What changed is in the schedule as it is now, so that only what did not is still due.
                changes.iter().for_each(|change| schedule.put(&change.new, filter, moment.now));
                for row in moment.now.map(|now| schedule.due(now)).unwrap_or_default() {
                    schedule.put(&row, filter, moment.now);
                    let matches = |now| LiveQuery::matches_at(&row, Some(filter), now);
                    let (was, is) = (matches(moment.before), matches(moment.now));
                    ops.extend(op(Some(&row), &row, was, is).filter(|_| was != is));
                }
                ops.sort_unstable_by_key(|op| op.id);
            }
        }
        ops
    }
}

/// What it means for a result that a row became another: whether it was in it, and is.
fn op(old: Option<&Row>, new: &Row, was: bool, is: bool) -> Option<Op> {
    Some(Op { kind: OpKind::of(was, is)?, id: new.entity.id, old: old.filter(|_| was).cloned(), row: is.then(|| new.clone()) })
}
