//! What follows from the definitions of a tenant's attributes: types, programs, and in which order things are computed.
//!
//! An attribute's *level* says how many crossings between entities lie below it: 0 for what is stored and for formulas
//! over it; a lookup or rollup has one more than what it reads, its filter included; a formula has the highest of what it
//! refers to. Levels tell the dataflow in which round a cell is final.
//!
//! The result is kept per attribute. A change recomputes that attribute and what depends on it, nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::TenantSchema;
use super::crossing::{Collect, Crossing, Direction, Finish, Summary};
use crate::aggregate::attribute::{Attribute, Definition, SortKey};
use crate::formula::{Attributes, Expression, Program, Resolved, Scope, Type};
use crate::id::{AttributeId, CollectionId};
use crate::rollup::Rollup;
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
}

impl Analyzed {
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

/// A definition that depends on itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CycleError {
    /// The way round; the first is also the last.
    pub path: Vec<AttributeId>,
}

/// The analysis of all attributes of a tenant.
#[derive(Clone, Debug, Default)]
pub(super) struct Analysis {
    by_id: FxHashMap<AttributeId, Arc<Analyzed>>,
    /// For every attribute, those whose analysis looked at it.
    dependents: FxHashMap<AttributeId, FxHashSet<AttributeId>>,
}

impl Analysis {
    pub(super) fn get(&self, id: AttributeId) -> Option<&Arc<Analyzed>> {
        self.by_id.get(&id)
    }
}

/// Analyzes an attribute whose definition changed, and everything that depends on it.
pub(super) fn refresh(schema: &mut TenantSchema, changed: AttributeId) {
    // All that depends on it, however far.
    let mut affected = FxHashSet::from_iter([changed]);
    let mut open = vec![changed];
    while let Some(id) = open.pop() {
        for &dependent in schema.analysis.dependents.get(&id).into_iter().flatten() {
            if affected.insert(dependent) {
                open.push(dependent);
            }
        }
    }
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
    // In an order in which what is looked at comes first (Kahn 1962), smallest id first among equals.
    let mut waiting: BTreeMap<AttributeId, usize> = BTreeMap::new();
    let mut waited_for: FxHashMap<AttributeId, Vec<AttributeId>> = FxHashMap::default();
    for &id in &affected {
        let Some(attribute) = schema.attribute(id) else { continue };
        let looked_at = looks_at(attribute);
        let within: FxHashSet<_> = looked_at.iter().filter(|other| affected.contains(other) && **other != id).copied().collect();
        let within: Vec<_> = within.into_iter().filter(|other| schema.attribute(*other).is_some()).collect();
        waiting.insert(id, within.len());
        for other in within {
            waited_for.entry(other).or_default().push(id);
        }
        for other in looked_at {
            schema.analysis.dependents.entry(other).or_default().insert(id);
        }
    }
    let mut ready: Vec<AttributeId> = waiting.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
    while let Some(id) = ready.pop() {
        waiting.remove(&id);
        if let Some(attribute) = schema.attribute(id) {
            let analyzed = analyze(schema, attribute);
            schema.analysis.by_id.insert(id, Arc::new(analyzed));
        }
        for dependent in waited_for.remove(&id).unwrap_or_default() {
            if let Some(count) = waiting.get_mut(&dependent) {
                *count -= 1;
                if *count == 0 {
                    ready.push(dependent);
                }
            }
        }
    }
    // The command path refuses cycles; a log that has one all the same must not stop anybody.
    for id in waiting.into_keys() {
        if let Some(attribute) = schema.attribute(id) {
            let error = Value::error(ErrorKind::Type, "the definition depends on itself");
            let analyzed = broken(attribute, error);
            schema.analysis.by_id.insert(id, Arc::new(analyzed));
        }
    }
}

/// The links that an analysis looked at beside what it reads.
fn links_of(analyzed: &Analyzed) -> Option<AttributeId> {
    match &analyzed.compute {
        Compute::Crossing(Crossing { direction: Direction::Forward(link) | Direction::Backward(link), .. }) => Some(*link),
        _ => None,
    }
}

/// Every attribute that the analysis of this one looks at.
pub(super) fn looks_at(attribute: &Attribute) -> Vec<AttributeId> {
    match &attribute.definition {
        Definition::Formula { expression } => expression.references(),
        Definition::Lookup { link_id, attribute_id, filter, sort, .. } => {
            let mut out = vec![*link_id, *attribute_id];
            out.extend(filter.iter().flat_map(|filter| filter.references()));
            out.extend(sort.iter().map(|key| key.attribute_id));
            out
        }
        Definition::Rollup { link_id, attribute_id, filter, sort, weight_id, formula, .. } => {
            let mut out = vec![*link_id];
            out.extend(attribute_id);
            out.extend(weight_id);
            out.extend(filter.iter().chain(formula).flat_map(|formula| formula.references()));
            out.extend(sort.iter().map(|key| key.attribute_id));
            out
        }
        _ => Vec::new(),
    }
}

fn broken(attribute: &Attribute, error: Value) -> Analyzed {
    let (collection_id, compute) = (attribute.collection_id, Compute::Broken(error));
    Analyzed { collection_id, ty: Type::Any, level: 0, order: 0, compute, reads: Vec::new(), host_reads: Vec::new() }
}

fn analyze(schema: &TenantSchema, attribute: &Attribute) -> Analyzed {
    match analyze_definition(schema, attribute.collection_id, attribute.id, &attribute.definition) {
        Ok(analyzed) => analyzed,
        Err(error) => broken(attribute, error),
    }
}

/// What follows from a definition of the attribute `id` of `collection_id`; the error that its cells hold if it does not work.
pub(super) fn analyze_definition(
    schema: &TenantSchema,
    collection_id: CollectionId,
    id: AttributeId,
    definition: &Definition,
) -> Result<Analyzed, Value> {
    let stored = |ty| {
        let (reads, host_reads) = (Vec::new(), Vec::new());
        Ok(Analyzed { collection_id, ty, level: 0, order: 0, compute: Compute::Stored, reads, host_reads })
    };
    let gone = || Value::error(ErrorKind::Reference, "an attribute that the definition refers to was deleted");
    match definition {
        Definition::Text { .. } | Definition::SingleSelect { .. } => stored(Type::Text),
        Definition::Number { .. } => stored(Type::Number),
        Definition::Checkbox {} => stored(Type::Bool),
        Definition::Date {} => stored(Type::Date),
        Definition::Datetime {} => stored(Type::DateTime),
        Definition::MultiSelect { .. } => stored(Type::List(Box::new(Type::Text))),
        Definition::Link { multiple: false, .. } => stored(Type::Text),
        Definition::Link { multiple: true, .. } | Definition::Backlink { .. } => {
            // The cell of a link that may lead to many is how many it leads to.
            let countall = Rollup::find("COUNTALL").expect("COUNTALL is in the list");
            let (direction, source) = match definition {
                Definition::Backlink { link_id, collection_id } => (Direction::Backward(*link_id), *collection_id),
                Definition::Link { collection_id: source, .. } => (Direction::Forward(id), *source),
                _ => return Err(gone()),
            };
            let compute = Compute::Crossing(Crossing {
                direction,
                source,
                value: None,
                filter: None,
                summary: Summary::Rollup(countall, Value::Blank),
            });
            let (reads, host_reads) = (Vec::new(), Vec::new());
            Ok(Analyzed { collection_id, ty: Type::Number, level: 1, order: 0, compute, reads, host_reads })
        }
        Definition::Formula { expression } => {
            let scope = CollectionScope { schema, collection_id };
            let program = expression.program(&scope).map_err(|e| Value::error(ErrorKind::Type, e.message.as_str()))?;
            let below = || program.references.iter().filter_map(|id| schema.analyzed(*id));
            let level = below().map(|a| a.level).max().unwrap_or(0);
            let order = 1 + below().map(|a| a.order).max().unwrap_or(0);
            let (ty, reads) = (program.result.clone(), program.references.clone());
            Ok(Analyzed { collection_id, ty, level, order, compute: Compute::Formula(program), reads, host_reads: Vec::new() })
        }
        Definition::Lookup { link_id, attribute_id, filter, sort, limit } => {
            let (_, _, single) = crossing_of(schema, *link_id).ok_or_else(gone)?;
            let target = schema.analyzed(*attribute_id).ok_or_else(gone)?;
            let is_plain = filter.is_none() && sort.is_empty() && limit.is_none();
            let is_only = single && filter.is_none();
            let ty = if is_only { target.ty.clone() } else { Type::List(Box::new(target.ty.item().clone())) };
            let plain = if single { Summary::Only } else { Summary::List };
            let plain = (is_plain || is_only).then_some(plain);
            let selection =
                Selection { collection_id, link_id: *link_id, value: Some(*attribute_id), filter, sort, limit: *limit, weight: None };
            selection.analyzed(schema, ty, plain, Finish::List)
        }
        Definition::Rollup { link_id, attribute_id, function, filter, sort, limit, argument, weight_id, formula } => {
            let target = attribute_id.map(|id| schema.analyzed(id).ok_or_else(gone)).transpose()?;
            let value_type = target.map_or(&Type::Blank, |target| &target.ty);
            let (ty, finish, host_reads) = match formula {
                Some(formula) => {
                    let values = [("values", Type::List(Box::new(value_type.item().clone())))];
                    let host = CollectionScope { schema, collection_id };
                    let program = formula.program_in(Scope { attributes: &host, host: None, variables: &values });
                    let program = program.map_err(|e| Value::error(ErrorKind::Type, e.message.as_str()))?;
                    (program.result.clone(), Finish::Formula(program.clone()), program.references)
                }
                None => {
                    let ty = (function.result)(value_type)
                        .map_err(|wanted| Value::error(ErrorKind::Type, format!("{function:?} wants {wanted}")))?;
                    (ty, Finish::Rollup(function, argument.clone()), Vec::new())
                }
            };
            let is_plain = formula.is_none() && sort.is_empty() && limit.is_none() && !function.order_matters && !function.is_weighted;
            let plain = is_plain.then(|| Summary::Rollup(function, argument.clone()));
            let selection =
                Selection { collection_id, link_id: *link_id, value: *attribute_id, filter, sort, limit: *limit, weight: *weight_id };
            let mut analyzed = selection.analyzed(schema, ty, plain, finish)?;
            let level = host_reads.iter().filter_map(|id| schema.analyzed(*id)).map(|a| a.level + 1).max().unwrap_or(0);
            analyzed.level = analyzed.level.max(level);
            analyzed.host_reads.extend(host_reads);
            analyzed.host_reads.sort_unstable();
            analyzed.host_reads.dedup();
            Ok(analyzed)
        }
    }
}

/// Which linked entities a lookup or rollup takes, and what of them.
struct Selection<'a> {
    collection_id: CollectionId,
    link_id: AttributeId,
    value: Option<AttributeId>,
    filter: &'a Option<Expression>,
    sort: &'a [SortKey],
    limit: Option<u32>,
    weight: Option<AttributeId>,
}

impl Selection<'_> {
    /// The crossing: with the summary `plain` if it need not look at contributions one by one, else collecting them.
    fn analyzed(&self, schema: &TenantSchema, ty: Type, plain: Option<Summary>, finish: Finish) -> Result<Analyzed, Value> {
        let gone = || Value::error(ErrorKind::Reference, "an attribute that the definition refers to was deleted");
        let (direction, source, _) = crossing_of(schema, self.link_id).ok_or_else(gone)?;
        let (sources, host) =
            (CollectionScope { schema, collection_id: source }, CollectionScope { schema, collection_id: self.collection_id });
        let scope = Scope { attributes: &sources, host: Some(&host), variables: &[] };
        let filter = self.filter.as_ref().map(|filter| filter.program_in(scope)).transpose();
        let filter = filter.map_err(|e| Value::error(ErrorKind::Type, e.message.as_str()))?;
        let host_reads = filter.as_ref().map_or_else(Vec::new, |filter| filter.host_references.clone());
        for id in self.sort.iter().map(|key| key.attribute_id).chain(self.weight) {
            schema.analyzed(id).ok_or_else(gone)?;
        }
        let mut columns: Vec<AttributeId> = self.weight.into_iter().chain(self.sort.iter().map(|key| key.attribute_id)).collect();
        // What does not look at the host is decided by the source itself.
        let (own_filter, filter) = if host_reads.is_empty() { (filter, None) } else { (None, filter) };
        columns.extend(filter.iter().flat_map(|filter| &filter.references));
        let mut reads: Vec<_> = self.value.iter().chain(&columns).copied().collect();
        reads.extend(own_filter.iter().flat_map(|filter| &filter.references));
        reads.sort_unstable();
        reads.dedup();
        let weights = usize::from(self.weight.is_some());
        let sort = self.sort.iter().enumerate().map(|(i, key)| (weights + i, key.descending)).collect();
        let limit = self.limit.map(|limit| limit as usize);
        let summary = match plain {
            Some(plain) if filter.is_none() => plain,
            _ => Summary::Collect(Arc::new(Collect { columns, filter, sort, limit, finish })),
        };
        let levels = reads.iter().chain(&host_reads).filter_map(|id| schema.analyzed(*id)).map(|a| a.level);
        let level = 1 + levels.max().unwrap_or(0);
        let compute = Compute::Crossing(Crossing { direction, source, value: self.value, filter: own_filter, summary });
        Ok(Analyzed { collection_id: self.collection_id, ty, level, order: 0, compute, reads, host_reads })
    }
}

/// The direction, the collection of the sources, and whether there is at most one source, of a link or backlink.
fn crossing_of(schema: &TenantSchema, link_id: AttributeId) -> Option<(Direction, CollectionId, bool)> {
    match &schema.attribute(link_id)?.definition {
        Definition::Link { collection_id, multiple, .. } => Some((Direction::Forward(link_id), *collection_id, !multiple)),
        Definition::Backlink { collection_id, link_id } => Some((Direction::Backward(*link_id), *collection_id, false)),
        _ => None,
    }
}

/// The attributes of one collection, as its formulas see them.
pub(super) struct CollectionScope<'a> {
    pub(super) schema: &'a TenantSchema,
    pub(super) collection_id: CollectionId,
}

impl Attributes for CollectionScope<'_> {
    fn resolve(&self, name: &str) -> Resolved {
        let Some(collection) = self.schema.collection(self.collection_id) else { return Resolved::Unknown };
        let id = name.parse::<AttributeId>().ok();
        // A key may look like an id without hyphens, and is one's own word for the attribute.
        let attribute = collection.by_key(name).or_else(|| {
            let mut attributes = collection.attributes().iter();
            attributes.find(|attribute| id == Some(attribute.id) || (id.is_none() && attribute.name == name))
        });
        let Some(attribute) = attribute else {
            return if id.is_some_and(|id| self.schema.is_deleted(id)) { Resolved::Gone } else { Resolved::Unknown };
        };
        if attribute.definition.is_multiple_link() {
            let key = &attribute.key;
            return Resolved::Unusable(format!("{{{key}}} leads to many entities: make a rollup or lookup through it, and refer to that"));
        }
        let ty = self.schema.analyzed(attribute.id).map_or(Type::Any, |analyzed| analyzed.ty.clone());
        Resolved::Attribute(attribute.id, ty)
    }

    fn names(&self) -> Vec<String> {
        let attributes = self.schema.collection(self.collection_id).into_iter().flat_map(|collection| collection.attributes());
        attributes.flat_map(|attribute| [attribute.key.to_string(), attribute.name.to_string()]).collect()
    }
}

/// The way from `id` back to itself if its definition read `reads`.
pub(super) fn cycle(schema: &TenantSchema, id: AttributeId, reads: &[AttributeId]) -> Option<CycleError> {
    let mut came_from: FxHashMap<AttributeId, AttributeId> = FxHashMap::default();
    let mut open: Vec<AttributeId> = Vec::new();
    for &read in reads {
        if read == id {
            return Some(CycleError { path: vec![id, id] });
        }
        if came_from.insert(read, id).is_none() {
            open.push(read);
        }
    }
    while let Some(at) = open.pop() {
        // The definitions say it, not what was made of them: one that is broken reads nothing, and may be mended.
        for next in schema.attribute(at).map_or_else(Vec::new, |attribute| looks_at(attribute)) {
            if next == id {
                let mut path = vec![id, at];
                while let Some(&before) = came_from.get(path.last().expect("the path is not empty")) {
                    path.push(before);
                    if before == id {
                        break;
                    }
                }
                path.reverse();
                return Some(CycleError { path });
            }
            if came_from.insert(next, at).is_none() {
                open.push(next);
            }
        }
    }
    None
}
