//! Walks along links as live results: what is reached, what is at the end of a path, the shortest way between two entities.
//!
//! Each is kept by its subscriber ([`reach`](crate::walks::reach)), who looks again at what changed and at nothing else. Whatever
//! is told is the result as of the position that stands with it.

use decidr_domain::delta::Row;
use decidr_domain::formula::{Expression, Program};
use decidr_domain::id::{AttributeId, CollectionId, EntityId};
use decidr_domain::schema::resolve;
use decidr_sinks::OpKind;
use rustc_hash::{FxHashMap, FxHashSet};

use super::changes::{GroupOp, Op, Reached, ReachedOp};
use super::entity::Entity;
use super::live_groups::LiveGroups;
use super::traverse::{in_sight, links_of, own_row, steps_of};
use super::walk_feed::Walk;
use super::walk_steps::{Along, Steps, gone};
use super::window::Window;
use super::{Refusal, TenantView};
use crate::walks::reach::{Distances, Graph as _, Levels, shortest};
use crate::walks::{Again, WalkedLinks};

/// How many links long a way may be that is kept.
const WAY_MAX: i32 = 20;

/// What of the entities that are reached is shown.
struct Filter {
    collection: CollectionId,
    expression: Expression,
    program: Program,
}

impl Filter {
    fn new(view: &TenantView, collection: CollectionId, text: &str) -> Result<Self, Refusal> {
        let (expression, program) = view.live_filter(collection, text)?;
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

/// Says of two rows whether the second shows what the first does, whatever cells are computed aside.
fn sameness(view: &TenantView) -> impl Fn(&Row, &Row) -> bool {
    // Mostly nothing is, and then no attribute need be looked at.
    let collections = view.schema.staging().map(|_| view.schema.collections());
    let computing: FxHashMap<CollectionId, Vec<AttributeId>> = collections
        .into_iter()
        .flatten()
        .map(|collection| (collection.id(), view.schema.computing_cells(collection.id())))
        .filter(|(_, cells)| !cells.is_empty())
        .collect();
    move |one, other| {
        let is_shown = |cell: AttributeId| {
            let aside = computing.get(&other.entity.collection_id);
            aside.is_none_or(|cells| cells.binary_search(&cell).is_err())
        };
        one.is_copy_of(other) || !computing.is_empty() && one.shows_the_same(other, is_shown)
    }
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
        let steps = Steps::new(view, links_of(view, collection, links)?)?;
        let filter = filter.map(|filter| Filter::new(view, collection, filter)).transpose()?;
        Ok(Self { start, steps, filter, distances: Distances::new(start, depth_max), told: FxHashMap::default() })
    }
}

impl Walk for Traversed {
    type Op = ReachedOp;

    fn links(&self) -> WalkedLinks {
        self.steps.links()
    }

    fn look(&mut self, view: &TenantView, again: Again) -> Result<(Vec<ReachedOp>, FxHashSet<EntityId>), Refusal> {
        let graph = self.steps.along(view);
        // Of the same row other cells may be shown.
        let may_show_others = matches!(again, Again::All { shows_others: true });
        let touched = match again {
            Again::All { .. } => {
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
        let (mut changes, shows_the_same) = (Vec::new(), sameness(view));
        for id in touched.iter().copied().filter(|id| *id != self.start) {
            let depth = self.distances.depth(id);
            let row = depth.and_then(|depth| Some((depth, in_sight(view, id)?)));
            let now = row.filter(|(_, row)| self.filter.as_ref().is_none_or(|filter| filter.passes(view, row)));
            let before = match &now {
                Some(now) => self.told.insert(id, now.clone()),
                None => self.told.remove(&id),
            };
            let is_same = |((depth, row), (now, newest)): (&(u32, Row), &(u32, Row))| depth == now && shows_the_same(row, newest);
            let stays = !may_show_others && before.as_ref().zip(now.as_ref()).is_some_and(is_same);
            let Some(op) = OpKind::of(before.is_some(), now.is_some()).filter(|_| !stays) else { continue };
            changes.push((now.as_ref().or(before.as_ref()).map_or(0, |(depth, _)| *depth), id, op, now));
        }
        changes.sort_unstable_by_key(|(depth, id, ..)| (*depth, *id));
        let op = |(_, id, op, now): (u32, EntityId, OpKind, Option<(u32, Row)>)| {
            let reached = now.map(|(depth, row)| Reached { depth: depth.into(), node: Entity { view: view.clone(), row } });
            ReachedOp { op: op.into(), id: id.to_string().into(), reached }
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

/// What is at the end of a path of links, as far as it passes a filter.
pub(super) struct Ends {
    steps: Vec<Steps>,
    filter: Option<Filter>,
    levels: Levels,
    told: FxHashMap<EntityId, Row>,
}

/// What comes to the end of a path, goes from it, or is otherwise.
struct EndChange {
    id: EntityId,
    op: OpKind,
    old: Option<Row>,
    new: Option<Row>,
}

impl Ends {
    /// With the collection at the end.
    pub(super) fn new(view: &TenantView, start: EntityId, path: &[String], filter: Option<&str>) -> Result<(Self, CollectionId), Refusal> {
        let (steps, end) = steps_of(view, own_row(view, start)?.entity.collection_id, path)?;
        let steps: Vec<Steps> = steps.into_iter().map(|links| Steps::new(view, links)).collect::<Result<_, _>>()?;
        let filter = filter.map(|filter| Filter::new(view, end, filter)).transpose()?;
        let levels = Levels::new(start, steps.len());
        Ok((Self { steps, filter, levels, told: FxHashMap::default() }, end))
    }

    fn links(&self) -> WalkedLinks {
        self.steps.iter().map(Steps::links).fold(WalkedLinks::default(), WalkedLinks::and)
    }

    /// Takes in what changed; gives that, in the order of ids, and the entities that were looked at before or are now.
    fn look(&mut self, view: &TenantView, again: Again) -> Result<(Vec<EndChange>, FxHashSet<EntityId>), Refusal> {
        let steps: Vec<Along<'_>> = self.steps.iter().map(|steps| steps.along(view)).collect();
        let may_show_others = matches!(again, Again::All { shows_others: true });
        let touched = match again {
            Again::All { .. } => {
                self.steps.iter().try_for_each(|steps| steps.check(view))?;
                self.filter.as_mut().map(|filter| filter.renew(view)).transpose()?;
                self.levels.begin(&steps)?
            }
            Again::Heads(heads) => {
                let mut touched = self.levels.repair(&steps, &heads)?;
                touched.extend(heads);
                touched
            }
        };
        let (mut changes, shows_the_same) = (Vec::new(), sameness(view));
        for id in touched.iter().copied() {
            let row = if self.levels.is_end(id) { in_sight(view, id) } else { None };
            let new = row.filter(|row| self.filter.as_ref().is_none_or(|filter| filter.passes(view, row)));
            let old = match &new {
                Some(new) => self.told.insert(id, new.clone()),
                None => self.told.remove(&id),
            };
            let is_same = |(row, newest): (&Row, &Row)| shows_the_same(row, newest);
            let stays = !may_show_others && old.as_ref().zip(new.as_ref()).is_some_and(is_same);
            let Some(op) = OpKind::of(old.is_some(), new.is_some()).filter(|_| !stays) else { continue };
            changes.push(EndChange { id, op, old, new });
        }
        changes.sort_unstable_by_key(|change| change.id);
        Ok((changes, touched))
    }

    fn leads_to(&self, view: &TenantView, entity: EntityId) -> Result<Vec<EntityId>, Refusal> {
        let mut out = Vec::new();
        for steps in &self.steps {
            out.extend(steps.along(view).heads(entity)?);
        }
        Ok(out)
    }
}

/// What is at the end of a path, or the first of it in an order.
pub(super) struct Followed {
    pub(super) ends: Ends,
    pub(super) window: Option<Window>,
}

impl Walk for Followed {
    type Op = Op;

    fn links(&self) -> WalkedLinks {
        self.ends.links()
    }

    fn look(&mut self, view: &TenantView, again: Again) -> Result<(Vec<Op>, FxHashSet<EntityId>), Refusal> {
        let (is_all, may_show_others) = (matches!(again, Again::All { .. }), matches!(again, Again::All { shows_others: true }));
        let (changes, touched) = self.ends.look(view, again)?;
        let Some(window) = &mut self.window else {
            let op = |EndChange { id, op, new, .. }: EndChange| Op::new(view, op.into(), id, None, new);
            return Ok((changes.into_iter().map(op).collect(), touched));
        };
        let is_in_order = !is_all || window.is_of(view)?;
        window.take_in(changes.iter().map(|change| (change.id, change.new.as_ref())));
        if !is_in_order || window.is_short() {
            window.fill_from(self.ends.told.values());
        }
        if may_show_others {
            window.tell_all();
        }
        Ok((window.ops(view), touched))
    }

    fn watches(&self, entity: EntityId) -> bool {
        self.ends.levels.knows(entity)
    }

    fn leads_to(&self, view: &TenantView, entity: EntityId) -> Result<Vec<EntityId>, Refusal> {
        self.ends.leads_to(view, entity)
    }
}

/// What is at the end of a path, in groups.
pub(super) struct FollowedGroups {
    pub(super) ends: Ends,
    pub(super) groups: LiveGroups,
}

impl Walk for FollowedGroups {
    type Op = GroupOp;

    fn links(&self) -> WalkedLinks {
        self.ends.links()
    }

    fn look(&mut self, view: &TenantView, again: Again) -> Result<(Vec<GroupOp>, FxHashSet<EntityId>), Refusal> {
        let is_all = matches!(again, Again::All { .. });
        let (changes, touched) = self.ends.look(view, again)?;
        if is_all {
            // At first, or because what is counted may be read otherwise: everything is counted anew.
            self.groups.is_of(view)?;
            self.groups.fill_from(self.ends.told.values())?;
        } else {
            self.groups.take_in(changes.iter().map(|change| (change.old.as_ref(), change.new.as_ref())))?;
        }
        Ok((self.groups.ops(), touched))
    }

    fn watches(&self, entity: EntityId) -> bool {
        self.ends.levels.knows(entity)
    }

    fn leads_to(&self, view: &TenantView, entity: EntityId) -> Result<Vec<EntityId>, Refusal> {
        self.ends.leads_to(view, entity)
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
        let depth_max = depth_max.unsigned_abs();
        let steps = Steps::new(view, links_of(view, start.entity.collection_id, links)?)?;
        let (from, to) = (Distances::new(from, depth_max.div_ceil(2)), Distances::new(to, depth_max / 2));
        Ok(Self { steps, from, to, told: None })
    }
}

impl Walk for Way {
    type Op = Option<Vec<Entity>>;

    fn links(&self) -> WalkedLinks {
        // Seen from the end, everything is backwards.
        let links = self.steps.links();
        let all = links.all();
        WalkedLinks { forward: all.clone(), backward: all, ..links }
    }

    fn look(&mut self, view: &TenantView, again: Again) -> Result<(Vec<Self::Op>, FxHashSet<EntityId>), Refusal> {
        let (along, against) = (self.steps.along(view), self.steps.against(view));
        let may_show_others = matches!(again, Again::All { shows_others: true });
        let touched = match again {
            Again::All { .. } => {
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
        let shows_the_same = sameness(view);
        let is_same = match (&self.told, &way) {
            (Some(Some(_)), Some(_)) if may_show_others => false,
            (Some(Some(told)), Some(way)) => told.len() == way.len() && told.iter().zip(way).all(|(told, row)| shows_the_same(told, row)),
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
