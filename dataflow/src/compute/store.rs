//! What one worker knows, and how it goes through a timestamp: rounds, and at the end the new rows.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use decidr_domain::aggregate::entity::{self, Entity};
use decidr_domain::delta::{Change, Row};
use decidr_domain::formula::MODIFIED;
use decidr_domain::id::{AttributeId, CollectionId, EntityId, TenantId};
use decidr_domain::schema::{Catalog, Component};
use decidr_domain::stamp::Stamp;
use decidr_domain::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};

use super::backfill::{Backfill, SharedBacklog};
use super::bucket::Bucket;
use super::clock::{Clocks, SharedDue};
use super::closure::Closure;
use super::record::{Record, Touched, UNTOUCHED, View, differences};
use super::topology::Topology;
use super::{Finished, Outbox};
use crate::message::{Message, WireEvent};
use crate::plan::{CollectionPlan, Plan, Question, Round};
use crate::types::Time;

/// A row in an arrangement. Two rows of one entity are the same if they are so since the same position, for a timestamp
/// gives an entity at most one new row; so that differential need never compare what is in them.
#[derive(Clone, Debug)]
pub(crate) struct RowRef(pub(crate) Arc<Row>);

impl PartialEq for RowRef {
    fn eq(&self, other: &Self) -> bool {
        self.0.since == other.0.since
    }
}
impl Eq for RowRef {}
impl PartialOrd for RowRef {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for RowRef {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.since.cmp(&other.0.since)
    }
}

/// The rows that changed in the timestamps that are complete, for whoever publishes them.
pub(crate) type Changes = Rc<RefCell<Vec<Change>>>;

/// One worker's share of the state.
pub(crate) struct Store {
    pub(super) catalog: Catalog,
    pub(super) plans: FxHashMap<TenantId, Plan>,
    pub(super) records: FxHashMap<EntityId, Record>,
    pub(super) members: FxHashMap<CollectionId, Vec<EntityId>>,
    in_sight: FxHashMap<CollectionId, u64>,
    changes: Changes,
    /// Of this timestamp: the entities that it touched; their records know the place.
    pub(super) touched: Vec<(EntityId, Touched)>,
    /// Of this timestamp: attributes whose definition changed, so that every cell is computed anew.
    pub(super) dirty: FxHashSet<AttributeId>,
    /// Of this timestamp: whether some attributes are not computed any more.
    pub(super) some_are_gone: bool,
    links: Vec<((AttributeId, EntityId), EntityId, isize)>,
    /// The graphs of the components that are this worker's.
    pub(super) topologies: FxHashMap<AttributeId, Topology>,
    /// The closures that are this worker's.
    pub(super) closures: FxHashMap<AttributeId, Closure>,
    /// The buckets that are this worker's, by lookup or rollup and key.
    pub(super) buckets: FxHashMap<AttributeId, FxHashMap<Value, Bucket>>,
    /// Closures that there are not any more.
    pub(super) gone_closures: FxHashSet<AttributeId>,
    pub(super) backfill: Backfill,
    backlog: SharedBacklog,
    pub(super) clocks: Clocks,
    due: SharedDue,
}

/// How many entities are looked at before they are visited.
const WARMED: usize = 32;

impl Store {
    pub(crate) fn new(changes: Changes, backlog: SharedBacklog, due: SharedDue) -> Self {
        Self {
            catalog: Catalog::default(),
            plans: FxHashMap::default(),
            records: FxHashMap::default(),
            members: FxHashMap::default(),
            in_sight: FxHashMap::default(),
            changes,
            touched: Vec::new(),
            dirty: FxHashSet::default(),
            some_are_gone: false,
            links: Vec::new(),
            topologies: FxHashMap::default(),
            closures: FxHashMap::default(),
            buckets: FxHashMap::default(),
            gone_closures: FxHashSet::default(),
            backfill: Backfill::default(),
            backlog,
            clocks: Clocks::default(),
            due,
        }
    }

    /// Computes one round: takes its messages in, and visits the entities that were marked for it.
    pub(super) fn round(
        &mut self,
        round: Round,
        messages: impl Iterator<Item = Message>,
        mut visits: Vec<EntityId>,
        outbox: &mut Outbox<'_>,
    ) {
        let (mut schema, mut folded, mut spoken, mut slice) = (Vec::new(), Vec::new(), Vec::new(), None);
        let mut buckets = Vec::new();
        for message in messages {
            match message {
                Message::Schema { tenant, event, .. } => schema.push((tenant, event)),
                Message::Slice { limit, .. } => slice = Some(limit),
                Message::Wanted { source, host, attribute } => self.wanted(source, host, attribute, outbox),
                Message::Entity { id, event, stamp, number } => {
                    self.fold(id, &event, &stamp, number);
                    folded.push(id);
                }
                Message::Linked { target, link, holder, added } => self.linked(target, link, holder, added, outbox),
                Message::Hierarchy { tenant, component, entity, in_sight, targets } => {
                    let plan = self.plans.get(&tenant).and_then(|plan| plan.components.get(&component));
                    if let Some(plan) = plan {
                        let graph = match plan.question {
                            Question::Cycles => &mut self.topologies.entry(component).or_default().graph,
                            Question::Reach => &mut self.closures.entry(component).or_default().graph,
                        };
                        graph.take_in(&plan.component.directions, entity, in_sight, targets);
                        spoken.push(component);
                    }
                }
                Message::Reached { source, closure, host, added } => self.reached(source, closure, host, added, outbox),
                Message::Cycle { entity, component, error } => self.cycle(entity, component, error, outbox),
                Message::Bucket { tenant, attribute, key, change } => {
                    if self.take_into_bucket(tenant, attribute, &key, change) {
                        buckets.push((tenant, attribute, key));
                    }
                }
                Message::Contribution(contribution) => visits.extend(self.take_in(contribution)),
            }
        }
        if round == 0 {
            self.change_schema(schema, outbox);
            self.visit_due(outbox);
            folded.sort_unstable();
            folded.dedup();
            for id in folded {
                self.announce(id, outbox);
            }
            if let Some(limit) = slice {
                self.slice(limit, outbox);
            }
            return;
        }
        for (tenant, attribute, key) in buckets {
            self.tell_hosts(tenant, attribute, &key, outbox);
        }
        spoken.sort_unstable();
        spoken.dedup();
        for component in spoken {
            for (entity, error) in self.topologies.get_mut(&component).into_iter().flat_map(Topology::changes) {
                (outbox.send)(Message::Cycle { entity, component, error });
            }
            let Some(changes) = self.closures.get_mut(&component).map(Closure::changes) else { continue };
            for (source, host, added) in changes.pairs {
                (outbox.send)(Message::Reached { source, closure: component, host, added });
            }
            for (entity, error) in changes.depths {
                (outbox.send)(Message::Cycle { entity, component, error });
            }
        }
        visits.sort_unstable();
        visits.dedup();
        for some in visits.chunks(WARMED) {
            self.warm(some);
            for id in some {
                self.visit(*id, round, outbox);
            }
        }
    }

    /// Looks at entities that are about to be visited. Each look waits for memory, and these do so together, where one visit
    /// after the other would wait one after the other.
    fn warm(&self, ids: &[EntityId]) {
        let look = |id: &EntityId| {
            let record = self.records.get(id)?;
            let stored = record.entity.as_ref()?.values.iter().next().map_or(0, |(id, _)| id.0.as_u128() as u64);
            Some(stored ^ record.row.as_ref()?.since)
        };
        std::hint::black_box(ids.iter().filter_map(look).fold(0, |all, one| all ^ one));
    }

    /// The entity's entry among those that this timestamp touched.
    pub(super) fn touch<'a>(touched: &'a mut Vec<(EntityId, Touched)>, record: &mut Record, id: EntityId) -> &'a mut Touched {
        if record.touched == UNTOUCHED {
            record.touched = touched.len();
            touched.push((id, Touched::new(record.row.clone())));
        }
        &mut touched[record.touched].1
    }

    /// Applies one event to its entity, as the write side does.
    fn fold(&mut self, id: EntityId, event: &WireEvent, stamp: &Stamp, number: u64) {
        let Some(event) = event.entity() else { return };
        let record = self.records.entry(id).or_default();
        Self::touch(&mut self.touched, record, id).folded = true;
        let is_new = record.entity.is_none();
        let state = record.entity.take().map(Arc::unwrap_or_clone);
        record.entity = entity::evolve(state, event, stamp).map(|mut entity| {
            if is_new {
                entity.number = number;
            }
            Arc::new(entity)
        });
        if let (true, Some(entity)) = (is_new, &record.entity) {
            let members = self.members.entry(entity.collection_id).or_default();
            record.place = members.len();
            members.push(id);
        }
    }

    /// After all events of a timestamp: what changed about this entity, and who must hear of it.
    fn announce(&mut self, id: EntityId, outbox: &mut Outbox<'_>) {
        let Some(record) = self.records.get_mut(&id) else { return };
        let touched = Self::touch(&mut self.touched, record, id);
        let Some(entity) = &record.entity else { return };
        let before = touched.before.as_ref().map(|row| &*row.entity);
        for (attribute, old, new) in differences(before, entity) {
            touched.changed.push(attribute);
            let (old, new) = (old.targets(), new.targets());
            let mut linked = |target: &EntityId, added| {
                (outbox.send)(Message::Linked { target: *target, link: attribute, holder: id, added });
            };
            let (is_old, is_new) = (Members::of(old), Members::of(new));
            old.iter().filter(|target| !is_new.has(target)).for_each(|target| linked(target, false));
            new.iter().filter(|target| !is_old.has(target)).for_each(|target| linked(target, true));
        }
        let Some(plan) = collection_plan(&self.plans, entity) else { return };
        // What was set to what it was is no other value, and yet was set.
        let old_changes = before.map_or(&[][..], |before| &before.changes);
        for (attribute, _) in entity.changes.iter().rev().take_while(|change| !old_changes.contains(change)) {
            if !touched.changed.contains(attribute) {
                touched.changed.push(*attribute);
            }
        }
        if !touched.changed.is_empty() {
            touched.changed.push(MODIFIED);
        }
        let in_sight_changed = before.is_none_or(|before| before.archived != entity.archived);
        if in_sight_changed {
            outbox.marks.extend(plan.rounds.iter().map(|round| (*round, id)));
        } else {
            for attribute in &touched.changed {
                let rounds = plan.readers(*attribute).iter().chain(plan.through(*attribute));
                outbox.marks.extend(rounds.map(|round| (*round, id)));
            }
        }
        for component in &plan.components {
            if in_sight_changed || component.directions.iter().any(|direction| touched.changed.contains(&direction.link())) {
                Self::speak(entity, component, outbox);
            }
        }
    }

    /// Tells the graph of a component or closure what an entity's part in it is.
    pub(super) fn speak(entity: &Entity, component: &Component, outbox: &mut Outbox<'_>) {
        (outbox.send)(Message::Hierarchy {
            tenant: entity.tenant_id,
            component: component.id,
            entity: entity.id,
            in_sight: !entity.archived,
            targets: component.directions.iter().map(|direction| entity.values.get(direction.link()).targets().to_vec()).collect(),
        });
    }

    /// An entity depends on itself now or lies too deep, or does not any more.
    fn cycle(&mut self, id: EntityId, component: AttributeId, error: Option<Value>, outbox: &mut Outbox<'_>) {
        let Some(record) = self.records.get_mut(&id) else { return };
        let before = record.cycles.iter().position(|(there, _)| *there == component).map(|place| record.cycles.swap_remove(place).1);
        record.cycles.extend(error.map(|error| (component, error)));
        let Some(entity) = record.entity.as_ref() else { return };
        let (plan, tenant) = (collection_plan(&self.plans, entity), self.plans.get(&entity.tenant_id));
        let round = tenant.and_then(|plan| plan.components.get(&component)).map(|plan| plan.round);
        let through = plan.map_or(&[][..], |plan| plan.through_graph(component));
        outbox.marks.extend(round.iter().chain(through).map(|round| (*round, id)));
        Self::touch(&mut self.touched, record, id).cycles_changed.push((component, before));
    }

    /// A closure reaches this entity from another host, or one host less.
    fn reached(&mut self, source: EntityId, closure: AttributeId, host: EntityId, added: bool, outbox: &mut Outbox<'_>) {
        let Some(record) = self.records.get_mut(&source) else { return };
        record.meet(closure, host, added);
        Self::touch(&mut self.touched, record, source).linked.push((closure, host, added));
        let plan = record.entity.as_ref().and_then(|entity| collection_plan(&self.plans, entity));
        outbox.marks.extend(plan.map_or(&[][..], |plan| plan.through(closure)).iter().map(|round| (*round, source)));
    }

    /// A host takes up a cell to which this entity contributes.
    fn wanted(&mut self, source: EntityId, host: EntityId, attribute: AttributeId, outbox: &mut Outbox<'_>) {
        let Some(record) = self.records.get_mut(&source) else { return };
        let Some(entity) = &record.entity else { return };
        let Some(crossing) = self.plans.get(&entity.tenant_id).and_then(|plan| plan.crossing(attribute)) else { return };
        outbox.marks.push((crossing.export_round, source));
        Self::touch(&mut self.touched, record, source).wanted.push((attribute, host));
    }

    /// A link to this entity came or went.
    fn linked(&mut self, target: EntityId, link: AttributeId, holder: EntityId, added: bool, outbox: &mut Outbox<'_>) {
        let Some(record) = self.records.get_mut(&target) else { return };
        record.meet(link, holder, added);
        self.links.push(((link, target), holder, if added { 1 } else { -1 }));
        let touched = Self::touch(&mut self.touched, record, target);
        touched.linked.push((link, holder, added));
        let plan = record.entity.as_ref().and_then(|entity| collection_plan(&self.plans, entity));
        outbox.marks.extend(plan.map_or(&[][..], |plan| plan.through(link)).iter().map(|round| (*round, target)));
    }

    /// Ends a timestamp: makes the new rows, and forgets what only the timestamp needed.
    pub(super) fn finish(&mut self, time: Time) -> Finished {
        let mut finished = Finished::default();
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable_by_key(|(id, _)| *id);
        let mut counted: BTreeMap<CollectionId, i64> = BTreeMap::new();
        let mut changes = self.changes.borrow_mut();
        for (id, touched) in touched {
            let Some(record) = self.records.get_mut(&id) else { continue };
            record.touched = UNTOUCHED;
            let Some(entity) = &record.entity else { continue };
            let plan = collection_plan(&self.plans, entity);
            if let Some(plan) = plan {
                let now = self.clocks.of(entity.tenant_id).now;
                self.clocks.schedule(entity, plan, &View { entity, cells: touched.cells(), now });
            }
            let Touched { before, mut changed_cells, folded, .. } = touched;
            let computed = plan.map(|plan| &plan.computed);
            if self.some_are_gone {
                let is_there = |attribute: &AttributeId| computed.is_some_and(|computed| computed.contains(attribute));
                let old = before.as_ref().map_or(&[][..], |row| &row.computed);
                if changed_cells.is_some() || old.iter().any(|(attribute, _)| !is_there(attribute)) {
                    changed_cells.get_or_insert_with(|| old.to_vec()).retain(|(attribute, _)| is_there(attribute));
                }
            }
            let computed = match (changed_cells, &before) {
                (Some(cells), Some(row)) if !folded && *row.computed == *cells => continue,
                (Some(cells), _) => cells.into_boxed_slice(),
                (None, Some(_)) if !folded => continue,
                (None, Some(row)) => row.computed.clone(),
                (None, None) => Box::default(),
            };
            let row = Arc::new(Row { since: time, entity: entity.clone(), computed });
            if let Some(before) = &before {
                finished.rows.push(((id, RowRef(before.clone())), time, -1));
            }
            finished.rows.push(((id, RowRef(row.clone())), time, 1));
            let was_in_sight = before.as_ref().is_some_and(|row| !row.entity.archived);
            if was_in_sight == entity.archived {
                let diff = if entity.archived { -1 } else { 1 };
                finished.members.push((((entity.collection_id, id), ()), time, diff));
                *counted.entry(entity.collection_id).or_default() += diff as i64;
            }
            record.row = Some(row.clone());
            changes.push(Change { entity_id: id, old: before, new: row });
        }
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
        self.dirty.clear();
        self.some_are_gone = false;
        self.backfill.finish(&self.members, &self.backlog);
        self.clocks.finish(&self.due);
        finished
    }
}

/// Asks many times whether an entity is among some.
pub(super) enum Members<'a> {
    Few(&'a [EntityId]),
    Many(FxHashSet<EntityId>),
}

impl<'a> Members<'a> {
    pub(super) fn of(ids: &'a [EntityId]) -> Self {
        if ids.len() <= 16 { Members::Few(ids) } else { Members::Many(ids.iter().copied().collect()) }
    }

    pub(super) fn has(&self, id: &EntityId) -> bool {
        match self {
            Members::Few(ids) => ids.contains(id),
            Members::Many(ids) => ids.contains(id),
        }
    }
}

/// The plan for an entity's collection.
pub(super) fn collection_plan<'a>(plans: &'a FxHashMap<TenantId, Plan>, entity: &Entity) -> Option<&'a CollectionPlan> {
    plans.get(&entity.tenant_id)?.collections.get(&entity.collection_id)
}
