//! What a live query is, and what its subscribers are told.

use decidr_domain::delta::Row;
use decidr_domain::formula::coerce::truth;
use decidr_domain::formula::{At, Expression, Program};
use decidr_domain::id::{AttributeId, CollectionId, EntityId, Position, TenantId};
use decidr_domain::schema::{Catalog, resolve};
use decidr_domain::value::Value;
use jiff::Timestamp;

/// What to watch: the entities of a collection that are in sight and for which the filter is true.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LiveQuery {
    /// The tenant whose collection it is.
    pub tenant: TenantId,
    /// The collection.
    pub collection: CollectionId,
    /// The filter; all entities without one.
    pub filter: Option<Expression>,
}

/// The changes of one position to one query's result.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The position of the tenant's newest event that they show.
    pub position: Position,
    /// What they are.
    pub kind: ChangesKind,
    /// The changes, by entity id.
    pub ops: Vec<Op>,
}

/// What a message to a subscriber is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangesKind {
    /// A part of the result as of the position.
    Snapshot,
    /// What changed up to the position.
    Delta,
    /// Nothing changed up to the position.
    Progress,
    /// Forget everything; a snapshot follows.
    Reset,
}

/// What a subscriber hears of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// Changes of the entities.
    Entities,
    /// Also, by changes of none of them, that the attributes of the collection are defined otherwise.
    SchemaToo,
}

/// A change of one entity.
#[derive(Clone, Debug)]
pub struct Op {
    /// Which.
    pub kind: OpKind,
    /// Of which entity.
    pub id: EntityId,
    /// Its row before the change; `None` if it was not in the result.
    pub old: Option<Row>,
    /// Its row after the change; `None` if it left the result.
    pub row: Option<Row>,
}

/// The kinds of change to a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// It came in.
    Insert,
    /// It was in and is otherwise than before.
    Update,
    /// It left.
    Delete,
}

impl OpKind {
    /// What it means for a result that something was in it, and is; nothing if neither.
    pub fn of(was: bool, is: bool) -> Option<Self> {
        match (was, is) {
            (false, false) => None,
            (false, true) => Some(Self::Insert),
            (true, true) => Some(Self::Update),
            (true, false) => Some(Self::Delete),
        }
    }
}

impl LiveQuery {
    /// Whether a row belongs to the result, given the filter's program and what time it is for the tenant's formulas.
    pub fn matches_at(row: &Row, filter: Option<&Program>, now: Option<Timestamp>) -> bool {
        let passes = |filter: &Program| match filter.evaluate(&At { cells: row, now }) {
            // An error is not true.
            Value::Error(_) => false,
            value => truth(&value),
        };
        !row.entity.archived && filter.is_none_or(passes)
    }

    /// Whether this is the cell that is shown of some attribute of the collection.
    pub(crate) fn shows(&self, cell: AttributeId, catalog: &Catalog) -> bool {
        let schema = catalog.tenant(self.tenant);
        let collection = schema.and_then(|schema| schema.collection(self.collection));
        let mut attributes = collection.into_iter().flat_map(|collection| collection.attributes());
        attributes.any(|attribute| schema.and_then(|schema| schema.shown_cell(attribute.id)) == Some(cell))
    }

    /// The cells of the collection that are computed aside. Sorted.
    pub(crate) fn computing(&self, catalog: &Catalog) -> Vec<AttributeId> {
        catalog.tenant(self.tenant).map(|schema| schema.computing_cells(self.collection)).unwrap_or_default()
    }

    /// The filter's program under this schema; `Err` if the collection or an attribute that it needs is gone.
    pub fn program(&self, catalog: &Catalog) -> Result<Option<Program>, Gone> {
        let schema = catalog.tenant(self.tenant).ok_or(Gone)?;
        schema.collection(self.collection).ok_or(Gone)?;
        let program = |filter: &Expression| resolve::stored_formula(schema, self.collection, filter);
        let program = self.filter.as_ref().map(program).transpose().map_err(|_| Gone)?;
        Ok(program.map(|program| schema.shown_program(program)))
    }
}

/// The collection of a query, or an attribute that its filter needs, is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the collection, or an attribute that the filter refers to, is gone")]
pub struct Gone;
