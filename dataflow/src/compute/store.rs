//! What one worker knows, and how it goes through a timestamp: rounds, and at the end the new rows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use decidr_domain::aggregate::entity::Entity;
use decidr_domain::delta::{Change, Row};
use decidr_domain::id::{AttributeId, CollectionId, EntityId, TenantId};
use decidr_domain::schema::Catalog;
use decidr_domain::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::backfill::{Backfill, SharedBacklog};
use super::bucket::Bucket;
use super::clock::{Clocks, SharedDue};
use super::closure::Closure;
use super::finders::{Numbering, PlanFinder, collection_plan};
use super::records::{Records, Slot, TouchedEntities};
use super::restore::Restoring;
use super::topology::Topology;
use super::visit::{CohortFinder, rank_of};
use super::{Finished, Outbox};
use crate::message::{Contribution, Message};
use crate::plan::{Plan, Question, Rank, Round, is_before_turns, turn};
use crate::rows::{SharedRowTable, WARMED};
use crate::types::Time;

/// The rows that changed in the timestamps that are complete, for whoever publishes them.
pub(crate) type Changes = Rc<RefCell<Vec<Change>>>;

/// How many steps evaluations took that took long, by tenant, in the timestamps that are complete, for whoever publishes it.
pub(crate) type SharedEffort = Rc<RefCell<FxHashMap<TenantId, u64>>>;

/// A link and its target, the holder, and whether it came (1) or went (-1).
pub(super) type LinkUpdate = ((AttributeId, EntityId), EntityId, isize);

/// One worker's share of the state.
pub(crate) struct Store {
    pub(super) catalog: Catalog,
    pub(super) plans: FxHashMap<TenantId, Plan>,
    pub(super) records: Records,
    pub(super) members: FxHashMap<CollectionId, Vec<Slot>>,
    in_sight: FxHashMap<CollectionId, u64>,
    pub(super) changes: Changes,
    pub(super) rows: SharedRowTable,
    /// Room for what is contributed in a round.
    contributions: Vec<Contribution>,
    /// Of this timestamp: the entities that it touched; their records know the place.
    pub(super) touched: TouchedEntities,
    /// Of this timestamp: attributes whose definition changed, so that every cell is computed anew.
    pub(super) dirty: FxHashSet<AttributeId>,
    /// Of this timestamp: whether some attributes are not computed any more.
    pub(super) some_are_gone: bool,
    /// Of this timestamp: links that came and went.
    pub(super) links: Vec<LinkUpdate>,
    /// The graphs of the components that are this worker's.
    pub(super) topologies: FxHashMap<AttributeId, Topology>,
    /// By component, the ranks of this worker's entities that are not 0.
    pub(super) ranks: FxHashMap<AttributeId, FxHashMap<Slot, Rank>>,
    /// The closures that are this worker's.
    pub(super) closures: FxHashMap<AttributeId, Closure>,
    /// The buckets that are this worker's, by lookup or rollup and key.
    pub(super) buckets: FxHashMap<AttributeId, FxHashMap<Value, Bucket>>,
    /// Closures that there are not any more.
    pub(super) gone_closures: FxHashSet<AttributeId>,
    pub(super) backfill: Backfill,
    pub(super) backlog: SharedBacklog,
    pub(super) clocks: Clocks,
    pub(super) due: SharedDue,
    pub(super) effort: SharedEffort,
    /// What was computed before and is taken in, while it is.
    pub(super) restoring: Option<Restoring>,
}

/// For how many contributions there stays room for the rounds to come.
const CONTRIBUTIONS_KEPT: usize = 1 << 15;

impl Store {
    pub(crate) fn new(changes: Changes, rows: SharedRowTable, backlog: SharedBacklog, due: SharedDue, effort: SharedEffort) -> Self {
        Self {
            catalog: Catalog::default(),
            plans: FxHashMap::default(),
            records: Records::default(),
            members: FxHashMap::default(),
            in_sight: FxHashMap::default(),
            changes,
            rows,
            contributions: Vec::new(),
            touched: TouchedEntities::default(),
            dirty: FxHashSet::default(),
            some_are_gone: false,
            links: Vec::new(),
            topologies: FxHashMap::default(),
            ranks: FxHashMap::default(),
            closures: FxHashMap::default(),
            buckets: FxHashMap::default(),
            gone_closures: FxHashSet::default(),
            backfill: Backfill::default(),
            backlog,
            clocks: Clocks::default(),
            due,
            effort,
            restoring: None,
        }
    }

    /// Computes one round but the first, which is [`Store::begin`]: takes its messages in, and visits the entities that were marked for it.
    pub(super) fn round(&mut self, round: Round, messages: &mut [Vec<Message>], mut visits: Vec<Slot>, outbox: &mut Outbox<'_>) {
        let (mut buckets, mut spoken, mut contributions) = (Vec::new(), Vec::new(), std::mem::take(&mut self.contributions));
        let mut batches = messages.iter_mut().map(|batch| batch.drain(..));
        let mut batch = batches.next();
        let mut warmed = 0;
        while let Some(messages) = &mut batch {
            if warmed == 0 {
                let next = messages.as_slice();
                warmed = next.len().min(WARMED);
                self.warm(next[..warmed].iter().filter_map(|message| self.records.find(message.recipient()?)));
            }
            let Some(message) = messages.next() else {
                batch = batches.next();
                continue;
            };
            warmed -= 1;
            match message {
                Message::Schema { .. }
                | Message::Entity { .. }
                | Message::Slice { .. }
                | Message::Restore { .. }
                | Message::Restored(_) => {
                    debug_assert!(false, "of round 0, and not of {round}");
                }
                Message::Wanted { source, host, attribute } => self.wanted(source, host, attribute, outbox),
                Message::Linked { target, link, holder, added } => self.linked(target, link, holder, added, outbox),
                Message::Hierarchy { tenant, component, entity, in_sight, targets } => {
                    if self.take_into_graph(tenant, component, entity, in_sight, targets) {
                        spoken.push(component);
                    }
                }
                Message::Reached { source, closure, host, added } => self.reached(source, closure, host, added, outbox),
                Message::Cycle { entity, component, error } => self.cycle(entity, component, error, outbox),
                Message::Ranks { component, ranks, .. } => self.rank(component, ranks),
                Message::Bucket { tenant, attribute, key, change } => {
                    if self.take_into_bucket(tenant, attribute, &key, change) {
                        buckets.push((tenant, attribute, key));
                    }
                }
                Message::Contribution(contribution) => contributions.push(contribution),
            }
        }
        if is_before_turns(round) {
            debug_assert!(contributions.is_empty(), "they are made when entities have their turn");
            return self.wait_for_turns(round, visits, outbox);
        }
        self.take_in_all(&contributions, round, &mut visits, outbox);
        contributions.clear();
        contributions.shrink_to(CONTRIBUTIONS_KEPT);
        self.contributions = contributions;
        for (tenant, attribute, key) in buckets {
            self.tell_hosts(tenant, attribute, &key, outbox);
        }
        self.tell_of_graphs(spoken, outbox);
        visits.sort_unstable();
        visits.dedup();
        for some in visits.chunks(WARMED) {
            self.warm(some.iter().copied());
            self.visit_all(some, round, outbox);
        }
    }

    /// Takes in what an entity's part in the graph of a component or closure is; returns whether there is such a graph.
    pub(super) fn take_into_graph(
        &mut self,
        tenant: TenantId,
        component: AttributeId,
        entity: EntityId,
        in_sight: bool,
        targets: Vec<Vec<EntityId>>,
    ) -> bool {
        let plan = self.plans.get(&tenant).and_then(|plan| plan.components.get(&component));
        let Some(plan) = plan else { return false };
        let graph = match plan.question {
            Question::Cycles => &mut self.topologies.entry(component).or_default().graph,
            Question::Reach => &mut self.closures.entry(component).or_default().graph,
        };
        graph.take_in(&plan.component.directions, entity, in_sight, targets);
        true
    }

    /// Tells entities what has changed about them in the graphs of these components and closures.
    pub(super) fn tell_of_graphs(&mut self, mut spoken: Vec<AttributeId>, outbox: &mut Outbox<'_>) {
        spoken.sort_unstable();
        spoken.dedup();
        for component in spoken {
            if let Some(changes) = self.topologies.get_mut(&component).map(Topology::changes) {
                for (entity, error) in changes.cycles {
                    (outbox.send)(Message::Cycle { entity, component, error });
                }
                outbox.rank(component, changes.ranks);
            }
            let Some(changes) = self.closures.get_mut(&component).map(Closure::changes) else { continue };
            for (source, host, added) in changes.pairs {
                (outbox.send)(Message::Reached { source, closure: component, host, added });
            }
            for (entity, error) in changes.depths {
                (outbox.send)(Message::Cycle { entity, component, error });
            }
        }
    }

    /// Marks entities for their turns in the phase that begins with this round.
    fn wait_for_turns(&self, phase: Round, mut visits: Vec<Slot>, outbox: &mut Outbox<'_>) {
        visits.sort_unstable();
        visits.dedup();
        for slot in visits {
            let Some(entity) = &self.records[slot].entity else { continue };
            let Some(tenant) = self.plans.get(&entity.tenant_id) else { continue };
            let components = tenant.collections.get(&entity.collection_id).into_iter().flat_map(|plan| &plan.components);
            let phase_of = |component: &AttributeId| tenant.components.get(component).map(|component| component.round);
            let of_phase = components.map(|component| component.id).filter(|component| phase_of(component) == Some(phase));
            let marked = outbox.marks.len();
            outbox.marks.extend(of_phase.map(|component| (turn(phase, rank_of(&self.ranks, component, slot)), slot)));
            if outbox.marks.len() == marked {
                // It is in no such graph, and contributes to those that are.
                outbox.marks.push((phase + 1, slot));
            }
        }
    }

    /// Some entities have other ranks now.
    pub(super) fn rank(&mut self, component: AttributeId, new: Vec<(EntityId, Rank)>) {
        let ranks = self.ranks.entry(component).or_default();
        for (entity, rank) in new {
            let Some(slot) = self.records.find(entity) else { continue };
            match rank {
                0 => drop(ranks.remove(&slot)),
                rank => drop(ranks.insert(slot, rank)),
            }
        }
    }

    /// Takes in what sources contribute, host by host, so that what is about one host is done while it is near; those who
    /// must be visited for it in this round are added to `visits`.
    pub(super) fn take_in_all(&mut self, contributions: &[Contribution], round: Round, visits: &mut Vec<Slot>, outbox: &mut Outbox<'_>) {
        /// Which host is told, which of its cells, and where that lies.
        type Told = (Slot, u32, u32);
        /// From how many contributions on it pays to remember where hosts are.
        const MANY: usize = 1 << 8;
        let is_many = contributions.len() >= MANY;
        let mut takers = Numbering::default();
        let mut told: Vec<Told> = Vec::with_capacity(contributions.iter().map(|contribution| contribution.hosts.len()).sum());
        for (place, contribution) in contributions.iter().enumerate() {
            let place = u32::try_from(place).expect("memory ends before there are so many");
            let takers = takers.number(contribution.takers);
            let records = &mut self.records;
            // Those that are told the same are not one another.
            let may_be_again = is_many && contribution.hosts.len() == 1;
            let slot_of = |host: &EntityId| if may_be_again { records.find_among_many(*host) } else { records.find(*host) };
            told.extend(contribution.hosts.iter().filter_map(slot_of).map(|slot| (slot, takers, place)));
        }
        // What is told to the same cells stays in order.
        told.sort_unstable();
        let mut cohorts = CohortFinder::default();
        for some in together(told.chunk_by(|one, next| (one.0, one.1) == (next.0, next.1))) {
            self.warm(some.iter().map(|run| run[0].0));
            let seen = |seen, (_, _, place): &Told| {
                let contribution: &Contribution = &contributions[*place as usize];
                seen ^ contribution.source.0.as_u128() ^ u128::from(contribution.old.is_none()) ^ u128::from(contribution.new.is_none())
            };
            std::hint::black_box(some.iter().flat_map(|run| run.iter()).fold(0, seen));
            for run in some {
                let slot = run[0].0;
                let contributed = run.iter().map(|(_, _, place)| &contributions[*place as usize]);
                let takers = contributions[run[0].2 as usize].takers;
                match self.take_in(slot, takers, contributed, &mut cohorts, round) {
                    Some(now) if now == round => visits.push(slot),
                    later => outbox.marks.extend(later.map(|later| (later, slot))),
                }
            }
        }
    }

    /// Looks at entities that are about to be visited or told something. Each look waits for memory, and these do so together,
    /// where one after the other would wait one after the other: step by step, for a step needs what the one before found,
    /// and the processor looks ahead no further than some dozens of instructions.
    pub(super) fn warm(&self, slots: impl Iterator<Item = Slot>) {
        let stored = |entity: &Entity| u64::from(entity.values.iter().next().is_some_and(|(_, value)| value.is_blank()));
        let slots: SmallVec<[Slot; 2 * WARMED]> = slots.collect();
        let mut seen = slots.iter().fold(0, |seen, slot| seen ^ self.records[*slot].place as u64);
        for slot in &slots {
            let record = &self.records[*slot];
            let row = record.row.as_ref().or_else(|| self.touched.get(record)?.row_before());
            let held = record.held.first().map_or(0, |(id, _)| id.0.as_u128() as u64);
            seen ^= held ^ row.map_or(0, |row| row.since) ^ record.entity.as_ref().map_or(0, |entity| entity.version as u64);
        }
        for slot in &slots {
            let record = &self.records[*slot];
            let held = record.held.first().map_or(0, |(_, held)| held.look());
            let row = record.row.as_ref().or_else(|| self.touched.get(record)?.row_before());
            let computed = row.map_or(0, |row| u64::from(row.values().first().is_some_and(Value::is_blank)) ^ row.entity.version as u64);
            let Some(entity) = record.entity.as_ref() else { continue };
            seen ^= held ^ computed ^ stored(entity) ^ (entity.tenant_id.0.as_u128() ^ entity.collection_id.0.as_u128()) as u64;
        }
        for slot in &slots {
            // Once it is touched, what was stored lies elsewhere.
            let Some(touched) = self.touched.get(&self.records[*slot]) else { continue };
            seen ^=
                touched.row_before().map_or(0, |row| stored(&row.entity)) ^ (touched.contributed.len() ^ touched.set_cells.len()) as u64;
        }
        std::hint::black_box(seen);
    }

    /// An entity depends on itself now or lies too deep, or does not any more.
    fn cycle(&mut self, id: EntityId, component: AttributeId, error: Option<Value>, outbox: &mut Outbox<'_>) {
        let Some((slot, record)) = self.records.get_mut(id) else { return };
        let before = record.cycles.iter().position(|(there, _)| *there == component).map(|place| record.cycles.swap_remove(place).1);
        record.cycles.extend(error.map(|error| (component, error)));
        let Some(entity) = record.entity.as_ref() else { return };
        let (plan, tenant) = (collection_plan(&self.plans, entity), self.plans.get(&entity.tenant_id));
        let round = tenant.and_then(|plan| plan.components.get(&component)).map(|plan| plan.round);
        let through = plan.map_or(&[][..], |plan| plan.through_graph(component));
        outbox.marks.extend(round.iter().chain(through).map(|round| (*round, slot)));
        self.touched.touch(slot, record).seldom_mut().cycles_changed.push((component, before));
    }

    /// A closure reaches this entity from another host, or one host less.
    fn reached(&mut self, source: EntityId, closure: AttributeId, host: EntityId, added: bool, outbox: &mut Outbox<'_>) {
        let Some((slot, record)) = self.records.get_mut(source) else { return };
        record.meet(closure, host, added);
        self.touched.touch(slot, record).seldom_mut().linked.push((closure, host, added));
        let plan = record.entity.as_ref().and_then(|entity| collection_plan(&self.plans, entity));
        outbox.marks.extend(plan.map_or(&[][..], |plan| plan.through(closure)).iter().map(|round| (*round, slot)));
    }

    /// A host takes up a cell to which this entity contributes.
    fn wanted(&mut self, source: EntityId, host: EntityId, attribute: AttributeId, outbox: &mut Outbox<'_>) {
        let Some((slot, record)) = self.records.get_mut(source) else { return };
        let Some(entity) = &record.entity else { return };
        let Some(crossing) = self.plans.get(&entity.tenant_id).and_then(|plan| plan.crossing(attribute)) else { return };
        outbox.marks.push((crossing.export_round, slot));
        self.touched.touch(slot, record).seldom_mut().wanted.push((attribute, host));
    }

    /// A link to this entity came or went.
    fn linked(&mut self, target: EntityId, link: AttributeId, holder: EntityId, added: bool, outbox: &mut Outbox<'_>) {
        let Some((slot, record)) = self.records.get_mut(target) else { return };
        record.meet(link, holder, added);
        self.links.push(((link, target), holder, if added { 1 } else { -1 }));
        let touched = self.touched.touch(slot, record);
        touched.seldom_mut().linked.push((link, holder, added));
        let plan = record.entity.as_ref().and_then(|entity| collection_plan(&self.plans, entity));
        outbox.marks.extend(plan.map_or(&[][..], |plan| plan.through(link)).iter().map(|round| (*round, slot)));
    }

    /// Ends a timestamp: adds the new rows to `finished`, and forgets what only the timestamp needed. Returns whether it has
    /// more to add, when these are taken from there.
    pub(super) fn finish(&mut self, time: Time, finished: &mut Finished) -> bool {
        if self.is_restoring() {
            return self.finish_restored(time, finished);
        }
        let mut order: Vec<(EntityId, Slot)> = self.touched.slots().map(|slot| (self.records[slot].id, slot)).collect();
        order.sort_unstable();
        let mut counted: BTreeMap<CollectionId, i64> = BTreeMap::new();
        let (mut changes, mut rows) = (self.changes.borrow_mut(), self.rows.borrow_mut());
        changes.reserve(order.len());
        let mut plans = PlanFinder::new(&self.plans);
        for (place, (id, slot)) in order.iter().copied().enumerate() {
            if place % WARMED == 0 {
                let next = &order[place..order.len().min(place + WARMED)];
                self.warm(next.iter().map(|(_, slot)| *slot));
                next.iter().for_each(|(_, slot)| rows.look(slot.row()));
            }
            let record = &mut self.records[slot];
            let touched = self.touched.touch(slot, record);
            let Some(entity) = &record.entity else {
                record.untouch(None);
                continue;
            };
            let plan = plans.find(entity);
            if let Some(plan) = plan {
                self.clocks.schedule(entity, plan, touched);
            }
            let is_there = |attribute| plan.is_some_and(|plan| plan.computed.contains(&attribute));
            let is_gone = |row: &Row| self.some_are_gone && !row.layout().ids().iter().all(|attribute| is_there(*attribute));
            let folded = touched.folded;
            if !folded && touched.set_cells.is_empty() && touched.row_before().is_some_and(|row| !is_gone(row)) {
                record.untouch(touched.before.take());
                continue;
            }
            let row = touched.new_row(time, entity, if self.some_are_gone { Some(&is_there) } else { None });
            let before = touched.before.take();
            let may_be_the_same = !folded && (touched.is_set_again || self.some_are_gone);
            if may_be_the_same && before.as_ref().is_some_and(|old| old.layout() == row.layout() && old.values() == row.values()) {
                record.untouch(before);
                continue;
            }
            rows.set(slot.row(), row.clone());
            if before.is_none() {
                finished.rows.push(((id, slot.row()), time, 1));
            }
            let was_in_sight = before.as_ref().is_some_and(|row| !row.entity.archived);
            if was_in_sight == entity.archived {
                let diff = if entity.archived { -1 } else { 1 };
                finished.members.push((((entity.collection_id, id), ()), time, diff));
                *counted.entry(entity.collection_id).or_default() += diff as i64;
            }
            record.untouch(Some(row.clone()));
            changes.push(Change { entity_id: id, old: before, new: row });
        }
        drop((changes, rows));
        self.touched.clear();
        self.finish_counts(counted, time, finished);
        self.dirty.clear();
        self.some_are_gone = false;
        self.backfill.finish(&self.members, &self.backlog);
        self.clocks.finish(&self.due);
        false
    }

    /// Ends a timestamp for the arrangements of counts and links, where so many more of these collections are in sight.
    pub(super) fn finish_counts(&mut self, counted: BTreeMap<CollectionId, i64>, time: Time, finished: &mut Finished) {
        for (collection, difference) in counted {
            let count = self.in_sight.entry(collection).or_default();
            if *count > 0 {
                finished.counts.push(((collection, *count), time, -1));
            }
            *count = count.saturating_add_signed(difference);
            if *count > 0 {
                finished.counts.push(((collection, *count), time, 1));
            }
        }
        finished.links.extend(self.links.drain(..).map(|(key, holder, diff)| ((key, holder), time, diff)));
    }
}

/// So many runs at a time as are looked at together.
pub(super) fn together<'a, T: 'a>(mut runs: impl Iterator<Item = &'a [T]>) -> impl Iterator<Item = SmallVec<[&'a [T]; WARMED]>> {
    std::iter::from_fn(move || Some(runs.by_ref().take(WARMED).collect()).filter(|some: &SmallVec<_>| !some.is_empty()))
}
