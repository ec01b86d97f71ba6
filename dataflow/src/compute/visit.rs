//! One visit to one entity: makes its cells of one level final, and tells other entities what that changes for them.

use std::sync::Arc;

use decidr_domain::aggregate::entity::Entity;
use decidr_domain::formula::{At, steps_taken};
use decidr_domain::id::{AttributeId, EntityId, TenantId};
use decidr_domain::schema::Direction;
use decidr_domain::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::Outbox;
use super::backfill::{Backfill, Taken};
use super::clock::Clock;
use super::finders::{Members, PlanFinder};
use super::record::{Held, Record, Touched, View, reserve_few};
use super::records::Slot;
use super::store::Store;
use crate::message::{Contribution, Takers};
use crate::plan::{Cohort, CollectionPlan, CrossingPlan, Plan, Rank, Round, is_iteration, phase, turn};

/// How many steps a visit takes at least that counts as an effort.
const EFFORT_FROM: u64 = 1_000;

impl Store {
    /// Takes in what sources contribute to the same cells of a host; returns when the host must be visited for it, if it need
    /// not be anyway.
    pub(super) fn take_in<'a>(
        &mut self,
        slot: Slot,
        takers: Takers,
        contributions: impl Iterator<Item = &'a Contribution> + Clone,
        cohorts: &mut CohortFinder,
        round: Round,
    ) -> Option<Round> {
        let record = &mut self.records[slot];
        let tenant = record.entity.as_ref().map(|entity| entity.tenant_id);
        let cohort = tenant.and_then(|tenant| cohorts.find(&self.plans, tenant, takers))?;
        let (mut visit, mut place) = (None, 0);
        let mut places: SmallVec<[usize; 8]> = SmallVec::new();
        for crossing in cohort.iter() {
            let is_taken = self.backfill.cells(crossing.attribute, record.place) != Taken::NotYet;
            // It asks for what there is when its turn comes, or else is told now and looks at it then.
            if is_taken || !crossing.is_asked_for() {
                place = held_place(record, crossing, place);
                places.push(place);
                place += 1;
            }
            // What follows from it was computed before, if that is so of what is contributed.
            if is_taken && self.restoring.is_none() {
                let touched = self.touched.touch(slot, record);
                let is_first = touched.contributed.is_empty();
                let is_there = touched.contributed.last() == Some(&crossing.attribute) || touched.contributed.contains(&crossing.attribute);
                if !is_there {
                    touched.contributed.push(crossing.attribute);
                }
                // What it waits for may have its turn later than this.
                match crossing.iterates_in.filter(|_| !is_there) {
                    Some(component) => visit = Some(round.max(turn(phase(round), rank_of(&self.ranks, component, slot)))),
                    None if is_first => visit = Some(round),
                    None => {}
                }
            }
        }
        match places[..] {
            [place] => {
                let held = &mut record.held[place].1;
                contributions.for_each(|Contribution { source, old, new, .. }| held.take_in(*source, old, new));
            }
            _ => {
                places.sort_unstable();
                record.take_in_together(&places, contributions);
            }
        }
        visit
    }

    /// Computes the cells of a round, of these entities.
    pub(super) fn visit_all(&mut self, slots: &[Slot], round: Round, outbox: &mut Outbox<'_>) {
        let (dirty, backfill, phase) = (&self.dirty, &self.backfill, phase(round));
        let mut plans = PlanFinder::new(&self.plans);
        for slot in slots {
            let (slot, record) = (*slot, &mut self.records[*slot]);
            let is_first = record.touched().is_none();
            let touched = self.touched.touch(slot, record);
            let Some(entity) = &record.entity else { continue };
            let Some(plan) = plans.find(entity) else { continue };
            let clock = self.clocks.of(entity.tenant_id);
            let entity = entity.clone();
            let (id, place) = (record.id, record.place);
            let mut visit = Visit { id, slot, round, phase, place, entity: &entity, plan, dirty, backfill, clock, outbox };
            let before = steps_taken();
            visit.cross(record, touched);
            visit.evaluate(touched);
            visit.join(record, touched);
            visit.export(record, touched);
            let steps = steps_taken().wrapping_sub(before);
            if steps >= EFFORT_FROM {
                *self.effort.borrow_mut().entry(entity.tenant_id).or_default() += steps;
            }
            // It has only told others something, as all sources do that take up a contribution.
            if is_first && touched.is_nothing() && !self.some_are_gone && !self.clocks.concern(&entity, plan) {
                self.touched.forget_last(record);
            }
        }
    }
}

/// The rank of an entity in a component.
pub(super) fn rank_of(ranks: &FxHashMap<AttributeId, FxHashMap<Slot, Rank>>, component: AttributeId, slot: Slot) -> Rank {
    ranks.get(&component).and_then(|ranks| ranks.get(&slot)).map_or(0, |rank| *rank)
}

/// Finds the crossings that take a contribution, of which many in a row are taken by few.
#[derive(Default)]
pub(super) struct CohortFinder(Vec<(TenantId, Takers, Cohort)>);

impl CohortFinder {
    fn find(&mut self, plans: &FxHashMap<TenantId, Plan>, tenant: TenantId, takers: Takers) -> Option<&Cohort> {
        /// How many are at hand.
        const KEPT: usize = 4;
        let place = match self.0.iter().position(|(of, about, _)| *of == tenant && *about == takers) {
            Some(place) => place,
            None => {
                let plan = plans.get(&tenant)?;
                let cohort = match takers {
                    Takers::One(attribute) => plan.alone(attribute),
                    Takers::Cohort(first) => plan.cohort(first),
                };
                self.0.truncate(KEPT - 1);
                self.0.insert(0, (tenant, takers, cohort?.clone()));
                0
            }
        };
        Some(&self.0[place].2)
    }
}

/// What the sources of a cell contribute.
pub(super) fn held<'a>(record: &'a mut Record, crossing: &CrossingPlan) -> &'a mut Held {
    let place = held_place(record, crossing, 0);
    &mut record.held[place].1
}

/// Where in its record that is; it may be at `likely`.
fn held_place(record: &mut Record, crossing: &CrossingPlan, likely: usize) -> usize {
    let is_it = |(id, _): &(AttributeId, Held)| *id == crossing.attribute;
    if record.held.get(likely).is_some_and(is_it) {
        return likely;
    }
    match record.held.iter().position(is_it) {
        Some(place) => place,
        None => {
            let new = match crossing.crossing.keys {
                // What a bucket makes of the contributions.
                Some(_) => Held::Only(None),
                None => Held::new(&crossing.crossing),
            };
            reserve_few(&mut record.held);
            record.held.push((crossing.attribute, new));
            record.held.len() - 1
        }
    }
}

/// A visit under way.
pub(super) struct Visit<'a, 'b> {
    pub(super) id: EntityId,
    pub(super) slot: Slot,
    pub(super) round: Round,
    /// The round whose items are computed: in iterations they are the same again and again.
    pub(super) phase: Round,
    /// Its place among the entities of its collection.
    pub(super) place: usize,
    pub(super) entity: &'a Entity,
    pub(super) plan: &'a CollectionPlan,
    pub(super) dirty: &'a FxHashSet<AttributeId>,
    pub(super) backfill: &'a Backfill,
    pub(super) clock: Clock,
    pub(super) outbox: &'a mut Outbox<'b>,
}

impl Visit<'_, '_> {
    /// Summarises what sources contribute.
    fn cross(&mut self, record: &mut Record, touched: &mut Touched) {
        let contributed = std::mem::take(&mut touched.contributed);
        let (crossings, phase) = (&self.plan.crossings, self.phase);
        let start = crossings.partition_point(|crossing| crossing.round < phase);
        for crossing in crossings[start..].iter().take_while(|crossing| crossing.round == phase) {
            let taken = self.backfill.cells(crossing.attribute, self.place);
            if taken == Taken::NotYet {
                continue;
            }
            let reordered = crossing.order().is_some_and(|order| touched.changed.contains(&order));
            let host_changed = crossing.host_reads.iter().any(|read| touched.changed.contains(read));
            let cycle_changed = || crossing.component.is_some_and(|component| touched.cycle_changed(component).is_some());
            if touched.is_new()
                || reordered
                || host_changed
                || cycle_changed()
                || contributed.contains(&crossing.attribute)
                || taken == Taken::Now
                || self.dirty.contains(&crossing.attribute)
            {
                let host = self.view(touched);
                let cycle = crossing.component.and_then(|component| record.error_of(component)).cloned();
                let mut held = record.held.iter_mut().find(|(id, _)| *id == crossing.attribute);
                if let Some((_, held)) = held.as_mut().filter(|_| host_changed) {
                    held.host_changed();
                }
                let value = match (cycle, held) {
                    (Some(error), _) => error,
                    (None, Some((_, held))) => held.summary(crossing, &host),
                    (None, None) => Held::new(&crossing.crossing).summary(crossing, &host),
                };
                self.set(touched, crossing.attribute, value);
            }
        }
    }

    /// Evaluates the formulas that may come out otherwise than before.
    fn evaluate(&mut self, touched: &mut Touched) {
        let (formulas, phase) = (&self.plan.formulas, self.phase);
        let start = formulas.partition_point(|formula| formula.round < phase);
        for formula in formulas[start..].iter().take_while(|formula| formula.round == phase) {
            let taken = self.backfill.cells(formula.attribute, self.place);
            if taken == Taken::NotYet {
                continue;
            }
            let references = &formula.program.references;
            let affected = || touched.changed.iter().any(|changed| references.binary_search(changed).is_ok());
            let is_due = touched.is_due && formula.program.is_timed;
            if is_due || touched.is_new() || taken == Taken::Now || self.dirty.contains(&formula.attribute) || affected() {
                let value = formula.program.evaluate(&self.view(touched));
                self.set(touched, formula.attribute, value);
            }
        }
    }

    pub(super) fn view<'c>(&'c self, touched: &'c Touched) -> View<'c> {
        View { entity: self.entity, touched, now: self.clock.now }
    }

    fn set(&mut self, touched: &mut Touched, attribute: AttributeId, value: Value) {
        let changed = touched.set(attribute, value);
        if changed && !touched.is_new() {
            // What reads it in this phase comes later in this visit; a new entity is visited in every round as it is.
            let later = self.plan.readers(attribute).iter().filter(|round| **round > self.phase);
            self.outbox.marks.extend(later.map(|round| (*round, self.slot)));
        }
        // What this entity made of its sources in this very phase may have looked at the cell as it was before.
        let is_host_read =
            || self.plan.crossings.iter().any(|crossing| crossing.round == self.phase && crossing.host_reads.contains(&attribute));
        if changed && is_iteration(self.round) && is_host_read() {
            self.outbox.marks.push((self.round + 1, self.slot));
        }
    }

    /// Sends hosts the difference between what this entity contributed and what it does now.
    fn export(&mut self, record: &Record, touched: &mut Touched) {
        let (exports, phase) = (&self.plan.exports, self.phase);
        let start = exports.partition_point(|cohort| cohort[0].export_round < phase);
        let (dirty, backfill, place) = (self.dirty, self.backfill, self.place);
        for cohort in exports[start..].iter().take_while(|cohort| cohort[0].export_round == phase) {
            // What concerns a single one of a cohort is told each of them by itself; those that iterate are alone.
            let is_as_ever = |export: &Arc<CrossingPlan>| {
                !dirty.contains(&export.attribute) && backfill.exports(export.attribute, place) == Taken::Before
            };
            if cohort.len() > 1 && touched.seldom().wanted.is_empty() && cohort.iter().all(is_as_ever) {
                self.export_once(&cohort[0], Takers::Cohort(cohort[0].attribute), Taken::Before, record, touched);
                continue;
            }
            for export in cohort.iter() {
                let taken = backfill.exports(export.attribute, place);
                if taken == Taken::NotYet {
                    continue;
                }
                if !export.iterates() {
                    self.export_once(export, Takers::One(export.attribute), taken, record, touched);
                } else if let Some(place) = touched.seldom().sent.iter().position(|(attribute, _)| *attribute == export.attribute) {
                    self.export_again(export, record, touched, place);
                } else if let Some(new) = self.export_once(export, Takers::One(export.attribute), taken, record, touched) {
                    touched.seldom_mut().sent.push((export.attribute, new));
                }
            }
        }
    }

    /// Sends the difference to before the timestamp, if there may be one, to the cells that take it;
    /// returns what is contributed now.
    fn export_once(
        &mut self,
        export: &CrossingPlan,
        takers: Takers,
        taken: Taken,
        record: &Record,
        touched: &Touched,
    ) -> Option<Option<Value>> {
        let before = touched.row_before().filter(|row| !row.entity.archived);
        let link = export.link();
        let dirty = self.dirty.contains(&export.attribute) || taken == Taken::Now;
        let link_changed = match export.crossing.direction {
            Direction::Backward(_) => touched.changed.contains(&link),
            Direction::Forward(_) | Direction::Reach { .. } => touched.seldom().linked.iter().any(|(id, ..)| *id == link),
            Direction::Match(_) => false,
        };
        let in_sight_changed = before.is_some() == self.entity.archived;
        let cell_changed = || export.reads.iter().any(|read| touched.changed.contains(read));
        let is_wanted = touched.seldom().wanted.iter().any(|(attribute, _)| *attribute == export.attribute);
        let is_due = touched.is_due && export.crossing.is_timed();
        if !(dirty || link_changed || in_sight_changed || touched.is_new() || is_wanted || is_due || cell_changed()) {
            return None;
        }
        // Hosts have forgotten what came by a definition that changed.
        let then = self.clock.before;
        let old = before.filter(|_| !dirty).and_then(|row| export.crossing.contribution(&At { cells: row, now: then }));
        let new = self.contribution(export, touched);
        match export.crossing.direction {
            Direction::Match(_) => {
                let Some(keys) = &export.crossing.keys else { return None };
                let old = old.and_then(|old| Some((keys.of_source(before?)?, old)));
                let new = new.clone().and_then(|new| Some((keys.of_source(&self.view(touched))?, new)));
                self.export_to_bucket(export, old, new);
            }
            Direction::Backward(_) => {
                let after = self.entity.values.get(link).targets();
                // Who was linked before this timestamp, in sight or not: what it contributed is in `old`.
                let was: &[EntityId] = touched.row_before().map_or(&[], |row| row.entity.values.get(link).targets());
                let (is_after, is_was) = (Members::of(after), Members::of(was));
                self.send(takers, after.iter().filter(|host| is_was.has(host)), &old, &new);
                self.send(takers, after.iter().filter(|host| !is_was.has(host)), &None, &new);
                self.send(takers, was.iter().filter(|host| !is_after.has(host)), &old, &None);
            }
            Direction::Forward(_) | Direction::Reach { .. } => {
                let changed = || touched.seldom().linked.iter().filter(|(id, ..)| *id == link);
                self.send(takers, changed().filter(|(.., added)| !added).map(|(_, host, _)| host), &old, &None);
                let wanted = touched.seldom().wanted.iter().filter(|(attribute, _)| *attribute == export.attribute).map(|(_, host)| *host);
                let come: FxHashSet<EntityId> = changed().filter(|(.., added)| *added).map(|(_, host, _)| *host).chain(wanted).collect();
                if old == new && !dirty {
                    // Only links changed: those who stay have it already.
                    let mut come: Vec<_> = come.into_iter().collect();
                    come.sort_unstable();
                    self.send(takers, come.iter(), &None, &new);
                } else if come.is_empty() {
                    self.send(takers, record.holders(link), &old, &new);
                } else {
                    self.send(takers, record.holders(link).filter(|host| !come.contains(host)), &old, &new);
                    self.send(takers, record.holders(link).filter(|host| come.contains(host)), &None, &new);
                }
            }
        }
        Some(new)
    }

    /// Sends the difference to what was sent last in this timestamp; links were seen to then.
    fn export_again(&mut self, export: &CrossingPlan, record: &Record, touched: &mut Touched, place: usize) {
        let new = self.contribution(export, touched);
        let old = std::mem::replace(&mut touched.seldom_mut().sent[place].1, new.clone());
        match export.crossing.direction {
            Direction::Backward(link) => {
                self.send(Takers::One(export.attribute), self.entity.values.get(link).targets().iter(), &old, &new);
            }
            Direction::Forward(link) | Direction::Reach { closure: link, .. } => {
                self.send(Takers::One(export.attribute), record.holders(link), &old, &new);
            }
            // No definition goes round through a match.
            Direction::Match(_) => {}
        }
    }

    pub(super) fn contribution(&self, export: &CrossingPlan, touched: &Touched) -> Option<Value> {
        if self.entity.archived { None } else { export.crossing.contribution(&self.view(touched)) }
    }

    pub(super) fn send<'h>(&mut self, takers: Takers, hosts: impl Iterator<Item = &'h EntityId>, old: &Option<Value>, new: &Option<Value>) {
        self.outbox.contribute(hosts.copied(), takers, self.id, old, new);
    }
}
