//! Queries: reads of the arrangements. No aggregates are involved.

use async_graphql::{Context, ID, Object, SimpleObject};
use decidr_domain::aggregate::user;
use decidr_domain::id::{CollectionId, EntityId, SpaceId};

use super::definition::AttributeDefinition;
use super::entity::Entity;
use super::explain::{Explanation, explain};
use super::groups::{self, Grouping, Groups, SummaryInput};
use super::page::{EntityConnection, OrderBy, Page};
use super::preview::{Preview, preview};
use super::scalars::PositionToken;
use super::schema_types::{Collection, Space};
use super::traverse::{self, Traversal};
use super::{Refusal, Request};

pub(super) struct Query;

/// Who calls.
#[derive(SimpleObject)]
struct Viewer {
    tenant_id: ID,
    tenant_key: String,
    actor: String,
}

/// A person or program that belongs to the tenant.
struct User(user::User);

#[Object]
impl User {
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    async fn email(&self) -> &str {
        &self.0.email
    }
    async fn name(&self) -> &str {
        &self.0.name
    }
    async fn deactivated(&self) -> bool {
        self.0.deactivated
    }
}

/// An id that a client gave; what is no id belongs to nothing.
pub(crate) fn parse<T: std::str::FromStr>(what: &'static str, id: &ID) -> Result<T, Refusal> {
    let not_found = |_| Refusal::new("NOT_FOUND", format!("no {what} `{}`", id.chars().take(80).collect::<String>()));
    id.parse().map_err(not_found)
}

#[Object]
impl Query {
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Viewer, Refusal> {
        let request = Request::of(ctx)?;
        let view = request.view(None).await?;
        let tenant = &view.schema.tenant;
        Ok(Viewer { tenant_id: tenant.id.to_string().into(), tenant_key: tenant.key.to_string(), actor: request.caller.actor.clone() })
    }

    async fn users(&self, ctx: &Context<'_>) -> Result<Vec<User>, Refusal> {
        let view = Request::of(ctx)?.view(None).await?;
        Ok(view.schema.users.values().cloned().map(User).collect())
    }

    async fn spaces(&self, ctx: &Context<'_>) -> Result<Vec<Space>, Refusal> {
        let view = Request::of(ctx)?.view(None).await?;
        Ok(view.schema.spaces.values().map(|space| Space { view: view.clone(), space: space.clone() }).collect())
    }

    async fn collections(&self, ctx: &Context<'_>, space_id: Option<ID>) -> Result<Vec<Collection>, Refusal> {
        let view = Request::of(ctx)?.view(None).await?;
        let space = space_id.as_ref().map(|id| parse::<SpaceId>("space", id)).transpose()?;
        if let Some(space) = space.filter(|space| !view.schema.spaces.contains_key(space)) {
            return Err(Refusal::new("NOT_FOUND", format!("no space `{space}`")));
        }
        let wanted = view.schema.collections().filter(|c| space.is_none_or(|space| c.collection().space_id == space));
        Ok(wanted.map(|collection| Collection { view: view.clone(), collection: collection.clone() }).collect())
    }

    async fn collection(&self, ctx: &Context<'_>, id: Option<ID>, key: Option<String>) -> Result<Option<Collection>, Refusal> {
        let view = Request::of(ctx)?.view(None).await?;
        let found = match (id, key) {
            (Some(id), None) => id.parse::<CollectionId>().ok().and_then(|id| view.schema.collection(id)),
            (None, Some(key)) => view.schema.collection_by_key(&key),
            _ => return Err(Refusal::new("INVALID_INPUT", "give either id or key")),
        };
        Ok(found.map(|collection| Collection { view: view.clone(), collection: collection.clone() }))
    }

    async fn entity(&self, ctx: &Context<'_>, id: ID, min_position: Option<PositionToken>) -> Result<Option<Entity>, Refusal> {
        let request = Request::of(ctx)?;
        let view = request.view_for_reading(ctx, min_position).await?;
        let row = id.parse::<EntityId>().ok().and_then(|id| view.arranged.row(id));
        Ok(row.filter(|row| row.entity.tenant_id == view.schema.tenant.id).map(|row| Entity { view, row }))
    }

    /// `filter` is a formula over the collection's attributes, as in `AND({dep_delay} > 15, {carrier} = "UA")`.
    #[graphql(complexity = "1 + first.max(0) as usize * child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "the arguments are those of the field")]
    async fn entities(
        &self,
        ctx: &Context<'_>,
        collection_id: ID,
        filter: Option<String>,
        order_by: Option<Vec<OrderBy>>,
        #[graphql(default = 100)] first: i32,
        min_position: Option<PositionToken>,
    ) -> Result<Vec<Entity>, Refusal> {
        let view = Request::of(ctx)?.view_for_reading(ctx, min_position).await?;
        let page = Page::new(&view, parse("collection", &collection_id)?, filter.as_deref(), order_by.as_deref(), first, None)?;
        Ok(tokio::task::block_in_place(|| page.of_collection())?.nodes)
    }

    /// The entities of a collection in groups, one in the other, three deep at most, with summaries over all and over each.
    async fn groups(
        &self,
        ctx: &Context<'_>,
        collection_id: ID,
        filter: Option<String>,
        #[graphql(default)] group_by: Vec<OrderBy>,
        #[graphql(default)] summaries: Vec<SummaryInput>,
        min_position: Option<PositionToken>,
    ) -> Result<Groups, Refusal> {
        let view = Request::of(ctx)?.view_for_reading(ctx, min_position).await?;
        let collection = parse("collection", &collection_id)?;
        tokio::task::block_in_place(|| groups::groups(&view, collection, filter.as_deref(), &group_by, summaries))
    }

    /// What can be reached from an entity by links and backlinks, named by key, in whichever collections have them; the
    /// nearest first. `filter` is a formula over the entity's own collection,
    /// and lets entities of others not pass.
    #[graphql(complexity = "1 + first.max(0) as usize * child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "the arguments are those of the field")]
    async fn traverse(
        &self,
        ctx: &Context<'_>,
        entity_id: ID,
        links: Vec<String>,
        filter: Option<String>,
        depth_max: Option<i32>,
        #[graphql(default = 100)] first: i32,
        min_position: Option<PositionToken>,
    ) -> Result<Traversal, Refusal> {
        let view = Request::of(ctx)?.view_for_reading(ctx, min_position).await?;
        let entity = parse("entity", &entity_id)?;
        tokio::task::block_in_place(|| traverse::traverse(&view, entity, &links, filter.as_deref(), depth_max, first))
    }

    /// What is at the end of a path of links from an entity, one link after the other: `["orders", "product"]`. `filter` is
    /// a formula over the collection at the end.
    #[graphql(complexity = "1 + first.max(0) as usize * child_complexity")]
    async fn follow(
        &self,
        ctx: &Context<'_>,
        entity_id: ID,
        path: Vec<String>,
        filter: Option<String>,
        #[graphql(default = 100)] first: i32,
        min_position: Option<PositionToken>,
    ) -> Result<Traversal, Refusal> {
        let view = Request::of(ctx)?.view_for_reading(ctx, min_position).await?;
        let entity = parse("entity", &entity_id)?;
        tokio::task::block_in_place(|| traverse::follow(&view, entity, &path, filter.as_deref(), first))
    }

    /// What is at the end of a path of links from an entity, in groups by attributes of the collection there, as of `groups`.
    #[allow(clippy::too_many_arguments, reason = "the arguments are those of the field")]
    async fn follow_groups(
        &self,
        ctx: &Context<'_>,
        entity_id: ID,
        path: Vec<String>,
        filter: Option<String>,
        #[graphql(default)] group_by: Vec<OrderBy>,
        #[graphql(default)] summaries: Vec<SummaryInput>,
        min_position: Option<PositionToken>,
    ) -> Result<Groups, Refusal> {
        let view = Request::of(ctx)?.view_for_reading(ctx, min_position).await?;
        let entity = parse("entity", &entity_id)?;
        tokio::task::block_in_place(|| {
            let (rows, collection) = traverse::ends(&view, entity, &path, filter.as_deref())?;
            let mut grouping = Grouping::new(&view, collection, &group_by, summaries)?;
            rows.iter().try_for_each(|row| grouping.take_in(row))?;
            Ok(grouping.groups(&view))
        })
    }

    /// The entities on a shortest way from one to another by links and backlinks, both ends included; null if there is none.
    #[graphql(complexity = "100 * child_complexity")]
    async fn shortest_path(
        &self,
        ctx: &Context<'_>,
        from_id: ID,
        to_id: ID,
        links: Vec<String>,
        min_position: Option<PositionToken>,
    ) -> Result<Option<Vec<Entity>>, Refusal> {
        let view = Request::of(ctx)?.view_for_reading(ctx, min_position).await?;
        let (from, to) = (parse("entity", &from_id)?, parse("entity", &to_id)?);
        tokio::task::block_in_place(|| traverse::shortest_path(&view, from, to, &links))
    }

    /// Why a cell is what it is: what it was computed from, down to stored values and the events that set them.
    async fn explain(
        &self,
        ctx: &Context<'_>,
        entity_id: ID,
        attribute: String,
        #[graphql(default = 3)] depth: i32,
    ) -> Result<Explanation, Refusal> {
        let request = Request::of(ctx)?;
        let view = request.view(None).await?;
        explain(&request, &view, parse("entity", &entity_id)?, &attribute, depth).await
    }

    /// What another definition would change about the cells of a computed attribute, without changing it.
    async fn preview_attribute(
        &self,
        ctx: &Context<'_>,
        id: ID,
        definition: AttributeDefinition,
        #[graphql(default = 10)] sample: i32,
    ) -> Result<Preview, Refusal> {
        let view = Request::of(ctx)?.view(None).await?;
        let (id, definition) = (parse("attribute", &id)?, definition.into_input()?);
        tokio::task::block_in_place(|| preview(&view, id, &definition, sample))
    }

    /// The same with pages, a total and the position at which it was read.
    #[graphql(complexity = "1 + first.max(0) as usize * child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "the arguments are those of the field")]
    async fn entities_connection(
        &self,
        ctx: &Context<'_>,
        collection_id: ID,
        filter: Option<String>,
        order_by: Option<Vec<OrderBy>>,
        #[graphql(default = 100)] first: i32,
        after: Option<String>,
        min_position: Option<PositionToken>,
    ) -> Result<EntityConnection, Refusal> {
        let view = Request::of(ctx)?.view_for_reading(ctx, min_position).await?;
        let collection = parse("collection", &collection_id)?;
        let page = Page::new(&view, collection, filter.as_deref(), order_by.as_deref(), first, after.as_deref())?;
        tokio::task::block_in_place(|| page.of_collection())
    }
}
