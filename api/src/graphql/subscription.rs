//! Subscriptions: a snapshot, then every change, once and in order, each with its position.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, Enum, ID, SimpleObject, Subscription as GraphqlSubscription};
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::delta::Row;
use decidr_domain::formula::Program;
use decidr_domain::id::{CollectionId, EntityId, Position};
use decidr_domain::schema::resolve;
use decidr_sinks::live::Next;
use decidr_sinks::{LiveQuery, OpKind as LiveOpKind};
use futures_util::Stream;

use super::entity::Entity;
use super::query::parse;
use super::scalars::PositionToken;
use super::{Refusal, Request, ScanBudget, Seal, TenantView, arranged_schema};
use crate::platform::Platform;

pub struct Subscription;

/// What changed, up to a position.
#[derive(SimpleObject)]
pub(crate) struct Changes {
    position: PositionToken,
    kind: ChangesKind,
    ops: Vec<Op>,
}

/// SNAPSHOT may come in several messages at one position; the first DELTA or PROGRESS ends it. RESET: forget everything,
/// a new SNAPSHOT follows. PROGRESS: no change up to position.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "described above")]
pub(crate) enum ChangesKind {
    Snapshot,
    Delta,
    Progress,
    Reset,
}

/// `index` is for ordered live queries; null here. `node` is null for DELETE.
#[derive(SimpleObject)]
pub(crate) struct Op {
    op: OpKind,
    id: ID,
    index: Option<i32>,
    node: Option<Entity>,
}

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) enum OpKind {
    Insert,
    Update,
    Delete,
}

/// How many entities one message of a snapshot holds.
const SNAPSHOT_PAGE: usize = 500;

/// How often a subscriber hears that nothing changed, if something else of its tenant did.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

#[GraphqlSubscription]
impl Subscription {
    /// A snapshot of what matches, then every change to it, once and in order.
    async fn entities(
        &self,
        ctx: &Context<'_>,
        collection_id: ID,
        filter: Option<String>,
    ) -> Result<impl Stream<Item = Result<Changes, Refusal>> + use<>, Refusal> {
        let request = Request::of(ctx)?;
        let view = request.view(None).await?;
        let collection = parse("collection", &collection_id)?;
        view.schema.collection(collection).ok_or_else(|| Refusal::new("NOT_FOUND", format!("no collection `{collection}`")))?;
        let filter = filter.map(|filter| resolve::formula(&view.schema, collection, &filter, "the filter")).transpose()?;
        if filter.as_ref().is_some_and(|(_, program)| program.is_timed) {
            // Live queries hear of changes, and time is none.
            let message = "the filter of a live query cannot ask what time it is: make an attribute that does, and filter by that";
            return Err(Refusal::new("INVALID_INPUT", message));
        }
        let query = LiveQuery { tenant: request.tenant()?, collection, filter: filter.map(|(expression, _)| expression) };
        let feed = Feed::start(request.platform.clone(), query, request.seal())?;
        Ok(futures_util::stream::unfold(Some(feed), async |feed| {
            let mut feed = feed?;
            match feed.next().await {
                Ok(changes) => Some((Ok(changes), Some(feed))),
                // An error is the last message.
                Err(refusal) => Some((Err(refusal), None)),
            }
        }))
    }
}

/// One subscriber's feed.
struct Feed {
    platform: Arc<Platform>,
    query: LiveQuery,
    subscription: decidr_sinks::Subscription,
    seal: Seal,
    /// What is left of the snapshot, until its end was told.
    snapshot: Option<Snapshot>,
    /// Whether a RESET must be told before anything else.
    resets: bool,
    sent: Position,
}

/// A snapshot on its way to a subscriber.
struct Snapshot {
    /// As of when; held only until all is sent, for it keeps everything that it shows.
    view: TenantView,
    filter: Option<Program>,
    /// The last entity that was looked at.
    after: Option<EntityId>,
    /// Whether a page was sent, and whether it was the last one.
    is_begun: bool,
    is_sent: bool,
}

impl Snapshot {
    /// The next entities that match, [`SNAPSHOT_PAGE`] at most; there may be more if there are as many.
    fn page(&mut self, collection: CollectionId) -> Vec<Op> {
        let mut ops = Vec::new();
        tokio::task::block_in_place(|| {
            self.view.arranged.scan(collection, self.after, |row| {
                self.after = Some(row.entity.id);
                if LiveQuery::matches(row, self.filter.as_ref()) {
                    ops.push(op(Some(&self.view), LiveOpKind::Insert, row.entity.id, Some(row.clone())));
                }
                ops.len() < SNAPSHOT_PAGE
            });
        });
        self.is_begun = true;
        self.is_sent = ops.len() < SNAPSHOT_PAGE;
        ops
    }
}

impl Feed {
    fn start(platform: Arc<Platform>, query: LiveQuery, seal: Seal) -> Result<Self, Refusal> {
        // Listen first, look then: what comes in between is in both, and passed over.
        let gone = |_| Refusal::new("NOT_FOUND", "the collection, or an attribute that the filter refers to, is gone");
        let program = query.program(platform.arranged().catalog()).map_err(gone)?;
        let subscription = platform.live().subscribe(query.clone(), program.clone());
        let arranged = platform.arranged();
        if query.program(arranged.catalog()).map_err(gone)? != program {
            // The schema changed in between, and whoever listens has the filter of before.
            return Self::start(platform, query, seal);
        }
        let schema = arranged_schema(&arranged, query.tenant)?;
        let sent = arranged.newest(query.tenant);
        let view = TenantView::new(arranged, schema, seal.clone(), ScanBudget::default());
        let snapshot = Some(Snapshot { view, filter: program, after: None, is_begun: false, is_sent: false });
        Ok(Self { platform, query, subscription, seal, snapshot, resets: false, sent })
    }

    async fn next(&mut self) -> Result<Changes, Refusal> {
        if std::mem::take(&mut self.resets) {
            return Ok(self.changes(self.sent, ChangesKind::Reset, vec![]));
        }
        if let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| !snapshot.is_sent) {
            let is_first = !snapshot.is_begun;
            let ops = snapshot.page(self.query.collection);
            // An empty result is told too, by an empty page.
            if is_first || !ops.is_empty() {
                return Ok(self.changes(self.sent, ChangesKind::Snapshot, ops));
            }
        }
        if self.snapshot.take().is_some() {
            return Ok(self.changes(self.sent, ChangesKind::Progress, vec![]));
        }
        loop {
            let next = match tokio::time::timeout(PROGRESS_INTERVAL, self.subscription.next()).await {
                Ok(next) => next,
                Err(_) => {
                    // First how far it is, then whether something waits: so nothing up to there can be missed.
                    let position = self.platform.live().newest(self.query.tenant);
                    match self.subscription.try_next() {
                        Some(next) => next,
                        None if position > self.sent => {
                            self.sent = position;
                            return Ok(self.changes(position, ChangesKind::Progress, vec![]));
                        }
                        None => continue,
                    }
                }
            };
            match next {
                Next::Changes(changes) if changes.position <= self.sent => {}
                Next::Changes(changes) => {
                    self.sent = changes.position;
                    // What nodes show beside their row is as of the newest position; the row itself is this delta's.
                    let arranged = self.platform.arranged();
                    let schema = arranged_schema(&arranged, self.query.tenant)?;
                    let view = TenantView::new(arranged, schema, self.seal.clone(), ScanBudget::default());
                    let ops = changes.ops.iter().map(|change| op(Some(&view), change.kind, change.id, change.row.clone())).collect();
                    return Ok(self.changes(changes.position, ChangesKind::Delta, ops));
                }
                Next::Lagged => {
                    *self = Feed { resets: true, ..Feed::start(self.platform.clone(), self.query.clone(), self.seal.clone())? };
                    return Box::pin(self.next()).await;
                }
                Next::Gone => return Err(Refusal::new("NOT_FOUND", "the collection, or an attribute that the filter refers to, is gone")),
            }
        }
    }

    fn changes(&self, position: Position, kind: ChangesKind, ops: Vec<Op>) -> Changes {
        Changes { position: self.seal.position(self.query.tenant, position), kind, ops }
    }
}

fn op(view: Option<&TenantView>, kind: LiveOpKind, id: EntityId, row: Option<Arc<Row>>) -> Op {
    let op = match kind {
        LiveOpKind::Insert => OpKind::Insert,
        LiveOpKind::Update => OpKind::Update,
        LiveOpKind::Delete => OpKind::Delete,
    };
    let node = view.zip(row).map(|(view, row)| Entity { view: view.clone(), row });
    Op { op, id: id.to_string().into(), index: None, node }
}
