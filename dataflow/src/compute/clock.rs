//! What time it is for each tenant's formulas, and which entities have a cell that comes out otherwise at a later time.
//!
//! Time passes by events only ([`TenantEvent::ClockAdvanced`]). When one comes, the entities are visited whose time has
//! come, and no others. What an entity contributed before is what it contributed at the time before: until then nothing
//! about it was due.
//!
//! [`TenantEvent::ClockAdvanced`]: decidr_domain::aggregate::tenant::TenantEvent::ClockAdvanced

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use decidr_domain::aggregate::entity::Entity;
use decidr_domain::id::{EntityId, TenantId};
use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

use super::Outbox;
use super::finders::collection_plan;
use super::record::{Touched, View};
use super::store::Store;
use crate::plan::CollectionPlan;

/// When time must be let pass for a tenant, for each tenant for which that changed; nothing if nothing is due any more.
pub(crate) type Due = Vec<(TenantId, Option<Timestamp>)>;

/// Where a worker leaves [`Due`] for whoever publishes it.
pub(crate) type SharedDue = Rc<RefCell<Due>>;

/// What time it is for one tenant.
#[derive(Clone, Copy, Default)]
pub(super) struct Clock {
    /// As of the last complete timestamp.
    pub(super) before: Option<Timestamp>,
    /// In this timestamp.
    pub(super) now: Option<Timestamp>,
}

#[derive(Default)]
pub(super) struct Clocks {
    clocks: FxHashMap<TenantId, Clock>,
    /// Those that were advanced in this timestamp.
    advanced: Vec<TenantId>,
    /// The entities of a tenant, by when they are due.
    schedule: FxHashMap<TenantId, BTreeSet<(Timestamp, EntityId)>>,
    /// When an entity is due.
    due: FxHashMap<EntityId, Timestamp>,
    /// Tenants whose schedule changed in this timestamp.
    rescheduled: FxHashSet<TenantId>,
}

impl Clocks {
    /// What time it is for a tenant, and was.
    pub(super) fn of(&self, tenant: TenantId) -> Clock {
        self.clocks.get(&tenant).copied().unwrap_or_default()
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, tenant: TenantId, to: Timestamp) {
        self.clocks.entry(tenant).or_default().now = Some(to);
        self.advanced.push(tenant);
    }

    /// Whether an entity may be due some time, or was to be.
    pub(super) fn concern(&self, entity: &Entity, plan: &CollectionPlan) -> bool {
        !plan.timed_rounds.is_empty() || self.due.contains_key(&entity.id)
    }

    /// Notes when an entity is due, after a change of it.
    pub(super) fn schedule(&mut self, entity: &Entity, plan: &CollectionPlan, touched: &Touched) {
        if !self.concern(entity, plan) {
            return;
        }
        let view = View { entity, touched, now: self.of(entity.tenant_id).now };
        let next = if plan.timed_rounds.is_empty() { None } else { plan.next_change(&view) };
        let before = match next {
            Some(next) => self.due.insert(entity.id, next),
            None => self.due.remove(&entity.id),
        };
        if before == next {
            return;
        }
        let schedule = self.schedule.entry(entity.tenant_id).or_default();
        before.map(|before| schedule.remove(&(before, entity.id)));
        schedule.extend(next.map(|next| (next, entity.id)));
        self.rescheduled.insert(entity.tenant_id);
    }

    /// Ends a timestamp.
    pub(super) fn finish(&mut self, due: &SharedDue) {
        for tenant in self.advanced.drain(..) {
            if let Some(clock) = self.clocks.get_mut(&tenant) {
                clock.before = clock.now;
            }
        }
        let mut due = due.borrow_mut();
        for tenant in self.rescheduled.drain() {
            let first = self.schedule.get(&tenant).and_then(BTreeSet::first).map(|(at, _)| *at);
            due.push((tenant, first));
            if first.is_none() {
                self.schedule.remove(&tenant);
            }
        }
    }
}

impl Store {
    /// Marks the entities whose time has come.
    pub(super) fn visit_due(&mut self, outbox: &mut Outbox<'_>) {
        for tenant in &self.clocks.advanced {
            let (Some(now), Some(schedule)) = (self.clocks.of(*tenant).now, self.clocks.schedule.get(tenant)) else { continue };
            for (_, id) in schedule.iter().take_while(|(at, _)| *at <= now) {
                let Some((slot, record)) = self.records.get_mut(*id) else { continue };
                self.touched.touch(slot, record).is_due = true;
                let plan = record.entity.as_ref().and_then(|entity| collection_plan(&self.plans, entity));
                outbox.marks.extend(plan.map_or(&[][..], |plan| &plan.timed_rounds).iter().map(|round| (*round, slot)));
            }
        }
    }
}
