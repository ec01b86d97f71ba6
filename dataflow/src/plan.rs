//! The schema as the compute operator sees it: for every collection, what to evaluate, what to take in, and what to send
//! on, by level. Plain data; made anew from the catalog when a tenant's schema changes.

use std::sync::Arc;

use decidr_domain::formula::Program;
use decidr_domain::formula::Type;
use decidr_domain::formula::eval::Expr;
use decidr_domain::id::{AttributeId, CollectionId};
use decidr_domain::schema::{Analyzed, Compute, Crossing, Direction, Summary, TenantSchema};
use rustc_hash::{FxHashMap, FxHashSet};

/// What to do in one tenant.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) collections: FxHashMap<CollectionId, CollectionPlan>,
    /// Every crossing, by the attribute that it computes.
    crossings: FxHashMap<AttributeId, Arc<CrossingPlan>>,
    analyzed: FxHashMap<AttributeId, Arc<Analyzed>>,
}

/// What to do in one collection.
#[derive(Default)]
pub(crate) struct CollectionPlan {
    /// One more than the highest level of anything below.
    pub(crate) levels: u32,
    /// Formulas, by level, in an order in which each comes after those it refers to.
    pub(crate) formulas: Vec<FormulaPlan>,
    /// Cells that come from other entities, by level.
    pub(crate) crossings: Vec<Arc<CrossingPlan>>,
    /// What entities of this collection contribute to others, by the level at which it is final.
    pub(crate) exports: Vec<Arc<CrossingPlan>>,
    /// For an attribute: the levels at which something here reads it.
    readers: FxHashMap<AttributeId, Vec<u32>>,
    /// For a link, in either direction: the levels at which something is sent through it, or listed in its order.
    through: FxHashMap<AttributeId, Vec<u32>>,
    /// The attributes that are computed here.
    pub(crate) computed: FxHashSet<AttributeId>,
}

/// One formula.
pub(crate) struct FormulaPlan {
    pub(crate) attribute: AttributeId,
    pub(crate) level: u32,
    pub(crate) program: Program,
}

/// One lookup, rollup or counted link.
pub(crate) struct CrossingPlan {
    pub(crate) attribute: AttributeId,
    /// The level of the host's cell; what sources contribute is final one level below.
    pub(crate) level: u32,
    pub(crate) crossing: Crossing,
    /// What a source's contribution reads.
    pub(crate) reads: Vec<AttributeId>,
    /// What the host itself reads to make its cell of them.
    pub(crate) host_reads: Vec<AttributeId>,
}

impl CrossingPlan {
    /// The link that it goes through.
    pub(crate) fn link(&self) -> AttributeId {
        match self.crossing.direction {
            Direction::Forward(link) | Direction::Backward(link) => link,
        }
    }

    /// Whether the host's own link gives the order of what it lists.
    pub(crate) fn is_list_in_link_order(&self) -> bool {
        let in_order = match &self.crossing.summary {
            Summary::List => true,
            // Also what is sorted: those that are alike keep the link's order.
            Summary::Collect(_) => true,
            Summary::Only | Summary::Rollup(..) => false,
        };
        in_order && matches!(self.crossing.direction, Direction::Forward(_))
    }

    /// The level at which contributions are final.
    pub(crate) fn export_level(&self) -> u32 {
        self.level - 1
    }
}

/// What changed from one plan to the next.
#[derive(Default)]
pub(crate) struct PlanChange {
    /// Attributes that are computed otherwise than before, or were not computed before.
    pub(crate) dirty: FxHashSet<AttributeId>,
    /// Attributes that are not computed any more, with their collections.
    pub(crate) gone: Vec<(AttributeId, CollectionId)>,
}

impl PlanChange {
    pub(crate) fn is_empty(&self) -> bool {
        self.dirty.is_empty() && self.gone.is_empty()
    }
}

impl Plan {
    /// The plan for a tenant's schema.
    pub(crate) fn new(schema: &TenantSchema) -> Self {
        let mut plan = Plan::default();
        for collection in schema.collections() {
            plan.collections.entry(collection.id()).or_default();
            for attribute in collection.attributes() {
                if let Some(analyzed) = schema.analyzed(attribute.id) {
                    plan.add(attribute.id, analyzed);
                }
            }
        }
        for collection in plan.collections.values_mut() {
            collection.finish(&plan.analyzed);
        }
        plan
    }

    fn add(&mut self, attribute: AttributeId, analyzed: &Arc<Analyzed>) {
        let home = self.collections.entry(analyzed.collection_id).or_default();
        let level = analyzed.level;
        match &analyzed.compute {
            Compute::Stored => return,
            Compute::Formula(program) => home.formulas.push(FormulaPlan { attribute, level, program: program.clone() }),
            // The same error in every cell is the simplest of formulas.
            Compute::Broken(error) => {
                let program = Program {
                    expr: Expr::Constant(error.clone()),
                    result: Type::Any,
                    references: Vec::new(),
                    host_references: Vec::new(),
                    is_timed: false,
                };
                home.formulas.push(FormulaPlan { attribute, level: 0, program });
            }
            Compute::Crossing(crossing) => {
                let (reads, host_reads) = (analyzed.reads.clone(), analyzed.host_reads.clone());
                let crossing = Arc::new(CrossingPlan { attribute, level, crossing: crossing.clone(), reads, host_reads });
                home.crossings.push(crossing.clone());
                self.crossings.insert(attribute, crossing.clone());
                self.collections.entry(crossing.crossing.source).or_default().exports.push(crossing);
            }
        }
        self.collections.entry(analyzed.collection_id).or_default().computed.insert(attribute);
        self.analyzed.insert(attribute, analyzed.clone());
    }

    /// What is different from `before`.
    pub(crate) fn change_from(&self, before: &Plan) -> PlanChange {
        let mut change = PlanChange::default();
        for (id, analyzed) in &self.analyzed {
            if before.analyzed.get(id).is_none_or(|old| !Arc::ptr_eq(old, analyzed) && old != analyzed) {
                change.dirty.insert(*id);
            }
        }
        change
            .gone
            .extend(before.analyzed.iter().filter(|(id, _)| !self.analyzed.contains_key(id)).map(|(id, old)| (*id, old.collection_id)));
        change.gone.sort_unstable();
        change
    }

    /// The crossing that computes this attribute, if one does.
    pub(crate) fn crossing(&self, attribute: AttributeId) -> Option<&Arc<CrossingPlan>> {
        self.crossings.get(&attribute)
    }
}

impl CollectionPlan {
    fn finish(&mut self, analyzed: &FxHashMap<AttributeId, Arc<Analyzed>>) {
        let order = |attribute| analyzed.get(&attribute).map_or(0, |analyzed| analyzed.order);
        self.formulas.sort_by_key(|formula| (formula.level, order(formula.attribute), formula.attribute));
        self.crossings.sort_by_key(|crossing| (crossing.level, crossing.attribute));
        self.exports.sort_by_key(|crossing| (crossing.level, crossing.attribute));
        for formula in &self.formulas {
            self.levels = self.levels.max(formula.level + 1);
            for reference in &formula.program.references {
                note(&mut self.readers, *reference, formula.level);
            }
        }
        for export in &self.exports {
            self.levels = self.levels.max(export.export_level() + 1);
            for read in &export.reads {
                note(&mut self.readers, *read, export.export_level());
            }
            note(&mut self.through, export.link(), export.export_level());
        }
        for crossing in &self.crossings {
            self.levels = self.levels.max(crossing.level + 1);
            for read in &crossing.host_reads {
                note(&mut self.readers, *read, crossing.level);
            }
            if crossing.is_list_in_link_order() {
                note(&mut self.through, crossing.link(), crossing.level);
            }
        }
    }

    /// The levels at which something here reads this attribute.
    pub(crate) fn readers(&self, attribute: AttributeId) -> &[u32] {
        self.readers.get(&attribute).map_or(&[], Vec::as_slice)
    }

    /// The levels at which something depends on where this link leads.
    pub(crate) fn through(&self, link: AttributeId) -> &[u32] {
        self.through.get(&link).map_or(&[], Vec::as_slice)
    }
}

fn note(levels: &mut FxHashMap<AttributeId, Vec<u32>>, attribute: AttributeId, level: u32) {
    let levels = levels.entry(attribute).or_default();
    if !levels.contains(&level) {
        levels.push(level);
    }
}
