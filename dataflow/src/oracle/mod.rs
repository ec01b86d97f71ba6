//! Everything computed again from scratch, the slow obvious way: the judge of what is computed incrementally.
//!
//! It folds events as the write side does and evaluates each cell on demand, remembering it. It knows neither levels nor
//! kernels nor deltas.

pub mod cluster;
mod computed;
pub mod histories;
mod stored;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use decidr_domain::aggregate::entity::{self, Entity};
use decidr_domain::event::{Event, Recorded};
use decidr_domain::formula::Cells;
use decidr_domain::formula::coerce::truth;
use decidr_domain::id::{AttributeId, CollectionId, EntityId};
use decidr_domain::rollup::list_of;
use decidr_domain::schema::{Catalog, Compute, Crossing, Direction, REACH_MAX, Summary, TenantSchema, cycle_error, depth_error};
use decidr_domain::value::Value;
use jiff::Timestamp;

/// The state after some events.
#[derive(Clone, Default)]
pub struct Oracle {
    /// The schema.
    pub catalog: Catalog,
    /// The entities.
    pub entities: BTreeMap<EntityId, Entity>,
    made: BTreeMap<CollectionId, u64>,
}

/// For every entity its computed cells, blanks left out, sorted by attribute.
pub type Computed = BTreeMap<EntityId, Vec<(AttributeId, Value)>>;

impl Oracle {
    /// Applies one event.
    pub fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Entity(event) => {
                let state = entity::evolve(self.entities.remove(&event.id()), event, &recorded.metadata.stamp());
                self.entities.extend(state.map(|mut state| {
                    if state.version == 1 {
                        let made = self.made.entry(state.collection_id).or_default();
                        *made += 1;
                        state.number = *made;
                    }
                    (event.id(), state)
                }));
            }
            event => {
                self.catalog.apply(recorded.tenant, event);
            }
        }
    }

    /// Every computed cell.
    pub fn compute(&self) -> Computed {
        let memory = RefCell::default();
        let mut out = Computed::new();
        for (id, entity) in &self.entities {
            let Some(schema) = self.catalog.tenant(entity.tenant_id) else { continue };
            let computation = Computation { oracle: self, schema, memory: &memory };
            let attributes = schema.collection(entity.collection_id).into_iter().flat_map(|collection| collection.attributes());
            let computed = attributes.filter(|a| schema.shown_analyzed(a.id).is_some_and(|analyzed| analyzed.compute != Compute::Stored));
            let mut cells: Vec<_> =
                computed.map(|a| (a.id, computation.computed(entity, a.id))).filter(|(_, value)| !value.is_blank()).collect();
            cells.sort_unstable_by_key(|(attribute, _)| *attribute);
            out.insert(*id, cells);
        }
        out
    }
}

struct Computation<'a> {
    oracle: &'a Oracle,
    schema: &'a TenantSchema,
    memory: &'a RefCell<HashMap<(EntityId, AttributeId), Value>>,
}

/// The cells of one entity.
struct OracleCells<'a> {
    computation: &'a Computation<'a>,
    entity: &'a Entity,
}

impl Cells for OracleCells<'_> {
    fn cell(&self, attribute: AttributeId) -> Value {
        self.computation.cell(self.entity, attribute)
    }

    fn entity(&self) -> Option<&Entity> {
        Some(self.entity)
    }

    fn now(&self) -> Option<Timestamp> {
        self.computation.schema.clock()
    }
}

/// What is stored of one entity.
struct Stored<'a>(&'a Entity);

impl Cells for Stored<'_> {
    fn cell(&self, attribute: AttributeId) -> Value {
        self.0.values.get(attribute).clone()
    }
}

impl Computation<'_> {
    fn cell(&self, entity: &Entity, attribute: AttributeId) -> Value {
        let is_converted = || self.schema.shown_analyzed(attribute).is_some_and(|analyzed| analyzed.is_converted());
        match entity.values.get(attribute) {
            stored if !stored.is_blank() && !is_converted() => stored.clone(),
            _ => self.computed(entity, attribute),
        }
    }

    fn computed(&self, entity: &Entity, attribute: AttributeId) -> Value {
        if let Some(value) = self.memory.borrow().get(&(entity.id, attribute)) {
            return value.clone();
        }
        let analyzed = self.schema.shown_analyzed(attribute);
        let value = match analyzed.map(|analyzed| &analyzed.compute) {
            Some(Compute::Formula(program)) if analyzed.is_some_and(|analyzed| analyzed.is_converted()) => {
                program.evaluate(&Stored(entity))
            }
            None | Some(Compute::Stored) => Value::Blank,
            Some(Compute::Broken(error)) => error.clone(),
            Some(Compute::Formula(program)) => program.evaluate(&OracleCells { computation: self, entity }),
            Some(Compute::Crossing(crossing)) => match self.cycle(entity, attribute) {
                Some(error) => error,
                None => self.cross(entity, crossing),
            },
        };
        self.memory.borrow_mut().insert((entity.id, attribute), value.clone());
        value
    }

    /// The entities that a link leads to, or that lead here by it, archived or not; or those that a closure reaches.
    fn sources(&self, host: &Entity, direction: Direction, source: CollectionId) -> Vec<&Entity> {
        match direction {
            Direction::Reach { .. } => {
                let (mut seen, mut open) = (BTreeSet::new(), vec![host]);
                while let Some(at) = open.pop() {
                    let next = self.sources(at, direction.step(), source).into_iter().filter(|next| !next.archived);
                    open.extend(next.filter(|next| seen.insert(next.id)));
                }
                seen.remove(&host.id);
                seen.iter().filter_map(|id| self.oracle.entities.get(id)).collect()
            }
            // They are found by their keys.
            Direction::Match(_) => Vec::new(),
            Direction::Forward(link) => host.values.get(link).targets().iter().filter_map(|id| self.oracle.entities.get(id)).collect(),
            Direction::Backward(link) => {
                let all = self.oracle.entities.values();
                let links_here = |holder: &&Entity| holder.collection_id == source && holder.values.get(link).targets().contains(&host.id);
                let mut holders: Vec<&Entity> = all.filter(links_here).collect();
                host.put_in_order(link, &mut holders, |holder| holder.id);
                holders
            }
        }
    }

    /// The error of a cell that depends on itself, along the links of its component.
    fn cycle(&self, entity: &Entity, attribute: AttributeId) -> Option<Value> {
        let analyzed = self.schema.shown_analyzed(attribute)?;
        let component = analyzed.component.as_ref()?;
        let within = |id: &AttributeId| self.schema.shown_analyzed(*id).is_some_and(|read| read.component.as_ref() == Some(component));
        if !analyzed.reads.iter().any(within) {
            return None;
        }
        let behind = |id: EntityId| -> BTreeSet<EntityId> {
            let (mut seen, mut open) = (BTreeSet::new(), vec![id]);
            while let Some(at) = open.pop() {
                let Some(at) = self.oracle.entities.get(&at) else { continue };
                for direction in &component.directions {
                    let sources = self.sources(at, *direction, entity.collection_id);
                    open.extend(sources.into_iter().filter(|source| !source.archived && seen.insert(source.id)).map(|source| source.id));
                }
            }
            seen
        };
        let sources = behind(entity.id);
        let members: Vec<_> = sources.iter().filter(|source| behind(**source).contains(&entity.id)).copied().collect();
        sources.contains(&entity.id).then(|| cycle_error(&members))
    }

    /// From how many entities a closure reaches this one.
    fn depth(&self, entity: &Entity, direction: Direction) -> usize {
        let hosts = self.oracle.entities.values().filter(|host| host.collection_id == entity.collection_id);
        hosts.filter(|host| self.sources(host, direction, entity.collection_id).iter().any(|source| source.id == entity.id)).count()
    }

    fn cross(&self, host: &Entity, crossing: &Crossing) -> Value {
        let sources = match &crossing.keys {
            Some(keys) => {
                let key = keys.of_host(&OracleCells { computation: self, entity: host });
                let matches = |entity: &&Entity| {
                    let is_there = key.is_some() && entity.collection_id == crossing.source && entity.tenant_id == host.tenant_id;
                    is_there && keys.of_source(&OracleCells { computation: self, entity }) == key
                };
                self.oracle.entities.values().filter(matches).collect()
            }
            None => self.sources(host, crossing.direction, crossing.source),
        };
        let mut contributions = Vec::new();
        if matches!(crossing.direction, Direction::Reach { .. }) && self.oracle.entities.len() > REACH_MAX {
            let is_crowded = |source: &&&Entity| self.depth(source, crossing.direction) > REACH_MAX;
            if sources.len() > REACH_MAX && sources.iter().any(|source| is_crowded(&source)) {
                return depth_error();
            }
        }
        for source in sources.into_iter().filter(|source| !source.archived) {
            let filter = crossing.filter.as_ref().map(|filter| filter.evaluate(&OracleCells { computation: self, entity: source }));
            match filter {
                Some(error @ Value::Error(_)) => contributions.push(error),
                Some(value) if !truth(&value) => {}
                _ => {
                    let value = crossing.value.map_or(Value::Bool(true), |attribute| crossing.contributed(self.cell(source, attribute)));
                    contributions.push(match &crossing.summary {
                        Summary::Collect(collect) => {
                            let columns = collect.columns.iter().map(|column| self.cell(source, *column));
                            Value::List(std::iter::once(value).chain(columns).collect())
                        }
                        _ => value,
                    });
                }
            }
        }
        match &crossing.summary {
            Summary::Only => contributions.pop().unwrap_or_default(),
            Summary::Count if contributions.is_empty() => Value::Blank,
            Summary::Count => Value::from(contributions.len() as i64),
            Summary::List => list_of(contributions.iter()),
            Summary::Rollup(rollup, argument) => rollup.summary(&contributions, argument),
            Summary::Collect(collect) => collect.summary(contributions.iter(), &OracleCells { computation: self, entity: host }),
        }
    }
}
