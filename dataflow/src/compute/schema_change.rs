//! A change of the schema: what it makes dirty is computed anew from the state, at the same timestamp.

use std::collections::BTreeSet;

use decidr_domain::aggregate::tenant::TenantEvent;
use decidr_domain::event::Event;
use decidr_domain::id::{AttributeId, CollectionId, TenantId};
use rustc_hash::FxHashSet;

use super::Outbox;
use super::backfill::clear;
use super::store::Store;
use crate::message::WireEvent;
use crate::plan::Plan;

/// The most entities of a collection on a worker that are cleared of what is gone within the change itself.
const CLEARED_AT_ONCE_MAX: usize = 1_000;

impl Store {
    /// Applies events of the schema, and marks every entity that has a cell to compute, or contributes to one.
    pub(super) fn change_schema(&mut self, events: &[(TenantId, &WireEvent)], outbox: &mut Outbox<'_>) {
        let mut tenants = Vec::new();
        for (tenant, event) in events {
            if let Event::Tenant(TenantEvent::ClockAdvanced { to, .. }) = &*event.0 {
                self.clocks.advance(*tenant, *to);
            }
            if self.catalog.apply(*tenant, &event.0) {
                tenants.push(*tenant);
            }
        }
        tenants.sort_unstable();
        tenants.dedup();
        for tenant in tenants {
            let Some(schema) = self.catalog.tenant(tenant) else { continue };
            let plan = Plan::new(schema);
            let mut change = plan.change_from(self.plans.get(&tenant).unwrap_or(&Plan::default()));
            let begun: FxHashSet<AttributeId> = change.dirty.extract_if(|id| plan.staged.contains(id)).collect();
            let gone: FxHashSet<AttributeId> = change.gone.iter().map(|(id, _)| *id).collect();
            let (aside, at_once): (Vec<_>, Vec<_>) = change.new_components.iter().partition(|component| plan.staged.contains(component));
            self.backfill.change_plan(tenant, &plan, &begun, &aside.into_iter().collect(), &gone);
            self.plans.insert(tenant, plan);
            if change.is_empty() {
                continue;
            }
            let Some(plan) = self.plans.get(&tenant) else { continue };
            let mut emptied: BTreeSet<CollectionId> = BTreeSet::new();
            for (component, collection) in &change.gone_components {
                self.topologies.remove(component);
                self.ranks.remove(component);
                self.closures.remove(component);
                if !plan.components.contains_key(component) {
                    // On every worker: each has entities that the closure reached. Components may be here too, which hold none.
                    self.gone_closures.insert(*component);
                }
                emptied.insert(*collection);
                if plan.components.contains_key(component) {
                    // There is one of that name again, of other links.
                    for slot in self.members.get(collection).into_iter().flatten() {
                        self.records[*slot].cycles.retain(|(there, _)| there != component);
                    }
                }
            }
            // Nobody is shown what is gone: it may as well be cleared away later.
            emptied.extend(change.gone.iter().map(|(_, collection)| *collection));
            for collection in emptied {
                let members = self.members.get(&collection).map_or(&[][..], Vec::as_slice);
                if members.len() > CLEARED_AT_ONCE_MAX {
                    self.backfill.sweep(collection);
                    continue;
                }
                self.some_are_gone = true;
                for slot in members {
                    let record = &mut self.records[*slot];
                    clear(record, plan, &self.gone_closures);
                    self.touched.touch(*slot, record);
                }
            }
            for component in at_once.into_iter().filter_map(|component| plan.components.get(&component)) {
                for slot in self.members.get(&component.collection).into_iter().flatten() {
                    if let Some(entity) = &self.records[*slot].entity {
                        Self::speak(entity, &component.component, outbox);
                    }
                }
            }
            for (id, collection) in &plan.collections {
                let members = self.members.get(id).map_or(&[][..], Vec::as_slice);
                let mut rounds = Vec::new();
                rounds.extend(collection.formulas.iter().filter(|f| change.dirty.contains(&f.attribute)).map(|f| f.round));
                rounds.extend(collection.exports().filter(|x| change.dirty.contains(&x.attribute)).map(|x| x.export_round));
                let crossings: Vec<_> = collection.crossings.iter().filter(|x| change.dirty.contains(&x.attribute)).collect();
                rounds.extend(crossings.iter().map(|x| x.round));
                rounds.extend(collection.joins.iter().filter(|x| change.dirty.contains(&x.attribute)).map(|x| x.export_round));
                rounds.sort_unstable();
                rounds.dedup();
                if !rounds.is_empty() {
                    self.touched.reserve(members.len());
                }
                for slot in members {
                    outbox.marks.extend(rounds.iter().map(|round| (*round, *slot)));
                    if !crossings.is_empty() {
                        let held = &mut self.records[*slot].held;
                        held.retain(|(held, _)| crossings.iter().all(|crossing| crossing.attribute != *held));
                    }
                }
            }
            for id in change.dirty.iter().chain(&gone) {
                self.buckets.remove(id);
            }
            self.dirty.extend(change.dirty);
        }
    }
}
