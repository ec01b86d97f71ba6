//! How a change finds the queries that it may concern: by the constants that their filters require cells to equal.

use decidr_domain::delta::{Change, Row};
use decidr_domain::formula::{Cells as _, Equality, ValueKey};
use decidr_domain::id::AttributeId;
use rustc_hash::FxHashMap;

/// Counted up; never given again.
pub(crate) type QueryId = u64;

/// The queries of one collection.
#[derive(Default)]
pub(crate) struct Interests {
    /// Those that are found by what a cell holds.
    by_value: FxHashMap<AttributeId, FxHashMap<ValueKey, Vec<QueryId>>>,
    /// The others.
    pub(crate) unconditional: Vec<QueryId>,
}

impl Interests {
    /// Of what a query requires, that which fewest others are found by.
    pub(crate) fn rarest(&self, required: Vec<Equality>) -> Option<Equality> {
        let others = |Equality { cell, keys }: &Equality| {
            let by_value = self.by_value.get(cell);
            keys.iter().filter_map(|key| by_value?.get(key)).map(Vec::len).max()
        };
        required.into_iter().min_by_key(others)
    }

    /// Takes in a query.
    pub(crate) fn insert(&mut self, query: QueryId, found_by: Option<&Equality>) {
        let Some(Equality { cell, keys }) = found_by else { return self.unconditional.push(query) };
        let by_value = self.by_value.entry(*cell).or_default();
        keys.iter().for_each(|key| by_value.entry(*key).or_default().push(query));
    }

    /// Lets go of a query.
    pub(crate) fn remove(&mut self, query: QueryId, found_by: Option<&Equality>) {
        let Some(Equality { cell, keys }) = found_by else { return self.unconditional.retain(|other| *other != query) };
        let Some(by_value) = self.by_value.get_mut(cell) else { return };
        for key in keys {
            if let Some(queries) = by_value.get_mut(key) {
                queries.retain(|other| *other != query);
                if queries.is_empty() {
                    by_value.remove(key);
                }
            }
        }
        if by_value.is_empty() {
            self.by_value.remove(cell);
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.unconditional.is_empty() && self.by_value.is_empty()
    }

    /// Whether there is one that is found by what a cell holds.
    pub(crate) fn has_conditional(&self) -> bool {
        !self.by_value.is_empty()
    }

    /// All queries, some perhaps several times.
    pub(crate) fn all(&self) -> impl Iterator<Item = QueryId> {
        self.unconditional.iter().chain(self.by_value.values().flat_map(FxHashMap::values).flatten()).copied()
    }

    /// Calls `visit` with each query that a change may concern by what a cell held or holds, with some perhaps twice.
    pub(crate) fn each_by_value(&self, change: &Change, visit: &mut impl FnMut(QueryId)) {
        for (cell, by_value) in &self.by_value {
            let key = |row: &Row| ValueKey::of(&row.cell(*cell));
            let (old, new) = (change.old.as_ref().and_then(key), key(&change.new));
            let keys = new.into_iter().chain(old.filter(|_| old != new));
            keys.filter_map(|key| by_value.get(&key)).flatten().for_each(|query| visit(*query));
        }
    }
}
