//! Mutations: each is a command. No logic lives here; it translates input to a command and the answer to a payload.

use async_graphql::{Context, ID, Object, SimpleObject};
use decidr_domain::aggregate::attribute::AttributeCommand;
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::entity::{EntityCommand, TARGETS_MAX};
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::aggregate::user::UserCommand;
use decidr_domain::command::{self, Authority, Command};
use decidr_domain::id::{AttributeId, CollectionId, CommandId, EntityId, SpaceId, TenantId, UserId};
use uuid::Uuid;

use super::definition::{AttributeDefinition, key};
use super::preview::check_conversion;
use super::query::parse;
use super::scalars::{PositionToken, Values};
use super::{Refusal, Request};
use crate::clocks;

pub(super) struct Mutation;

/// The answer to every mutation: the thing, its new version, and where in the log it stands. The same commandId again
/// gives the same answer and no second event. A refusal is a GraphQL error with extensions {code, …}.
#[derive(SimpleObject)]
struct Payload {
    id: ID,
    version: u32,
    position: PositionToken,
}

fn parse_command_id(id: &ID) -> Result<CommandId, Refusal> {
    Ok(CommandId(Uuid::parse_str(id).map_err(|_| Refusal::new("INVALID_INPUT", "commandId is not a UUID"))?))
}

/// Whether the caller's tenant sent this command before and it was done.
async fn is_answered(request: &Request<'_>, command_id: Option<&ID>) -> Result<bool, Refusal> {
    let Some(id) = command_id else { return Ok(false) };
    Ok(request.platform.is_answered(request.tenant()?, parse_command_id(id)?).await?)
}

async fn execute(ctx: &Context<'_>, command_id: Option<ID>, command: Command) -> Result<Payload, Refusal> {
    let request = Request::of(ctx)?;
    let command_id = command_id.as_ref().map_or_else(|| Ok(CommandId(Uuid::now_v7())), parse_command_id)?;
    let answer = request
        .platform
        .execute(command::Request {
            command_id,
            authority: request.caller.authority,
            actor: request.caller.actor.clone(),
            correlation_id: command_id.0,
            command,
        })
        .await?;
    // An operator commands tenants only.
    let tenant = match request.caller.authority {
        Authority::Tenant(tenant) => tenant,
        Authority::Operator => TenantId(answer.subject.id),
    };
    let position = request.seal().position(tenant, answer.position);
    Ok(Payload { id: answer.subject.id.to_string().into(), version: answer.version, position })
}

/// Before a definition that may ask what time it is: has the tenant's formulas know.
async fn start_clock(ctx: &Context<'_>, command: &AttributeCommand) -> Result<(), Refusal> {
    let (AttributeCommand::CreateAttribute { definition, .. } | AttributeCommand::UpdateAttribute { definition: Some(definition), .. }) =
        command
    else {
        return Ok(());
    };
    let request = Request::of(ctx)?;
    match request.caller.authority {
        Authority::Tenant(tenant) if definition.may_ask_time() => Ok(clocks::start(tenant, request.platform).await?),
        _ => Ok(()),
    }
}

fn targets(ids: &[ID]) -> Result<Vec<EntityId>, Refusal> {
    if ids.len() > TARGETS_MAX {
        return Err(Refusal::new("TOO_LARGE", format!("targetIds takes {TARGETS_MAX} ids at most, and these are {}", ids.len())));
    }
    let target = |id: &ID| {
        id.parse().map_err(|_| {
            Refusal::new("LINK_TARGET_NOT_FOUND", format!("`{}` is not an entity's id", id.chars().take(80).collect::<String>()))
        })
    };
    ids.iter().map(target).collect()
}

#[Object]
impl Mutation {
    /// Operator token only.
    async fn register_tenant(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "key")] tenant_key: String,
        name: String,
        command_id: Option<ID>,
    ) -> Result<Payload, Refusal> {
        let command = TenantCommand::RegisterTenant { id: TenantId(Uuid::now_v7()), key: key(&tenant_key)?, name };
        execute(ctx, command_id, Command::Tenant(command)).await
    }

    /// Operator token only.
    async fn update_tenant(&self, ctx: &Context<'_>, id: ID, name: String, command_id: Option<ID>) -> Result<Payload, Refusal> {
        execute(ctx, command_id, Command::Tenant(TenantCommand::UpdateTenant { id: parse("tenant", &id)?, name })).await
    }

    /// Operator token only.
    async fn suspend_tenant(&self, ctx: &Context<'_>, id: ID, reason: Option<String>, command_id: Option<ID>) -> Result<Payload, Refusal> {
        execute(ctx, command_id, Command::Tenant(TenantCommand::SuspendTenant { id: parse("tenant", &id)?, reason })).await
    }

    /// Operator token only.
    async fn reactivate_tenant(&self, ctx: &Context<'_>, id: ID, command_id: Option<ID>) -> Result<Payload, Refusal> {
        execute(ctx, command_id, Command::Tenant(TenantCommand::ReactivateTenant { id: parse("tenant", &id)? })).await
    }

    async fn register_user(&self, ctx: &Context<'_>, email: String, name: String, command_id: Option<ID>) -> Result<Payload, Refusal> {
        execute(ctx, command_id, Command::User(UserCommand::RegisterUser { id: UserId(Uuid::now_v7()), email, name })).await
    }

    async fn update_user(&self, ctx: &Context<'_>, id: ID, name: String, command_id: Option<ID>) -> Result<Payload, Refusal> {
        execute(ctx, command_id, Command::User(UserCommand::UpdateUser { id: parse("user", &id)?, name })).await
    }

    async fn deactivate_user(&self, ctx: &Context<'_>, id: ID, command_id: Option<ID>) -> Result<Payload, Refusal> {
        execute(ctx, command_id, Command::User(UserCommand::DeactivateUser { id: parse("user", &id)? })).await
    }

    async fn create_space(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "key")] space_key: String,
        name: String,
        command_id: Option<ID>,
    ) -> Result<Payload, Refusal> {
        let command = SpaceCommand::CreateSpace { id: SpaceId(Uuid::now_v7()), key: key(&space_key)?, name };
        execute(ctx, command_id, Command::Space(command)).await
    }

    async fn create_collection(
        &self,
        ctx: &Context<'_>,
        space_id: ID,
        #[graphql(name = "key")] collection_key: String,
        name: String,
        command_id: Option<ID>,
    ) -> Result<Payload, Refusal> {
        let (id, space_id) = (CollectionId(Uuid::now_v7()), parse("space", &space_id)?);
        let command = CollectionCommand::CreateCollection { id, space_id, key: key(&collection_key)?, name };
        execute(ctx, command_id, Command::Collection(command)).await
    }

    async fn create_attribute(
        &self,
        ctx: &Context<'_>,
        collection_id: ID,
        #[graphql(name = "key")] attribute_key: String,
        name: Option<String>,
        definition: AttributeDefinition,
        command_id: Option<ID>,
    ) -> Result<Payload, Refusal> {
        let command = AttributeCommand::CreateAttribute {
            id: AttributeId(Uuid::now_v7()),
            collection_id: parse("collection", &collection_id)?,
            key: key(&attribute_key)?,
            name,
            definition: definition.into_input()?,
        };
        start_clock(ctx, &command).await?;
        execute(ctx, command_id, Command::Attribute(command)).await
    }

    /// A stored attribute that gets another type converts what is stored; a select whose options get other names renames them.
    /// If some values do not fit they are counted, but for archived entities, in a VALUE_TYPE_MISMATCH and nothing is done, but
    /// with `force`: then their cells hold an error, until the attribute gets a type that they fit or they are set anew. `previewAttribute` shows which.
    #[allow(clippy::too_many_arguments, reason = "the arguments are those of the field")]
    async fn update_attribute(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(name = "key")] attribute_key: Option<String>,
        name: Option<String>,
        definition: Option<AttributeDefinition>,
        force: Option<bool>,
        command_id: Option<ID>,
    ) -> Result<Payload, Refusal> {
        let command = AttributeCommand::UpdateAttribute {
            id: parse("attribute", &id)?,
            key: attribute_key.as_deref().map(key).transpose()?,
            name,
            definition: definition.map(AttributeDefinition::into_input).transpose()?,
        };
        if let AttributeCommand::UpdateAttribute { id, definition: Some(definition), .. } = &command
            && force != Some(true)
        {
            let request = Request::of(ctx)?;
            let view = request.view(None).await?;
            let refusal = tokio::task::block_in_place(|| check_conversion(&view, *id, definition)).err();
            // What was answered before is answered as then, whatever has come to be stored since.
            if let Some(refusal) = refusal
                && !is_answered(&request, command_id.as_ref()).await?
            {
                return Err(refusal);
            }
        }
        start_clock(ctx, &command).await?;
        execute(ctx, command_id, Command::Attribute(command)).await
    }

    async fn delete_attribute(&self, ctx: &Context<'_>, id: ID, command_id: Option<ID>) -> Result<Payload, Refusal> {
        let command = AttributeCommand::DeleteAttribute { id: parse("attribute", &id)? };
        execute(ctx, command_id, Command::Attribute(command)).await
    }

    async fn create_entity(
        &self,
        ctx: &Context<'_>,
        collection_id: ID,
        values: Option<Values>,
        command_id: Option<ID>,
    ) -> Result<Payload, Refusal> {
        let (id, collection_id) = (EntityId(Uuid::now_v7()), parse("collection", &collection_id)?);
        let values = values.map(Values::into_input).unwrap_or_default();
        execute(ctx, command_id, Command::Entity(EntityCommand::CreateEntity { id, collection_id, values })).await
    }

    async fn set_values(
        &self,
        ctx: &Context<'_>,
        id: ID,
        values: Values,
        expected_version: Option<i32>,
        command_id: Option<ID>,
    ) -> Result<Payload, Refusal> {
        let command = EntityCommand::SetValues {
            id: parse("entity", &id)?,
            values: values.into_input(),
            expected_version: expected_version.map(i64::from),
        };
        execute(ctx, command_id, Command::Entity(command)).await
    }

    async fn link_entities(
        &self,
        ctx: &Context<'_>,
        id: ID,
        attribute: String,
        target_ids: Vec<ID>,
        command_id: Option<ID>,
    ) -> Result<Payload, Refusal> {
        let command = EntityCommand::LinkEntities { id: parse("entity", &id)?, attribute, target_ids: targets(&target_ids)? };
        execute(ctx, command_id, Command::Entity(command)).await
    }

    async fn unlink_entities(
        &self,
        ctx: &Context<'_>,
        id: ID,
        attribute: String,
        target_ids: Vec<ID>,
        command_id: Option<ID>,
    ) -> Result<Payload, Refusal> {
        let command = EntityCommand::UnlinkEntities { id: parse("entity", &id)?, attribute, target_ids: targets(&target_ids)? };
        execute(ctx, command_id, Command::Entity(command)).await
    }

    /// Puts what a link or backlink leads to in another order: these first, as they come here, the others behind them as they
    /// were. What a backlink leads to is in the order in which it was made, until it is put in another one; one that is taken
    /// away and comes back has its place again. Lists, FIRST, LAST and JOIN of lookups and rollups have this order.
    async fn reorder_links(
        &self,
        ctx: &Context<'_>,
        id: ID,
        attribute: String,
        target_ids: Vec<ID>,
        command_id: Option<ID>,
    ) -> Result<Payload, Refusal> {
        let command = EntityCommand::ReorderLinks { id: parse("entity", &id)?, attribute, target_ids: targets(&target_ids)? };
        execute(ctx, command_id, Command::Entity(command)).await
    }

    async fn archive_entity(&self, ctx: &Context<'_>, id: ID, command_id: Option<ID>) -> Result<Payload, Refusal> {
        execute(ctx, command_id, Command::Entity(EntityCommand::ArchiveEntity { id: parse("entity", &id)? })).await
    }

    async fn restore_entity(&self, ctx: &Context<'_>, id: ID, command_id: Option<ID>) -> Result<Payload, Refusal> {
        execute(ctx, command_id, Command::Entity(EntityCommand::RestoreEntity { id: parse("entity", &id)? })).await
    }
}
