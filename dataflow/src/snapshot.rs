//! Reading the arrangements, from any thread, as of one position.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use decidr_domain::aggregate::entity::Entity;
use decidr_domain::arrangements::Snapshot;
use decidr_domain::delta::Row;
use decidr_domain::formula::Equality;
use decidr_domain::id::{AttributeId, CollectionId, EntityId, Position, TenantId};
use decidr_domain::schema::Catalog;
use differential_dataflow::trace::cursor::{Cursor, cursor_list};
use differential_dataflow::trace::implementations::spine_fueled::SpineBatch;
use rpds::HashTrieMapSync;

use crate::compute::Progress;
use crate::index::Indexes;
use crate::message::route;
use crate::render::Batches;
use crate::rows::{RowId, Rows};
pub use crate::types::Size;
use crate::types::{Diff, Time};

/// Everything arranged, as of one position. Immutable; holding it keeps what it shows.
#[derive(Clone)]
pub struct Arranged {
    pub(crate) position: Position,
    pub(crate) catalog: Arc<Catalog>,
    /// The position of every tenant's newest event.
    pub(crate) newest: HashTrieMapSync<TenantId, Position>,
    /// How far computations have come whose cells are not shown yet.
    pub(crate) computing: Arc<BTreeMap<TenantId, Progress>>,
    /// Where in the log the oldest definition is whose cells are not shown yet, by tenant.
    pub(crate) staged_at: HashTrieMapSync<TenantId, Position>,
    /// How many steps evaluations took that took long, by tenant, those left out that computed aside.
    pub(crate) effort: HashTrieMapSync<TenantId, u64>,
    /// How many steps all evaluations took that took long.
    pub(crate) steps: u64,
    /// By worker.
    pub(crate) workers: Vec<Batches>,
    /// What finds entities by what cells hold.
    pub(crate) indexes: Indexes,
}

/// Which entities of a collection need be looked at.
pub enum Selection {
    /// All.
    All,
    /// Not more than these, in the order of their ids.
    Found(Vec<EntityId>),
}

impl Arranged {
    /// How far the computation of what is not shown yet has come in a tenant; nothing if there is none, or if it is through
    /// and waits to be shown.
    pub fn progress(&self, tenant: TenantId) -> Option<Progress> {
        self.computing.get(&tenant).copied()
    }

    /// The position of the oldest definition in a tenant whose cells are computed aside and not shown yet, if there is one.
    pub fn staged_at(&self, tenant: TenantId) -> Option<Position> {
        self.staged_at.get(&tenant).copied()
    }

    /// How many steps all evaluations took so far that took long: to compute everything again takes as many, or fewer.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The position of every tenant's newest event.
    pub fn newest_positions(&self) -> impl Iterator<Item = (TenantId, Position)> {
        self.newest.iter().map(|(tenant, position)| (*tenant, *position))
    }

    /// Whether something is computed aside, in any tenant, and not shown yet.
    pub fn is_computing_aside(&self) -> bool {
        !self.staged_at.is_empty()
    }

    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        self.workers.iter().map(|worker| worker.table.len()).sum()
    }

    /// Every row, of all tenants, archived or not, in no order.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.workers.iter().flat_map(|worker| worker.table.iter())
    }

    /// The row of an entity, of whatever tenant, archived or not.
    pub fn row(&self, id: EntityId) -> Option<Row> {
        let worker = self.worker(id);
        let (mut cursor, storage) = cursor_list(worker.rows.clone());
        cursor.seek_key(&storage, &id);
        if cursor.get_key(&storage) != Some(&id) {
            return None;
        }
        current(&mut cursor, &storage, &worker.table)
    }

    /// Up to `limit` entities of a collection that are in sight, in the order of their ids, those after `after`.
    pub fn members(&self, collection: CollectionId, after: Option<EntityId>, limit: usize) -> Vec<EntityId> {
        let mut found = BTreeSet::new();
        for worker in &self.workers {
            let (mut cursor, storage) = cursor_list(worker.members.clone());
            let start = (collection, after.unwrap_or(EntityId(uuid::Uuid::nil())));
            cursor.seek_key(&storage, &start);
            let mut left = limit;
            while let Some(&(_, id)) = cursor.get_key(&storage).filter(|(of, _)| *of == collection && left > 0) {
                let mut count = 0;
                while cursor.get_val(&storage).is_some() {
                    cursor.map_times(&storage, |_, diff| count += diff);
                    cursor.step_val(&storage);
                }
                if count > 0 && after != Some(id) {
                    found.insert(id);
                    left -= 1;
                }
                cursor.step_key(&storage);
            }
        }
        found.into_iter().take(limit).collect()
    }

    /// Which entities of a tenant's collection need be looked at to find those whose cells equal constants as is required:
    /// if there is an index, only those that may. Without an index one is asked for, and is there soon.
    pub fn select(&self, tenant: TenantId, collection: CollectionId, required: &[Equality]) -> Selection {
        if required.is_empty() {
            return Selection::All;
        }
        let found = self.indexes.find(tenant, collection, self.count(collection), required);
        found.map_or(Selection::All, Selection::Found)
    }

    /// Calls `visit` with the rows of a collection's entities that are in sight, in the order of their ids, those after
    /// `after`, until it returns `false`.
    pub fn scan(&self, collection: CollectionId, after: Option<EntityId>, visit: impl FnMut(&Row) -> bool) {
        self.scan_selected(collection, &Selection::All, after, visit);
    }

    /// The same with those only that were selected.
    pub fn scan_selected(
        &self,
        collection: CollectionId,
        selection: &Selection,
        after: Option<EntityId>,
        mut visit: impl FnMut(&Row) -> bool,
    ) {
        /// How many rows are looked up at a time; between times nothing is held but the last id.
        const PAGE: usize = 4096;
        if let Selection::Found(ids) = selection {
            let start = after.map_or(0, |after| ids.partition_point(|id| *id <= after));
            self.visit(&ids[start..], |row| row.entity.archived || visit(row));
            return;
        }
        let mut after = after;
        loop {
            let ids = self.members(collection, after, PAGE);
            let is_wanted = self.visit(&ids, &mut visit);
            match ids.last() {
                Some(last) if is_wanted && ids.len() == PAGE => after = Some(*last),
                _ => return,
            }
        }
    }

    /// Calls `visit` with the rows of these entities, which come in order, until it returns `false`; returns whether it never
    /// did.
    fn visit(&self, ids: &[EntityId], mut visit: impl FnMut(&Row) -> bool) -> bool {
        let mut cursors: Vec<_> = self.workers.iter().map(|worker| cursor_list(worker.rows.clone())).collect();
        ids.iter().all(|id| {
            let worker = (route(*id) % self.workers.len() as u64) as usize;
            let (cursor, storage) = &mut cursors[worker];
            // The cursor only ever moves on.
            cursor.seek_key(storage, id);
            if cursor.get_key(storage) != Some(id) {
                return true;
            }
            current(cursor, storage, &self.workers[worker].table).is_none_or(|row| visit(&row))
        })
    }

    /// How many entities of a collection are in sight.
    pub fn count(&self, collection: CollectionId) -> u64 {
        let mut total = 0;
        for worker in &self.workers {
            let (mut cursor, storage) = cursor_list(worker.counts.clone());
            cursor.seek_key(&storage, &collection);
            if cursor.get_key(&storage) != Some(&collection) {
                continue;
            }
            while let Some(&here) = cursor.get_val(&storage) {
                let mut count = 0;
                cursor.map_times(&storage, |_, diff| count += diff);
                if count > 0 {
                    total += here;
                }
                cursor.step_val(&storage);
            }
        }
        total
    }

    /// Up to `limit` entities that hold this link to `target`, archived or not, in the order of their ids, those after
    /// `after`.
    pub fn holders(&self, link: AttributeId, target: EntityId, after: Option<EntityId>, limit: usize) -> Vec<EntityId> {
        let key = (link, target);
        let (mut cursor, storage) = cursor_list(self.worker(target).links.clone());
        cursor.seek_key(&storage, &key);
        let mut found = Vec::new();
        if cursor.get_key(&storage) != Some(&key) {
            return found;
        }
        if let Some(after) = after {
            cursor.seek_val(&storage, &after);
        }
        while let Some(&holder) = cursor.get_val(&storage) {
            if found.len() == limit {
                break;
            }
            let mut count = 0;
            cursor.map_times(&storage, |_, diff| count += diff);
            if count > 0 && after != Some(holder) {
                found.push(holder);
            }
            cursor.step_val(&storage);
        }
        found
    }

    /// How much each arrangement holds, by its name. What is not merged away yet counts.
    pub fn sizes(&self) -> [(&'static str, Size); 5] {
        fn of<B: SpineBatch>(workers: &[Batches], batches: impl Fn(&Batches) -> &Vec<B>, update: usize) -> Size {
            let updates = workers.iter().flat_map(batches).map(SpineBatch::len).sum();
            // Each key, value and update has a place of its own in a batch, and says where those of the next begin.
            Size { updates, bytes: updates * (update + size_of::<Time>() + size_of::<Diff>() + 2 * size_of::<usize>()) }
        }
        let rows = of(&self.workers, |worker| &worker.rows, size_of::<(EntityId, RowId)>());
        let table: usize = self.workers.iter().map(|worker| worker.table.bytes()).sum();
        [
            ("rows", Size { bytes: rows.bytes + table, ..rows }),
            ("members", of(&self.workers, |worker| &worker.members, size_of::<(CollectionId, EntityId)>())),
            ("counts", of(&self.workers, |worker| &worker.counts, size_of::<(CollectionId, u64)>())),
            ("links", of(&self.workers, |worker| &worker.links, size_of::<(AttributeId, EntityId, EntityId)>())),
            ("indexes", self.indexes.size()),
        ]
    }

    fn worker(&self, id: EntityId) -> &Batches {
        &self.workers[(route(id) % self.workers.len() as u64) as usize]
    }
}

/// The row that is there now, of the key that the cursor is at.
fn current<C>(cursor: &mut C, storage: &C::Storage, table: &Rows) -> Option<Row>
where
    C: for<'a> Cursor<Val<'a> = &'a RowId, DiffGat<'a> = &'a Diff>,
{
    while let Some(&row) = cursor.get_val(storage) {
        let mut count = 0;
        cursor.map_times(storage, |_, diff| count += diff);
        if count > 0 {
            return table.get(row);
        }
        cursor.step_val(storage);
    }
    None
}

impl Snapshot for Arranged {
    fn position(&self) -> Position {
        self.position
    }

    fn newest(&self, tenant: TenantId) -> Position {
        self.newest.get(&tenant).copied().unwrap_or(0)
    }

    fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    fn entity(&self, id: EntityId) -> Option<Arc<Entity>> {
        self.row(id).map(|row| row.entity.clone())
    }

    fn count(&self, collection: CollectionId) -> u64 {
        Arranged::count(self, collection)
    }

    fn effort(&self, tenant: TenantId) -> u64 {
        self.effort.get(&tenant).copied().unwrap_or(0)
    }
}
