//! A space: a named group of collections.

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::id::{Key, SpaceId, TenantId};
use crate::rejection::{Rejection, check_name};

/// A space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its id.
    pub id: SpaceId,
    /// The tenant that it belongs to.
    pub tenant_id: TenantId,
    /// Its key, unique in the tenant.
    pub key: Key,
    /// Its display name.
    pub name: String,
}

/// What can be asked of a space.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum SpaceCommand {
    /// Makes a space.
    CreateSpace { id: SpaceId, key: Key, name: String },
    /// Gives it another name.
    UpdateSpace { id: SpaceId, name: String },
}

/// What happened to a space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum SpaceEvent {
    /// There is a new space.
    SpaceCreated { id: SpaceId, tenant_id: TenantId, key: Key, name: String },
    /// It has another name.
    SpaceUpdated { id: SpaceId, name: String },
}

impl SpaceCommand {
    /// The space that it is about.
    pub fn id(&self) -> SpaceId {
        match self {
            Self::CreateSpace { id, .. } | Self::UpdateSpace { id, .. } => *id,
        }
    }
}

/// Events, or a refusal.
pub fn decide(state: Option<&Space>, command: &SpaceCommand, tenant: TenantId, facts: Facts<'_>) -> Result<Vec<SpaceEvent>, Rejection> {
    Ok(match command {
        SpaceCommand::CreateSpace { id, key, name } => {
            check_name(name)?;
            if state.is_some() {
                return Err(Rejection::InvalidInput(format!("space `{id}` exists already")));
            }
            if facts.tenant(tenant)?.spaces.values().any(|space| space.key == *key) {
                return Err(Rejection::KeyTaken { key: key.clone(), what: "another space has it".into() });
            }
            vec![SpaceEvent::SpaceCreated { id: *id, tenant_id: tenant, key: key.clone(), name: name.clone() }]
        }
        SpaceCommand::UpdateSpace { id, name } => {
            check_name(name)?;
            let space = state.ok_or_else(|| Rejection::not_found("space", id))?;
            if space.name == *name { vec![] } else { vec![SpaceEvent::SpaceUpdated { id: *id, name: name.clone() }] }
        }
    })
}

/// The next state.
pub fn evolve(state: Option<Space>, event: &SpaceEvent) -> Option<Space> {
    match event {
        SpaceEvent::SpaceCreated { id, tenant_id, key, name } => {
            Some(Space { id: *id, tenant_id: *tenant_id, key: key.clone(), name: name.clone() })
        }
        SpaceEvent::SpaceUpdated { name, .. } => state.map(|space| Space { name: name.clone(), ..space }),
    }
}
