//! Walks along links as live results: what is reached, what is at the end of a path, the shortest way between two entities.
//!
//! Each is kept by its subscriber ([`reach`](crate::walks::reach)), who looks again at what changed and at nothing else. Whatever
//! is told is the result as of the position that stands with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use decidr_dataflow::Arranged;
use decidr_domain::aggregate::attribute::Definition;
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::delta::Row;
use decidr_domain::formula::{Expression, Program};
use decidr_domain::id::{AttributeId, CollectionId, EntityId, Position, TenantId};
use decidr_domain::schema::{Direction, resolve};
use rustc_hash::{FxHashMap, FxHashSet};

use super::changes::{ChangesKind, Op, OpKind, Reached, ReachedOp};
use super::entity::Entity;
use super::listener::PROGRESS_INTERVAL;
use super::scalars::PositionToken;
use super::traverse::{LINKS_MAX, Links, in_sight, links_of, neighbours, own_row};
use super::window::Window;
use super::{Refusal, Request, ScanBudget, Seal, TenantView, arranged_schema};
use crate::platform::Platform;
use crate::walks::reach::{Distances, Graph, Levels, shortest};
use crate::walks::{Again, Links as WalkedLinks, Watch};

/// How many entities a live walk keeps.
const REACHED_MAX: usize = 100_000;

/// How many links long a way may be that is kept.
const WAY_MAX: i32 = 20;

/// How many changes one message of a snapshot holds.
const SNAPSHOT_PAGE: usize = 500;

/// The links that a walk may take, and the same against their direction.
struct Steps {
    out: Links,
    into: Links,
}

impl Steps {
    fn new(view: &TenantView, start: CollectionId, keys: &[String]) -> Result<Self, Refusal> {
        let out = links_of(view, start, keys)?;
        let mut into = Links::default();
        for (from, directions) in &out {
            for direction in directions {
                let (to, back) = match direction {
                    Direction::Forward(link) => {
                        let link_schema = view.schema.attribute(*link).and_then(|link| link.definition.leads_to());
                        (link_schema, Direction::Backward(*link))
                    }
                    Direction::Backward(link) => (view.schema.attribute(*link).map(|link| link.collection_id), Direction::Forward(*link)),
                    Direction::Reach { .. } | Direction::Match(_) => {
                        let message = "a live walk goes along links and backlinks; a closure is one already";
                        return Err(Refusal::new("INVALID_INPUT", message));
                    }
                };
                debug_assert!(out.contains_key(from), "each collection was got to");
                into.entry(to.ok_or_else(gone)?).or_default().push(back);
            }
        }
        Ok(Self { out, into })
    }

    fn links(&self) -> impl Iterator<Item = AttributeId> {
        self.out.values().flatten().filter_map(|direction| match direction {
            Direction::Forward(link) | Direction::Backward(link) => Some(*link),
            Direction::Reach { .. } | Direction::Match(_) => None,
        })
    }

    fn add_to(&self, links: &mut WalkedLinks) {
        for direction in self.out.values().flatten() {
            match direction {
                Direction::Forward(link) => links.forward.insert(*link),
                Direction::Backward(link) => links.backward.insert(*link),
                Direction::Reach { .. } | Direction::Match(_) => false,
            };
        }
    }

    /// Refused if one of the links is gone.
    fn check(&self, view: &TenantView) -> Result<(), Refusal> {
        let is_there = |link| view.schema.attribute(link).is_some_and(|link| matches!(link.definition, Definition::Link { .. }));
        if self.links().all(is_there) { Ok(()) } else { Err(gone()) }
    }

    fn along<'a>(&'a self, view: &'a TenantView) -> Along<'a> {
        Along { view, out: &self.out, into: &self.into }
    }

    fn against<'a>(&'a self, view: &'a TenantView) -> Along<'a> {
        Along { view, out: &self.into, into: &self.out }
    }
}

fn gone() -> Refusal {
    Refusal::new("NOT_FOUND", "a link that the walk takes, or the collection, is gone")
}

/// The links as they are in one state.
struct Along<'a> {
    view: &'a TenantView,
    out: &'a Links,
    into: &'a Links,
}

impl Along<'_> {
    fn neighbours(&self, of: EntityId, links: &Links) -> Result<Vec<EntityId>, Refusal> {
        match self.view.arranged.row(of) {
            Some(row) => neighbours(self.view, &row, links),
            None => Ok(Vec::new()),
        }
    }
}

impl Graph for Along<'_> {
    type Error = Refusal;

    fn heads(&self, of: EntityId) -> Result<Vec<EntityId>, Refusal> {
        self.neighbours(of, self.out)
    }

    fn tails(&self, of: EntityId) -> Result<Vec<EntityId>, Refusal> {
        self.neighbours(of, self.into)
    }

    fn is_in_sight(&self, node: EntityId) -> bool {
        in_sight(self.view, node).is_some()
    }

    fn check_size(&self, nodes: usize) -> Result<(), Refusal> {
        if nodes <= REACHED_MAX {
            return Ok(());
        }
        Err(Refusal::new("TOO_LARGE", format!("a live walk reaches {REACHED_MAX} entities at most; bound its depth")))
    }
}

/// What of the entities that are reached is shown.
struct Filter {
    collection: CollectionId,
    expression: Expression,
    program: Program,
}

impl Filter {
    fn new(view: &TenantView, collection: CollectionId, text: &str) -> Result<Self, Refusal> {
        let (expression, program) = view.filter(collection, text)?;
        if program.is_timed {
            let message = "the filter of a live walk cannot ask what time it is: make an attribute that does, and filter by that";
            return Err(Refusal::new("INVALID_INPUT", message));
        }
        Ok(Self { collection, expression, program: view.schema.shown_program(program) })
    }

    fn renew(&mut self, view: &TenantView) -> Result<(), Refusal> {
        let program = resolve::stored_formula(&view.schema, self.collection, &self.expression).map_err(|_| gone())?;
        self.program = view.schema.shown_program(program);
        Ok(())
    }

    fn passes(&self, view: &TenantView, row: &Row) -> bool {
        row.entity.collection_id == self.collection && view.matches_by_clock(row, Some(&self.program))
    }
}

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

/// Everything that can be reached from an entity, and how far away it is.
pub(super) struct Traversed {
    start: EntityId,
    steps: Steps,
    filter: Option<Filter>,
    distances: Distances,
    told: FxHashMap<EntityId, (u32, Row)>,
}

impl Traversed {
    pub(super) fn new(
        view: &TenantView,
        start: EntityId,
        links: &[String],
        filter: Option<&str>,
        depth_max: Option<i32>,
    ) -> Result<Self, Refusal> {
        let depth_max = depth_max.map_or(Ok(u32::MAX), u32::try_from);
        let depth_max = depth_max.map_err(|_| Refusal::new("INVALID_INPUT", "depthMax is not below 0"))?;
        let collection = own_row(view, start)?.entity.collection_id;
        let steps = Steps::new(view, collection, links)?;
        let filter = filter.map(|filter| Filter::new(view, collection, filter)).transpose()?;
        Ok(Self { start, steps, filter, distances: Distances::new(start, depth_max), told: FxHashMap::default() })
    }
}

impl Walk for Traversed {
    type Op = ReachedOp;

    fn links(&self) -> WalkedLinks {
        let mut links = WalkedLinks::default();
        self.steps.add_to(&mut links);
        links
    }

    fn look(&mut self, view: &TenantView, again: Again) -> Result<(Vec<ReachedOp>, FxHashSet<EntityId>), Refusal> {
        let graph = self.steps.along(view);
        // Of the same row other cells may be shown.
        let may_show_others = matches!(again, Again::All);
        let touched = match again {
            Again::All => {
                self.steps.check(view)?;
                self.filter.as_mut().map(|filter| filter.renew(view)).transpose()?;
                self.distances.begin(&graph)?
            }
            Again::Heads(heads) => {
                let mut touched = self.distances.repair(&graph, heads.iter().copied())?;
                touched.extend(heads);
                touched
            }
        };
        let mut changes = Vec::new();
        for id in touched.iter().copied().filter(|id| *id != self.start) {
            let depth = self.distances.depth(id);
            let row = depth.and_then(|depth| Some((depth, in_sight(view, id)?)));
            let now = row.filter(|(_, row)| self.filter.as_ref().is_none_or(|filter| filter.passes(view, row)));
            let before = match &now {
                Some(now) => self.told.insert(id, now.clone()),
                None => self.told.remove(&id),
            };
            let op = match (&before, &now) {
                (None, None) => continue,
                (None, Some(_)) => OpKind::Insert,
                (Some((depth, row)), Some((now, newest))) if depth == now && row.is_copy_of(newest) && !may_show_others => continue,
                (Some(_), Some(_)) => OpKind::Update,
                (Some(_), None) => OpKind::Delete,
            };
            changes.push((now.as_ref().or(before.as_ref()).map_or(0, |(depth, _)| *depth), id, op, now));
        }
        changes.sort_unstable_by_key(|(depth, id, ..)| (*depth, *id));
        let op = |(_, id, op, now): (u32, EntityId, OpKind, Option<(u32, Row)>)| {
            let reached = now.map(|(depth, row)| Reached { depth: depth.into(), node: Entity { view: view.clone(), row } });
            ReachedOp { op, id: id.to_string().into(), reached }
        };
        Ok((changes.into_iter().map(op).collect(), touched))
    }

    fn watches(&self, entity: EntityId) -> bool {
        self.distances.knows(entity)
    }

    fn leads_to(&self, view: &TenantView, entity: EntityId) -> Result<Vec<EntityId>, Refusal> {
        self.steps.along(view).heads(entity)
    }
}

/// What is at the end of a path of links.
pub(super) struct Followed {
    steps: Vec<Steps>,
    filter: Option<Filter>,
    levels: Levels,
    told: FxHashMap<EntityId, Row>,
    window: Option<Window>,
}

impl Followed {
    /// Without its window.
    pub(super) fn new(view: &TenantView, start: EntityId, path: &[String], filter: Option<&str>) -> Result<(Self, CollectionId), Refusal> {
        if path.is_empty() || path.len() > LINKS_MAX {
            return Err(Refusal::new("INVALID_INPUT", format!("path has 1 to {LINKS_MAX} links")));
        }
        let mut collection = own_row(view, start)?.entity.collection_id;
        let mut steps = Vec::new();
        for key in path {
            steps.push(Steps::new(view, collection, std::slice::from_ref(key))?);
            let schema = view.schema.collection(collection).ok_or_else(gone)?;
            collection = schema.attribute_or_refuse(key)?.definition.leads_to().ok_or_else(gone)?;
        }
        let filter = filter.map(|filter| Filter::new(view, collection, filter)).transpose()?;
        let levels = Levels::new(start, steps.len());
        Ok((Self { steps, filter, levels, told: FxHashMap::default(), window: None }, collection))
    }

    /// Shows only the first of them in an order.
    pub(super) fn in_window(self, window: Window) -> Self {
        Self { window: Some(window), ..self }
    }
}

impl Walk for Followed {
    type Op = Op;

    fn links(&self) -> WalkedLinks {
        let mut links = WalkedLinks::default();
        self.steps.iter().for_each(|steps| steps.add_to(&mut links));
        links
    }

    fn look(&mut self, view: &TenantView, again: Again) -> Result<(Vec<Op>, FxHashSet<EntityId>), Refusal> {
        let steps: Vec<Along<'_>> = self.steps.iter().map(|steps| steps.along(view)).collect();
        let (mut is_in_order, may_show_others) = (true, matches!(again, Again::All));
        let touched = match again {
            Again::All => {
                self.steps.iter().try_for_each(|steps| steps.check(view))?;
                self.filter.as_mut().map(|filter| filter.renew(view)).transpose()?;
                is_in_order = self.window.as_mut().map_or(Ok(true), |window| window.is_of(view))?;
                self.levels.begin(&steps)?
            }
            Again::Heads(heads) => {
                let mut touched = self.levels.repair(&steps, &heads)?;
                touched.extend(heads);
                touched
            }
        };
        let mut changes = Vec::new();
        for id in touched.iter().copied() {
            let row = if self.levels.ends().contains(&id) { in_sight(view, id) } else { None };
            let now = row.filter(|row| self.filter.as_ref().is_none_or(|filter| filter.passes(view, row)));
            let before = match &now {
                Some(now) => self.told.insert(id, now.clone()),
                None => self.told.remove(&id),
            };
            let op = match (before, &now) {
                (None, None) => continue,
                (None, Some(_)) => OpKind::Insert,
                (Some(before), Some(now)) if before.is_copy_of(now) && !may_show_others => continue,
                (Some(_), Some(_)) => OpKind::Update,
                (Some(_), None) => OpKind::Delete,
            };
            changes.push((id, op, now));
        }
        changes.sort_unstable_by_key(|(id, ..)| *id);
        let Some(window) = &mut self.window else {
            let op = |(id, op, row): (EntityId, OpKind, Option<Row>)| Op::new(view, op, id, None, row);
            return Ok((changes.into_iter().map(op).collect(), touched));
        };
        window.take_in(changes.iter().map(|(id, _, row)| (*id, row.as_ref())));
        if !is_in_order || window.is_short() {
            window.fill_from(self.told.values());
        }
        if may_show_others {
            window.tell_all();
        }
        Ok((window.ops(view), touched))
    }

    fn watches(&self, entity: EntityId) -> bool {
        self.levels.knows(entity)
    }

    fn leads_to(&self, view: &TenantView, entity: EntityId) -> Result<Vec<EntityId>, Refusal> {
        let mut out = Vec::new();
        for steps in &self.steps {
            out.extend(steps.along(view).heads(entity)?);
        }
        Ok(out)
    }
}

/// A shortest way between two entities: two balls, one around each, that meet where the way is half done.
pub(super) struct Way {
    steps: Steps,
    from: Distances,
    to: Distances,
    told: Option<Option<Vec<Row>>>,
}

impl Way {
    pub(super) fn new(view: &TenantView, from: EntityId, to: EntityId, links: &[String], depth_max: i32) -> Result<Self, Refusal> {
        if !(1..=WAY_MAX).contains(&depth_max) {
            return Err(Refusal::new("INVALID_INPUT", format!("depthMax lies between 1 and {WAY_MAX}, and this is {depth_max}")));
        }
        let start = own_row(view, from)?;
        own_row(view, to)?;
        let (depth_max, steps) = (depth_max.unsigned_abs(), Steps::new(view, start.entity.collection_id, links)?);
        let (from, to) = (Distances::new(from, depth_max.div_ceil(2)), Distances::new(to, depth_max / 2));
        Ok(Self { steps, from, to, told: None })
    }
}

impl Walk for Way {
    type Op = Option<Vec<Entity>>;

    fn links(&self) -> WalkedLinks {
        // Seen from the end, everything is backwards.
        let all: FxHashSet<AttributeId> = self.steps.links().collect();
        WalkedLinks { forward: all.clone(), backward: all }
    }

    fn look(&mut self, view: &TenantView, again: Again) -> Result<(Vec<Self::Op>, FxHashSet<EntityId>), Refusal> {
        let (along, against) = (self.steps.along(view), self.steps.against(view));
        let may_show_others = matches!(again, Again::All);
        let touched = match again {
            Again::All => {
                self.steps.check(view)?;
                let mut touched = self.from.begin(&along)?;
                touched.extend(self.to.begin(&against)?);
                touched
            }
            Again::Heads(heads) => {
                let mut touched = self.from.repair(&along, heads.iter().copied())?;
                touched.extend(self.to.repair(&against, heads)?);
                touched
            }
        };
        // One ends where it begins, in sight or not.
        let has_end = self.from.start() == self.to.start() || along.is_in_sight(self.to.start());
        let way = if has_end { shortest(&along, &self.from, &self.to)? } else { None };
        let way: Option<Vec<Row>> = way.and_then(|way| way.into_iter().map(|id| view.arranged.row(id)).collect());
        let is_same = match (&self.told, &way) {
            (Some(Some(_)), Some(_)) if may_show_others => false,
            (Some(Some(told)), Some(way)) => told.len() == way.len() && told.iter().zip(way).all(|(told, row)| told.is_copy_of(row)),
            (Some(None), None) => true,
            _ => false,
        };
        if is_same {
            return Ok((Vec::new(), touched));
        }
        self.told = Some(way.clone());
        let shown = way.map(|way| way.into_iter().map(|row| Entity { view: view.clone(), row }).collect());
        Ok((vec![shown], touched))
    }

    fn watches(&self, entity: EntityId) -> bool {
        self.from.knows(entity) || self.to.knows(entity)
    }

    fn leads_to(&self, view: &TenantView, entity: EntityId) -> Result<Vec<EntityId>, Refusal> {
        let mut out = self.steps.along(view).heads(entity)?;
        out.extend(self.steps.against(view).heads(entity)?);
        Ok(out)
    }
}

/// What a subscriber is told.
pub(super) type Message<Op> = (PositionToken, ChangesKind, Vec<Op>);

/// One subscriber's feed.
pub(super) struct WalkFeed<W: Walk> {
    platform: Arc<Platform>,
    tenant: TenantId,
    seal: Seal,
    actor: Arc<str>,
    watch: Watch,
    walk: W,
    /// What it looked at for the first time, in a state that was not the newest any more.
    late: Option<(TenantView, Vec<EntityId>)>,
    waiting: VecDeque<Message<W::Op>>,
    is_begun: bool,
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
        let view = self.view(arranged)?;
        if let (Some((before, late)), Again::Heads(heads)) = (self.late.take(), &mut again) {
            for entity in late {
                heads.insert(entity);
                heads.extend(self.walk.leads_to(&before, entity)?);
                heads.extend(self.walk.leads_to(&view, entity)?);
            }
        }
        if again.is_empty() {
            return Ok(());
        }
        let (mut ops, touched) = tokio::task::block_in_place(|| self.walk.look(&view, again))?;
        let watched: Vec<(EntityId, bool)> = touched.into_iter().map(|entity| (entity, self.walk.watches(entity))).collect();
        // A few at a time: meanwhile whoever tells of changes waits.
        let late: Vec<EntityId> = watched.chunks(1_000).flat_map(|some| self.watch.update(&view.arranged, some)).collect();
        let position = view.arranged.newest(self.tenant);
        let token = |feed: &Self| feed.seal.position(feed.tenant, position);
        if !self.is_begun {
            self.is_begun = true;
            // An empty result is told too, by an empty page.
            loop {
                let rest = ops.split_off(ops.len().min(SNAPSHOT_PAGE));
                self.waiting.push_back((token(self), ChangesKind::Snapshot, ops));
                if rest.is_empty() {
                    break;
                }
                ops = rest;
            }
            self.waiting.push_back((token(self), ChangesKind::Progress, vec![]));
            self.sent = position;
        } else if !ops.is_empty() {
            self.waiting.push_back((token(self), ChangesKind::Delta, ops));
            self.sent = position;
        }
        self.late = (!late.is_empty()).then_some((view, late));
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
            if self.waiting.is_empty() && self.told.elapsed() >= PROGRESS_INTERVAL {
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
