//! An entity: a row of a collection, with its values and its links.
//!
//! A link is held by the entity that has the link attribute; linking from the backlink's side writes to the streams of the
//! entities at the other end, so that every link has one home.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::Facts;
use super::attribute::{Attribute, Definition};
use super::link_order::reordered;
use crate::id::{AttributeId, CollectionId, EntityId, TenantId, Version};
use crate::layout::Layout;
use crate::rejection::Rejection;
use crate::schema::{CollectionSchema, TenantSchema, input};
use crate::stamp::Stamp;
use crate::value::Value;

/// An entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// Its id.
    pub id: EntityId,
    /// The tenant that it belongs to.
    pub tenant_id: TenantId,
    /// The collection that it is a row of.
    pub collection_id: CollectionId,
    /// Whether it is out of sight: not listed, and not counted.
    pub archived: bool,
    /// How many events made it.
    pub version: Version,
    /// What is stored.
    #[serde(with = "as_they_are")]
    pub values: Values,
    /// Which entity of its collection it is, counted from 1 in the order of the log. The arrangements know it; 0 where it is
    /// not known, as to those who decide.
    pub number: u64,
    /// When it was made, and by whom.
    pub created: Stamp,
    /// The attributes that were set or linked since, with when and by whom last. The newest comes last.
    pub changes: Vec<(AttributeId, Stamp)>,
}

impl Entity {
    /// When one of these attributes was last set, or linked, and by whom; of no attributes: any.
    pub fn modified(&self, among: &[AttributeId]) -> &Stamp {
        let mut newest_first = self.changes.iter().rev();
        let found = newest_first.find(|(attribute, _)| among.is_empty() || among.contains(attribute));
        found.map_or(&self.created, |(_, stamp)| stamp)
    }

    fn change(&mut self, attribute: AttributeId, stamp: &Stamp) {
        self.changes.retain(|(there, _)| *there != attribute);
        self.changes.push((attribute, stamp.clone()));
    }
}

/// Stored values by attribute; blank ones are left out. Sorted by attribute id.
///
/// A link to one entity is kept as [`Value::Link`], to more as [`Value::Links`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    layout: Layout,
    values: Box<[Value]>,
}

impl Values {
    /// The value of this attribute; blank if there is none.
    pub fn get(&self, attribute: AttributeId) -> &Value {
        static BLANK: Value = Value::Blank;
        self.layout.find(attribute).map_or(&BLANK, |place| &self.values[place])
    }

    /// Sets or, with blank, removes the value of this attribute.
    pub fn set(&mut self, attribute: AttributeId, value: Value) {
        match (self.layout.find(attribute), value.is_blank()) {
            (Ok(place), true) => {
                self.layout = self.layout.without(place);
                let mut values = std::mem::take(&mut self.values).into_vec();
                values.remove(place);
                self.values = values.into_boxed_slice();
            }
            (Ok(place), false) => self.values[place] = value,
            (Err(_), true) => {}
            (Err(place), false) => {
                self.layout = self.layout.with(place, attribute);
                let mut values = std::mem::take(&mut self.values).into_vec();
                values.reserve_exact(1);
                values.insert(place, value);
                self.values = values.into_boxed_slice();
            }
        }
    }

    /// Those of these attributes.
    ///
    /// # Panics
    /// If the layout has another number of values.
    pub fn new(layout: Layout, values: Box<[Value]>) -> Self {
        assert_eq!(layout.ids().len(), values.len(), "each attribute has a value");
        debug_assert!(values.iter().all(|value| !value.is_blank()), "blank ones are left out");
        Self { layout, values }
    }

    /// Of which attributes there are values.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All values that are not blank, by attribute id.
    pub fn iter(&self) -> impl Iterator<Item = (AttributeId, &Value)> {
        self.layout.ids().iter().copied().zip(&self.values)
    }

    /// How much memory they take beside themselves, in bytes: what they share with others is counted each time, but for the
    /// attributes' ids.
    pub fn heap_bytes(&self) -> usize {
        self.layout.own_bytes() + size_of_val(&*self.values) + self.values.iter().map(Value::heap_bytes).sum::<usize>()
    }
}

impl FromIterator<(AttributeId, Value)> for Values {
    fn from_iter<I: IntoIterator<Item = (AttributeId, Value)>>(items: I) -> Self {
        let mut values: Vec<_> = items.into_iter().filter(|(_, value)| !value.is_blank()).collect();
        values.sort_by_key(|(id, _)| *id);
        values.dedup_by_key(|(id, _)| *id);
        let (ids, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        Self { layout: Layout::of(&ids), values: values.into_boxed_slice() }
    }
}

/// Values of an entity that crosses between processes, which keep their types; events have them as the API does.
mod as_they_are {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::*;

    pub(super) fn serialize<S: Serializer>(values: &Values, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
        Vec::<(AttributeId, Value)>::deserialize(deserializer).map(Values::from_iter)
    }
}

/// The value of a link with these targets.
pub fn link_value(targets: &[EntityId]) -> Value {
    match targets {
        [] => Value::Blank,
        [one] => Value::Link(*one),
        many => Value::Links(many.into()),
    }
}

/// What can be asked of an entity. Values are as the API takes them, by attribute key.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum EntityCommand {
    /// Makes an entity.
    CreateEntity { id: EntityId, collection_id: CollectionId, values: Map<String, Json> },
    /// Sets the values that are given.
    SetValues { id: EntityId, values: Map<String, Json>, expected_version: Option<i64> },
    /// Adds targets to a link; a single link leads to the new target alone.
    LinkEntities { id: EntityId, attribute: String, target_ids: Vec<EntityId> },
    /// Takes targets from a link.
    UnlinkEntities { id: EntityId, attribute: String, target_ids: Vec<EntityId> },
    /// Puts what a link leads to in another order: these first, the others behind them as they were.
    ReorderLinks { id: EntityId, attribute: String, target_ids: Vec<EntityId> },
    /// Takes it out of sight.
    ArchiveEntity { id: EntityId },
    /// Brings it back.
    RestoreEntity { id: EntityId },
}

/// What happened to an entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum EntityEvent {
    /// There is a new entity. Its links are among its values.
    EntityCreated { id: EntityId, tenant_id: TenantId, collection_id: CollectionId, values: Values },
    /// An attribute, not a link, has another value.
    AttributeValueSet {
        id: EntityId,
        attribute_id: AttributeId,
        /// Under which id the value is stored, if not under that of the attribute: it changed its type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored_as: Option<AttributeId>,
        #[serde(with = "crate::event::stored_value")]
        value: Value,
    },
    /// A link leads to these too, behind those it led to.
    EntitiesLinked { id: EntityId, attribute_id: AttributeId, target_ids: Vec<EntityId> },
    /// A link does not lead to these any more.
    EntitiesUnlinked { id: EntityId, attribute_id: AttributeId, target_ids: Vec<EntityId> },
    /// The holders of a link to it are listed in this order, those that are not named behind them by id.
    BacklinkReordered { id: EntityId, attribute_id: AttributeId, link_id: AttributeId, holder_ids: Vec<EntityId> },
    /// It is out of sight.
    EntityArchived { id: EntityId },
    /// It is back.
    EntityRestored { id: EntityId },
}

impl EntityCommand {
    /// The entity that it is about.
    pub fn id(&self) -> EntityId {
        match self {
            Self::CreateEntity { id, .. }
            | Self::SetValues { id, .. }
            | Self::LinkEntities { id, .. }
            | Self::UnlinkEntities { id, .. }
            | Self::ReorderLinks { id, .. }
            | Self::ArchiveEntity { id }
            | Self::RestoreEntity { id } => *id,
        }
    }
}

impl EntityEvent {
    /// The entity that it happened to.
    pub fn id(&self) -> EntityId {
        match self {
            Self::EntityCreated { id, .. }
            | Self::AttributeValueSet { id, .. }
            | Self::EntitiesLinked { id, .. }
            | Self::EntitiesUnlinked { id, .. }
            | Self::BacklinkReordered { id, .. }
            | Self::EntityArchived { id }
            | Self::EntityRestored { id } => *id,
        }
    }
}

/// The most entities that one command may link or unlink, and the most that a link may lead to.
pub const TARGETS_MAX: usize = 10_000;

/// Events, those of the other ends of backlinks included, or a refusal.
pub fn decide(
    state: Option<&Arc<Entity>>,
    command: &EntityCommand,
    tenant: TenantId,
    facts: Facts<'_>,
) -> Result<Vec<EntityEvent>, Rejection> {
    let schema = facts.tenant(tenant)?;
    let id = command.id();
    if let EntityCommand::CreateEntity { collection_id, values, .. } = command {
        let collection = schema.collection(*collection_id).ok_or_else(|| Rejection::not_found("collection", collection_id))?;
        if state.is_some() {
            return Err(Rejection::InvalidInput(format!("entity `{id}` exists already")));
        }
        let mut stored = Vec::with_capacity(values.len());
        for (key, json) in values {
            let attribute = writable(collection, key)?;
            let value = input::value(schema, attribute, json)?;
            check_targets(schema, attribute, value.targets(), facts)?;
            stored.push((attribute.stored_as(), value));
        }
        return Ok(vec![EntityEvent::EntityCreated {
            id,
            tenant_id: tenant,
            collection_id: *collection_id,
            values: stored.into_iter().collect(),
        }]);
    }
    let entity = state.filter(|entity| entity.tenant_id == tenant).ok_or_else(|| Rejection::not_found("entity", id))?;
    let collection = schema.collection(entity.collection_id).ok_or_else(|| Rejection::not_found("entity", id))?;
    let active = || if entity.archived { Err(Rejection::Archived { id }) } else { Ok(()) };
    match command {
        EntityCommand::CreateEntity { .. } => Ok(vec![]),
        EntityCommand::SetValues { values, expected_version, .. } => {
            if let Some(expected) = *expected_version
                && expected != i64::from(entity.version)
            {
                return Err(Rejection::VersionConflict { expected, actual: entity.version });
            }
            active()?;
            let mut events = Vec::with_capacity(values.len());
            for (key, json) in values {
                let attribute = writable(collection, key)?;
                let value = input::value(schema, attribute, json)?;
                let before = entity.values.get(attribute.stored_as());
                if matches!(attribute.definition, Definition::Link { .. }) {
                    check_targets(schema, attribute, value.targets(), facts)?;
                    events.extend(relink(id, attribute.id, before.targets(), value.targets()));
                    continue;
                }
                let set = |stored_as, value| {
                    let stored_as = Some(stored_as).filter(|stored_as| *stored_as != attribute.id);
                    EntityEvent::AttributeValueSet { id, attribute_id: attribute.id, stored_as, value }
                };
                // What is stored under a former type goes.
                let former = attribute.former.iter().map(|(stored_as, _)| *stored_as);
                let former = former.filter(|stored_as| !entity.values.get(*stored_as).is_blank());
                events.extend(former.map(|stored_as| set(stored_as, Value::Blank)));
                if value != *before {
                    events.push(set(attribute.stored_as(), value));
                }
            }
            Ok(events)
        }
        EntityCommand::LinkEntities { attribute, target_ids, .. } => {
            active()?;
            let attribute = link(collection, attribute)?;
            let targets = distinct(target_ids)?;
            check_targets(schema, attribute, &targets, facts)?;
            match attribute.definition {
                Definition::Backlink { link_id, .. } => {
                    let forward = schema.attribute(link_id).ok_or_else(|| Rejection::not_found("attribute", link_id))?;
                    let mut events = Vec::new();
                    for target in targets {
                        let other = facts.entities.entity(target).ok_or_else(|| missing(attribute, target))?;
                        events.extend(linked(target, forward, other.values.get(link_id).targets(), &[id])?);
                    }
                    Ok(events)
                }
                _ => linked(id, attribute, entity.values.get(attribute.id).targets(), &targets),
            }
        }
        EntityCommand::UnlinkEntities { attribute, target_ids, .. } => {
            active()?;
            let attribute = link(collection, attribute)?;
            let targets = distinct(target_ids)?;
            match attribute.definition {
                Definition::Backlink { link_id, .. } => {
                    let mut events = Vec::new();
                    for target in targets {
                        let other = facts.entities.entity(target).filter(|other| other.tenant_id == tenant);
                        let other = other.ok_or_else(|| missing(attribute, target))?;
                        if other.values.get(link_id).targets().contains(&id) {
                            events.push(EntityEvent::EntitiesUnlinked { id: target, attribute_id: link_id, target_ids: vec![id] });
                        }
                    }
                    Ok(events)
                }
                _ => {
                    let before = entity.values.get(attribute.id).targets();
                    let gone: Vec<_> = targets.into_iter().filter(|target| before.contains(target)).collect();
                    if gone.is_empty() {
                        Ok(vec![])
                    } else {
                        Ok(vec![EntityEvent::EntitiesUnlinked { id, attribute_id: attribute.id, target_ids: gone }])
                    }
                }
            }
        }
        EntityCommand::ReorderLinks { attribute, target_ids, .. } => {
            active()?;
            reordered(entity, link(collection, attribute)?, target_ids, facts)
        }
        EntityCommand::ArchiveEntity { .. } => Ok(if entity.archived { vec![] } else { vec![EntityEvent::EntityArchived { id }] }),
        EntityCommand::RestoreEntity { .. } => Ok(if entity.archived { vec![EntityEvent::EntityRestored { id }] } else { vec![] }),
    }
}

/// The attribute of this key, if it is stored and held by the entity itself.
fn writable<'a>(collection: &'a CollectionSchema, key: &str) -> Result<&'a Attribute, Rejection> {
    let attribute = collection.attribute_or_refuse(key)?;
    match &attribute.definition {
        definition if definition.is_computed() => Err(Rejection::NotWritable { attribute: key.into(), kind: definition.kind() }),
        Definition::Backlink { .. } => {
            Err(Rejection::NotWritable { attribute: key.into(), kind: "the other side of a link: use linkEntities and unlinkEntities" })
        }
        _ => Ok(attribute),
    }
}

fn link<'a>(collection: &'a CollectionSchema, key: &str) -> Result<&'a Attribute, Rejection> {
    let attribute = collection.attribute_or_refuse(key)?;
    if attribute.definition.leads_to().is_none() {
        return Err(Rejection::InvalidInput(format!("attribute `{key}` is not a link but a {}", attribute.definition.kind())));
    }
    if attribute.definition.is_computed() {
        return Err(Rejection::NotWritable { attribute: key.into(), kind: attribute.definition.kind() });
    }
    Ok(attribute)
}

pub(super) fn distinct(targets: &[EntityId]) -> Result<Vec<EntityId>, Rejection> {
    if targets.len() > TARGETS_MAX {
        return Err(Rejection::TooLarge(format!("one command links {TARGETS_MAX} entities at most, and this one {}", targets.len())));
    }
    let mut seen = std::collections::BTreeSet::new();
    Ok(targets.iter().copied().filter(|target| seen.insert(*target)).collect())
}

fn missing(attribute: &Attribute, target: EntityId) -> Rejection {
    Rejection::LinkTargetNotFound { attribute: attribute.key.to_string(), target }
}

/// Every target is there, in the collection that the link leads to, and in sight.
fn check_targets(schema: &TenantSchema, attribute: &Attribute, targets: &[EntityId], facts: Facts<'_>) -> Result<(), Rejection> {
    let Some(expected) = attribute.definition.leads_to() else { return Ok(()) };
    for &target in targets {
        let entity = facts.entities.entity(target).filter(|entity| entity.tenant_id == attribute.tenant_id);
        let entity = entity.ok_or_else(|| missing(attribute, target))?;
        if entity.collection_id != expected {
            let key = |id| schema.collection(id).map_or_else(String::new, |collection| collection.key().to_string());
            return Err(Rejection::LinkTargetWrongCollection {
                attribute: attribute.key.to_string(),
                target,
                expected: key(expected),
                found: key(entity.collection_id),
            });
        }
        if entity.archived {
            return Err(Rejection::Archived { id: target });
        }
    }
    Ok(())
}

/// The events that add `targets` to a link; a single link leaves what it led to.
fn linked(id: EntityId, attribute: &Attribute, before: &[EntityId], targets: &[EntityId]) -> Result<Vec<EntityEvent>, Rejection> {
    if let Definition::Link { multiple: false, .. } = attribute.definition {
        if targets.len() > 1 {
            return Err(Rejection::ValueTypeMismatch {
                attribute: attribute.key.to_string(),
                expected: "one entity".into(),
                found: format!("{} entities", targets.len()),
            });
        }
        return Ok(if targets.is_empty() { vec![] } else { relink(id, attribute.id, before, targets) });
    }
    let there: std::collections::BTreeSet<_> = before.iter().collect();
    let new: Vec<_> = targets.iter().copied().filter(|target| !there.contains(target)).collect();
    if before.len() + new.len() > TARGETS_MAX {
        return Err(Rejection::TooLarge(format!("a link leads to {TARGETS_MAX} entities at most")));
    }
    Ok(if new.is_empty() { vec![] } else { vec![EntityEvent::EntitiesLinked { id, attribute_id: attribute.id, target_ids: new }] })
}

/// The events that make a link lead to `after` in place of `before`, in that order.
pub(super) fn relink(id: EntityId, attribute_id: AttributeId, before: &[EntityId], after: &[EntityId]) -> Vec<EntityEvent> {
    // What stays must stay in front, in its order, for a link adds at the end; everything behind the first difference moves.
    let kept = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let mut events = Vec::new();
    if before.len() > kept {
        events.push(EntityEvent::EntitiesUnlinked { id, attribute_id, target_ids: before[kept..].to_vec() });
    }
    if after.len() > kept {
        events.push(EntityEvent::EntitiesLinked { id, attribute_id, target_ids: after[kept..].to_vec() });
    }
    events
}

/// The next state.
pub fn evolve(state: Option<Entity>, event: &EntityEvent, stamp: &Stamp) -> Option<Entity> {
    let mut entity = match (state, event) {
        (_, EntityEvent::EntityCreated { id, tenant_id, collection_id, values }) => {
            return Some(Entity {
                id: *id,
                tenant_id: *tenant_id,
                collection_id: *collection_id,
                archived: false,
                version: 1,
                values: values.clone(),
                number: 0,
                created: stamp.clone(),
                changes: Vec::new(),
            });
        }
        (state, _) => state?,
    };
    entity.version += 1;
    match event {
        EntityEvent::EntityCreated { .. } => {}
        EntityEvent::AttributeValueSet { attribute_id, stored_as, value, .. } => {
            entity.values.set(stored_as.unwrap_or(*attribute_id), value.clone());
            entity.change(*attribute_id, stamp);
        }
        EntityEvent::EntitiesLinked { attribute_id, target_ids, .. } => {
            let mut targets = entity.values.get(*attribute_id).targets().to_vec();
            targets.extend(target_ids);
            entity.values.set(*attribute_id, link_value(&targets));
            entity.change(*attribute_id, stamp);
        }
        EntityEvent::EntitiesUnlinked { attribute_id, target_ids, .. } => {
            let mut targets = entity.values.get(*attribute_id).targets().to_vec();
            let gone: std::collections::BTreeSet<_> = target_ids.iter().collect();
            targets.retain(|target| !gone.contains(target));
            entity.values.set(*attribute_id, link_value(&targets));
            entity.change(*attribute_id, stamp);
        }
        EntityEvent::BacklinkReordered { attribute_id, link_id, holder_ids, .. } => {
            entity.set_order(*link_id, holder_ids);
            entity.change(*attribute_id, stamp);
        }
        EntityEvent::EntityArchived { .. } => entity.archived = true,
        EntityEvent::EntityRestored { .. } => entity.archived = false,
    }
    Some(entity)
}
