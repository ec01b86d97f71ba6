//! The GraphQL API. One file for each concept; [`scalars`] turns values into JSON and back.

mod changes;
mod defined;
mod definition;
mod document;
mod entity;
mod error;
mod explain;
mod groups;
mod listener;
mod live_groups;
mod live_walks;
mod maintained;
mod mutation;
mod page;
mod preview;
mod query;
mod reading;
mod reads;
pub mod scalars;
mod schema_types;
mod subscription;
mod traverse;
mod walk_feed;
mod walk_steps;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_graphql::{Context, Response, Schema};
use decidr_dataflow::{Arranged, Selection};
use decidr_domain::aggregate::user;
use decidr_domain::command::Authority;
use decidr_domain::delta::Row;
use decidr_domain::formula::{At, Equality, Expression, Program};
use decidr_domain::id::{AttributeId, CollectionId, Position, TenantId};
use decidr_domain::rejection::Rejection;
use decidr_domain::schema::{TenantSchema, resolve};
use decidr_sinks::LiveQuery;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use crate::platform::Platform;
use crate::position::PositionKey;

pub use error::{Refusal, refusal_json};
use reading::Reading;
use scalars::PositionToken;

/// The API. Documents are looked at before it: as an extension of the schema that would cost something for each field of each
/// entity that is answered.
#[derive(Clone)]
pub struct ApiSchema(Schema<query::Query, mutation::Mutation, subscription::Subscription>);

impl ApiSchema {
    /// Answers a query or mutation.
    pub async fn execute(&self, request: impl Into<async_graphql::Request>) -> Response {
        match document::checked(request.into()) {
            Ok(request) => self.0.execute(request).await,
            Err(error) => Response::from_errors(vec![error]),
        }
    }

    /// Answers a subscription; a query or mutation with one response.
    pub fn execute_stream(&self, request: impl Into<async_graphql::Request>) -> BoxStream<'static, Response> {
        match document::checked(request.into()) {
            Ok(request) => self.0.execute_stream(request),
            Err(error) => futures_util::stream::iter([Response::from_errors(vec![error])]).boxed(),
        }
    }
}

/// How deep a query may be nested, and how many fields of how many entities it may ask for: a list counts as many times
/// as it may have entries.
const DEPTH_MAX: usize = 16;
const COMPLEXITY_MAX: usize = 200_000;

/// The API of a platform.
pub fn schema(platform: Arc<Platform>, positions: Arc<PositionKey>) -> ApiSchema {
    let schema = Schema::build(query::Query, mutation::Mutation, subscription::Subscription)
        .data(platform)
        .data(positions)
        .limit_depth(DEPTH_MAX)
        .limit_complexity(COMPLEXITY_MAX)
        .finish();
    ApiSchema(schema)
}

/// Gives a code to errors that come from GraphQL itself, as for a query that does not fit the schema.
pub fn with_codes(mut response: Response) -> Response {
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", "INVALID_INPUT");
        }
    }
    response
}

/// Who calls. Part of every request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// On whose behalf.
    pub authority: Authority,
    /// Who, for the record.
    pub actor: String,
}

/// How long a query waits for the dataflow to reach what was in the log when it came.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a query waits for the position that it asked for.
const POSITION_PATIENCE: Duration = Duration::from_secs(30);

/// What a resolver needs.
pub(crate) struct Request<'a> {
    pub(crate) platform: &'a Arc<Platform>,
    pub(crate) positions: &'a Arc<PositionKey>,
    budget: ScanBudget,
    pub(crate) caller: &'a Caller,
}

impl<'a> Request<'a> {
    pub(crate) fn of(ctx: &Context<'a>) -> Result<Self, Refusal> {
        let missing = |_| Refusal::internal("the request has no caller");
        Ok(Self {
            platform: ctx.data::<Arc<Platform>>().map_err(missing)?,
            positions: ctx.data::<Arc<PositionKey>>().map_err(missing)?,
            budget: ctx.data_opt::<ScanBudget>().cloned().unwrap_or_default(),
            caller: ctx.data::<Caller>().map_err(missing)?,
        })
    }

    /// The tenant on whose behalf it is.
    pub(crate) fn tenant(&self) -> Result<TenantId, Refusal> {
        match self.caller.authority {
            Authority::Tenant(tenant) => Ok(tenant),
            Authority::Operator => Err(Refusal::new("FORBIDDEN", "this needs a tenant's token, not an operator's")),
        }
    }

    /// Everything that the tenant may read, as of now, or of `min_position` and later.
    pub(crate) async fn view(&self, min_position: Option<PositionToken>) -> Result<TenantView, Refusal> {
        let tenant = self.tenant()?;
        let arranged = match min_position {
            None => self.platform.fresh(PATIENCE).await,
            Some(PositionToken(sealed)) => {
                self.wait_for(tenant, &sealed).await?;
                self.platform.arranged()
            }
        };
        let schema = arranged_schema(&arranged, tenant)?;
        Ok(TenantView::new(arranged, schema, self.seal(), self.budget.clone(), self.caller.actor.as_str().into()))
    }

    /// The same for a query that may read cells which are computed aside: where the position asked for is not older than
    /// the definition that they follow from, it waits until they are shown.
    pub(crate) async fn view_for_reading(&self, ctx: &Context<'_>, min_position: Option<PositionToken>) -> Result<TenantView, Refusal> {
        let Some(PositionToken(sealed)) = &min_position else { return self.view(None).await };
        let tenant = self.tenant()?;
        let position = self.wait_for(tenant, sealed).await?;
        let view = self.view(min_position).await?;
        let is_shown = |arranged: &Arranged| arranged.staged_at(tenant).is_none_or(|staged| staged > position);
        if is_shown(&view.arranged) || !reads::is_of_computing(ctx, &view.schema) {
            return Ok(view);
        }
        match tokio::time::timeout(POSITION_PATIENCE, self.platform.arranged_when(is_shown)).await {
            Ok(true) => self.view(None).await,
            _ => Err(Refusal::new("UNAVAILABLE", "cells of the definition at minPosition were not computed in time; try again")),
        }
    }

    /// Shows positions of this log to clients.
    pub(crate) fn seal(&self) -> Seal {
        Seal { key: self.positions.clone(), lineage: self.platform.lineage() }
    }

    async fn wait_for(&self, tenant: TenantId, sealed: &str) -> Result<Position, Refusal> {
        // One that lies behind the end of the log is of a log that lost its end, and as strange as any other.
        let position = self.positions.open_sealed(tenant, self.platform.lineage(), sealed).filter(|p| *p <= self.platform.head());
        let position = position.ok_or_else(|| Refusal::new("INVALID_INPUT", "minPosition is not a position that this server gave"))?;
        match tokio::time::timeout(POSITION_PATIENCE, self.platform.reached(position)).await {
            Ok(true) => Ok(position),
            _ => Err(Refusal::new("UNAVAILABLE", "minPosition was not reached in time; try again")),
        }
    }
}

fn arranged_schema(arranged: &Arranged, tenant: TenantId) -> Result<Arc<TenantSchema>, Refusal> {
    use decidr_domain::arrangements::Snapshot;
    arranged.catalog().tenant(tenant).cloned().ok_or_else(|| Refusal::new("NOT_FOUND", "the tenant is not there"))
}

/// What one tenant may read, as of one position. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TenantView {
    pub(crate) arranged: Arc<Arranged>,
    pub(crate) schema: Arc<TenantSchema>,
    pub(crate) seal: Seal,
    pub(crate) budget: ScanBudget,
    /// What time it is for filters.
    now: Timestamp,
    /// Who asks.
    actor: Arc<str>,
}

/// How many rows one request may look at to filter and to sort, all its fields together.
const SCANNED_MAX: usize = 4_000_000;

/// How long one request may look at rows: a filter may take milliseconds for each.
const SCAN_TIME_MAX: Duration = Duration::from_secs(20);

/// What is left of the rows that a request may look at, and of its time. Clones share it.
#[derive(Clone)]
pub(crate) struct ScanBudget {
    left: Arc<AtomicUsize>,
    until: Instant,
}

impl Default for ScanBudget {
    fn default() -> Self {
        Self { left: Arc::new(AtomicUsize::new(SCANNED_MAX)), until: Instant::now() + SCAN_TIME_MAX }
    }
}

impl ScanBudget {
    /// After how many rows the time is looked at.
    const TIMED: usize = 64;

    /// Takes one row from it; `false` if there is none left.
    pub(crate) fn take(&self) -> bool {
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.is_ok_and(|left| left % Self::TIMED != 0 || Instant::now() < self.until)
    }

    /// Why a request is not answered that looks at more.
    pub(crate) fn exhausted() -> Refusal {
        let message = format!(
            "the request looks at more than {SCANNED_MAX} rows and events in all, or for longer than {} seconds; ask for less at a time",
            SCAN_TIME_MAX.as_secs()
        );
        Refusal::new("TOO_LARGE", message)
    }
}

/// Makes positions of one log presentable.
#[derive(Clone)]
pub(crate) struct Seal {
    key: Arc<PositionKey>,
    lineage: u32,
}

impl Seal {
    /// What clients of `tenant` see of a position.
    pub(crate) fn position(&self, tenant: TenantId, position: Position) -> PositionToken {
        PositionToken(self.key.seal(tenant, self.lineage, position))
    }
}

impl TenantView {
    pub(crate) fn new(arranged: Arc<Arranged>, schema: Arc<TenantSchema>, seal: Seal, budget: ScanBudget, actor: Arc<str>) -> Self {
        Self { arranged, schema, seal, budget, now: Timestamp::now(), actor }
    }

    /// What a user wrote as a filter over a collection.
    pub(crate) fn filter(&self, collection: CollectionId, text: &str) -> Result<(Expression, Program), Rejection> {
        let is_caller = |user: &&user::User| user.email.eq_ignore_ascii_case(&self.actor) || user.id.to_string() == *self.actor;
        match self.schema.users.values().find(is_caller) {
            Some(user) => resolve::filter(&self.schema, collection, text, &user.id.to_string()),
            None => resolve::filter(&self.schema, collection, text, &self.actor),
        }
    }

    /// The same, to be looked at whenever a row changes: while that is done all others wait.
    pub(crate) fn live_filter(&self, collection: CollectionId, text: &str) -> Result<(Expression, Program), Refusal> {
        /// How many steps it may take, about.
        const WORK_MAX: u64 = 5_000;
        let (expression, program) = self.filter(collection, text)?;
        match program.work() {
            ..=WORK_MAX => Ok((expression, program)),
            work => {
                let message = format!(
                    "the filter takes about {work} steps for a row, and that of a subscription {WORK_MAX} at most: make a formula of it, \
                     and filter by that"
                );
                Err(Refusal::new("TOO_LARGE", message))
            }
        }
    }

    /// Whether a row is in sight and passes a filter.
    pub(crate) fn matches(&self, row: &Row, filter: Option<&Program>) -> bool {
        LiveQuery::matches_at(row, filter, Some(self.now))
    }

    /// The same as of the tenant's clock, as live queries have it.
    pub(crate) fn matches_by_clock(&self, row: &Row, filter: Option<&Program>) -> bool {
        LiveQuery::matches_at(row, filter, self.schema.clock())
    }

    /// Which entities of a collection need be looked at for a filter.
    pub(crate) fn select(&self, collection: CollectionId, filter: Option<&Program>) -> Selection {
        self.select_equal(collection, &filter.map(Program::equalities).unwrap_or_default())
    }

    /// The same for what cells must equal.
    pub(crate) fn select_equal(&self, collection: CollectionId, required: &[Equality]) -> Selection {
        self.arranged.select(self.schema.tenant.id, collection, required)
    }

    /// A row with the time that it is for the tenant's formulas.
    pub(crate) fn at<'a>(&self, row: &'a Row) -> At<'a> {
        At { cells: row, now: Some(self.schema.clock().unwrap_or(self.now)) }
    }

    /// How the cells of an attribute are read.
    pub(crate) fn reading(&self, attribute: AttributeId) -> Result<Reading, Refusal> {
        Reading::of(&self.schema, attribute).ok_or_else(|| Refusal::internal("an attribute is gone that was just found"))
    }

    /// As of which of the tenant's events.
    pub(crate) fn position(&self) -> PositionToken {
        use decidr_domain::arrangements::Snapshot;
        let tenant = self.schema.tenant.id;
        self.seal.position(tenant, self.arranged.newest(tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_request_share_a_budget() {
        let budget = ScanBudget { left: Arc::new(AtomicUsize::new(3)), ..ScanBudget::default() };
        let other = budget.clone();
        assert!(budget.take() && other.take() && budget.take());
        assert!(!budget.take() && !other.take());
        assert!(ScanBudget::default().take());
        let late = ScanBudget { until: Instant::now(), ..ScanBudget::default() };
        assert!((0..ScanBudget::TIMED).any(|_| !late.take()), "its time is over, and soon it is seen");
    }
}
