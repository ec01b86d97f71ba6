//! Commands: what can be asked, by whom, and the way from a command to the aggregate that decides it.

use crate::aggregate::Facts;
use crate::aggregate::attribute::{self, AttributeCommand};
use crate::aggregate::collection::{self, CollectionCommand};
use crate::aggregate::entity::{self, EntityCommand};
use crate::aggregate::space::{self, SpaceCommand};
use crate::aggregate::tenant::{self, TenantCommand};
use crate::aggregate::user::{self, UserCommand};
use crate::event::Event;
use crate::id::{CommandId, StreamId, TenantId};
use crate::rejection::Rejection;

/// What can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Of a tenant; operators only.
    Tenant(TenantCommand),
    /// Of a user.
    User(UserCommand),
    /// Of a space.
    Space(SpaceCommand),
    /// Of a collection.
    Collection(CollectionCommand),
    /// Of an attribute.
    Attribute(AttributeCommand),
    /// Of an entity.
    Entity(EntityCommand),
}

/// On whose behalf a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    /// The operator of the platform: may command tenants, and nothing inside one.
    Operator,
    /// A tenant: may command everything of its own, and nothing else.
    Tenant(TenantId),
}

/// A command with its circumstances.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its id: the same again is the same command.
    pub command_id: CommandId,
    /// On whose behalf it runs.
    pub authority: Authority,
    /// Who sent it, for the record.
    pub actor: String,
    /// What it belongs to; the command's own id if it began something.
    pub correlation_id: uuid::Uuid,
    /// What is asked.
    pub command: Command,
}

/// What a command comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The aggregate that was commanded.
    pub subject: StreamId,
    /// The tenant whose log it is.
    pub tenant: TenantId,
    /// What happened, in order, each on its stream. May be nothing.
    pub events: Vec<(StreamId, Event)>,
}

impl Command {
    /// The aggregate that it is about.
    pub fn subject(&self) -> StreamId {
        match self {
            Command::Tenant(command) => command.id().into(),
            Command::User(command) => command.id().into(),
            Command::Space(command) => command.id().into(),
            Command::Collection(command) => command.id().into(),
            Command::Attribute(command) => command.id().into(),
            Command::Entity(command) => command.id().into(),
        }
    }
}

/// Decides a command against everything that was accepted before it.
pub fn decide(request: &Request, facts: Facts<'_>) -> Result<Decision, Rejection> {
    let subject = request.command.subject();
    let tenant = match (&request.command, request.authority) {
        (Command::Tenant(command), Authority::Operator) => command.id(),
        (Command::Tenant(_), Authority::Tenant(_)) => {
            return Err(Rejection::Forbidden("only an operator's token commands tenants".into()));
        }
        (_, Authority::Operator) => return Err(Rejection::Forbidden("this needs a tenant's token, not an operator's".into())),
        (_, Authority::Tenant(tenant)) => {
            if facts.tenant(tenant)?.tenant.suspended {
                return Err(Rejection::TenantSuspended);
            }
            tenant
        }
    };
    let schema = facts.catalog.tenant(tenant);
    let events = match &request.command {
        Command::Tenant(command) => {
            let events = tenant::decide(schema.map(|s| &s.tenant), command, facts)?;
            events.into_iter().map(|event| (subject, Event::Tenant(event))).collect()
        }
        Command::User(command) => {
            let events = user::decide(schema.and_then(|s| s.users.get(&command.id())), command, tenant, facts)?;
            events.into_iter().map(|event| (subject, Event::User(event))).collect()
        }
        Command::Space(command) => {
            let events = space::decide(schema.and_then(|s| s.spaces.get(&command.id())), command, tenant, facts)?;
            events.into_iter().map(|event| (subject, Event::Space(event))).collect()
        }
        Command::Collection(command) => {
            let state = schema.and_then(|s| s.collection(command.id())).map(|c| c.collection());
            let events = collection::decide(state, command, tenant, facts)?;
            events.into_iter().map(|event| (subject, Event::Collection(event))).collect()
        }
        Command::Attribute(command) => {
            let state = schema.and_then(|s| s.attribute(command.id())).map(|a| &**a);
            let events = attribute::decide(state, command, tenant, facts)?;
            events.into_iter().map(|event| (event.id().into(), Event::Attribute(event))).collect()
        }
        Command::Entity(command) => {
            let state = facts.entities.entity(command.id());
            let events = entity::decide(state.as_ref(), command, tenant, facts)?;
            events.into_iter().map(|event| (event.id().into(), Event::Entity(event))).collect()
        }
    };
    Ok(Decision { subject, tenant, events })
}
