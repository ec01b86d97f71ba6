//! What the dataflow gives: rows, and the changes of one position.

use std::sync::Arc;

use crate::aggregate::entity::Entity;
use crate::formula::Cells;
use crate::id::{AttributeId, EntityId, Position, TenantId};
use crate::schema::Catalog;
use crate::value::Value;

/// An entity with everything computed about it, as of one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// When in the dataflow it came to be so. Of two rows of one entity the newer one has the larger.
    pub since: u64,
    /// What is stored.
    pub entity: Arc<Entity>,
    /// What is computed, sorted by attribute; blank cells are left out. For a multiple link or a backlink this holds how
    /// many entities in sight it leads to.
    pub computed: Box<[(AttributeId, Value)]>,
}

impl Row {
    /// How much memory it takes with the entity in it, in bytes.
    pub fn bytes(&self) -> usize {
        let cells = |cells: &mut dyn Iterator<Item = &(AttributeId, Value)>| -> usize {
            cells.map(|cell| size_of_val(cell) + cell.1.heap_bytes()).sum()
        };
        let counts = 4 * size_of::<usize>();
        let entity = size_of::<Entity>() + size_of_val(&*self.entity.changes) + cells(&mut self.entity.values.iter());
        counts + size_of::<Self>() + cells(&mut self.computed.iter()) + entity
    }

    /// The computed value of this attribute; blank if there is none.
    pub fn computed(&self, attribute: AttributeId) -> &Value {
        static BLANK: Value = Value::Blank;
        self.computed.binary_search_by_key(&attribute, |(id, _)| *id).map_or(&BLANK, |at| &self.computed[at].1)
    }
}

impl Cells for Row {
    fn cell(&self, attribute: AttributeId) -> Value {
        match self.entity.values.get(attribute) {
            Value::Blank => self.computed(attribute).clone(),
            stored => stored.clone(),
        }
    }

    fn entity(&self) -> Option<&Entity> {
        Some(&self.entity)
    }
}

/// How one entity's row changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which entity.
    pub entity_id: EntityId,
    /// The row before; `None` if there was none.
    pub old: Option<Arc<Row>>,
    /// The row after. Entities are archived, never removed, so that there always is one.
    pub new: Arc<Row>,
}

/// All that changed from one position to the next that was computed.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The position before it.
    pub previous: Position,
    /// The position after it.
    pub position: Position,
    /// The position of the newest event of every tenant that has one in between.
    pub newest: Vec<(TenantId, Position)>,
    /// The schema after it.
    pub catalog: Arc<Catalog>,
    /// Whether the schema changed.
    pub schema_changed: bool,
    /// Whether it is only what is computed aside and not shown yet; then `previous` and `position` are the same.
    pub is_aside: bool,
    /// The rows that changed, each once, by entity id.
    pub changes: Vec<Change>,
}
