//! Takes in entities as they are at some position, with all that was computed about them, and computes none of it again.
//!
//! What other entities and the outside are told of a cell is made of the cells themselves, so that the order in which cells
//! follow from one another does not matter here: links and graphs first, for they say who is told; then each entity
//! contributes once to all the cells that take something of it. These take it in and stay what they are. What is held for a
//! rollup so comes from the same kernels as ever, and none of them is written down anywhere.
//!
//! What the schema stages begins anew, and what is not computed any more is left out.

use std::collections::BTreeMap;

use decidr_domain::delta::{Change, Row};
use decidr_domain::id::{CollectionId, EntityId};
use decidr_domain::layout::Layout;
use decidr_domain::schema::Direction;
use smallvec::SmallVec;

use super::backfill::Taken;
use super::finders::{PlanFinder, collection_plan};
use super::record::{Record, Touched, reserve_few};
use super::records::Slot;
use super::store::Store;
use super::visit::Visit;
use super::{Finished, Outbox};
use crate::message::{BucketChange, Message, Takers};
use crate::plan::{CollectionPlan, CrossingPlan, Round, iterate, phase, settle};
use crate::rows::WARMED;
use crate::types::Time;

/// How many entities contribute in a round: as many contributions wait to be taken in at a time.
const TOGETHER: usize = 1 << 14;

/// The round in which the first of them contribute; behind those in which graphs say who is reached.
const FIRST: Round = iterate(0) + 1;

/// The round in which they say their keys to buckets, whose hosts are told what comes of all of them.
const KEYED: Round = settle(0);

/// What is taken in, in one timestamp.
#[derive(Default)]
pub(super) struct Restoring {
    slots: Vec<Slot>,
    /// Cells that were all kept the last time, with their collection: mostly the next row has the same.
    kept: Option<(CollectionId, Layout)>,
    /// At the end: those of which nobody is told yet, the first ones last.
    left: Vec<(EntityId, Slot)>,
    /// How many in sight others were told of, by collection.
    counted: BTreeMap<CollectionId, i64>,
}

impl Store {
    /// Whether this timestamp takes in what was computed before.
    pub(super) fn is_restoring(&self) -> bool {
        self.restoring.is_some()
    }

    /// Takes in entities as they come.
    pub(super) fn restore(&mut self, mut messages: impl Iterator<Item = Message>, peers: usize) {
        let mut restoring = self.restoring.take().unwrap_or_default();
        let mut rows: SmallVec<[Row; WARMED]> = SmallVec::new();
        loop {
            rows.extend(
                messages
                    .by_ref()
                    .filter_map(|message| match message {
                        Message::Restored(row) => Some(row),
                        Message::Restore { entities, .. } => {
                            self.records.reserve(entities / peers);
                            restoring.slots.reserve(entities / peers);
                            self.links.reserve(entities / peers);
                            None
                        }
                        other => {
                            debug_assert!(false, "it comes alone, and not with {other:?}");
                            None
                        }
                    })
                    .take(WARMED),
            );
            if rows.is_empty() {
                break;
            }
            // Each look into the table waits for memory, and these do so together.
            std::hint::black_box(rows.iter().filter(|row| self.records.find(row.entity.id).is_some()).count());
            for row in rows.drain(..) {
                self.restore_row(row, &mut restoring);
            }
        }
        self.restoring = Some(restoring);
    }

    fn restore_row(&mut self, row: Row, restoring: &mut Restoring) {
        let entity = &row.entity;
        for (link, value) in entity.values.iter() {
            self.links.extend(value.targets().iter().map(|target| ((link, *target), entity.id, 1)));
        }
        let slot = self.records.find_or_insert(entity.id);
        let members = self.members.entry(entity.collection_id).or_default();
        let record = &mut self.records[slot];
        debug_assert!(record.entity.is_none(), "it comes once");
        record.place = members.len();
        members.push(slot);
        record.entity = Some(entity.clone());
        restoring.slots.push(slot);
        let is_kept = restoring.kept.as_ref().is_some_and(|kept| *kept == (entity.collection_id, row.layout().clone()));
        let row = match self.plans.get(&entity.tenant_id).filter(|_| !is_kept) {
            Some(plan) => {
                let collection = entity.collection_id;
                let computed = plan.collections.get(&collection).map(|plan| &plan.computed);
                let is_kept = |id| computed.is_some_and(|computed| computed.contains(&id)) && !plan.staged.contains(&id);
                let row = row.keeping(is_kept);
                restoring.kept = Some((collection, row.layout().clone()));
                row
            }
            None => row,
        };
        record.untouch(Some(row));
    }

    /// When all of them are there: says who links to whom, to other targets and to the graphs.
    pub(super) fn begin_restored(&mut self, outbox: &mut Outbox<'_>) {
        for (tenant, plan) in self.plans.iter().filter(|(_, plan)| !plan.staged.is_empty()) {
            self.backfill.begin_again(*tenant, plan);
        }
        self.link_all_restored(outbox);
        let mut together = 0;
        for slots in self.members.values() {
            let first = slots.first().and_then(|slot| self.records[*slot].entity.as_ref());
            let Some(plan) = first.and_then(|entity| collection_plan(&self.plans, entity)) else { continue };
            for component in &plan.components {
                let entities = slots.iter().filter_map(|slot| self.records[*slot].entity.as_ref());
                entities.for_each(|entity| Self::speak(entity, component, outbox));
            }
            if !plan.exports.is_empty() {
                for slot in slots {
                    outbox.marks.push((FIRST + 2 * (together / TOGETHER) as Round, *slot));
                    together += 1;
                }
            }
            if has_keys(plan) {
                outbox.marks.extend(slots.iter().map(|slot| (KEYED, *slot)));
            }
        }
    }

    /// Tells all targets of links who has these: those of this worker at once, each of all its holders together.
    fn link_all_restored(&mut self, outbox: &mut Outbox<'_>) {
        self.links.retain(|((link, target), holder, _)| {
            let is_here = outbox.is_here(*target);
            if !is_here {
                (outbox.send)(Message::Linked { target: *target, link: *link, holder: *holder, added: true });
            }
            is_here
        });
        // Holders mostly came in order, and stay in it.
        self.links.sort_by_key(|(key, ..)| *key);
        for links in self.links.chunk_by_mut(|(one, ..), (next, ..)| one == next) {
            let (link, target) = links[0].0;
            let Some((_, record)) = self.records.get_mut(target) else {
                // What leads nowhere is nobody's news.
                links.iter_mut().for_each(|(.., diff)| *diff = 0);
                continue;
            };
            if !links.is_sorted_by_key(|(_, holder, _)| *holder) {
                links.sort_unstable_by_key(|(_, holder, _)| *holder);
            }
            reserve_few(&mut record.incoming);
            record.incoming.push((link, links.iter().map(|(_, holder, _)| *holder).collect()));
        }
        self.links.retain(|(.., diff)| *diff != 0);
    }

    /// A later round: links and graphs are heard of, contributions taken in, and others made.
    pub(super) fn restored_round(&mut self, round: Round, messages: &mut [Vec<Message>], visits: &[Slot], outbox: &mut Outbox<'_>) {
        let (mut spoken, mut buckets, mut contributions) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages.iter_mut().flat_map(|batch| batch.drain(..)) {
            match message {
                Message::Linked { target, link, holder, .. } => {
                    let Some((_, record)) = self.records.get_mut(target) else { continue };
                    record.meet(link, holder, true);
                    self.links.push(((link, target), holder, 1));
                }
                Message::Reached { source, closure, host, .. } => {
                    let Some((_, record)) = self.records.get_mut(source) else { continue };
                    record.meet(closure, host, true);
                }
                Message::Hierarchy { tenant, component, entity, in_sight, targets } => {
                    if self.take_into_graph(tenant, component, entity, in_sight, targets) {
                        spoken.push(component);
                    }
                }
                Message::Cycle { entity, component, error } => {
                    let Some((_, record)) = self.records.get_mut(entity) else { continue };
                    record.cycles.extend(error.map(|error| (component, error)));
                }
                Message::Ranks { component, ranks, .. } => self.rank(component, ranks),
                Message::Bucket { tenant, attribute, key, change } => {
                    if self.take_into_bucket(tenant, attribute, &key, change) {
                        buckets.push((tenant, attribute, key));
                    }
                }
                Message::Contribution(contribution) => contributions.push(contribution),
                other => debug_assert!(false, "of another timestamp: {other:?}"),
            }
        }
        self.tell_of_graphs(spoken, outbox);
        self.take_in_all(&contributions, round, &mut Vec::new(), outbox);
        for (tenant, attribute, key) in buckets {
            self.tell_hosts(tenant, attribute, &key, outbox);
        }
        let (dirty, backfill) = (&self.dirty, &self.backfill);
        let mut plans = PlanFinder::new(&self.plans);
        for some in visits.chunks(WARMED) {
            self.warm(some.iter().copied());
            for slot in some {
                let record = &self.records[*slot];
                let Some(entity) = &record.entity else { continue };
                let Some(plan) = plans.find(entity) else { continue };
                let touched = Touched::new(*slot, record.row.clone());
                let clock = self.clocks.of(entity.tenant_id);
                let (id, slot, place, phase) = (record.id, *slot, record.place, phase(round));
                let mut visit = Visit { id, slot, round, phase, place, entity, plan, dirty, backfill, clock, outbox };
                match round {
                    KEYED => visit.say_keys(&touched),
                    _ => visit.contribute_all(record, &touched),
                }
            }
        }
    }

    /// Ends the timestamp, for some entities at a time: their rows are those that they came with. Returns whether there are
    /// more.
    pub(super) fn finish_restored(&mut self, time: Time, finished: &mut Finished) -> bool {
        let Some(mut restoring) = self.restoring.take() else { return false };
        let (mut changes, mut rows) = (self.changes.borrow_mut(), self.rows.borrow_mut());
        if restoring.left.is_empty() {
            restoring.left = restoring.slots.drain(..).map(|slot| (self.records[slot].id, slot)).collect();
            restoring.left.sort_unstable_by(|one, other| other.cmp(one));
            changes.reserve(restoring.left.len());
        }
        let links = self.links.len().saturating_sub(TOGETHER);
        finished.links.extend(self.links.drain(links..).map(|(key, holder, diff)| ((key, holder), time, diff)));
        let some = restoring.left.split_off(restoring.left.len().saturating_sub(TOGETHER));
        for (place, (_, slot)) in some.iter().rev().enumerate() {
            if place % WARMED == 0 {
                self.warm(some.iter().rev().skip(place).take(WARMED).map(|(_, slot)| *slot));
            }
            let record = &self.records[*slot];
            let Some(row) = &record.row else { continue };
            if let Some(plan) = collection_plan(&self.plans, &row.entity).filter(|plan| !plan.timed_rounds.is_empty()) {
                self.clocks.schedule(&row.entity, plan, &Touched::new(*slot, Some(row.clone())));
            }
            rows.set(slot.row(), row.clone());
            finished.rows.push(((record.id, slot.row()), time, 1));
            if !row.entity.archived {
                finished.members.push((((row.entity.collection_id, record.id), ()), time, 1));
                *restoring.counted.entry(row.entity.collection_id).or_default() += 1;
            }
            changes.push(Change { entity_id: record.id, old: None, new: row.clone() });
        }
        drop((changes, rows));
        if !restoring.left.is_empty() {
            self.restoring = Some(restoring);
            return true;
        }
        self.finish_counts(restoring.counted, time, finished);
        self.backfill.finish(&self.members, &self.backlog);
        self.clocks.finish(&self.due);
        false
    }
}

/// Whether entities of a collection meet others by keys.
fn has_keys(plan: &CollectionPlan) -> bool {
    !plan.joins.is_empty() || plan.exports().any(|export| export.crossing.keys.is_some())
}

impl Visit<'_, '_> {
    /// Sends what this entity contributes to all hosts, but to buckets.
    fn contribute_all(&mut self, record: &Record, touched: &Touched) {
        for cohort in &self.plan.exports {
            let (backfill, place) = (self.backfill, self.place);
            let taken = |export: &CrossingPlan| backfill.exports(export.attribute, place);
            let is_whole = cohort.len() > 1 && cohort.iter().all(|export| taken(export) == Taken::Before);
            let exports = if is_whole { &cohort[..1] } else { &cohort[..] };
            for export in exports.iter().filter(|export| export.crossing.keys.is_none() && taken(export) != Taken::NotYet) {
                let takers = if is_whole { Takers::Cohort(export.attribute) } else { Takers::One(export.attribute) };
                let new = self.contribution(export, touched);
                match export.crossing.direction {
                    Direction::Backward(link) => self.send(takers, self.entity.values.get(link).targets().iter(), &None, &new),
                    Direction::Forward(_) | Direction::Reach { .. } => self.send(takers, record.holders(export.link()), &None, &new),
                    Direction::Match(_) => {}
                }
            }
        }
    }

    /// Says to buckets which keys this entity has, and what it contributes.
    fn say_keys(&mut self, touched: &Touched) {
        for join in &self.plan.joins {
            let Some(keys) = &join.crossing.keys else { continue };
            let is_taken = self.backfill.cells(join.attribute, self.place) != Taken::NotYet;
            if let Some(key) = keys.of_host(&self.view(touched)).filter(|_| is_taken) {
                let (tenant, attribute) = (self.entity.tenant_id, join.attribute);
                (self.outbox.send)(Message::Bucket { tenant, attribute, key, change: BucketChange::Host(self.id, true) });
            }
        }
        for export in self.plan.exports() {
            let Some(keys) = &export.crossing.keys else { continue };
            if self.backfill.exports(export.attribute, self.place) == Taken::NotYet {
                continue;
            }
            let new = self.contribution(export, touched).and_then(|new| Some((keys.of_source(&self.view(touched))?, new)));
            self.export_to_bucket(export, None, new);
        }
    }
}
