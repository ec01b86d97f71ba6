//! Filters that ask what time it is: when time alone lets a row in or out.
//!
//! Of each row is known when the filter comes out otherwise next though the row stays as it is, as of the attributes that ask
//! ([`Program::next_change`]). Between two of a tenant's times only those rows are looked at whose moment lies between.

use std::collections::BTreeSet;

use decidr_domain::delta::Row;
use decidr_domain::formula::{At, Cells as _, Equality, Program, ValueKey};
use decidr_domain::id::{EntityId, Position};
use jiff::Timestamp;
use rustc_hash::FxHashMap;

use crate::interests::QueryId;

/// How many rows may wait for their time in all queries of a tenant together.
pub const SCHEDULED_MAX: usize = 500_000;

/// How many rows may change while it is found out when they are due.
const MISSED_MAX: usize = 200_000;

/// When rows are due.
pub(crate) struct Schedule {
    /// What a row must equal for the filter to be true at any time.
    required: Vec<Equality>,
    by_time: BTreeSet<(Timestamp, EntityId)>,
    rows: FxHashMap<EntityId, (Timestamp, Row)>,
}

impl Schedule {
    /// Of a filter, with no rows yet.
    pub(crate) fn new(filter: &Program) -> Self {
        Self { required: filter.equalities(), by_time: BTreeSet::new(), rows: FxHashMap::default() }
    }

    /// Takes in a row as it is now.
    pub(crate) fn put(&mut self, row: &Row, filter: &Program, now: Option<Timestamp>) {
        let id = row.entity.id;
        let may_pass = |Equality { cell, keys }: &Equality| ValueKey::of(&row.cell(*cell)).is_some_and(|key| keys.contains(&key));
        let at =
            if row.entity.archived || !self.required.iter().all(may_pass) { None } else { filter.next_change(&At { cells: row, now }) };
        let before = match at {
            Some(at) => self.rows.insert(id, (at, row.clone())),
            None => self.rows.remove(&id),
        };
        if let Some((before, _)) = before {
            self.by_time.remove(&(before, id));
        }
        self.by_time.extend(at.map(|at| (at, id)));
    }

    /// The rows whose time has come, by entity. They stay due until they are put again.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<Row> {
        let due = self.by_time.iter().take_while(|(at, _)| *at <= now);
        let mut rows: Vec<Row> = due.filter_map(|(_, id)| self.rows.get(id)).map(|(_, row)| row.clone()).collect();
        rows.sort_unstable_by_key(|row| row.entity.id);
        rows
    }

    /// How many rows wait.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Which queries of a tenant have rows that wait for their time.
#[derive(Default)]
pub(crate) struct Agenda {
    by_time: BTreeSet<(Timestamp, QueryId)>,
    /// By query, when its first row is due, and how many wait.
    queries: FxHashMap<QueryId, (Option<Timestamp>, usize)>,
    rows: usize,
    /// When the first is due, as it was told last.
    told: Option<Timestamp>,
}

impl Agenda {
    /// Takes in the schedule of a query as it is now.
    pub(crate) fn note(&mut self, query: QueryId, schedule: &Schedule) {
        self.forget(query);
        let first = schedule.by_time.first().map(|(at, _)| *at);
        self.queries.insert(query, (first, schedule.len()));
        self.rows += schedule.len();
        self.by_time.extend(first.map(|at| (at, query)));
    }

    /// Lets go of a query.
    pub(crate) fn forget(&mut self, query: QueryId) {
        let Some((first, rows)) = self.queries.remove(&query) else { return };
        self.rows -= rows;
        if let Some(at) = first {
            self.by_time.remove(&(at, query));
        }
    }

    /// The queries of which some row's time has come.
    pub(crate) fn due(&self, now: Timestamp) -> impl Iterator<Item = QueryId> {
        self.by_time.iter().take_while(move |(at, _)| *at <= now).map(|(_, query)| *query)
    }

    /// When the first row is due, if that is another moment than this told last; `None` in it if at none.
    pub(crate) fn news(&mut self) -> Option<Option<Timestamp>> {
        let first = self.by_time.first().map(|(at, _)| *at);
        (std::mem::replace(&mut self.told, first) != first).then_some(first)
    }

    /// How many rows wait.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether it has no queries.
    pub(crate) fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }
}

/// What a query knows of time.
pub(crate) enum Timed {
    /// Its filter does not ask.
    No,
    /// It is being found out when rows are due. Meanwhile: the rows that changed, and at which position of the log.
    Unknown(Vec<(Position, Row)>),
    /// It is known.
    Known(Schedule),
}

impl Timed {
    pub(crate) fn of(filter: Option<&Program>) -> Self {
        if filter.is_some_and(|filter| filter.is_timed) { Timed::Unknown(Vec::new()) } else { Timed::No }
    }

    /// Whether there are too many changes to remember.
    pub(crate) fn misses(&self) -> bool {
        matches!(self, Timed::Unknown(missed) if missed.len() > MISSED_MAX)
    }

    pub(crate) fn schedule(&self) -> Option<&Schedule> {
        match self {
            Timed::Known(schedule) => Some(schedule),
            Timed::No | Timed::Unknown(_) => None,
        }
    }
}
