//! The aggregates: the write side's units of consistency. Each file has a state, commands, events, `decide` and `evolve`.
//!
//! `decide` turns a state and a command into events, or refuses; it alone refuses. `evolve` turns a state and an event into
//! the next state; it cannot fail, for the event already happened. Both are pure. What an aggregate must know of others it
//! reads from [`Facts`].

pub mod attribute;
pub mod choice;
pub mod collection;
pub mod definition;
pub mod entity;
pub mod format;
pub mod link_order;
pub mod space;
pub mod tenant;
pub mod user;

use std::sync::Arc;

use crate::id::{AttributeId, CollectionId, EntityId, TenantId};
use crate::schema::{Catalog, TenantSchema};
use attribute::Definition;

/// The entities as they are now.
pub trait Entities {
    /// The entity of this id, of whatever tenant.
    fn entity(&self, id: EntityId) -> Option<Arc<entity::Entity>>;
}

impl<F: Fn(EntityId) -> Option<Arc<entity::Entity>>> Entities for F {
    fn entity(&self, id: EntityId) -> Option<Arc<entity::Entity>> {
        self(id)
    }
}

/// What decisions may know beside their own aggregate: everything that was accepted so far.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// All tenants and their schemas.
    pub catalog: &'a Catalog,
    /// All entities.
    pub entities: &'a dyn Entities,
    /// About how many entities a collection has.
    pub sizes: &'a dyn Fn(CollectionId) -> u64,
}

/// From how many entities on what follows from a definition is computed aside: fewer are done within a few milliseconds.
const STAGED_FROM: u64 = 4_000;

/// From how many steps on it is computed aside, however few the entities are.
const WORK_STAGED_FROM: u64 = 2_000_000;

impl<'a> Facts<'a> {
    /// The schema of the tenant on whose behalf a command runs.
    pub(crate) fn tenant(&self, id: TenantId) -> Result<&'a Arc<TenantSchema>, crate::rejection::Rejection> {
        self.catalog.tenant(id).ok_or_else(|| crate::rejection::Rejection::not_found("tenant", id))
    }

    /// Whether many entities must be looked at if an attribute gets this definition, or goes.
    pub(crate) fn is_large(&self, schema: &TenantSchema, home: CollectionId, id: AttributeId, definition: Option<&Definition>) -> bool {
        let entities = schema.touched_by(home, id, definition).into_iter().map(self.sizes).fold(0, u64::saturating_add);
        entities >= STAGED_FROM || entities.saturating_mul(schema.work_of(home, id, definition)) >= WORK_STAGED_FROM
    }
}
