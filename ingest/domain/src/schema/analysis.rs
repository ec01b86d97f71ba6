//! What follows from the definitions of a tenant's attributes: types, programs, and in which order things are computed.
//!
//! An attribute's *level* says how many crossings between entities lie below it: 0 for what is stored and for formulas
//! over it; a lookup or rollup has one more than what it reads, its filter included; a formula has the highest of what it
//! refers to. Levels tell the dataflow in which round a cell is final.
//!
//! The result is kept per attribute. A change recomputes that attribute and what depends on it, nothing else.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::TenantSchema;
use super::crossing::{Crossing, Direction};
use super::definition_analysis::{analyze, broken};
use super::dependencies::{LooksAt, all_dependents};
use crate::formula::eval::{Expr, STEPS_MAX};
use crate::formula::{Program, Type};
use crate::graph::strong_components;
use crate::id::{AttributeId, CollectionId};
use crate::value::{ErrorKind, Value};

/// What follows from one attribute's definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Analyzed {
    /// The collection that the attribute is a column of.
    pub collection_id: CollectionId,
    /// The type of its cells, as formulas see them.
    pub ty: Type,
    /// How many crossings between entities lie below it.
    pub level: u32,
    /// Its place among the formulas of one level: a formula comes after those it refers to.
    pub order: u32,
    /// How its cells come about.
    pub compute: Compute,
    /// The attributes whose cells it reads: of its own collection, or if it is a crossing of that of the sources. Sorted.
    pub reads: Vec<AttributeId>,
    /// The attributes of its own entity that a crossing reads. Sorted.
    pub host_reads: Vec<AttributeId>,
    /// With what it depends on itself along hierarchies, if it does.
    pub component: Option<Arc<Component>>,
}

impl Analyzed {
    /// About how many steps it takes to compute one of its cells.
    pub(crate) fn work(&self) -> u64 {
        match &self.compute {
            Compute::Stored | Compute::Broken(_) => 0,
            Compute::Formula(program) => program.work(),
            Compute::Crossing(crossing) => crossing.work(),
        }
    }
}

/// Attributes of one collection that depend on one another along hierarchical self-links. Their cells are computed
/// from entity to entity within a timestamp, until nothing changes; those of entities that the links lead back to hold an
/// error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The smallest id among them.
    pub id: AttributeId,
    /// The links that they depend on one another through, and from which end. Sorted.
    pub directions: Vec<Direction>,
}

impl Analyzed {
    /// How its cells come from others, if they do.
    pub fn crossing(&self) -> Option<&Crossing> {
        if let Compute::Crossing(crossing) = &self.compute { Some(crossing) } else { None }
    }

    /// The same with other ids of cells.
    pub fn with_cells(&self, cells: &dyn Fn(AttributeId) -> AttributeId) -> Self {
        let sorted = |ids: &[AttributeId]| {
            let mut ids: Vec<_> = ids.iter().map(|id| cells(*id)).collect();
            ids.sort_unstable();
            ids
        };
        Self {
            reads: sorted(&self.reads),
            host_reads: sorted(&self.host_reads),
            compute: match &self.compute {
                Compute::Stored => Compute::Stored,
                Compute::Broken(error) => Compute::Broken(error.clone()),
                Compute::Formula(program) => Compute::Formula(program.with_cells(cells)),
                Compute::Crossing(crossing) => Compute::Crossing(crossing.with_cells(cells)),
            },
            component: self.component.as_ref().map(|component| Arc::new(Component { id: cells(component.id), ..(**component).clone() })),
            ..self.clone()
        }
    }

    /// Whether its cells come from what is stored by a conversion.
    pub fn is_converted(&self) -> bool {
        matches!(&self.compute, Compute::Formula(Program { expr: Expr::Converted(_), .. }))
    }

    /// Whether its cells may change as time passes, though nothing that it reads does.
    pub fn is_timed(&self) -> bool {
        match &self.compute {
            Compute::Formula(program) => program.is_timed,
            Compute::Crossing(crossing) => crossing.is_timed(),
            Compute::Stored | Compute::Broken(_) => false,
        }
    }

    /// The closure that it goes through, if it goes through one.
    pub fn closure(&self) -> Option<AttributeId> {
        match self.crossing()?.direction {
            Direction::Reach { closure, .. } => Some(closure),
            _ => None,
        }
    }

    /// Everything that it reads.
    pub fn all_reads(&self) -> impl Iterator<Item = AttributeId> {
        self.reads.iter().chain(&self.host_reads).copied()
    }
}

/// How the cells of an attribute come about.
#[derive(Clone, Debug, PartialEq)]
pub enum Compute {
    /// They are stored.
    Stored,
    /// By a formula over the same entity.
    Formula(Program),
    /// From linked entities.
    Crossing(Crossing),
    /// They all hold this error: what the definition refers to is gone or no longer fits.
    Broken(Value),
}

/// The analysis of all attributes of a tenant.
#[derive(Clone, Debug, Default)]
pub(super) struct Analysis {
    by_id: FxHashMap<AttributeId, Arc<Analyzed>>,
    /// For every attribute, those whose analysis looked at it.
    dependents: FxHashMap<AttributeId, FxHashSet<AttributeId>>,
    /// About how many steps it takes to compute the cells of those for which it takes many, one of each.
    long_work: u64,
}

/// From how many steps on they are many for one cell.
const LONG_WORK_FROM: u64 = 5_000;

impl Analysis {
    pub(super) fn long_work(&self) -> u64 {
        self.long_work
    }

    pub(super) fn dependents(&self) -> &FxHashMap<AttributeId, FxHashSet<AttributeId>> {
        &self.dependents
    }

    pub(super) fn get(&self, id: AttributeId) -> Option<&Arc<Analyzed>> {
        self.by_id.get(&id)
    }
}

/// What the analysis of an attribute was before a change.
pub(super) type Before = (AttributeId, Option<Arc<Analyzed>>);

/// Analyzes an attribute whose definition changed, and everything that depends on it; gives what that was before.
pub(super) fn refresh(schema: &mut TenantSchema, changed: AttributeId) -> Vec<Before> {
    let affected = all_dependents(&schema.analysis.dependents, [changed]);
    let mut before: Vec<Before> = affected.iter().map(|id| (*id, schema.analysis.get(*id).cloned())).collect();
    before.sort_unstable_by_key(|(id, _)| *id);
    for id in &affected {
        if let Some(old) = schema.analysis.by_id.remove(id) {
            let looked_at: Vec<_> = old.all_reads().chain(links_of(&old)).collect();
            for target in looked_at {
                if let Some(set) = schema.analysis.dependents.get_mut(&target) {
                    set.remove(id);
                }
            }
        }
    }
    // In an order in which what is looked at comes first; the same whatever came before.
    let mut nodes: Vec<AttributeId> = affected.into_iter().filter(|id| schema.attribute(*id).is_some()).collect();
    nodes.sort_unstable();
    let mut edges: FxHashMap<AttributeId, LooksAt> = FxHashMap::default();
    for id in &nodes {
        let Some(attribute) = schema.attribute(*id) else { continue };
        let looks_at = LooksAt::of_attribute(schema, attribute);
        for other in looks_at.all() {
            schema.analysis.dependents.entry(other).or_default().insert(*id);
        }
        edges.insert(*id, looks_at);
    }
    let looked_at = |id: AttributeId| edges.get(&id).map_or_else(Vec::new, |looks_at| looks_at.all().collect());
    for mut members in strong_components(&nodes, looked_at) {
        members.sort_unstable();
        match members[..] {
            [id] if !looked_at(id).contains(&id) => {
                if let Some(attribute) = schema.attribute(id) {
                    let analyzed = analyze(schema, attribute);
                    schema.analysis.by_id.insert(id, Arc::new(analyzed));
                }
            }
            _ => analyze_together(schema, &members, &edges),
        }
    }
    // No more are taken than those after which an evaluation ends.
    let long_work =
        |analyzed: &Arc<Analyzed>| Some(analyzed.work()).filter(|work| *work >= LONG_WORK_FROM).unwrap_or(0).min(STEPS_MAX.into());
    let gone: u64 = before.iter().filter_map(|(_, analyzed)| analyzed.as_ref()).map(long_work).sum();
    let come: u64 = before.iter().filter_map(|(id, _)| schema.analysis.get(*id)).map(long_work).sum();
    schema.analysis.long_work = schema.analysis.long_work + come - gone;
    before
}

/// Analyzes definitions that depend on one another along hierarchies.
fn analyze_together(schema: &mut TenantSchema, members: &[AttributeId], edges: &FxHashMap<AttributeId, LooksAt>) {
    // Within one entity there is an order, or they could never be computed.
    let within = |id: AttributeId| edges.get(&id).map_or_else(Vec::new, |looks_at| looks_at.otherwise.clone());
    let parts = strong_components(members, within);
    let home = schema.attribute(members[0]).map(|attribute| attribute.collection_id);
    let leave = |id: &AttributeId| schema.attribute(*id).map(|attribute| attribute.collection_id) != home;
    if parts.iter().any(|part| part.len() > 1 || within(part[0]).contains(&part[0])) || members.iter().any(leave) {
        // The command path refuses these; a log that has one all the same must not stop anybody.
        return break_all(schema, members);
    }
    // The type of each follows from those of others: first of any type, then of what follows from that.
    for id in members {
        if let Some(attribute) = schema.attribute(*id) {
            let analyzed = Analyzed { compute: Compute::Stored, ..broken(attribute, Value::Blank) };
            schema.analysis.by_id.insert(*id, Arc::new(analyzed));
        }
    }
    for _ in 0..2 {
        for id in parts.iter().flatten() {
            if let Some(attribute) = schema.attribute(*id) {
                let analyzed = analyze(schema, attribute);
                schema.analysis.by_id.insert(*id, Arc::new(analyzed));
            }
        }
    }
    // What joins many at once has no order of steps: the command path refuses what goes round through it.
    let goes_through = |id: &AttributeId| edges.get(id).is_some_and(|looks_at| looks_at.at_once.iter().any(|id| members.contains(id)));
    if members.iter().any(goes_through) {
        return break_all(schema, members);
    }
    // They share a level: one above what they read from outside.
    let level_of = |id: AttributeId| if members.contains(&id) { 0 } else { schema.analyzed(id).map_or(0, |analyzed| analyzed.level) };
    let analyzed = || members.iter().filter_map(|id| schema.analyzed(*id));
    let needed = |analyzed: &Arc<Analyzed>| 1 + analyzed.all_reads().map(level_of).max().unwrap_or(0);
    let level = analyzed().map(needed).max().unwrap_or(0).max(1);
    let mut directions: Vec<Direction> =
        analyzed().filter_map(|a| a.crossing().filter(|_| a.reads.iter().any(|id| members.contains(id)))).map(|c| c.direction).collect();
    directions.sort_unstable();
    directions.dedup();
    let component = Arc::new(Component { id: members[0], directions });
    for id in members {
        if let Some(analyzed) = schema.analysis.by_id.get_mut(id) {
            let analyzed = Arc::make_mut(analyzed);
            analyzed.level = level;
            analyzed.component = Some(component.clone());
        }
    }
}

/// Has the cells of definitions say that they depend on themselves.
fn break_all(schema: &mut TenantSchema, members: &[AttributeId]) {
    for id in members {
        if let Some(attribute) = schema.attribute(*id) {
            let analyzed = broken(attribute, Value::error(ErrorKind::Type, "the definition depends on itself"));
            schema.analysis.by_id.insert(*id, Arc::new(analyzed));
        }
    }
}

/// The links that an analysis looked at beside what it reads.
fn links_of(analyzed: &Analyzed) -> Option<AttributeId> {
    match &analyzed.compute {
        Compute::Crossing(crossing) => Some(crossing.direction.link()),
        _ => None,
    }
}
