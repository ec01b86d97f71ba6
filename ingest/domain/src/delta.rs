//! What the dataflow gives: rows, and the changes of one position.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use triomphe::ThinArc;

use crate::aggregate::entity::Entity;
use crate::formula::Cells;
use crate::id::{AttributeId, EntityId, Position, TenantId};
use crate::layout::Layout;
use crate::schema::Catalog;
use crate::value::Value;

/// An entity with everything computed about it, as of one position. Shared: a copy is the same row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(ThinArc<Head, Value>);

/// What a row has beside what is computed.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// When in the dataflow it came to be so. Of two rows of one entity the newer one has the larger.
    pub since: u64,
    /// What is stored.
    pub entity: Arc<Entity>,
    layout: Layout,
}

impl Deref for Row {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.0.header.header
    }
}

impl Row {
    /// A row whose computed cells have this layout and these values, none of them blank. For a multiple link or a backlink
    /// there is how many entities in sight it leads to.
    ///
    /// # Panics
    /// If the layout has another number of cells.
    pub fn new(since: u64, entity: Arc<Entity>, layout: Layout, values: impl ExactSizeIterator<Item = Value>) -> Self {
        assert_eq!(layout.ids().len(), values.len(), "each cell has a value");
        Self(ThinArc::from_header_and_iter(Head { since, entity, layout }, values))
    }

    /// The row without the computed cells that are not `kept`.
    pub fn keeping(self, kept: impl Fn(AttributeId) -> bool) -> Row {
        let places: Vec<usize> = (0..).zip(self.layout.ids()).filter(|(_, id)| kept(**id)).map(|(place, _)| place).collect();
        if places.len() == self.layout.ids().len() {
            return self;
        }
        let ids: Vec<AttributeId> = places.iter().map(|place| self.layout.ids()[*place]).collect();
        Self::new(self.since, self.entity.clone(), Layout::of(&ids), places.iter().map(|place| self.values()[*place].clone()))
    }

    /// Whether both are copies of one row; others may still be equal.
    pub fn is_copy_of(&self, other: &Row) -> bool {
        std::ptr::eq(&*self.0, &*other.0)
    }

    /// Whether the other shows the same of the same entity, computed cells left aside that are not shown.
    pub fn shows_the_same(&self, other: &Row, is_shown: impl Fn(AttributeId) -> bool) -> bool {
        let [one, another] = [self, other].map(|row| row.cells().filter(|(cell, _)| is_shown(*cell)));
        self.entity == other.entity && one.eq(another)
    }

    /// How much memory it takes with the entity in it, in bytes.
    pub fn bytes(&self) -> usize {
        let counts = 4 * size_of::<usize>();
        let entity = size_of::<Entity>() + size_of_val(&*self.entity.changes) + self.entity.values.heap_bytes();
        let computed: usize = self.values().iter().map(|value| size_of::<Value>() + value.heap_bytes()).sum();
        counts + size_of::<Head>() + self.layout.own_bytes() + computed + entity
    }

    /// The computed value of this attribute; blank if there is none.
    pub fn computed(&self, attribute: AttributeId) -> &Value {
        static BLANK: Value = Value::Blank;
        self.layout.find(attribute).map_or(&BLANK, |place| &self.values()[place])
    }

    /// The attributes of the computed cells that are not blank.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The values of the computed cells that are not blank, in the order of their attributes.
    pub fn values(&self) -> &[Value] {
        &self.0.slice
    }

    /// The computed cells that are not blank, sorted by attribute.
    pub fn cells(&self) -> impl Iterator<Item = (AttributeId, &Value)> {
        self.layout.ids().iter().copied().zip(self.values())
    }
}

/// As it crosses between processes.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cells: Vec<(AttributeId, &Value)> = self.cells().collect();
        (self.since, &*self.entity, cells).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (since, entity, cells) = <(u64, Entity, Vec<(AttributeId, Value)>)>::deserialize(deserializer)?;
        let (ids, values): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
        if !ids.is_sorted_by(|one, next| one < next) {
            return Err(serde::de::Error::custom("a row's cells are not in the order of their attributes"));
        }
        Ok(Self::new(since, Arc::new(entity), Layout::of(&ids), values.into_iter()))
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
    pub old: Option<Row>,
    /// The row after. Entities are archived, never removed, so that there always is one.
    pub new: Row,
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
