//! A tenant: the unit of isolation, and of being switched off.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Facts;
use crate::id::{Key, TenantId};
use crate::rejection::{Rejection, check_name};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its key, unique among tenants, for ever.
    pub key: Key,
    /// Its display name.
    pub name: String,
    /// Whether it takes no commands.
    pub suspended: bool,
}

/// What can be asked of a tenant.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum TenantCommand {
    /// Makes a tenant.
    RegisterTenant { id: TenantId, key: Key, name: String },
    /// Gives it another name.
    UpdateTenant { id: TenantId, name: String },
    /// Stops it from taking commands.
    SuspendTenant { id: TenantId, reason: Option<String> },
    /// Lets it take commands again.
    ReactivateTenant { id: TenantId },
    /// Shows what was computed aside, if it is still this computation that is wanted.
    CompleteComputation { id: TenantId, generation: u64 },
    /// Lets time pass for its formulas; the time is that to the millisecond.
    AdvanceClock { id: TenantId, to: Timestamp },
}

/// What happened to a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum TenantEvent {
    /// There is a new tenant.
    TenantRegistered { id: TenantId, key: Key, name: String },
    /// It has another name.
    TenantUpdated { id: TenantId, name: String },
    /// It takes no more commands.
    TenantSuspended {
        id: TenantId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It takes commands again.
    TenantReactivated { id: TenantId },
    /// What was computed aside is complete, and shown from now on.
    ComputationCompleted { id: TenantId, generation: u64 },
    /// It is this time for its formulas now.
    ClockAdvanced { id: TenantId, to: Timestamp },
}

impl TenantCommand {
    /// The tenant that it is about.
    pub fn id(&self) -> TenantId {
        match self {
            Self::RegisterTenant { id, .. }
            | Self::UpdateTenant { id, .. }
            | Self::SuspendTenant { id, .. }
            | Self::ReactivateTenant { id }
            | Self::CompleteComputation { id, .. }
            | Self::AdvanceClock { id, .. } => *id,
        }
    }
}

/// Events, or a refusal.
pub fn decide(state: Option<&Tenant>, command: &TenantCommand, facts: Facts<'_>) -> Result<Vec<TenantEvent>, Rejection> {
    let tenant = || state.ok_or_else(|| Rejection::not_found("tenant", command.id()));
    Ok(match command {
        TenantCommand::RegisterTenant { id, key, name } => {
            check_name(name)?;
            if state.is_some() {
                return Err(Rejection::InvalidInput(format!("tenant `{id}` is registered already")));
            }
            if facts.catalog.tenant_by_key(key).is_some() {
                return Err(Rejection::KeyTaken { key: key.clone(), what: "another tenant has it".into() });
            }
            vec![TenantEvent::TenantRegistered { id: *id, key: key.clone(), name: name.clone() }]
        }
        TenantCommand::UpdateTenant { id, name } => {
            check_name(name)?;
            if tenant()?.name == *name { vec![] } else { vec![TenantEvent::TenantUpdated { id: *id, name: name.clone() }] }
        }
        TenantCommand::SuspendTenant { id, reason } => {
            if tenant()?.suspended {
                vec![]
            } else {
                vec![TenantEvent::TenantSuspended { id: *id, reason: reason.clone() }]
            }
        }
        TenantCommand::ReactivateTenant { id } => {
            if tenant()?.suspended {
                vec![TenantEvent::TenantReactivated { id: *id }]
            } else {
                vec![]
            }
        }
        TenantCommand::CompleteComputation { id, generation } => {
            let staging = facts.tenant(tenant()?.id)?.staging();
            // A newer change of the schema has a computation of its own, which is complete later.
            if staging.is_some_and(|staging| staging.generation() == *generation) {
                vec![TenantEvent::ComputationCompleted { id: *id, generation: *generation }]
            } else {
                vec![]
            }
        }
        TenantCommand::AdvanceClock { id, to } => {
            let to = Timestamp::from_millisecond(to.as_millisecond()).unwrap_or(*to);
            let is_later = facts.tenant(tenant()?.id)?.clock().is_none_or(|clock| clock < to);
            if is_later { vec![TenantEvent::ClockAdvanced { id: *id, to }] } else { vec![] }
        }
    })
}

/// The next state.
pub fn evolve(state: Option<Tenant>, event: &TenantEvent) -> Option<Tenant> {
    match event {
        TenantEvent::TenantRegistered { id, key, name } => Some(Tenant { id: *id, key: key.clone(), name: name.clone(), suspended: false }),
        TenantEvent::TenantUpdated { name, .. } => state.map(|tenant| Tenant { name: name.clone(), ..tenant }),
        TenantEvent::TenantSuspended { .. } => state.map(|tenant| Tenant { suspended: true, ..tenant }),
        TenantEvent::TenantReactivated { .. } => state.map(|tenant| Tenant { suspended: false, ..tenant }),
        TenantEvent::ComputationCompleted { .. } | TenantEvent::ClockAdvanced { .. } => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::schema::Catalog;

    fn id() -> TenantId {
        TenantId(uuid::Uuid::from_u128(1))
    }

    fn registered() -> TenantEvent {
        TenantEvent::TenantRegistered { id: id(), key: Key::new("acme").unwrap(), name: "Acme".into() }
    }

    /// Given these events, when this command, then these events or this code.
    fn check(given: &[TenantEvent], when: TenantCommand, then: Result<Vec<TenantEvent>, &str>) {
        let state = given.iter().fold(None, evolve);
        let none = |_| None;
        let catalog = Catalog::default();
        let got = decide(state.as_ref(), &when, Facts { catalog: &catalog, entities: &none, sizes: &|_| 0 });
        assert_eq!(got.as_ref().map_err(|e| e.code()), then.as_ref().map_err(|code| *code), "{when:?}");
    }

    #[test]
    fn life_of_a_tenant() {
        let suspend = || TenantCommand::SuspendTenant { id: id(), reason: Some("unpaid".into()) };
        let suspended = || TenantEvent::TenantSuspended { id: id(), reason: Some("unpaid".into()) };
        let reactivate = || TenantCommand::ReactivateTenant { id: id() };
        let register = TenantCommand::RegisterTenant { id: id(), key: Key::new("acme").unwrap(), name: "Acme".into() };
        check(&[], register.clone(), Ok(vec![registered()]));
        check(&[registered()], register, Err("INVALID_INPUT"));
        check(&[], suspend(), Err("NOT_FOUND"));
        check(&[registered()], suspend(), Ok(vec![suspended()]));
        check(&[registered(), suspended()], suspend(), Ok(vec![]));
        check(&[registered()], reactivate(), Ok(vec![]));
        check(&[registered(), suspended()], reactivate(), Ok(vec![TenantEvent::TenantReactivated { id: id() }]));
        check(&[registered()], TenantCommand::UpdateTenant { id: id(), name: " ".into() }, Err("INVALID_INPUT"));
        check(&[registered()], TenantCommand::UpdateTenant { id: id(), name: "Acme".into() }, Ok(vec![]));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let advance = TenantCommand::AdvanceClock { id: id(), to: at("2026-03-01T12:00:00.0009Z") };
        check(&[], advance.clone(), Err("NOT_FOUND"));
        let mut catalog = Catalog::default();
        catalog.apply(id(), &Event::Tenant(registered()));
        let tick = |catalog: &Catalog| {
            let tenant = evolve(None, &registered());
            decide(tenant.as_ref(), &advance, Facts { catalog, entities: &|_| None, sizes: &|_| 0 }).unwrap()
        };
        let advanced = TenantEvent::ClockAdvanced { id: id(), to: at("2026-03-01T12:00:00Z") };
        assert_eq!(tick(&catalog), std::slice::from_ref(&advanced));
        assert!(!catalog.apply(id(), &Event::Tenant(advanced)), "time is no change of the schema");
        assert_eq!(tick(&catalog), [], "it does not go back, nor say the same again");
        let renamed = TenantEvent::TenantUpdated { id: id(), name: "Acme Corp".into() };
        check(&[registered()], TenantCommand::UpdateTenant { id: id(), name: "Acme Corp".into() }, Ok(vec![renamed]));
    }
}
