//! Subscriptions: a snapshot, then every change, once and in order, each with its position.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, Enum, ID, SimpleObject, Subscription as GraphqlSubscription};
use decidr_domain::arrangements::Snapshot;
use decidr_domain::delta::Row;
use decidr_domain::id::Position;
use decidr_domain::schema::resolve;
use decidr_sinks::live::Next;
use decidr_sinks::{LiveQuery, OpKind as LiveOpKind, Sink};
use futures_util::Stream;

use super::entity::Entity;
use super::query::parse;
use super::scalars::PositionToken;
use super::{Refusal, Request, TenantView, arranged_schema};
use crate::platform::Platform;
use crate::position::Token;

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

/// How often a subscriber hears that nothing changed, if something else did.
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
        let query = LiveQuery { tenant: request.tenant()?, collection, filter: filter.map(|(expression, _)| expression) };
        let feed = Feed::start(request.platform.clone(), query)?;
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
    lineage: u32,
    /// As of the snapshot; only until it is sent, for it keeps everything that it shows.
    view: Option<TenantView>,
    /// The rows of the snapshot that were not sent yet.
    snapshot: VecDeque<Arc<Row>>,
    /// Whether the snapshot's end must be told, and whether a RESET must be, before anything else.
    ends_snapshot: bool,
    resets: bool,
    is_first_page: bool,
    sent: Position,
}

impl Feed {
    fn start(platform: Arc<Platform>, query: LiveQuery) -> Result<Self, Refusal> {
        // Listen first, look then: what comes in between is in both, and passed over.
        let gone = |_| Refusal::new("NOT_FOUND", "the collection, or an attribute that the filter refers to, is gone");
        let program = query.program(platform.arranged().catalog()).map_err(gone)?;
        let subscription = platform.live().subscribe(query.clone(), program.clone());
        let arranged = platform.arranged();
        if query.program(arranged.catalog()).map_err(gone)? != program {
            // The schema changed in between, and whoever listens has the filter of before.
            return Self::start(platform, query);
        }
        let schema = arranged_schema(&arranged, query.tenant)?;
        let mut snapshot = VecDeque::new();
        tokio::task::block_in_place(|| {
            arranged.scan(query.collection, None, |row| {
                if LiveQuery::matches(row, program.as_ref()) {
                    snapshot.push_back(row.clone());
                }
                true
            });
        });
        let sent = arranged.position();
        let lineage = platform.lineage();
        let view = Some(TenantView { arranged, schema, lineage });
        Ok(Self { platform, query, subscription, lineage, view, snapshot, ends_snapshot: true, resets: false, is_first_page: true, sent })
    }

    async fn next(&mut self) -> Result<Changes, Refusal> {
        if std::mem::take(&mut self.resets) {
            return Ok(self.changes(self.sent, ChangesKind::Reset, vec![]));
        }
        if self.is_first_page || !self.snapshot.is_empty() {
            self.is_first_page = false;
            let page: Vec<_> = self.snapshot.drain(..SNAPSHOT_PAGE.min(self.snapshot.len())).collect();
            let ops = page.into_iter().map(|row| op(self.view.as_ref(), LiveOpKind::Insert, row.entity.id, Some(row))).collect();
            return Ok(self.changes(self.sent, ChangesKind::Snapshot, ops));
        }
        if std::mem::take(&mut self.ends_snapshot) {
            self.view = None;
            return Ok(self.changes(self.sent, ChangesKind::Progress, vec![]));
        }
        loop {
            let next = match tokio::time::timeout(PROGRESS_INTERVAL, self.subscription.next()).await {
                Ok(next) => next,
                Err(_) => {
                    // First how far it is, then whether something waits: so nothing up to there can be missed.
                    let position = self.platform.live().position();
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
                    let view = TenantView { arranged, schema, lineage: self.lineage };
                    let ops = changes.ops.iter().map(|change| op(Some(&view), change.kind, change.id, change.row.clone())).collect();
                    return Ok(self.changes(changes.position, ChangesKind::Delta, ops));
                }
                Next::Lagged => {
                    *self = Feed { resets: true, ..Feed::start(self.platform.clone(), self.query.clone())? };
                    return Box::pin(self.next()).await;
                }
                Next::Gone => return Err(Refusal::new("NOT_FOUND", "the collection, or an attribute that the filter refers to, is gone")),
            }
        }
    }

    fn changes(&self, position: Position, kind: ChangesKind, ops: Vec<Op>) -> Changes {
        Changes { position: PositionToken(Token { lineage: self.lineage, shard: 0, position }), kind, ops }
    }
}

fn op(view: Option<&TenantView>, kind: LiveOpKind, id: decidr_domain::id::EntityId, row: Option<Arc<Row>>) -> Op {
    let op = match kind {
        LiveOpKind::Insert => OpKind::Insert,
        LiveOpKind::Update => OpKind::Update,
        LiveOpKind::Delete => OpKind::Delete,
    };
    let node = view.zip(row).map(|(view, row)| Entity { view: view.clone(), row });
    Op { op, id: id.to_string().into(), index: None, node }
}
