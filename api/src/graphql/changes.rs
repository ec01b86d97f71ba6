//! What subscribers are told.

use async_graphql::{Enum, ID, SimpleObject};
use decidr_domain::delta::Row;
use decidr_domain::id::EntityId;
use decidr_sinks::OpKind as LiveOpKind;

use super::TenantView;
use super::entity::Entity;
use super::explain::Cell;
use super::scalars::PositionToken;

/// What changed, up to a position.
#[derive(SimpleObject)]
pub(crate) struct Changes {
    pub(crate) position: PositionToken,
    pub(crate) kind: ChangesKind,
    pub(crate) ops: Vec<Op>,
}

/// SNAPSHOT may come in several messages at one position; the first DELTA or PROGRESS ends it. RESET: forget everything,
/// a new SNAPSHOT follows. PROGRESS: no change up to position.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "described above")]
pub(crate) enum ChangesKind {
    Snapshot,
    Delta,
    Progress,
    Reset,
}

/// `index` is for ordered live queries, and null in others. `node` is null for DELETE.
#[derive(SimpleObject)]
pub(crate) struct Op {
    op: OpKind,
    id: ID,
    index: Option<i32>,
    node: Option<Entity>,
}

/// What changed about what is reached, up to a position. SNAPSHOT and PROGRESS are as in Changes; there is no RESET.
#[derive(SimpleObject)]
pub(crate) struct TraversalChanges {
    pub(crate) position: PositionToken,
    pub(crate) kind: ChangesKind,
    pub(crate) ops: Vec<ReachedOp>,
}

/// `reached` is null for DELETE. UPDATE: it is otherwise, or farther or nearer.
#[derive(SimpleObject)]
pub(crate) struct ReachedOp {
    pub(crate) op: OpKind,
    pub(crate) id: ID,
    pub(crate) reached: Option<Reached>,
}

/// An entity that is reached.
#[derive(SimpleObject)]
pub(crate) struct Reached {
    /// How many links away it is, at least.
    pub(crate) depth: i64,
    pub(crate) node: Entity,
}

/// The shortest way as of a position. `path` is null if there is none, and for PROGRESS, which says that nothing changed.
#[derive(SimpleObject)]
pub(crate) struct PathChanges {
    pub(crate) position: PositionToken,
    pub(crate) kind: ChangesKind,
    pub(crate) path: Option<Vec<Entity>>,
}

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) enum OpKind {
    Insert,
    Update,
    Delete,
}

/// What changed about groups, up to a position. SNAPSHOT, PROGRESS and RESET are as in Changes.
#[derive(SimpleObject)]
pub(crate) struct GroupChanges {
    pub(crate) position: PositionToken,
    pub(crate) kind: ChangesKind,
    pub(crate) ops: Vec<GroupOp>,
}

/// A group that is new, is otherwise or went. `path` is what its entities have in common, by the attributes that they are
/// grouped by, the outermost first; it is empty for all entities together. Of a group that went there is nothing to count.
#[derive(SimpleObject)]
pub(crate) struct GroupOp {
    pub(crate) op: OpKind,
    pub(crate) path: Vec<Cell>,
    pub(crate) count: i64,
    /// In the order in which they were asked for.
    pub(crate) summaries: Vec<Cell>,
}

impl From<LiveOpKind> for OpKind {
    fn from(kind: LiveOpKind) -> Self {
        match kind {
            LiveOpKind::Insert => OpKind::Insert,
            LiveOpKind::Update => OpKind::Update,
            LiveOpKind::Delete => OpKind::Delete,
        }
    }
}

impl Op {
    /// With the entity as it is after, if it is there.
    pub(super) fn new(view: &TenantView, op: OpKind, id: EntityId, index: Option<usize>, row: Option<Row>) -> Self {
        let node = row.map(|row| Entity { view: view.clone(), row });
        Self { op, id: id.to_string().into(), index: index.and_then(|index| i32::try_from(index).ok()), node }
    }
}
