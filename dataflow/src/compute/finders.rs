//! Answers to questions that are asked again and again in a row, mostly with the same answer.

use decidr_domain::aggregate::entity::Entity;
use decidr_domain::id::{CollectionId, EntityId, TenantId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::message::Takers;
use crate::plan::{CollectionPlan, Plan};

/// Numbers for those who take contributions, in the order in which they are met.
#[derive(Default)]
pub(super) struct Numbering {
    numbers: FxHashMap<Takers, u32>,
    /// The last one, for mostly the next is the same.
    last: Option<(Takers, u32)>,
}

impl Numbering {
    pub(super) fn number(&mut self, takers: Takers) -> u32 {
        match self.last {
            Some((last, number)) if last == takers => number,
            _ => {
                let next = self.numbers.len() as u32;
                let number = *self.numbers.entry(takers).or_insert(next);
                self.last = Some((takers, number));
                number
            }
        }
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

/// Finds the plans for the collections of entities of which many in a row are of one collection.
pub(super) struct PlanFinder<'a> {
    plans: &'a FxHashMap<TenantId, Plan>,
    last: Option<(CollectionId, Option<&'a CollectionPlan>)>,
}

impl<'a> PlanFinder<'a> {
    pub(super) fn new(plans: &'a FxHashMap<TenantId, Plan>) -> Self {
        Self { plans, last: None }
    }

    /// As [`collection_plan`].
    pub(super) fn find(&mut self, entity: &Entity) -> Option<&'a CollectionPlan> {
        match self.last {
            Some((collection, plan)) if collection == entity.collection_id => plan,
            _ => {
                let plan = collection_plan(self.plans, entity);
                self.last = Some((entity.collection_id, plan));
                plan
            }
        }
    }
}
