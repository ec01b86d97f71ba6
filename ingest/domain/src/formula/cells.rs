//! What formulas read: the cells of one entity, and as of when they are.

use jiff::Timestamp;

use crate::aggregate::entity::Entity;
use crate::id::AttributeId;
use crate::value::Value;

/// What a formula refers to that depends on when any attribute of its entity was written to. No attribute has this id.
pub const MODIFIED: AttributeId = AttributeId(uuid::Uuid::from_u128(1));

/// The cells of one entity.
pub trait Cells {
    /// The cell of this attribute; blank where there is none.
    fn cell(&self, attribute: AttributeId) -> Value;

    /// The cell of this attribute of the host of a crossing; blank where there is none.
    fn host_cell(&self, _attribute: AttributeId) -> Value {
        Value::Blank
    }

    /// The entity, if there is one.
    fn entity(&self) -> Option<&Entity> {
        None
    }

    /// The time as of which the cells are, if they are of any.
    fn now(&self) -> Option<Timestamp> {
        None
    }
}

impl<F: Fn(AttributeId) -> Value> Cells for F {
    fn cell(&self, attribute: AttributeId) -> Value {
        self(attribute)
    }
}

/// Cells at some time.
pub struct At<'a> {
    /// The cells.
    pub cells: &'a dyn Cells,
    /// What time it is.
    pub now: Option<Timestamp>,
}

impl Cells for At<'_> {
    fn cell(&self, attribute: AttributeId) -> Value {
        self.cells.cell(attribute)
    }

    fn host_cell(&self, attribute: AttributeId) -> Value {
        self.cells.host_cell(attribute)
    }

    fn entity(&self) -> Option<&Entity> {
        self.cells.entity()
    }

    fn now(&self) -> Option<Timestamp> {
        self.now
    }
}
