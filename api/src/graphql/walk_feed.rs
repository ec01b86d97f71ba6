//! One subscriber's feed of a live walk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use decidr_dataflow::Arranged;
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::id::{EntityId, Position, TenantId};
use rustc_hash::FxHashSet;

use super::changes::ChangesKind;
use super::listener::PROGRESS_INTERVAL;
use super::maintained::{Message, snapshot};
use super::{Refusal, Request, ScanBudget, Seal, TenantView, arranged_schema};
use crate::platform::Platform;
use crate::walks::{Again, WalkedLinks, Watch};

/// A result of a walk that is kept up to date.
pub(super) trait Walk: Send {
    /// What is told of a change to it.
    type Op: Send;

    /// The links that it takes.
    fn links(&self) -> WalkedLinks;

    /// Takes in what changed, all of it or what may be reached otherwise. Gives what is told of it, and the entities that it looked
    /// at before or does now, if that is not both.
    fn look(&mut self, view: &TenantView, again: Again) -> Result<(Vec<Self::Op>, FxHashSet<EntityId>), Refusal>;

    /// Whether it has looked at an entity.
    fn watches(&self, entity: EntityId) -> bool;

    /// Where an entity's links lead that it takes.
    fn leads_to(&self, view: &TenantView, entity: EntityId) -> Result<Vec<EntityId>, Refusal>;
}

/// One subscriber's feed.
pub(super) struct WalkFeed<W: Walk> {
    platform: Arc<Platform>,
    tenant: TenantId,
    seal: Seal,
    actor: Arc<str>,
    watch: Watch,
    walk: W,
    /// What it looked at for the first time, in a state that was not the newest any more.
    late: Option<(Arc<Arranged>, Vec<EntityId>)>,
    waiting: VecDeque<Message<W::Op>>,
    is_begun: bool,
    /// The position that was told last, and when.
    sent: Position,
    told: Instant,
}

impl<W: Walk> WalkFeed<W> {
    /// Begins with a snapshot.
    pub(super) fn start(request: &Request<'_>, walk: W) -> Result<Self, Refusal> {
        let (platform, tenant) = (request.platform.clone(), request.tenant()?);
        let watch = platform.walks().watch(tenant, walk.links(), || platform.arranged());
        let (seal, actor) = (request.seal(), request.caller.actor.as_str().into());
        let (waiting, told) = (VecDeque::new(), Instant::now());
        let mut feed = Self { platform, tenant, seal, actor, watch, walk, late: None, waiting, is_begun: false, sent: 0, told };
        feed.look()?;
        Ok(feed)
    }

    fn view(&self, arranged: Arc<Arranged>) -> Result<TenantView, Refusal> {
        let schema = arranged_schema(&arranged, self.tenant)?;
        Ok(TenantView::new(arranged, schema, self.seal.clone(), ScanBudget::default(), self.actor.clone()))
    }

    /// Looks at what changed, if anything did, and leaves what is told of it.
    fn look(&mut self) -> Result<(), Refusal> {
        let Some((arranged, mut again)) = self.watch.take() else { return Err(Refusal::internal("the platform ends")) };
        if let (Some((before, late)), Again::Heads(heads)) = (self.late.take(), &mut again) {
            tokio::task::block_in_place(|| self.unheard(before, &arranged, &late, heads))?;
        }
        if again.is_empty() {
            return Ok(());
        }
        let view = self.view(arranged)?;
        let (ops, touched) = tokio::task::block_in_place(|| self.walk.look(&view, again))?;
        let watched: Vec<(EntityId, bool)> = touched.into_iter().map(|entity| (entity, self.walk.watches(entity))).collect();
        let mut late = Vec::new();
        // A few at a time: meanwhile whoever tells of changes waits.
        for some in watched.chunks(1_000) {
            let too_many = |_| Refusal::new("TOO_LARGE", "the live walks of this tenant look at too many entities together; end some");
            late.extend(self.watch.update(&view.arranged, some).map_err(too_many)?);
        }
        let position = view.arranged.newest(self.tenant);
        if !self.is_begun {
            self.is_begun = true;
            self.waiting.extend(snapshot(self.seal.position(self.tenant, position), ops));
            self.sent = position;
        } else if !ops.is_empty() {
            self.waiting.push_back((self.seal.position(self.tenant, position), ChangesKind::Delta, ops));
            self.sent = position;
        }
        self.late = (!late.is_empty()).then_some((view.arranged, late));
        Ok(())
    }

    /// Adds what may be reached otherwise because of entities that may have changed unheard between two states.
    fn unheard(
        &self,
        before: Arc<Arranged>,
        after: &Arc<Arranged>,
        late: &[EntityId],
        heads: &mut FxHashSet<EntityId>,
    ) -> Result<(), Refusal> {
        // Each has rows enough to look at.
        let (before, after) = (self.view(before)?, self.view(after.clone())?);
        for entity in late.iter().copied() {
            let [old, new] = [&before, &after].map(|view| view.arranged.row(entity));
            if !old.zip(new).is_some_and(|(old, new)| old.is_copy_of(&new)) {
                heads.insert(entity);
            }
            let [old, new] = [&before, &after].map(|view| self.walk.leads_to(view, entity));
            let (old, new): (FxHashSet<EntityId>, FxHashSet<EntityId>) = (old?.into_iter().collect(), new?.into_iter().collect());
            heads.extend(old.symmetric_difference(&new));
        }
        Ok(())
    }

    /// What comes next; waits for it.
    pub(super) async fn next(&mut self) -> Result<Message<W::Op>, Refusal> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                self.told = Instant::now();
                return Ok(message);
            }
            if self.late.is_none() {
                let left = PROGRESS_INTERVAL.saturating_sub(self.told.elapsed());
                let _ = tokio::time::timeout(left, self.watch.changed()).await;
            }
            // First how far it is, then whether something waits: so nothing up to there can be missed.
            let newest = self.platform.live().newest(self.tenant);
            self.look()?;
            // What was looked at late may have changed unheard.
            if self.waiting.is_empty() && self.late.is_none() && self.told.elapsed() >= PROGRESS_INTERVAL {
                self.told = Instant::now();
                if newest <= self.sent {
                    continue;
                }
                self.sent = newest;
                return Ok((self.seal.position(self.tenant, newest), ChangesKind::Progress, vec![]));
            }
        }
    }
}
