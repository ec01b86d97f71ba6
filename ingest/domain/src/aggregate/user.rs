//! A person or program that belongs to a tenant.

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::id::{TenantId, UserId};
use crate::rejection::{Rejection, check_name};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The tenant that it belongs to.
    pub tenant_id: TenantId,
    /// Its e-mail address, unique in the tenant, in lower case.
    pub email: String,
    /// Its display name.
    pub name: String,
    /// Whether it may not act any more.
    pub deactivated: bool,
}

/// What can be asked of a user.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum UserCommand {
    /// Makes a user.
    RegisterUser { id: UserId, email: String, name: String },
    /// Gives it another name.
    UpdateUser { id: UserId, name: String },
    /// Stops it from acting.
    DeactivateUser { id: UserId },
}

/// What happened to a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum UserEvent {
    /// There is a new user.
    UserRegistered { id: UserId, tenant_id: TenantId, email: String, name: String },
    /// It has another name.
    UserUpdated { id: UserId, name: String },
    /// It may not act any more.
    UserDeactivated { id: UserId },
}

impl UserCommand {
    /// The user that it is about.
    pub fn id(&self) -> UserId {
        match self {
            Self::RegisterUser { id, .. } | Self::UpdateUser { id, .. } | Self::DeactivateUser { id } => *id,
        }
    }
}

/// Events, or a refusal.
pub fn decide(state: Option<&User>, command: &UserCommand, tenant: TenantId, facts: Facts<'_>) -> Result<Vec<UserEvent>, Rejection> {
    let user = || state.ok_or_else(|| Rejection::not_found("user", command.id()));
    Ok(match command {
        UserCommand::RegisterUser { id, email, name } => {
            check_name(name)?;
            let email = email.trim().to_lowercase();
            if email.len() > 254 || email.split_once('@').is_none_or(|(local, host)| local.is_empty() || host.is_empty()) {
                return Err(Rejection::InvalidInput("an e-mail address has the form `name@host`, and 254 bytes at most".into()));
            }
            let schema = facts.tenant(tenant)?;
            if state.is_some() || schema.users.values().any(|user| user.email == email) {
                return Err(Rejection::InvalidInput("a user with this id or e-mail address is registered already".into()));
            }
            vec![UserEvent::UserRegistered { id: *id, tenant_id: tenant, email, name: name.clone() }]
        }
        UserCommand::UpdateUser { id, name } => {
            check_name(name)?;
            if user()?.name == *name { vec![] } else { vec![UserEvent::UserUpdated { id: *id, name: name.clone() }] }
        }
        UserCommand::DeactivateUser { id } => {
            if user()?.deactivated {
                vec![]
            } else {
                vec![UserEvent::UserDeactivated { id: *id }]
            }
        }
    })
}

/// The next state.
pub fn evolve(state: Option<User>, event: &UserEvent) -> Option<User> {
    match event {
        UserEvent::UserRegistered { id, tenant_id, email, name } => {
            Some(User { id: *id, tenant_id: *tenant_id, email: email.clone(), name: name.clone(), deactivated: false })
        }
        UserEvent::UserUpdated { name, .. } => state.map(|user| User { name: name.clone(), ..user }),
        UserEvent::UserDeactivated { .. } => state.map(|user| User { deactivated: true, ..user }),
    }
}
