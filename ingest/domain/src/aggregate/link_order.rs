//! The order of what a link or backlink leads to, as users change it.
//!
//! A link has the order of its targets. What a backlink leads to are the holders of the link, each of which says so for itself;
//! in which order they come the entity says that they link to: those that it names first, the others behind them by id. It
//! keeps that among its values under an id of its own, so that a holder that comes or goes changes nothing there, and one
//! that comes back has its place again.

use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::Facts;
use super::attribute::{Attribute, Definition};
use super::entity::{Entity, EntityEvent, TARGETS_MAX, distinct, relink};
use crate::id::{AttributeId, EntityId};
use crate::rejection::Rejection;
use crate::value::Value;

/// Under which id an entity keeps the order of the holders of this link to it.
pub fn order_id(link: AttributeId) -> AttributeId {
    /// What makes it another id than that of any attribute, and the same each time.
    const OTHER: u128 = 0x8f4e_39d1_c6a7_4b02_9d5e_71b3_0ac8_e264;
    AttributeId(Uuid::from_u128(link.0.as_u128() ^ OTHER))
}

/// The places of entities in an order that is stored under an [`order_id`]; empty if none was given.
pub fn places(order: &Value) -> FxHashMap<EntityId, u32> {
    (0..).zip(named(order)).map(|(place, id)| (id, place)).collect()
}

/// The entities that such an order names, the first first.
pub fn named(order: &Value) -> impl Iterator<Item = EntityId> {
    let items = if let Value::List(items) = order { &items[..] } else { &[] };
    items.iter().flat_map(|item| item.targets().iter().copied())
}

impl Entity {
    /// Puts holders of a link to this entity, which are sorted by id, in the order that it gives them.
    pub fn put_in_order<T>(&self, link: AttributeId, holders: &mut [T], id: impl Fn(&T) -> EntityId) {
        let order = self.values.get(order_id(link));
        if order.is_blank() {
            return;
        }
        let places = places(order);
        holders.sort_by_key(|holder| places.get(&id(holder)).copied().unwrap_or(u32::MAX));
    }

    /// Takes in an order of the holders of a link.
    pub(super) fn set_order(&mut self, link: AttributeId, holders: &[EntityId]) {
        self.values.set(order_id(link), Value::list(holders.iter().map(|holder| Value::Link(*holder))));
    }
}

/// The events that put what a link or backlink of an entity leads to in another order: these first, the others behind them as
/// they were.
pub(super) fn reordered(
    entity: &Entity,
    attribute: &Attribute,
    first: &[EntityId],
    facts: Facts<'_>,
) -> Result<Vec<EntityEvent>, Rejection> {
    let first = distinct(first)?;
    let missing = |target| Rejection::LinkTargetNotFound { attribute: attribute.key.to_string(), target };
    let is_named: std::collections::BTreeSet<_> = first.iter().copied().collect();
    let then = |others: &mut dyn Iterator<Item = EntityId>| -> Vec<EntityId> {
        first.iter().copied().chain(others.filter(|other| !is_named.contains(other))).collect()
    };
    let Definition::Backlink { link_id, .. } = attribute.definition else {
        let before = entity.values.get(attribute.id).targets();
        let there: std::collections::BTreeSet<_> = before.iter().copied().collect();
        if let Some(target) = first.iter().find(|target| !there.contains(target)) {
            return Err(missing(*target));
        }
        return Ok(relink(entity.id, attribute.id, before, &then(&mut before.iter().copied())));
    };
    let links_here = |holder: &EntityId| {
        let holder = facts.entities.entity(*holder).filter(|holder| holder.tenant_id == entity.tenant_id);
        holder.is_some_and(|holder| holder.values.get(link_id).targets().contains(&entity.id))
    };
    if let Some(target) = first.iter().find(|holder| !links_here(holder)) {
        return Err(missing(*target));
    }
    let before: Vec<EntityId> = named(entity.values.get(order_id(link_id))).collect();
    // Who was named and has gone for good need not be named any more.
    let holder_ids = then(&mut before.iter().copied().filter(links_here));
    if holder_ids.len() > TARGETS_MAX {
        return Err(Rejection::TooLarge(format!("{TARGETS_MAX} entities have places of their own at most")));
    }
    if first.is_empty() || holder_ids == before {
        return Ok(vec![]);
    }
    Ok(vec![EntityEvent::BacklinkReordered { id: entity.id, attribute_id: attribute.id, link_id, holder_ids }])
}
