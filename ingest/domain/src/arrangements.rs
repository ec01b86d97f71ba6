//! What others need of the arrangements: the newest state of every aggregate, readable from any thread.

use std::pin::Pin;
use std::sync::Arc;

use crate::aggregate::entity::Entity;
use crate::event::Recorded;
use crate::id::{CollectionId, EntityId, Position, TenantId};
use crate::schema::Catalog;

/// The state of every aggregate, kept up to date by somebody who is fed every recorded event.
pub trait Arrangements: Send + Sync {
    /// The newest state. Never goes back.
    fn snapshot(&self) -> Arc<dyn Snapshot>;

    /// Takes events that were recorded, in the order of the log, without gaps. Does not wait until they are in a snapshot.
    fn accept(&self, events: Vec<Recorded>);

    /// Returns when a snapshot has reached `position`, or when none ever will.
    fn reached(&self, position: Position) -> Reached<'_>;
}

/// Waits for a snapshot; `false` if it will never come because the arrangements have stopped.
pub type Reached<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// The state of every aggregate as of one position. Immutable.
pub trait Snapshot: Send + Sync {
    /// The position.
    fn position(&self) -> Position;
    /// The position of the tenant's newest event up to there; 0 if it has none.
    fn newest(&self, tenant: TenantId) -> Position;
    /// The schema of every tenant.
    fn catalog(&self) -> &Arc<Catalog>;
    /// The entity of this id, of whatever tenant.
    fn entity(&self, id: EntityId) -> Option<Arc<Entity>>;
    /// How many entities of a collection are in sight.
    fn count(&self, collection: CollectionId) -> u64;
    /// How many steps evaluations took that followed from a tenant's events and took long, since the arrangements began.
    fn effort(&self, tenant: TenantId) -> u64;
}
