//! Which definitions look at which others, and what of that may go round in a circle.
//!
//! A definition may depend on itself only through a self-link that is declared hierarchical: then a cell depends on cells of
//! other entities along that link, and there is an end to it unless the data go round in a circle.

use rustc_hash::{FxHashMap, FxHashSet};

use super::TenantSchema;
use crate::aggregate::attribute::{Attribute, Definition};
use crate::id::{AttributeId, CollectionId};

/// The attributes that a definition looks at.
#[derive(Default)]
pub(super) struct LooksAt {
    /// Through a hierarchical self-link: they belong to other entities of the same collection.
    pub(super) along_hierarchy: Vec<AttributeId>,
    /// In any other way, links included.
    pub(super) otherwise: Vec<AttributeId>,
    /// Those of these that must not depend on the attribute again, along hierarchies or not: they belong to all the entities
    /// that a closure or match joins, or say which ones these are.
    pub(super) at_once: Vec<AttributeId>,
}

impl LooksAt {
    /// Those of a definition of an attribute of `collection`.
    pub(super) fn of(schema: &TenantSchema, collection: CollectionId, definition: &Definition) -> Self {
        let mut out = LooksAt::default();
        let mut source_reads = Vec::new();
        let link = match definition {
            Definition::Formula { expression } => {
                out.otherwise.extend(expression.references());
                return out;
            }
            Definition::ModifiedTime { attribute_ids } | Definition::ModifiedBy { attribute_ids } => {
                out.otherwise.extend(attribute_ids);
                return out;
            }
            Definition::Closure { link_id, .. } => {
                out.otherwise.push(*link_id);
                return out;
            }
            Definition::Match { on, .. } => {
                out.otherwise.extend(on.iter().flat_map(|key| [key.own_id, key.other_id]));
                out.at_once.clone_from(&out.otherwise);
                return out;
            }
            Definition::Lookup { link_id, attribute_id, filter, sort, .. } => {
                source_reads.push(*attribute_id);
                source_reads.extend(sort.iter().map(|key| key.attribute_id));
                out.add_filter(filter.as_ref(), &mut source_reads);
                *link_id
            }
            Definition::Rollup { link_id, attribute_id, filter, sort, weight_id, formula, .. } => {
                source_reads.extend(attribute_id.iter().chain(weight_id));
                source_reads.extend(sort.iter().map(|key| key.attribute_id));
                out.add_filter(filter.as_ref(), &mut source_reads);
                out.otherwise.extend(formula.iter().flat_map(|formula| formula.references()));
                *link_id
            }
            _ => return out,
        };
        out.otherwise.push(link);
        if is_hierarchical(schema, collection, link) {
            out.along_hierarchy = source_reads;
        } else {
            let joins_many = |link: &Attribute| matches!(link.definition, Definition::Closure { .. } | Definition::Match { .. });
            if schema.attribute(link).is_some_and(|link| joins_many(link)) {
                out.at_once = source_reads.iter().copied().chain([link]).collect();
            }
            out.otherwise.extend(source_reads);
        }
        out
    }

    pub(super) fn of_attribute(schema: &TenantSchema, attribute: &Attribute) -> Self {
        Self::of(schema, attribute.collection_id, &attribute.definition)
    }

    fn add_filter(&mut self, filter: Option<&crate::formula::Expression>, source_reads: &mut Vec<AttributeId>) {
        for (id, of_host) in filter.iter().flat_map(|filter| filter.references_by_side()) {
            if of_host { self.otherwise.push(id) } else { source_reads.push(id) }
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = AttributeId> + '_ {
        self.along_hierarchy.iter().chain(&self.otherwise).copied()
    }
}

/// Whether a link or backlink of `collection` is one end of a hierarchical self-link.
pub(super) fn is_hierarchical(schema: &TenantSchema, collection: CollectionId, link: AttributeId) -> bool {
    let link = match schema.attribute(link).map(|attribute| &attribute.definition) {
        Some(Definition::Backlink { link_id, .. }) => *link_id,
        _ => link,
    };
    schema.attribute(link).is_some_and(|link| {
        link.collection_id == collection
            && matches!(&link.definition, Definition::Link { hierarchical: true, collection_id, .. } if *collection_id == collection)
    })
}

/// A definition that depends on itself where it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CycleError {
    /// The way round; the first is also the last.
    pub path: Vec<AttributeId>,
}

/// The way on which the attribute `id` of `collection` would depend on itself if this were its definition, unless it leads
/// along hierarchies of that collection.
pub(super) fn forbidden_cycle(
    schema: &TenantSchema,
    collection: CollectionId,
    id: AttributeId,
    definition: &Definition,
) -> Option<CycleError> {
    let own = LooksAt::of(schema, collection, definition);
    // Where no hierarchy is on the way there is no end to it.
    if let Some(path) = way_back(schema, id, own.otherwise.clone(), &|looks_at| looks_at.otherwise) {
        return Some(CycleError { path });
    }
    let path = way_back(schema, id, own.all().collect(), &|looks_at| looks_at.all().collect())?;
    let leaves = path.iter().any(|at| *at != id && schema.attribute(*at).is_some_and(|attribute| attribute.collection_id != collection));
    if leaves {
        return Some(CycleError { path });
    }
    // What joins many at once has no order of steps.
    cycle_at_once(schema, id, &own).map(|path| CycleError { path })
}

/// A way from `id`, which looks at `own`, back to it that goes through what joins many at once.
fn cycle_at_once(schema: &TenantSchema, id: AttributeId, own: &LooksAt) -> Option<Vec<AttributeId>> {
    let all = |looks_at: LooksAt| looks_at.all().collect();
    let back =
        |from: AttributeId| if from == id { Some(vec![id]) } else { way(schema, from, looked_at(schema, from).all().collect(), id, &all) };
    let (mut seen, mut open) = (FxHashSet::from_iter([id]), vec![id]);
    while let Some(at) = open.pop() {
        let looks_at;
        let looks_at = if at == id {
            own
        } else {
            looks_at = looked_at(schema, at);
            &looks_at
        };
        for next in &looks_at.at_once {
            let there = || if at == id { Some(vec![id]) } else { way(schema, id, own.all().collect(), at, &all) };
            if let Some(back) = back(*next) {
                return there().map(|there| there.into_iter().chain(back).collect());
            }
        }
        open.extend(looks_at.all().filter(|next| seen.insert(*next)));
    }
    None
}

/// What the definition of an attribute looks at.
fn looked_at(schema: &TenantSchema, id: AttributeId) -> LooksAt {
    // The definitions say it, not what was made of them: one that is broken reads nothing, and may be mended.
    schema.attribute(id).map_or_else(LooksAt::default, |attribute| LooksAt::of_attribute(schema, attribute))
}

/// The shortest way from `first` to `id` by the edges of definitions, with `id` at both ends.
fn way_back(
    schema: &TenantSchema,
    id: AttributeId,
    first: Vec<AttributeId>,
    edges: &dyn Fn(LooksAt) -> Vec<AttributeId>,
) -> Option<Vec<AttributeId>> {
    way(schema, id, first, id, edges)
}

/// The shortest way from `start`, which looks at `first`, to `target` by the edges of definitions, both included.
fn way(
    schema: &TenantSchema,
    start: AttributeId,
    first: Vec<AttributeId>,
    target: AttributeId,
    edges: &dyn Fn(LooksAt) -> Vec<AttributeId>,
) -> Option<Vec<AttributeId>> {
    let mut came_from: FxHashMap<AttributeId, AttributeId> = FxHashMap::default();
    let mut open = std::collections::VecDeque::new();
    let mut step =
        |from: AttributeId, to: Vec<AttributeId>, open: &mut std::collections::VecDeque<AttributeId>| -> Option<Vec<AttributeId>> {
            for next in to {
                if next == target {
                    let mut path = vec![target, from];
                    while let Some(before) = path.last().filter(|at| **at != start).and_then(|at| came_from.get(at)) {
                        path.push(*before);
                    }
                    path.reverse();
                    return Some(path);
                }
                if let std::collections::hash_map::Entry::Vacant(entry) = came_from.entry(next) {
                    entry.insert(from);
                    open.push_back(next);
                }
            }
            None
        };
    if let Some(path) = step(start, first, &mut open) {
        return Some(path);
    }
    while let Some(at) = open.pop_front() {
        let next = edges(looked_at(schema, at));
        if let Some(path) = step(at, next, &mut open) {
            return Some(path);
        }
    }
    None
}

/// Everything that depends on what changed, that included, however far.
pub(super) fn all_dependents(
    dependents: &FxHashMap<AttributeId, FxHashSet<AttributeId>>,
    changed: impl IntoIterator<Item = AttributeId>,
) -> FxHashSet<AttributeId> {
    let mut open: Vec<_> = changed.into_iter().collect();
    let mut affected = FxHashSet::from_iter(open.iter().copied());
    while let Some(id) = open.pop() {
        for &dependent in dependents.get(&id).into_iter().flatten() {
            if affected.insert(dependent) {
                open.push(dependent);
            }
        }
    }
    affected
}
