//! Subscriptions: a snapshot, then every change, once and in order, each with its position.

use async_graphql::{Context, ID, Subscription as GraphqlSubscription};
use decidr_dataflow::Selection;
use decidr_domain::id::{CollectionId, EntityId};
use decidr_sinks::live::Hears;
use futures_util::{Stream, StreamExt as _};

use super::changes::{Changes, ChangesKind, GroupChanges, Op, OpKind, PathChanges, TraversalChanges};
use super::groups::{self, SummaryInput};
use super::listener::{Beginning, Heard, Listener};
use super::live_groups::LiveGroups;
use super::live_walks::{Ends, Followed, FollowedGroups, Traversed, Way};
use super::maintained;
use super::page::{FIRST_MAX, OrderBy};
use super::query::parse;
use super::walk_feed::WalkFeed;
use super::window::Window;
use super::{Refusal, Request};

pub(super) struct Subscription;

/// How many entities one message of a snapshot holds.
const SNAPSHOT_PAGE: usize = 500;

/// How many entities a window shows if it is not said.
const FIRST_DEFAULT: i32 = 100;

#[GraphqlSubscription]
impl Subscription {
    /// A snapshot of what matches, then every change to it, once and in order. With `orderBy` or `first` it is a window: the
    /// first entities of the order, 100 if it is not said how many, and 1000 at most. Then each op has its index in the list as
    /// the ops before it left it; an entity that moves is deleted and inserted again.
    async fn entities(
        &self,
        ctx: &Context<'_>,
        collection_id: ID,
        filter: Option<String>,
        order_by: Option<Vec<OrderBy>>,
        first: Option<i32>,
    ) -> Result<impl Stream<Item = Result<Changes, Refusal>> + use<>, Refusal> {
        let collection = parse("collection", &collection_id)?;
        let is_window = order_by.is_some() || first.is_some();
        let hears = if is_window { Hears::SchemaToo } else { Hears::Entities };
        let (listener, beginning) = Listener::start(&Request::of(ctx)?, collection, filter.as_deref(), hears).await?;
        if !is_window {
            let snapshot = Snapshot::new(collection, beginning);
            let feed = Feed { listener, snapshot: Some(snapshot), resets: false };
            return Ok(unfold(feed, async |feed: &mut Feed| feed.next().await).boxed());
        }
        let window = Window::new(&beginning.view, collection, order_by.as_deref().unwrap_or_default(), checked_first(first)?)?;
        let feed = maintained::Feed::start(listener, &beginning, window)?;
        let next = async |feed: &mut maintained::Feed<Window>| {
            let (position, kind, ops) = feed.next().await?;
            Ok(Changes { position, kind, ops })
        };
        Ok(unfold(feed, next).boxed())
    }

    /// What can be reached from an entity by links and backlinks, named by key, in whichever collections have them, and how far
    /// away it is: a snapshot, the nearest first, then every change. `filter` is a formula over the entity's own collection, and lets
    /// entities of others not pass.
    async fn traverse(
        &self,
        ctx: &Context<'_>,
        entity_id: ID,
        links: Vec<String>,
        filter: Option<String>,
        depth_max: Option<i32>,
    ) -> Result<impl Stream<Item = Result<TraversalChanges, Refusal>> + use<>, Refusal> {
        let request = Request::of(ctx)?;
        let view = request.view(None).await?;
        let walk = Traversed::new(&view, parse("entity", &entity_id)?, &links, filter.as_deref(), depth_max)?;
        Ok(unfold(WalkFeed::start(&request, walk)?, async |feed: &mut WalkFeed<Traversed>| {
            let (position, kind, ops) = feed.next().await?;
            Ok(TraversalChanges { position, kind, ops })
        }))
    }

    /// What is at the end of a path of links from an entity, one link after the other: a snapshot, then every change. `filter`
    /// and `orderBy` are over the collection at the end. With `orderBy` or `first` it is a window, as of `entities`.
    #[allow(clippy::too_many_arguments, reason = "the arguments are those of the field")]
    async fn follow(
        &self,
        ctx: &Context<'_>,
        entity_id: ID,
        path: Vec<String>,
        filter: Option<String>,
        order_by: Option<Vec<OrderBy>>,
        first: Option<i32>,
    ) -> Result<impl Stream<Item = Result<Changes, Refusal>> + use<>, Refusal> {
        let request = Request::of(ctx)?;
        let view = request.view(None).await?;
        let (ends, end) = Ends::new(&view, parse("entity", &entity_id)?, &path, filter.as_deref())?;
        let window = match order_by.is_some() || first.is_some() {
            true => Some(Window::new(&view, end, order_by.as_deref().unwrap_or_default(), checked_first(first)?)?),
            false => None,
        };
        let walk = Followed { ends, window };
        Ok(unfold(WalkFeed::start(&request, walk)?, async |feed: &mut WalkFeed<Followed>| {
            let (position, kind, ops) = feed.next().await?;
            Ok(Changes { position, kind, ops })
        }))
    }

    /// What is at the end of a path of links from an entity, in groups by these attributes of the collection at the end, one in the
    /// other: a snapshot of all groups with their summaries, then those that changed, as of `groups`.
    #[allow(clippy::too_many_arguments, reason = "the arguments are those of the field")]
    async fn follow_groups(
        &self,
        ctx: &Context<'_>,
        entity_id: ID,
        path: Vec<String>,
        filter: Option<String>,
        #[graphql(default)] group_by: Vec<String>,
        #[graphql(default)] summaries: Vec<SummaryInput>,
    ) -> Result<impl Stream<Item = Result<GroupChanges, Refusal>> + use<>, Refusal> {
        let request = Request::of(ctx)?;
        let view = request.view(None).await?;
        let (ends, end) = Ends::new(&view, parse("entity", &entity_id)?, &path, filter.as_deref())?;
        let levels = groups::checked_levels(&view, end, &group_by)?;
        let summaries = groups::checked_summaries(&view, end, summaries)?;
        let walk = FollowedGroups { ends, groups: LiveGroups::new(levels, summaries) };
        Ok(unfold(WalkFeed::start(&request, walk)?, async |feed: &mut WalkFeed<FollowedGroups>| {
            let (position, kind, ops) = feed.next().await?;
            Ok(GroupChanges { position, kind, ops })
        }))
    }

    /// The entities on a shortest way from one to another by links and backlinks, both ends included, as it is and whenever it is
    /// another; null while there is none of at most `depthMax` links.
    async fn shortest_path(
        &self,
        ctx: &Context<'_>,
        from_id: ID,
        to_id: ID,
        links: Vec<String>,
        #[graphql(default = 6)] depth_max: i32,
    ) -> Result<impl Stream<Item = Result<PathChanges, Refusal>> + use<>, Refusal> {
        let request = Request::of(ctx)?;
        let view = request.view(None).await?;
        let walk = Way::new(&view, parse("entity", &from_id)?, parse("entity", &to_id)?, &links, depth_max)?;
        Ok(unfold(WalkFeed::start(&request, walk)?, async |feed: &mut WalkFeed<Way>| {
            let (position, kind, mut ops) = feed.next().await?;
            Ok(PathChanges { position, kind, path: ops.pop().flatten() })
        }))
    }

    /// The entities that match, in groups by these attributes, one in the other: a snapshot of all groups with their summaries,
    /// then those that changed. The first, with an empty path, is that of all entities.
    async fn groups(
        &self,
        ctx: &Context<'_>,
        collection_id: ID,
        filter: Option<String>,
        #[graphql(default)] group_by: Vec<String>,
        #[graphql(default)] summaries: Vec<SummaryInput>,
    ) -> Result<impl Stream<Item = Result<GroupChanges, Refusal>> + use<>, Refusal> {
        let collection = parse("collection", &collection_id)?;
        let (listener, beginning) = Listener::start(&Request::of(ctx)?, collection, filter.as_deref(), Hears::SchemaToo).await?;
        let levels = groups::checked_levels(&beginning.view, collection, &group_by)?;
        let summaries = groups::checked_summaries(&beginning.view, collection, summaries)?;
        let feed = maintained::Feed::start(listener, &beginning, LiveGroups::new(levels, summaries))?;
        Ok(unfold(feed, async |feed: &mut maintained::Feed<LiveGroups>| {
            let (position, kind, ops) = feed.next().await?;
            Ok(GroupChanges { position, kind, ops })
        }))
    }
}

/// How many entities a window shows.
fn checked_first(first: Option<i32>) -> Result<usize, Refusal> {
    let first = first.unwrap_or(FIRST_DEFAULT);
    if !(1..=FIRST_MAX).contains(&first) {
        return Err(Refusal::new("INVALID_INPUT", format!("first lies between 1 and {FIRST_MAX}, and this is {first}")));
    }
    Ok(first as usize)
}

/// What `next` gives, until it refuses: an error is the last message.
fn unfold<F: Send, T>(feed: F, next: impl AsyncFnMut(&mut F) -> Result<T, Refusal> + Clone) -> impl Stream<Item = Result<T, Refusal>> {
    futures_util::stream::unfold(Some(feed), move |feed| {
        let mut next = next.clone();
        async move {
            let mut feed = feed?;
            match next(&mut feed).await {
                Ok(message) => Some((Ok(message), Some(feed))),
                Err(refusal) => Some((Err(refusal), None)),
            }
        }
    })
}

/// One subscriber's feed of the entities that match.
struct Feed {
    listener: Listener,
    /// What is left of the snapshot, until its end was told.
    snapshot: Option<Snapshot>,
    /// Whether a RESET must be told before anything else.
    resets: bool,
}

/// A snapshot on its way to a subscriber.
struct Snapshot {
    /// As of when; held only until all is sent, for it keeps everything that it shows.
    beginning: Beginning,
    /// What of it need be looked at.
    selection: Selection,
    /// The last entity that was looked at.
    after: Option<EntityId>,
    /// Whether a page was sent, and whether it was the last one.
    is_begun: bool,
    is_sent: bool,
}

impl Snapshot {
    fn new(collection: CollectionId, beginning: Beginning) -> Self {
        let selection = beginning.view.select(collection, beginning.filter.as_ref());
        Self { beginning, selection, after: None, is_begun: false, is_sent: false }
    }

    /// The next entities that match, [`SNAPSHOT_PAGE`] at most; there may be more if there are as many.
    fn page(&mut self, collection: CollectionId) -> Vec<Op> {
        let Beginning { view, filter } = &self.beginning;
        let mut ops = Vec::new();
        tokio::task::block_in_place(|| {
            view.arranged.scan_selected(collection, &self.selection, self.after, |row| {
                self.after = Some(row.entity.id);
                if view.matches_by_clock(row, filter.as_ref()) {
                    ops.push(Op::new(view, OpKind::Insert, row.entity.id, None, Some(row.clone())));
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
    async fn next(&mut self) -> Result<Changes, Refusal> {
        loop {
            if std::mem::take(&mut self.resets) {
                return Ok(self.changes(ChangesKind::Reset, vec![]));
            }
            if let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| !snapshot.is_sent) {
                let is_first = !snapshot.is_begun;
                let ops = snapshot.page(self.listener.collection());
                // An empty result is told too, by an empty page.
                if is_first || !ops.is_empty() {
                    return Ok(self.changes(ChangesKind::Snapshot, ops));
                }
            }
            if self.snapshot.take().is_some() {
                return Ok(self.changes(ChangesKind::Progress, vec![]));
            }
            match self.listener.next().await? {
                Heard::Progress => return Ok(self.changes(ChangesKind::Progress, vec![])),
                Heard::Lost(beginning) => {
                    self.snapshot = Some(Snapshot::new(self.listener.collection(), beginning));
                    self.resets = true;
                }
                Heard::Changes(view, changes) => {
                    let op = |change: &decidr_sinks::live::Op| Op::new(&view, change.kind.into(), change.id, None, change.row.clone());
                    return Ok(self.changes(ChangesKind::Delta, changes.ops.iter().map(op).collect()));
                }
            }
        }
    }

    fn changes(&self, kind: ChangesKind, ops: Vec<Op>) -> Changes {
        Changes { position: self.listener.position(), kind, ops }
    }
}
