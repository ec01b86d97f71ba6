//! What is computed aside, a slice of entities at a time, while everything else goes on.
//!
//! Each cell and each contribution that the schema stages is taken up by one entity after the other, in the order in which
//! they came: an entity that has taken it up keeps it up to date from then on, one that has not knows nothing of it. So the
//! result does not depend on what changes meanwhile, or on how the slices are cut. Lower rounds come first, for then mostly
//! each entity computes once.
//!
//! A host of a forward link asks its sources for what they contribute; through a backlink sources send it of themselves. In
//! both cases it is the holder of the link that takes its turn, and one entity never means more messages than it has links.
//! For cells that depend on one another along hierarchies all entities first tell the graph of their links; then they take
//! the cells up by their ranks in it, so that sources come before hosts here too.
//!
//! A slice has a timestamp of its own, in which nothing else happens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use decidr_domain::id::{AttributeId, CollectionId, TenantId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::Outbox;
use super::record::Record;
use super::records::Slot;
use super::store::Store;
use crate::message::Message;
use crate::plan::{Plan, Rank, Round};

/// What one worker has still to compute aside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    /// By tenant, how much is done and how much there is in all.
    pub(crate) tenants: BTreeMap<TenantId, Progress>,
    /// How much is done of what all entities have taken up; of tenants that wait for others, too.
    pub(crate) finished: BTreeMap<TenantId, u64>,
    /// Whether there are cells that nobody is shown any more and that are to be cleared away.
    pub(crate) is_sweeping: bool,
    /// How many entities the last slice was of.
    pub(crate) sliced: usize,
}

/// How far a computation has come, in cells and contributions of single entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many are done.
    pub done: u64,
    /// How many there are, those that are done included.
    pub total: u64,
}

impl Progress {
    /// Which part of all is done, from 0 to 1.
    pub fn share(&self) -> f64 {
        if self.total == 0 { 1.0 } else { self.done as f64 / self.total as f64 }
    }
}

/// The newest [`Backlog`], for whoever publishes it.
pub(crate) type SharedBacklog = Rc<RefCell<Backlog>>;

/// Whether an entity has taken up a cell or contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It has, and keeps it up to date.
    Before,
    /// In this timestamp.
    Now,
    /// Its turn has not come.
    NotYet,
}

/// How many entities have taken something up: those before `from` before this timestamp, those before `to` in it.
#[derive(Clone, Default)]
struct Turns {
    from: usize,
    to: usize,
    /// In which order; else in that of their places.
    order: Option<Rc<Order>>,
}

/// An order of the entities of a collection that there were at some time; those that came later have their turn after them.
struct Order {
    /// By turn, whose it is.
    places: Vec<u32>,
    /// By place, which turn it has.
    turns: Vec<u32>,
}

impl Order {
    /// By the ranks of entities, given by their places.
    fn by_rank(ranks: impl Iterator<Item = Rank>) -> Self {
        let mut ranked: Vec<(Rank, u32)> = ranks.zip(0..).collect();
        ranked.sort_unstable();
        let places: Vec<u32> = ranked.into_iter().map(|(_, place)| place).collect();
        let mut turns = vec![0; places.len()];
        for (turn, place) in (0..).zip(&places) {
            turns[*place as usize] = turn;
        }
        Self { places, turns }
    }

    fn place(&self, turn: usize) -> usize {
        self.places.get(turn).map_or(turn, |place| *place as usize)
    }

    fn turn(&self, place: usize) -> usize {
        self.turns.get(place).map_or(place, |turn| *turn as usize)
    }
}

const ALL: usize = usize::MAX;

/// How many entities the first slice of some work is of, at most.
const FIRST_LIMIT: usize = 256;

/// Stands for the round of what is said to graphs: it comes before all others.
const GRAPH_ROUND: Round = 0;

impl Turns {
    fn of(&self, place: usize) -> Taken {
        let turn = self.order.as_ref().map_or(place, |order| order.turn(place));
        if turn < self.from {
            Taken::Before
        } else if turn < self.to {
            Taken::Now
        } else {
            Taken::NotYet
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    /// What the entities of a collection say to the graph of a component or closure.
    Graph,
    /// The cells of the attribute, in its own collection.
    Cells,
    /// What sources contribute to them, in the collection of the sources.
    Exports,
}

/// Cells or contributions of one attribute.
struct Item {
    attribute: AttributeId,
    part: Part,
    round: Round,
    collection: CollectionId,
    /// The component whose ranks say who comes first.
    ranked_in: Option<AttributeId>,
}

impl Item {
    /// What is taken up together.
    fn group(&self) -> (Round, CollectionId, Option<AttributeId>) {
        (self.round, self.collection, self.ranked_in)
    }
}

/// Work under way.
#[derive(Default)]
pub(super) struct Backfill {
    items: BTreeMap<TenantId, Vec<Item>>,
    /// How many cells and contributions are done of what all entities have taken up, until the next that begins when nothing is left.
    finished: BTreeMap<TenantId, u64>,
    turns: FxHashMap<(AttributeId, Part), Turns>,
    /// By component, in which order the entities of its collection take its cells up.
    orders: FxHashMap<AttributeId, Rc<Order>>,
    /// Collections to be cleared of cells that are not computed any more, and how far that is.
    sweeps: Vec<(CollectionId, usize)>,
    /// The tenant that had the last slice.
    last: Option<TenantId>,
    /// How many entities this timestamp is a slice of.
    sliced: usize,
}

impl Backfill {
    pub(super) fn cells(&self, attribute: AttributeId, place: usize) -> Taken {
        self.taken(attribute, Part::Cells, place)
    }

    pub(super) fn exports(&self, attribute: AttributeId, place: usize) -> Taken {
        self.taken(attribute, Part::Exports, place)
    }

    fn taken(&self, attribute: AttributeId, part: Part, place: usize) -> Taken {
        if self.turns.is_empty() {
            return Taken::Before;
        }
        self.turns.get(&(attribute, part)).map_or(Taken::Before, |turns| turns.of(place))
    }

    /// Takes in a new plan: begins with what it stages and did not before, with the graphs that are new, and forgets what is
    /// not in it.
    pub(super) fn change_plan(
        &mut self,
        tenant: TenantId,
        plan: &Plan,
        begun: &FxHashSet<AttributeId>,
        graphs: &FxHashSet<AttributeId>,
        gone: &FxHashSet<AttributeId>,
    ) {
        let items = self.items.entry(tenant).or_default();
        if items.is_empty() && (plan.staged.is_empty() || !begun.is_empty()) {
            // What went before is shown, or something else begins.
            self.finished.remove(&tenant);
        }
        items.retain(|item| !gone.contains(&item.attribute));
        self.turns.retain(|(attribute, _), _| !gone.contains(attribute));
        for (collection, of) in &plan.collections {
            let mut add = |attribute, part, round| {
                // Entities of other collections that contribute to it have no ranks.
                let has_ranks = |component: &AttributeId| plan.components.get(component).is_some_and(|plan| plan.collection == *collection);
                let ranked_in = if round == GRAPH_ROUND { None } else { plan.component(attribute).filter(has_ranks) };
                items.push(Item { attribute, part, round, collection: *collection, ranked_in });
                self.turns.insert((attribute, part), Turns::default());
            };
            for component in of.components.iter().filter(|component| graphs.contains(&component.id)) {
                add(component.id, Part::Graph, GRAPH_ROUND);
            }
            for formula in of.formulas.iter().filter(|formula| begun.contains(&formula.attribute)) {
                add(formula.attribute, Part::Cells, formula.round);
            }
            for crossing in of.crossings.iter().filter(|crossing| begun.contains(&crossing.attribute)) {
                add(crossing.attribute, Part::Cells, crossing.round);
            }
            for export in of.exports().filter(|export| begun.contains(&export.attribute) && !export.is_asked_for()) {
                add(export.attribute, Part::Exports, export.export_round);
            }
        }
        items.sort_by_key(|item| (item.group(), item.part, item.attribute));
        if items.is_empty() {
            self.items.remove(&tenant);
        }
    }

    /// Begins everything again that a plan stages: as far as it had come, there were no entities yet.
    pub(super) fn begin_again(&mut self, tenant: TenantId, plan: &Plan) {
        self.items.remove(&tenant);
        self.turns.retain(|(attribute, _), _| !plan.staged.contains(attribute));
        self.orders.retain(|component, _| !plan.components.contains_key(component));
        let graphs = plan.components.keys().filter(|component| plan.staged.contains(component)).copied().collect();
        self.change_plan(tenant, plan, &plan.staged, &graphs, &FxHashSet::default());
    }

    /// Clears a collection of cells that are not computed any more.
    pub(super) fn sweep(&mut self, collection: CollectionId) {
        match self.sweeps.iter_mut().find(|(there, _)| *there == collection) {
            Some((_, place)) => *place = 0,
            None => self.sweeps.push((collection, 0)),
        }
    }

    /// Ends a timestamp.
    pub(super) fn finish(&mut self, members: &FxHashMap<CollectionId, Vec<Slot>>, backlog: &SharedBacklog) {
        let sliced = std::mem::take(&mut self.sliced);
        if self.items.is_empty() && self.sweeps.is_empty() && self.finished.is_empty() && backlog.borrow().tenants.is_empty() {
            *backlog.borrow_mut() = Backlog { sliced, ..Backlog::default() };
            return;
        }
        let size = |collection: &CollectionId| members.get(collection).map_or(0, Vec::len);
        let mut tenants = BTreeMap::new();
        self.items.retain(|tenant, items| {
            let finished = self.finished.entry(*tenant).or_default();
            let mut progress = Progress::default();
            items.retain(|item| {
                let key = (item.attribute, item.part);
                let Some(turns) = self.turns.get_mut(&key) else { return false };
                turns.from = turns.to;
                let (done, total) = (turns.to.min(size(&item.collection)), size(&item.collection));
                if done == total {
                    self.turns.remove(&key);
                    *finished += total as u64;
                    return false;
                }
                progress.done += done as u64;
                progress.total += total as u64;
                true
            });
            if !items.is_empty() {
                tenants.insert(*tenant, progress);
            }
            !items.is_empty()
        });
        self.orders.retain(|component, _| self.items.values().flatten().any(|item| item.ranked_in == Some(*component)));
        self.sweeps.retain(|(collection, place)| *place < size(collection));
        let (finished, is_sweeping) = (self.finished.clone(), !self.sweeps.is_empty());
        *backlog.borrow_mut() = Backlog { tenants, finished, is_sweeping, sliced };
    }
}

impl Store {
    /// Lets the next `limit` entities take up what is theirs to take up next; clears cells away if there is nothing else.
    pub(super) fn slice(&mut self, limit: usize, outbox: &mut Outbox<'_>) {
        let backfill = &mut self.backfill;
        let after = backfill.last.and_then(|last| backfill.items.keys().find(|tenant| **tenant > last));
        let Some(tenant) = after.or_else(|| backfill.items.keys().next()).copied() else { return self.sweep_slice(limit) };
        backfill.last = Some(tenant);
        let (Some(items), Some(plan)) = (backfill.items.get(&tenant), self.plans.get(&tenant)) else { return };
        let Some(first) = items.first() else { return };
        let group @ (round, collection, ranked_in) = first.group();
        let members = self.members.get(&collection).map_or(&[][..], Vec::as_slice);
        let keys: Vec<_> = items.iter().take_while(|item| item.group() == group).map(|item| (item.attribute, item.part)).collect();
        let order = ranked_in.map(|component| {
            let ranks = self.ranks.get(&component);
            let ranked = || members.iter().map(|slot| ranks.and_then(|ranks| ranks.get(slot)).map_or(0, |rank| *rank));
            backfill.orders.entry(component).or_insert_with(|| Rc::new(Order::by_rank(ranked()))).clone()
        });
        let start = keys.iter().filter_map(|key| backfill.turns.get(key)).map(|turns| turns.from).min().unwrap_or(0);
        // What the last slice took says nothing about work of another kind.
        let limit = if start == 0 { limit.min(FIRST_LIMIT) } else { limit };
        let end = members.len().min(start.saturating_add(limit));
        backfill.sliced = end - start;
        let mut asked = Vec::new();
        for key in &keys {
            let Some(turns) = backfill.turns.get_mut(key) else { continue };
            let crossing = plan.crossing(key.0).filter(|crossing| key.1 == Part::Cells && crossing.is_asked_for());
            asked.extend(crossing.map(|crossing| (key.0, crossing.link(), turns.from)));
            turns.to = if end == members.len() { ALL } else { end.max(turns.to) };
            turns.order.clone_from(&order);
        }
        if round == GRAPH_ROUND {
            for entity in members[start..end].iter().filter_map(|slot| self.records[*slot].entity.as_ref()) {
                for component in keys.iter().filter_map(|(component, _)| plan.components.get(component)) {
                    Self::speak(entity, &component.component, outbox);
                }
            }
            return;
        }
        let joins = keys.iter().filter(|(_, part)| *part == Part::Cells).filter_map(|(attribute, _)| plan.crossing(*attribute));
        let joins: Vec<Round> = joins.filter(|crossing| crossing.crossing.keys.is_some()).map(|crossing| crossing.export_round).collect();
        for turn in start..end {
            let slot = members[order.as_ref().map_or(turn, |order| order.place(turn))];
            outbox.marks.extend(joins.iter().map(|join| (*join, slot)));
            outbox.marks.push((round, slot));
            let entity = if asked.is_empty() { None } else { self.records[slot].entity.as_ref() };
            for (attribute, link, from) in &asked {
                let Some(entity) = entity.filter(|_| turn >= *from) else { continue };
                for source in entity.values.get(*link).targets() {
                    (outbox.send)(Message::Wanted { source: *source, host: entity.id, attribute: *attribute });
                }
            }
        }
    }

    fn sweep_slice(&mut self, limit: usize) {
        let Some((collection, place)) = self.backfill.sweeps.first_mut() else { return };
        let members = self.members.get(collection).map_or(&[][..], Vec::as_slice);
        let end = members.len().min(place.saturating_add(limit));
        self.backfill.sliced = end - *place;
        self.some_are_gone = true;
        for slot in &members[*place..end] {
            let record = &mut self.records[*slot];
            let Some(plan) = record.entity.as_ref().and_then(|entity| self.plans.get(&entity.tenant_id)) else { continue };
            clear(record, plan, &self.gone_closures);
            self.touched.touch(*slot, record);
        }
        *place = end;
    }
}

/// Forgets what a record holds for attributes and components that there are not any more.
pub(super) fn clear(record: &mut Record, plan: &Plan, gone_closures: &FxHashSet<AttributeId>) {
    record.incoming.retain(|(link, _)| !gone_closures.contains(link));
    record.held.retain(|(attribute, _)| plan.crossing(*attribute).is_some());
    record.cycles.retain(|(component, _)| plan.components.contains_key(component));
}
