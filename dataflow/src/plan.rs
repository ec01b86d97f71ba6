//! The schema as the compute operator sees it: for every collection, what to evaluate, what to take in, and what to send
//! on, by round. Plain data; made anew from the catalog when a tenant's schema changes.

use std::sync::Arc;

use decidr_domain::aggregate::link_order::order_id;
use decidr_domain::formula::Type;
use decidr_domain::formula::eval::Expr;
use decidr_domain::formula::{Cells, Program};
use decidr_domain::id::{AttributeId, CollectionId};
use decidr_domain::schema::{Analyzed, Component, Compute, Crossing, Direction, Shown, Staging, Summary, TenantSchema};
use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

/// A step within a timestamp, in the order in which they come.
///
/// ```text
/// 0 events are folded   1 links and graphs of hierarchies hear of it   2 entities hear that they depend on themselves
/// then for each level:  0    who has cells to compute that depend on one another along hierarchies waits for its turn
///                       … these cells, an entity when its rank has its turn, or later, until nothing changes
///                       MAX  all other cells of the level
/// ```
pub(crate) type Round = u64;

/// An entity's place in an order in which sources along a hierarchy come before hosts. Entities that have none have 0.
pub(crate) type Rank = i32;

/// The round in which all cells of a level become final.
pub(crate) const fn settle(level: u32) -> Round {
    iterate(level) | u32::MAX as u64
}

/// The first round in which the cells of a level are computed that depend on one another along hierarchies.
pub(crate) const fn iterate(level: u32) -> Round {
    (level as u64 + 1) << 32
}

/// The round of a phase in which entities of a rank have their turn.
pub(crate) fn turn(phase: Round, rank: Rank) -> Round {
    (phase + (1 << 31)).saturating_add_signed(rank.into())
}

/// Whether it is the round in which those who have cells to compute wait for their turn.
pub(crate) fn is_before_turns(round: Round) -> bool {
    round >= iterate(0) && round as u32 == 0
}

/// Whether it is a round in which cells may not be final yet.
pub(crate) fn is_iteration(round: Round) -> bool {
    round as u32 != u32::MAX
}

/// The round whose items are computed in `round`: rounds of iteration are all alike.
pub(crate) fn phase(round: Round) -> Round {
    if is_iteration(round) { round >> 32 << 32 } else { round }
}

/// The round in which what is sent in `round` arrives.
pub(crate) fn arrival(round: Round) -> Round {
    if is_iteration(round) { round + 1 } else { round + (1 << 32) }
}

/// What to do in one tenant. Cells go by the ids that the schema has for them: those that are computed aside and those
/// that are shown in their place are each an attribute here.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) collections: FxHashMap<CollectionId, CollectionPlan>,
    /// Every crossing, a cohort of one, by the attribute that it computes.
    crossings: FxHashMap<AttributeId, Cohort>,
    /// The cohorts, by the attribute of the first in each.
    cohorts: FxHashMap<AttributeId, Cohort>,
    analyzed: FxHashMap<AttributeId, Arc<Analyzed>>,
    /// Attributes that depend on one another along hierarchies, by the smallest id among them; and closures.
    pub(crate) components: FxHashMap<AttributeId, ComponentPlan>,
    /// The cells that are computed aside.
    pub(crate) staged: FxHashSet<AttributeId>,
}

/// Attributes whose cells depend on the graph that self-links make.
#[derive(Clone, PartialEq)]
pub(crate) struct ComponentPlan {
    pub(crate) component: Arc<Component>,
    /// What is asked of the graph.
    pub(crate) question: Question,
    /// Their collection.
    pub(crate) collection: CollectionId,
    /// The round in which their cells are first computed.
    pub(crate) round: Round,
}

/// What is asked of a graph of entities.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// Who depends on itself: cells depend on one another along hierarchies.
    Cycles,
    /// Who reaches whom: a closure.
    Reach,
}

/// What to do in one collection.
#[derive(Default)]
pub(crate) struct CollectionPlan {
    /// The rounds in which there is anything to do. Sorted.
    pub(crate) rounds: Vec<Round>,
    /// The components of its attributes.
    pub(crate) components: Vec<Arc<Component>>,
    /// Formulas, by round, in an order in which each comes after those it refers to.
    pub(crate) formulas: Vec<FormulaPlan>,
    /// Cells that come from other entities, by round.
    pub(crate) crossings: Vec<Arc<CrossingPlan>>,
    /// Those of these that join their hosts with sources by keys, by the round in which hosts say theirs.
    pub(crate) joins: Vec<Arc<CrossingPlan>>,
    /// What entities of this collection contribute to others, by the round in which it is sent.
    pub(crate) exports: Vec<Cohort>,
    /// For an attribute: the rounds in which something here reads it.
    readers: FxHashMap<AttributeId, Vec<Round>>,
    /// For a link, in either direction: the rounds in which something is sent through it, or listed in its order.
    through: FxHashMap<AttributeId, Vec<Round>>,
    /// For a closure: the rounds in which something looks at whether an entity lies too deep in it.
    through_graph: FxHashMap<AttributeId, Vec<Round>>,
    /// The attributes that are computed here.
    pub(crate) computed: FxHashSet<AttributeId>,
    /// The rounds in which something here asks what time it is. Sorted.
    pub(crate) timed_rounds: Vec<Round>,
}

/// One formula.
pub(crate) struct FormulaPlan {
    pub(crate) attribute: AttributeId,
    pub(crate) round: Round,
    pub(crate) program: Program,
}

/// Crossings to which sources contribute the same; often one.
pub(crate) type Cohort = Arc<[Arc<CrossingPlan>]>;

/// One lookup, rollup or counted link.
pub(crate) struct CrossingPlan {
    pub(crate) attribute: AttributeId,
    /// The round in which the host's cell is computed.
    pub(crate) round: Round,
    /// The round in which sources send what they contribute.
    pub(crate) export_round: Round,
    /// The component that its cells are in, if they depend on one another along hierarchies, so that sources may send several
    /// times.
    pub(crate) iterates_in: Option<AttributeId>,
    /// The component that it joins entities in, or the closure that it goes through.
    pub(crate) component: Option<AttributeId>,
    pub(crate) crossing: Crossing,
    /// What a source's contribution reads.
    pub(crate) reads: Vec<AttributeId>,
    /// What the host itself reads to make its cell of them.
    pub(crate) host_reads: Vec<AttributeId>,
}

impl CrossingPlan {
    /// The link that it goes through.
    pub(crate) fn link(&self) -> AttributeId {
        self.crossing.direction.link()
    }

    /// Whether sources may send several times.
    pub(crate) fn iterates(&self) -> bool {
        self.iterates_in.is_some()
    }

    /// Whether a host that takes it up asks its sources for what they contribute; else sources send it of themselves.
    pub(crate) fn is_asked_for(&self) -> bool {
        matches!(self.crossing.direction, Direction::Forward(_)) && !self.iterates()
    }

    /// Whether sources contribute the same to both, to the same hosts and in the same round.
    pub(crate) fn is_alike(&self, other: &CrossingPlan) -> bool {
        let contributed = |plan: &CrossingPlan| match plan.crossing.direction {
            Direction::Forward(_) | Direction::Backward(_) if !plan.iterates() => match plan.crossing.summary {
                Summary::Collect(_) => false,
                Summary::Only | Summary::Count | Summary::List | Summary::Rollup(..) => true,
            },
            _ => false,
        };
        let (one, two) = (&self.crossing, &other.crossing);
        let taken = |crossing: &'_ Crossing| (crossing.direction, crossing.source, crossing.value, crossing.is_of_ranges);
        let is_same = taken(one) == taken(two) && one.filter == two.filter;
        is_same && self.export_round == other.export_round && contributed(self) && contributed(other)
    }

    /// Whether a graph decides which entities it joins.
    pub(crate) fn is_reach(&self) -> bool {
        matches!(self.crossing.direction, Direction::Reach { .. })
    }

    /// Under which id the host stores what gives the order of what it lists, if that has one: its own link, or how it has put
    /// those in order that link to it.
    pub(crate) fn order(&self) -> Option<AttributeId> {
        let in_order = match &self.crossing.summary {
            Summary::List => true,
            // Also what is sorted: those that are alike keep the link's order.
            Summary::Collect(_) => true,
            Summary::Only | Summary::Count | Summary::Rollup(..) => false,
        };
        match self.crossing.direction {
            Direction::Forward(link) => in_order.then_some(link),
            Direction::Backward(link) => in_order.then(|| order_id(link)),
            Direction::Reach { .. } | Direction::Match(_) => None,
        }
    }
}

/// What changed from one plan to the next.
#[derive(Default)]
pub(crate) struct PlanChange {
    /// Attributes that are computed otherwise than before, or were not computed before.
    pub(crate) dirty: FxHashSet<AttributeId>,
    /// Attributes that are not computed any more, with their collections.
    pub(crate) gone: Vec<(AttributeId, CollectionId)>,
    /// Components that are not there any more, or of other links, with their collections.
    pub(crate) gone_components: Vec<(AttributeId, CollectionId)>,
    /// Components that were not there, or of other links.
    pub(crate) new_components: Vec<AttributeId>,
}

impl PlanChange {
    pub(crate) fn is_empty(&self) -> bool {
        self.dirty.is_empty() && self.gone.is_empty() && self.gone_components.is_empty() && self.new_components.is_empty()
    }
}

impl Plan {
    /// The plan for a tenant's schema.
    pub(crate) fn new(schema: &TenantSchema) -> Self {
        let mut plan = Plan::default();
        for collection in schema.collections() {
            plan.collections.entry(collection.id()).or_default();
            for attribute in collection.attributes() {
                let Some(analyzed) = schema.analyzed(attribute.id) else { continue };
                let cell = schema.newest_cell(attribute.id);
                let analyzed = match schema.has_plain_cells() {
                    true => analyzed.clone(),
                    false => Arc::new(analyzed.with_cells(&|id| schema.newest_cell(id))),
                };
                plan.analyzed.insert(cell, analyzed);
                if schema.is_computing(attribute.id) {
                    plan.staged.insert(cell);
                }
            }
        }
        for (_, shown) in schema.staging().into_iter().flat_map(Staging::shown) {
            if let Some(Shown { analyzed, cell }) = shown {
                plan.analyzed.insert(*cell, Arc::new(schema.shown_over_cells(analyzed)));
            }
        }
        let analyzed = std::mem::take(&mut plan.analyzed);
        for (cell, attribute) in &analyzed {
            plan.add(&analyzed, *cell, attribute);
        }
        plan.analyzed = analyzed;
        plan.analyzed.retain(|_, analyzed| analyzed.compute != Compute::Stored);
        for collection in plan.collections.values_mut() {
            collection.finish(&plan.analyzed);
            plan.cohorts.extend(collection.exports.iter().map(|cohort| (cohort[0].attribute, cohort.clone())));
        }
        plan
    }

    fn add(&mut self, all: &FxHashMap<AttributeId, Arc<Analyzed>>, attribute: AttributeId, analyzed: &Arc<Analyzed>) {
        let home = self.collections.entry(analyzed.collection_id).or_default();
        let (level, component) = (analyzed.level, analyzed.component.as_ref());
        let round = if component.is_some() { iterate(level) } else { settle(level) };
        if let Some(component) = component {
            let (collection, question) = (analyzed.collection_id, Question::Cycles);
            let plan = ComponentPlan { component: component.clone(), question, collection, round };
            if self.components.insert(component.id, plan).is_none() {
                home.components.push(component.clone());
            }
        }
        match &analyzed.compute {
            Compute::Stored => return,
            Compute::Formula(program) => home.formulas.push(FormulaPlan { attribute, round, program: program.clone() }),
            // The same error in every cell is the simplest of formulas.
            Compute::Broken(error) => {
                let program = Program {
                    expr: Expr::Constant(error.clone()),
                    result: Type::Any,
                    references: Vec::new(),
                    host_references: Vec::new(),
                    is_timed: false,
                };
                home.formulas.push(FormulaPlan { attribute, round: settle(0), program });
            }
            Compute::Crossing(crossing) => {
                let (reads, host_reads) = (analyzed.reads.clone(), analyzed.host_reads.clone());
                let within = |component: &&Arc<Component>| {
                    reads.iter().any(|id| all.get(id).is_some_and(|read| read.component.as_ref() == Some(component)))
                };
                let (iterates_in, mut component) =
                    (component.map(|component| component.id), component.filter(within).map(|component| component.id));
                if let direction @ Direction::Reach { closure, .. } = crossing.direction {
                    if attribute == closure {
                        let component = Arc::new(Component { id: closure, directions: vec![direction.step()] });
                        home.components.push(component.clone());
                        let (collection, question) = (analyzed.collection_id, Question::Reach);
                        self.components.insert(closure, ComponentPlan { component, question, collection, round });
                    }
                    component = Some(closure);
                }
                // What cells that depend on one another need is sent while they are computed, and else when it is final.
                let export_round = match iterates_in {
                    Some(_) => round,
                    // Through a bucket it is one round more.
                    None => settle(level - if crossing.keys.is_some() { 2 } else { 1 }),
                };
                let crossing = crossing.clone();
                let crossing =
                    Arc::new(CrossingPlan { attribute, round, export_round, iterates_in, component, crossing, reads, host_reads });
                home.crossings.push(crossing.clone());
                let alone: Cohort = [crossing.clone()].into();
                self.crossings.insert(attribute, alone.clone());
                self.collections.entry(crossing.crossing.source).or_default().exports.push(alone);
            }
        }
        self.collections.entry(analyzed.collection_id).or_default().computed.insert(attribute);
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
        let others = |(id, component): &(&AttributeId, &ComponentPlan), than: &Plan| {
            than.components.get(id).is_none_or(|other| other.component.directions != component.component.directions)
        };
        change.gone_components =
            before.components.iter().filter(|entry| others(entry, self)).map(|(id, plan)| (*id, plan.collection)).collect();
        change.new_components = self.components.iter().filter(|entry| others(entry, before)).map(|(id, _)| *id).collect();
        change
    }

    /// The crossings of a cohort, by the attribute of the first.
    pub(crate) fn cohort(&self, first: AttributeId) -> Option<&Cohort> {
        self.cohorts.get(&first)
    }

    /// A crossing as if it were alone in its cohort.
    pub(crate) fn alone(&self, attribute: AttributeId) -> Option<&Cohort> {
        self.crossings.get(&attribute)
    }

    /// The component that this attribute is in, if it depends on others along hierarchies and they on it.
    pub(crate) fn component(&self, attribute: AttributeId) -> Option<AttributeId> {
        self.analyzed.get(&attribute)?.component.as_ref().map(|component| component.id)
    }

    /// The crossing that computes this attribute, if one does.
    pub(crate) fn crossing(&self, attribute: AttributeId) -> Option<&Arc<CrossingPlan>> {
        self.crossings.get(&attribute)?.first()
    }
}

impl CollectionPlan {
    fn finish(&mut self, analyzed: &FxHashMap<AttributeId, Arc<Analyzed>>) {
        let order = |attribute| analyzed.get(&attribute).map_or(0, |analyzed| analyzed.order);
        self.formulas.sort_by_key(|formula| (formula.round, order(formula.attribute), formula.attribute));
        self.crossings.sort_by_key(|crossing| (crossing.round, crossing.attribute));
        let mut exports: Vec<Arc<CrossingPlan>> = self.exports().cloned().collect();
        // Those that are alike come in a row, but for filters, which have no order.
        exports.sort_by_key(|export| {
            let crossing = &export.crossing;
            (export.export_round, crossing.direction, crossing.value, crossing.is_of_ranges, crossing.filter.is_some(), export.attribute)
        });
        self.exports = exports.chunk_by(|one, two| one.is_alike(two)).map(Into::into).collect();
        self.joins.extend(self.crossings.iter().filter(|crossing| crossing.crossing.keys.is_some()).cloned());
        self.joins.sort_by_key(|crossing| (crossing.export_round, crossing.attribute));
        for join in &self.joins {
            self.rounds.push(join.export_round);
            for key in join.crossing.keys.iter().flat_map(|keys| &keys.host) {
                note(&mut self.readers, *key, join.export_round);
            }
        }
        for formula in &self.formulas {
            self.rounds.push(formula.round);
            for reference in &formula.program.references {
                note(&mut self.readers, *reference, formula.round);
            }
        }
        for export in self.exports.iter().flat_map(|cohort| cohort.iter()) {
            self.rounds.push(export.export_round);
            for read in &export.reads {
                note(&mut self.readers, *read, export.export_round);
            }
            note(&mut self.through, export.link(), export.export_round);
        }
        for crossing in &self.crossings {
            self.rounds.push(crossing.round);
            for read in &crossing.host_reads {
                note(&mut self.readers, *read, crossing.round);
            }
            if crossing.is_reach() {
                note(&mut self.through_graph, crossing.link(), crossing.round);
            }
            if let Some(order) = crossing.order() {
                note(&mut self.through, order, crossing.round);
            }
        }
        let formulas = self.formulas.iter().filter(|formula| formula.program.is_timed).map(|formula| formula.round);
        let exports = self.exports.iter().flat_map(|cohort| cohort.iter());
        let exports = exports.filter(|export| export.crossing.is_timed()).map(|export| export.export_round);
        self.timed_rounds.extend(formulas.chain(exports));
        for rounds in [&mut self.rounds, &mut self.timed_rounds] {
            rounds.sort_unstable();
            rounds.dedup();
        }
    }

    /// When something here comes out otherwise for an entity with these cells, though no cell changes.
    pub(crate) fn next_change(&self, cells: &dyn Cells) -> Option<Timestamp> {
        let formulas = self.formulas.iter().filter_map(|formula| formula.program.next_change(cells));
        let filters = self.exports().filter_map(|export| export.crossing.filter.as_ref()?.next_change(cells));
        formulas.chain(filters).min()
    }

    /// What entities of this collection contribute, one by one.
    pub(crate) fn exports(&self) -> impl Iterator<Item = &Arc<CrossingPlan>> {
        self.exports.iter().flat_map(|cohort| cohort.iter())
    }

    /// The rounds in which something here reads this attribute.
    pub(crate) fn readers(&self, attribute: AttributeId) -> &[Round] {
        self.readers.get(&attribute).map_or(&[], Vec::as_slice)
    }

    /// The rounds in which something looks at whether an entity lies too deep in this closure.
    pub(crate) fn through_graph(&self, closure: AttributeId) -> &[Round] {
        self.through_graph.get(&closure).map_or(&[], Vec::as_slice)
    }

    /// The rounds in which something depends on where this link leads.
    pub(crate) fn through(&self, link: AttributeId) -> &[Round] {
        self.through.get(&link).map_or(&[], Vec::as_slice)
    }
}

fn note(rounds: &mut FxHashMap<AttributeId, Vec<Round>>, attribute: AttributeId, round: Round) {
    let rounds = rounds.entry(attribute).or_default();
    if !rounds.contains(&round) {
        rounds.push(round);
    }
}
