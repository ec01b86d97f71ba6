//! A collection: a table that users defined. Its attributes are aggregates of their own.

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::id::{CollectionId, Key, SpaceId, TenantId};
use crate::rejection::{Rejection, check_name};

/// A collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its id.
    pub id: CollectionId,
    /// The tenant that it belongs to.
    pub tenant_id: TenantId,
    /// The space that it is in.
    pub space_id: SpaceId,
    /// Its key, unique in the tenant.
    pub key: Key,
    /// Its display name.
    pub name: String,
}

/// What can be asked of a collection.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum CollectionCommand {
    /// Makes a collection.
    CreateCollection { id: CollectionId, space_id: SpaceId, key: Key, name: String },
    /// Gives it another name.
    UpdateCollection { id: CollectionId, name: String },
}

/// What happened to a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum CollectionEvent {
    /// There is a new collection.
    CollectionCreated { id: CollectionId, tenant_id: TenantId, space_id: SpaceId, key: Key, name: String },
    /// It has another name.
    CollectionUpdated { id: CollectionId, name: String },
}

impl CollectionCommand {
    /// The collection that it is about.
    pub fn id(&self) -> CollectionId {
        match self {
            Self::CreateCollection { id, .. } | Self::UpdateCollection { id, .. } => *id,
        }
    }
}

/// Events, or a refusal.
pub fn decide(
    state: Option<&Collection>,
    command: &CollectionCommand,
    tenant: TenantId,
    facts: Facts<'_>,
) -> Result<Vec<CollectionEvent>, Rejection> {
    Ok(match command {
        CollectionCommand::CreateCollection { id, space_id, key, name } => {
            check_name(name)?;
            let schema = facts.tenant(tenant)?;
            if state.is_some() {
                return Err(Rejection::InvalidInput(format!("collection `{id}` exists already")));
            }
            if !schema.spaces.contains_key(space_id) {
                return Err(Rejection::not_found("space", space_id));
            }
            if schema.collection_by_key(key.as_str()).is_some() {
                return Err(Rejection::KeyTaken { key: key.clone(), what: "another collection has it".into() });
            }
            vec![CollectionEvent::CollectionCreated {
                id: *id,
                tenant_id: tenant,
                space_id: *space_id,
                key: key.clone(),
                name: name.clone(),
            }]
        }
        CollectionCommand::UpdateCollection { id, name } => {
            check_name(name)?;
            let collection = state.ok_or_else(|| Rejection::not_found("collection", id))?;
            if collection.name == *name { vec![] } else { vec![CollectionEvent::CollectionUpdated { id: *id, name: name.clone() }] }
        }
    })
}

/// The next state.
pub fn evolve(state: Option<Collection>, event: &CollectionEvent) -> Option<Collection> {
    match event {
        CollectionEvent::CollectionCreated { id, tenant_id, space_id, key, name } => {
            Some(Collection { id: *id, tenant_id: *tenant_id, space_id: *space_id, key: key.clone(), name: name.clone() })
        }
        CollectionEvent::CollectionUpdated { name, .. } => state.map(|collection| Collection { name: name.clone(), ..collection }),
    }
}
