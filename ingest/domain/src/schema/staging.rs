//! Changes of definitions from which many cells follow. These are computed aside, under ids of their own, while the old
//! ones are kept up to date and shown; when all are there an event says so, and from then on the new ones are shown. So a
//! change is seen at one position, the same for everybody who reads the log, however long its computation takes.
//!
//! The cells of an attribute go by its own id until its definition changes in this way. Who reads a row asks the schema by
//! which id ([`TenantSchema::shown_cell`], [`TenantSchema::shown_program`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::analysis::Before;
use super::definition_analysis::analyze_definition;
use super::dependencies::all_dependents;
use super::{Analyzed, Compute, Summary, TenantSchema};
use crate::aggregate::attribute::Definition;
use crate::delta::Row;
use crate::formula::{Cells, Program};
use crate::id::{AttributeId, CollectionId};
use crate::value::Value;

/// The cells that are computed aside, and what is shown in their place.
#[derive(Clone, Debug, PartialEq)]
pub struct Staging {
    generation: u64,
    shown: BTreeMap<AttributeId, Option<Shown>>,
}

/// What is shown of an attribute as long as its new cells are not complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// What followed from its definition before.
    pub analyzed: Arc<Analyzed>,
    /// The id of its cells.
    pub cell: AttributeId,
}

/// By which ids the cells of attributes go.
#[derive(Clone, Debug, Default)]
pub(super) struct CellIds {
    /// How many changes were staged so far.
    generation: u64,
    staging: Option<Arc<Staging>>,
    /// The ids under which newest definitions are computed, where they are not those of the attributes.
    newest: FxHashMap<AttributeId, AttributeId>,
}

impl Staging {
    /// Which change of the schema it is, counted from 1 for each tenant.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The attributes whose cells are computed aside, deleted ones among them, with what is shown of each: nothing if it
    /// is new.
    pub fn shown(&self) -> impl Iterator<Item = (AttributeId, Option<&Shown>)> {
        self.shown.iter().map(|(id, shown)| (*id, shown.as_ref()))
    }
}

impl CellIds {
    pub(super) fn complete(&mut self, generation: u64) {
        if self.staging.as_ref().is_some_and(|staging| staging.generation == generation) {
            self.staging = None;
        }
    }
}

/// After a change of the schema: stages it if it is to be, or if it touches what is staged already.
pub(super) fn stage(schema: &mut TenantSchema, before: Vec<Before>, is_large: bool) {
    let is_staged = |id: &AttributeId| schema.staging().is_some_and(|staging| staging.shown.contains_key(id));
    let changed = before.iter().filter(|(id, old)| has_other_cells(old.as_deref(), schema.analyzed(*id).map(|new| &**new)));
    let dependents = all_dependents(schema.analysis.dependents(), changed.map(|(id, _)| *id));
    let touched: BTreeSet<AttributeId> = dependents.into_iter().collect();
    let is_converted = |id: &AttributeId| schema.analyzed(*id).is_some_and(|new| new.is_converted());
    let converted: BTreeSet<AttributeId> = touched.iter().copied().filter(is_converted).collect();
    let reads_staged =
        |id: &AttributeId| schema.analyzed(*id).is_some_and(|new| new.all_reads().chain(new.closure()).any(|read| is_staged(&read)));
    // What is shown of others may read what goes.
    let is_read = |id: &AttributeId| {
        let shown = schema.staging().into_iter().flat_map(Staging::shown);
        shown.filter_map(|(_, shown)| shown).any(|shown| shown.analyzed.all_reads().chain(shown.analyzed.closure()).any(|read| read == *id))
    };
    if touched.is_empty() || !(is_large || touched.iter().any(|id| is_staged(id) || reads_staged(id) || is_read(id))) {
        for id in converted {
            // Its own id is that of what is stored.
            schema.cells.newest.entry(id).or_insert_with(|| AttributeId(Uuid::new_v5(&id.0, b"shown")));
        }
        return;
    }
    let CellIds { generation, staging, newest } = &mut schema.cells;
    *generation += 1;
    let staging = Arc::make_mut(staging.get_or_insert_with(|| Arc::new(Staging { generation: 0, shown: BTreeMap::new() })));
    staging.generation = *generation;
    let before: FxHashMap<AttributeId, Arc<Analyzed>> = before.into_iter().filter_map(|(id, old)| Some((id, old?))).collect();
    for id in touched {
        let old = before.get(&id).filter(|old| old.compute != Compute::Stored || converted.contains(&id));
        let cell = newest.get(&id).copied().unwrap_or(id);
        staging.shown.entry(id).or_insert_with(|| old.map(|analyzed| Shown { analyzed: analyzed.clone(), cell }));
        if schema.analysis.get(id).is_none() {
            newest.remove(&id);
        } else if old.is_some() {
            // Cells that were there before, shown or not, must not be taken for those of the new definition.
            newest.insert(id, AttributeId(Uuid::new_v5(&id.0, &generation.to_be_bytes())));
        }
    }
}

/// Whether an attribute has cells to compute that it did not have before, or the other way round, or other ones.
fn has_other_cells(old: Option<&Analyzed>, new: Option<&Analyzed>) -> bool {
    match (old, new) {
        (None, None) => false,
        (Some(one), None) => one.compute != Compute::Stored,
        // A new link leads nowhere yet.
        (None, Some(one)) => one.compute != Compute::Stored && one.crossing().is_none_or(|crossing| crossing.summary != Summary::Count),
        (Some(old), Some(new)) => old != new && (old.compute != Compute::Stored || new.compute != Compute::Stored),
    }
}

impl TenantSchema {
    /// The computation under way, if there is one.
    pub fn staging(&self) -> Option<&Staging> {
        self.cells.staging.as_deref()
    }

    /// The cells of a collection that are computed aside, and not shown. Sorted.
    pub fn computing_cells(&self, collection: CollectionId) -> Vec<AttributeId> {
        let attributes = self.collection(collection).into_iter().flat_map(|collection| collection.attributes());
        let computing = attributes.filter(|attribute| self.is_computing(attribute.id));
        let mut cells: Vec<_> = computing.map(|attribute| self.newest_cell(attribute.id)).collect();
        cells.sort_unstable();
        cells
    }

    /// Whether the cells of an attribute that follow from its definition are not shown yet.
    pub fn is_computing(&self, id: AttributeId) -> bool {
        self.staging().is_some_and(|staging| staging.shown.contains_key(&id))
    }

    /// The id under which the cells of an attribute are computed that follow from its newest definition.
    pub fn newest_cell(&self, id: AttributeId) -> AttributeId {
        self.cells.newest.get(&id).copied().unwrap_or(id)
    }

    /// The id of the cells that are shown of an attribute; nothing if it is new and not all are there.
    pub fn shown_cell(&self, id: AttributeId) -> Option<AttributeId> {
        match self.staging().and_then(|staging| staging.shown.get(&id)) {
            Some(shown) => shown.as_ref().map(|shown| shown.cell),
            None => Some(self.newest_cell(id)),
        }
    }

    /// What is shown of an attribute in a row.
    pub fn shown_value(&self, row: &Row, id: AttributeId) -> Value {
        self.shown_cell(id).map_or(Value::Blank, |cell| row.cell(cell))
    }

    /// What the cells that are shown of an attribute follow from.
    pub fn shown_analyzed(&self, id: AttributeId) -> Option<&Arc<Analyzed>> {
        match self.staging().and_then(|staging| staging.shown.get(&id)) {
            Some(shown) => shown.as_ref().map(|shown| &shown.analyzed),
            None => self.analyzed(id),
        }
    }

    /// Whether all attributes' cells go by the attributes' own ids.
    pub fn has_plain_cells(&self) -> bool {
        self.cells.newest.is_empty()
    }

    /// The id of the cells that are shown of an attribute; of one without, an id that no cell has.
    fn shown_or_none(&self, id: AttributeId) -> AttributeId {
        self.shown_cell(id).unwrap_or(AttributeId(Uuid::nil()))
    }

    /// A program over the cells that are shown: what filters and queries are evaluated with.
    pub fn shown_program(&self, program: Program) -> Program {
        let is_plain = self.has_plain_cells() && self.staging().is_none();
        if is_plain { program } else { program.with_cells(&|id| self.shown_or_none(id)) }
    }

    /// What is shown of an attribute's analysis, over the cells that are shown.
    pub fn shown_over_cells(&self, analyzed: &Analyzed) -> Analyzed {
        analyzed.with_cells(&|id| self.shown_or_none(id))
    }

    /// About how many steps it takes for each entity to compute what follows from it if an attribute gets this definition, or
    /// goes: as many as the cells take of which it is most.
    pub(crate) fn work_of(&self, home: CollectionId, id: AttributeId, definition: Option<&Definition>) -> u64 {
        let new = definition.and_then(|definition| analyze_definition(self, home, id, definition).ok());
        let dependents = all_dependents(self.analysis.dependents(), [id]);
        let dependents = dependents.iter().filter_map(|id| self.analyzed(*id)).map(|analyzed| analyzed.work());
        dependents.chain(new.map(|new| new.work())).max().unwrap_or(0)
    }

    /// The collections whose entities must be looked at if an attribute gets this definition, or goes: its own, those of
    /// everything that depends on it, and those that any of these take values from.
    pub(crate) fn touched_by(&self, home: CollectionId, id: AttributeId, definition: Option<&Definition>) -> BTreeSet<CollectionId> {
        let is_computed = definition.is_some_and(Definition::is_computed);
        // What is stored under one type is computed as soon as it is shown under another.
        let converts = self.attribute(id).is_some_and(|attribute| {
            let is_changed = |new: &Definition| attribute.converts || !new.shows_all_of(&attribute.definition);
            !attribute.definition.is_computed() && definition.is_some_and(|new| !new.is_computed() && is_changed(new))
        });
        let mut out = BTreeSet::from_iter((is_computed || converts).then_some(home));
        if let Some(Definition::Match { collection_id, .. }) = definition {
            out.insert(*collection_id);
        }
        let dependents = all_dependents(self.analysis.dependents(), [id]);
        for dependent in dependents.iter().filter_map(|id| self.analyzed(*id)).filter(|a| a.compute != Compute::Stored) {
            out.insert(dependent.collection_id);
            out.extend(dependent.crossing().map(|crossing| crossing.source));
        }
        if let Some(Definition::Lookup { link_id, .. } | Definition::Rollup { link_id, .. }) = definition {
            let link = self.attribute(*link_id);
            out.extend(link.map(|link| link.collection_id));
            out.extend(link.and_then(|link| link.definition.leads_to()));
        }
        out
    }
}
