//! Random histories, and whether what is computed incrementally equals what is computed from scratch.
//!
//! Random commands make random schemas and change random entities: attributes of every kind come, change and go, links in
//! both directions, to the same collection and hierarchical, archiving and restoring, several events in a timestamp. The
//! words that the commands are made from are all that a history depends on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a comparison fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use decidr_domain::aggregate::Facts;
use decidr_domain::aggregate::attribute::{AttributeCommand, Definition, DefinitionInput, SelectionInput};
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::entity::EntityCommand;
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::arrangements::Arrangements;
use decidr_domain::command::{Authority, Command, Request, decide};
use decidr_domain::delta::{Delta, Row};
use decidr_domain::event::{Metadata, Recorded};
use decidr_domain::id::{AttributeId, CollectionId, CommandId, EntityId, EventId, Key, SpaceId, TenantId};
use decidr_domain::rollup::{Argument, ROLLUPS, Rollup};
use decidr_domain::schema::Direction;
use decidr_domain::value::{ErrorKind, Value};
use jiff::Timestamp;
use uuid::Uuid;

use super::Oracle;
use crate::{Arranged, Engine, EngineConfig};

/// Makes commands from words and decides them, so that only events come out which the write side would accept.
pub(super) struct World {
    pub(super) oracle: Oracle,
    position: u64,
    ids: u128,
    pub(super) tenant: TenantId,
    pub(super) collections: Vec<CollectionId>,
    words: std::vec::IntoIter<u32>,
    refused: usize,
}

impl World {
    fn new(words: Vec<u32>) -> (Self, Vec<Recorded>) {
        let mut world = World {
            oracle: Oracle::default(),
            position: 0,
            ids: 0,
            tenant: TenantId(Uuid::nil()),
            collections: vec![],
            words: words.into_iter(),
            refused: 0,
        };
        let mut events = Vec::new();
        world.tenant = TenantId(world.id());
        let register = TenantCommand::RegisterTenant { id: world.tenant, key: Key::new("t").unwrap(), name: "T".into() };
        events.extend(world.execute(Authority::Operator, Command::Tenant(register)));
        let space_id = SpaceId(world.id());
        let space = SpaceCommand::CreateSpace { id: space_id, key: Key::new("s").unwrap(), name: "S".into() };
        events.extend(world.execute(Authority::Tenant(world.tenant), Command::Space(space)));
        for key in ["a", "b", "c"] {
            let id = CollectionId(world.id());
            let collection = CollectionCommand::CreateCollection { id, space_id, key: Key::new(key).unwrap(), name: key.into() };
            events.extend(world.execute(Authority::Tenant(world.tenant), Command::Collection(collection)));
            world.collections.push(id);
        }
        if world.words.clone().next().is_some_and(|word| word % 2 == 0) {
            events.extend(world.hierarchy());
        }
        (world, events)
    }

    /// A collection whose entities stand in a hierarchy: with the total of what lies below, how deep they stand, and the
    /// way down to them.
    fn hierarchy(&mut self) -> Vec<Recorded> {
        let collection = self.collections[0];
        let multiple = self.words.clone().nth(1).is_some_and(|word| word % 3 == 0);
        let (backlink_id, backlink_key) = (AttributeId(self.id()), Key::new("children").unwrap());
        let link = DefinitionInput::Link {
            collection_id: collection,
            multiple,
            backlink_id,
            backlink_key,
            backlink_name: None,
            hierarchical: true,
        };
        let formula = |text: &str| DefinitionInput::Formula { expression: text.into() };
        let rollup =
            |attribute: &str, function| DefinitionInput::rollup("children", Some(attribute.into()), Rollup::find(function).unwrap(), None);
        let mut events = Vec::new();
        let mut ids = BTreeMap::new();
        for (key, definition) in [
            ("n", DefinitionInput::number()),
            ("parent", link),
            ("total", formula("{n}")),
            ("below", rollup("total", "SUM")),
            ("depth", formula("0")),
            ("above", DefinitionInput::lookup("parent", "depth")),
            ("way", formula("{n} & ''")),
            ("way_there", DefinitionInput::lookup("parent", "way")),
            ("highest", rollup("total", "MAX")),
        ] {
            let id = AttributeId(self.id());
            ids.insert(key, id);
            let create =
                AttributeCommand::CreateAttribute { id, collection_id: collection, key: Key::new(key).unwrap(), name: None, definition };
            events.extend(self.execute(Authority::Tenant(self.tenant), create.into_command()));
        }
        for (key, text) in [
            ("total", "{n} + {below}"),
            ("depth", "IF(ISBLANK({above}), 0, MAX({above}) + 1)"),
            ("way", "IFERROR(LEFT({way_there} & '/' & {n}, 200), '?')"),
        ] {
            let update = AttributeCommand::UpdateAttribute { id: ids[key], key: None, name: None, definition: Some(formula(text)) };
            let changed = self.execute(Authority::Tenant(self.tenant), update.into_command());
            assert!(!changed.is_empty(), "{key} may depend on itself along the hierarchy");
            events.extend(changed);
        }
        events
    }

    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    pub(super) fn word(&mut self) -> Option<usize> {
        self.words.next().map(|word| word as usize)
    }

    pub(super) fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        let word = self.word()?;
        if items.is_empty() { None } else { Some(items[word % items.len()].clone()) }
    }

    fn execute(&mut self, authority: Authority, command: Command) -> Vec<Recorded> {
        let command_id = CommandId(self.id());
        let request = Request { command_id, authority, actor: "test".into(), correlation_id: command_id.0, command };
        let oracle = &self.oracle;
        let entities = |id: EntityId| oracle.entities.get(&id).cloned().map(Arc::new);
        // Some changes of the schema are computed aside, whatever the size.
        let sizes = |_| if self.ids.is_multiple_of(5) { 0 } else { 1_000_000 };
        let decision = match decide(&request, Facts { catalog: &oracle.catalog, entities: &entities, sizes: &sizes }) {
            Ok(decision) => decision,
            Err(_) => {
                self.refused += 1;
                return vec![];
            }
        };
        let mut recorded = Vec::new();
        for (stream, event) in decision.events {
            self.position += 1;
            let metadata = Metadata {
                event_id: EventId(self.id()),
                command_id,
                causation_id: command_id.0,
                correlation_id: command_id.0,
                actor: "test".into(),
                recorded_at: Timestamp::from_second(self.position as i64 / 3).unwrap(),
            };
            let recorded_event = Recorded { position: self.position, stream, version: 1, tenant: decision.tenant, event, metadata };
            self.oracle.apply(&recorded_event);
            recorded.push(recorded_event);
        }
        recorded
    }

    /// The events of the next command; `None` when the words are used up.
    fn step(&mut self) -> Option<Vec<Recorded>> {
        let command = match self.word()? % 33 {
            0..2 => self.create_stored()?,
            2..4 => self.create_link()?,
            4..10 => self.create_computed()?,
            10 => AttributeCommand::DeleteAttribute { id: self.attribute()? }.into_command(),
            11 => {
                let id = self.attribute()?;
                let home = self.oracle.catalog.tenant(self.tenant)?.attribute(id)?.collection_id;
                let definition = Some(self.computed(home)?);
                AttributeCommand::UpdateAttribute { id, key: None, name: None, definition }.into_command()
            }
            12..16 => {
                let collection_id = self.pick(&self.collections.clone())?;
                let values = self.values(collection_id, 4)?;
                let id = EntityId(self.id());
                Command::Entity(EntityCommand::CreateEntity { id, collection_id, values })
            }
            16..19 => {
                let (id, collection) = self.entity()?;
                let values = self.values(collection, 2)?;
                Command::Entity(EntityCommand::SetValues { id, values, expected_version: None })
            }
            kind @ 19..22 => {
                let (id, collection) = self.entity()?;
                let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
                let links: Vec<_> =
                    schema.collection(collection)?.attributes().iter().filter(|a| a.definition.leads_to().is_some()).cloned().collect();
                let link = self.pick(&links)?;
                let mut targets: Vec<_> =
                    self.oracle.entities.values().filter(|e| Some(e.collection_id) == link.definition.leads_to()).map(|e| e.id).collect();
                if kind == 21 {
                    targets.retain(|target| self.oracle.entities[&id].values.get(link.id).targets().contains(target));
                }
                let mut target_ids = vec![self.pick(&targets)?];
                if kind == 20 {
                    target_ids.push(self.pick(&targets)?);
                }
                let attribute = link.key.to_string();
                Command::Entity(match kind {
                    21 => EntityCommand::UnlinkEntities { id, attribute, target_ids },
                    _ => EntityCommand::LinkEntities { id, attribute, target_ids },
                })
            }
            23..=25 => self.make_recursive()?,
            26 | 27 => return self.complete(),
            29 | 30 => {
                // Sometimes to just when something is due, sometimes by as much as it takes for years to change.
                let pause = [1, 400, 60_000, 3_600_000, 86_400_000, 40_000_000_000][self.word()? % 6];
                let clock = self.oracle.catalog.tenant(self.tenant)?.clock().unwrap_or(Timestamp::UNIX_EPOCH);
                let to =
                    Timestamp::from_millisecond(clock.as_millisecond() + pause + i64::try_from(self.word()? % 1_000).unwrap()).unwrap();
                let advance = TenantCommand::AdvanceClock { id: self.tenant, to };
                return Some(self.execute(Authority::Operator, Command::Tenant(advance)));
            }
            31 | 32 => self.retype()?,
            22 => Command::Entity(EntityCommand::ArchiveEntity { id: self.entity()?.0 }),
            _ => {
                let archived: Vec<_> = self.oracle.entities.values().filter(|e| e.archived).map(|e| e.id).collect();
                Command::Entity(EntityCommand::RestoreEntity { id: self.pick(&archived)? })
            }
        };
        Some(self.execute(Authority::Tenant(self.tenant), command))
    }

    /// Shows what is computed aside.
    fn complete(&mut self) -> Option<Vec<Recorded>> {
        let generation = self.oracle.catalog.tenant(self.tenant)?.staging()?.generation();
        let complete = TenantCommand::CompleteComputation { id: self.tenant, generation };
        Some(self.execute(Authority::Operator, Command::Tenant(complete)))
    }

    fn key(&mut self) -> Key {
        self.ids += 1;
        Key::new(&format!("k{}", self.ids)).unwrap()
    }

    pub(super) fn create(&mut self, collection_id: CollectionId, definition: DefinitionInput) -> Command {
        let (id, key) = (AttributeId(self.id()), self.key());
        AttributeCommand::CreateAttribute { id, collection_id, key, name: None, definition }.into_command()
    }

    fn create_link(&mut self) -> Option<Command> {
        let collection = self.pick(&self.collections.clone())?;
        let (collection_id, multiple) = (self.pick(&self.collections.clone())?, self.word()? % 2 == 0);
        let hierarchical = collection_id == collection && self.word()? % 4 != 0;
        let (backlink_id, backlink_key) = (AttributeId(self.id()), self.key());
        Some(self.create(
            collection,
            DefinitionInput::Link { collection_id, multiple, backlink_id, backlink_key, backlink_name: None, hierarchical },
        ))
    }

    /// Makes an attribute depend on itself along a hierarchical link: what it was refers to what summarises it.
    fn make_recursive(&mut self) -> Option<Command> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let crossings: Vec<_> = schema
            .collections()
            .flat_map(|collection| collection.attributes())
            .filter_map(|attribute| {
                let (Definition::Lookup { link_id, attribute_id, .. }
                | Definition::Rollup { link_id, attribute_id: Some(attribute_id), .. }) = &attribute.definition
                else {
                    return None;
                };
                let same = schema.attribute(*attribute_id).is_some_and(|target| target.collection_id == attribute.collection_id);
                (same && schema.attribute(*link_id).is_some()).then(|| (attribute.key.clone(), *attribute_id))
            })
            .collect();
        let (key, id) = self.pick(&crossings)?;
        let other = self.formula(schema.attribute(id)?.collection_id)?;
        let expression = match self.word()? % 4 {
            0 => format!("{{{key}}} + 1"),
            1 => format!("IF({{{key}}}, {{{key}}}, {other})"),
            2 => format!("IFERROR({{{key}}}, 0) & ({other})"),
            _ => format!("MAX({{{key}}}, 0) + LEN({other})"),
        };
        let definition = Some(DefinitionInput::Formula { expression });
        Some(AttributeCommand::UpdateAttribute { id, key: None, name: None, definition }.into_command())
    }

    fn create_computed(&mut self) -> Option<Command> {
        let collection = self.pick(&self.collections.clone())?;
        let definition = match self.word()? % 8 {
            0 => self.closure(collection)?,
            1 => self.matching(collection)?,
            _ => self.computed(collection)?,
        };
        Some(self.create(collection, definition))
    }

    /// The entities of a collection that have what those of another have.
    fn matching(&mut self, collection: CollectionId) -> Option<DefinitionInput> {
        let other = self.pick(&self.collections.clone())?;
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let mut on = Vec::new();
        for _ in 0..1 + self.word()? % 5 / 4 {
            let own = self.pick(schema.collection(collection)?.attributes())?;
            let ty = |id| schema.analyzed(id).map(|analyzed| &analyzed.ty);
            let others = schema.collection(other)?.attributes().iter().filter(|other| ty(other.id) == ty(own.id));
            let others: Vec<_> = others.map(|other| other.key.to_string()).collect();
            on.push((own.key.to_string(), self.pick(&others)?));
        }
        Some(DefinitionInput::Match { collection_id: other, on })
    }

    /// Everything that a link of a collection to itself leads to.
    fn closure(&mut self, collection: CollectionId) -> Option<DefinitionInput> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let links = schema.collection(collection)?.attributes().iter().filter(|a| a.definition.leads_to() == Some(collection));
        let links: Vec<_> = links.map(|a| a.key.to_string()).collect();
        Some(DefinitionInput::Closure { link: self.pick(&links)? })
    }

    fn computed(&mut self, collection: CollectionId) -> Option<DefinitionInput> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let links: Vec<_> =
            schema.collection(collection)?.attributes().iter().filter(|a| a.definition.leads_to().is_some()).cloned().collect();
        Some(match self.word()? % 9 {
            8 => {
                let stored = schema.collection(collection)?.attributes().iter().filter(|a| !a.definition.is_computed());
                let stored: Vec<_> =
                    stored.filter(|a| !matches!(a.definition, Definition::Backlink { .. })).map(|a| a.key.to_string()).collect();
                match self.word()? % 4 {
                    0 => DefinitionInput::CreatedTime,
                    3 => DefinitionInput::Autonumber,
                    1 => DefinitionInput::ModifiedTime { attributes: vec![] },
                    _ => DefinitionInput::ModifiedTime { attributes: vec![self.pick(&stored)?, self.pick(&stored)?] },
                }
            }
            0 | 4 => DefinitionInput::Formula { expression: self.formula(collection)? },
            kind => {
                let link = self.pick(&links)?;
                let target = link.definition.leads_to()?;
                let attributes: Vec<_> = schema.collection(target)?.attributes().iter().map(|a| a.key.to_string()).collect();
                let attribute = self.pick(&attributes)?;
                if kind == 1 || kind == 5 {
                    let selection = self.selection(collection, target)?;
                    DefinitionInput::Lookup { link: link.key.to_string(), attribute, selection }
                } else {
                    let function = self.pick(ROLLUPS)?;
                    let selection = self.selection(collection, target)?;
                    let argument = match function.argument {
                        Argument::None => Value::Blank,
                        Argument::Share => Value::number(["0", "0.25", "0.5", "1"][self.word()? % 4].parse().unwrap()),
                        Argument::Count => Value::from(1 + (self.word()? % 3) as i64),
                        Argument::Separator => [Value::Blank, Value::text("+")][self.word()? % 2].clone(),
                    };
                    let weight = if function.is_weighted { self.pick(&attributes) } else { None };
                    let formula = (function.name == "FORMULA").then_some([
                        "COUNTALL(values)",
                        "SUM(values) + 1",
                        "ARRAYJOIN(values)",
                        "LAST(values)",
                    ]);
                    let formula = match formula {
                        Some(formulas) => self.pick(&formulas).map(str::to_owned),
                        None => None,
                    };
                    let (link, attribute) = (link.key.to_string(), Some(attribute));
                    DefinitionInput::Rollup { link, attribute, function, selection, argument, weight, formula }
                }
            }
        })
    }

    fn selection(&mut self, host: CollectionId, target: CollectionId) -> Option<SelectionInput> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let keys =
            |id| schema.collection(id).into_iter().flat_map(|c| c.attributes().iter().map(|a| a.key.to_string())).collect::<Vec<_>>();
        let filter = match self.word()? % 6 {
            0 => Some(self.formula(target)?),
            1 => Some(format!("{{{}}} >= HOST({{{}}})", self.pick(&keys(target))?, self.pick(&keys(host))?)),
            _ => None,
        };
        let sort = if self.word()? % 4 == 0 { vec![(self.pick(&keys(target))?, self.word()? % 2 == 0)] } else { vec![] };
        let limit = if self.word()? % 5 == 0 { Some(1 + (self.word()? % 3) as i64) } else { None };
        Some(SelectionInput { filter, sort, limit })
    }

    fn formula(&mut self, collection: CollectionId) -> Option<String> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let attributes: Vec<_> = schema.collection(collection)?.attributes().iter().map(|a| a.key.to_string()).collect();
        let (a, b) = (self.pick(&attributes)?, self.pick(&attributes)?);
        Some(match self.word()? % 12 {
            10 | 11 => self.timed(&a, &b)?,
            9 => format!("DATETIME_DIFF(LAST_MODIFIED_TIME(), CREATED_TIME(), 'seconds') & {{{a}}}"),
            7 => format!("LET(x, {{{a}}}, IF(x = {{{b}}}, x, LEN(x)))"),
            8 => format!("ARRAYJOIN(ARRAYUNIQUE({{{a}}}, {{{b}}}))"),
            0 => format!("{{{a}}} * 2 - {{{b}}}"),
            1 => format!("IF({{{a}}}, {{{b}}}, 7)"),
            2 => format!("{{{a}}} / {{{b}}}"),
            3 => format!("{{{a}}} & '-' & {{{b}}}"),
            4 => format!("{{{a}}} >= {{{b}}}"),
            5 => format!("IF(ISERROR({{{a}}}), BLANK(), {{{a}}})"),
            _ => format!("MAX({{{a}}}, {{{b}}}, 3)"),
        })
    }

    /// A formula that asks what time it is.
    fn timed(&mut self, a: &str, b: &str) -> Option<String> {
        let due = format!("DATEADD(DATEADD(CREATED_TIME(), VALUE(LEFT({{{a}}} & '', 3)), 'hours'), {{{b}}} & '0', 'seconds')");
        Some(match self.word()? % 12 {
            0 => format!("{due} < NOW()"),
            1 => format!("IF(IS_AFTER(NOW(), {due}), {{{b}}}, 'soon')"),
            2 => format!("DATETIME_DIFF(NOW(), {due}, 'hours')"),
            3 => format!("DATETIME_DIFF(DATEADD(TODAY(), -1, 'months'), {due}, 'weeks') * -2 + 1"),
            4 => format!("DATETIME_DIFF({due}, NOW(), 'minutes') > {{{b}}}"),
            5 => format!("IF({{{a}}}, MONTH(TODAY()), {{{b}}})"),
            6 => format!("DATETIME_FORMAT(NOW(), 'YYYY-MM-DD HH:mm') & {{{b}}}"),
            7 => format!("LET(d, {due}, d > DATEADD(NOW(), -{{{b}}}, 'days'))"),
            8 => format!("FROMNOW({due})"),
            9 => format!("IFERROR(IS_SAME({due}, TODAY(), 'day'), {{{a}}})"),
            10 => format!("AND({{{a}}}, DATEADD(TODAY(), {{{b}}}, 'days') >= {due})"),
            _ => format!("NOW() > DATEADD('1970-01-01T00:00:00.0005Z', {{{b}}}, 'seconds')"),
        })
    }

    pub(super) fn attribute(&mut self) -> Option<AttributeId> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let all: Vec<_> = schema.collections().flat_map(|c| c.attributes().iter().map(|a| a.id)).collect();
        self.pick(&all)
    }

    fn entity(&mut self) -> Option<(EntityId, CollectionId)> {
        let all: Vec<_> = self.oracle.entities.values().map(|e| (e.id, e.collection_id)).collect();
        self.pick(&all)
    }
}

pub(super) trait IntoCommand {
    fn into_command(self) -> Command;
}

impl IntoCommand for AttributeCommand {
    fn into_command(self) -> Command {
        Command::Attribute(self)
    }
}

struct Running {
    engine: Engine,
    deltas: Receiver<(Arc<Delta>, Arc<Arranged>)>,
    /// The rows of somebody who knows only deltas.
    mirror: BTreeMap<EntityId, Arc<Row>>,
}

impl Running {
    fn start(workers: usize) -> Self {
        // One entity at a time, so that much happens between slices.
        let config = EngineConfig { workers, slice_time: Duration::ZERO, ..EngineConfig::default() };
        let engine = Engine::start(config).unwrap();
        let (sender, deltas) = channel();
        engine.subscribe(Box::new(move |published| drop(sender.send((published.delta.clone(), published.arranged.clone())))));
        Self { engine, deltas, mirror: BTreeMap::new() }
    }

    fn take_in(&mut self, delta: &Delta) {
        for change in &delta.changes {
            let before = self.mirror.insert(change.entity_id, change.new.clone());
            assert_eq!(before, change.old, "a delta's old row is the one that its reader has");
            assert!(delta.is_aside || Some(&change.new) != change.old.as_ref(), "a delta holds no change that is none");
        }
    }

    /// Feeds one batch and compares what comes out with the oracle.
    fn check(&mut self, batch: Vec<Recorded>, oracle: &Oracle) {
        let position = batch.last().unwrap().position;
        self.engine.accept(batch);
        // What is computed aside may come before and after, and a batch is cut where something is shown.
        let mut shown = loop {
            let (delta, arranged) = self.deltas.recv_timeout(Duration::from_secs(60)).expect("a delta comes");
            self.take_in(&delta);
            if delta.position == position {
                break arranged;
            }
        };
        while let Ok((delta, arranged)) = self.deltas.try_recv() {
            self.take_in(&delta);
            shown = arranged;
        }
        let arranged = shown;
        let computed = oracle.compute();
        assert_eq!(self.mirror.len(), oracle.entities.len());
        for (id, entity) in &oracle.entities {
            let row = arranged.row(*id).expect("every entity has a row");
            assert_eq!(*row.entity, *entity);
            let schema = oracle.catalog.tenant(entity.tenant_id).unwrap();
            let named = |attribute: AttributeId, value: &Value| format!("{} = {value:?}", schema.path(attribute));
            let attributes = schema.collection(entity.collection_id).unwrap().attributes().iter();
            let mut cells: Vec<(AttributeId, &Value)> =
                attributes.filter_map(|a| Some((a.id, row.computed(schema.shown_cell(a.id)?)))).filter(|(_, v)| !v.is_blank()).collect();
            cells.sort_unstable_by_key(|(attribute, _)| *attribute);
            let expected: Vec<String> = computed[id].iter().map(|(a, v)| named(*a, v)).collect();
            let cells: Vec<String> = cells.into_iter().map(|(a, v)| named(a, v)).collect();
            if cells != expected {
                let differing = cells.iter().chain(&expected).filter(|cell| !(cells.contains(cell) && expected.contains(cell)));
                let keys: Vec<_> = differing.filter_map(|cell| cell.split(' ').next()?.split('.').nth(1)).collect();
                let attributes = schema.collection(entity.collection_id).unwrap().attributes().iter();
                let definitions: Vec<_> = attributes.map(|a| format!("{} {} {:?}", a.id, a.key, a.definition)).collect();
                panic!("{id} at {position}: {keys:?} differ: {cells:?} is not {expected:?}; of {definitions:#?}");
            }
            assert_eq!(row, self.mirror[id]);
        }
        let schema = oracle.catalog.tenants().next().unwrap();
        for collection in schema.collections() {
            let members: Vec<_> =
                oracle.entities.values().filter(|e| e.collection_id == collection.id() && !e.archived).map(|e| e.id).collect();
            assert_eq!(arranged.members(collection.id(), None, usize::MAX), members);
            assert_eq!(arranged.count(collection.id()), members.len() as u64);
        }
    }
}

/// How much a history was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// How many batches were compared.
    pub batches: u64,
    /// How many events were in them.
    pub events: u64,
    /// How many cells were compared that hold the error of a circle in the data.
    pub cycles: u64,
    /// How many cells were compared that come through closures, and not from nothing.
    pub closures: u64,
    /// How many cells were compared that come through matches, and not from nothing.
    pub matches: u64,
    /// How many cells were compared that come from what is stored under another type or by another name.
    pub conversions: u64,
}

/// Makes a history from words, and compares after each batch what is arranged, and what somebody has who knows only the
/// deltas, with the oracle; at last what comes of the whole log in one batch.
///
/// # Panics
/// At the first difference.
pub fn run(words: Vec<u32>, splits: Vec<u8>, workers: usize) -> Extent {
    let (mut world, setup) = World::new(words);
    let mut running = Running::start(workers);
    let mut log = setup.clone();
    running.check(setup, &world.oracle);
    let mut extent = Extent { batches: 2, ..Extent::default() };
    let mut splits = splits.into_iter().cycle();
    loop {
        let (mut batch, mut ended) = (Vec::new(), false);
        for _ in 0..splits.next().unwrap_or(0) % 6 + 1 {
            match world.step() {
                Some(events) => batch.extend(events),
                None if world.words.len() == 0 => ended = true,
                None => {}
            }
        }
        if !batch.is_empty() {
            log.extend(batch.iter().cloned());
            extent.batches += 1;
            running.check(batch, &world.oracle);
        }
        if ended {
            break;
        }
    }
    // With everything shown that is computed aside, and replayed from the log in one batch, it is the same.
    if let Some(completion) = world.complete() {
        log.extend(completion.iter().cloned());
        extent.batches += 1;
        running.check(completion, &world.oracle);
    }
    extent.events = log.len() as u64;
    let is_cycle = |value: &Value| matches!(value, Value::Error(error) if error.kind == ErrorKind::Cycle);
    extent.cycles = world.oracle.compute().values().flatten().filter(|(_, value)| is_cycle(value)).count() as u64;
    for (id, cells) in world.oracle.compute() {
        let schema = world.oracle.catalog.tenant(world.oracle.entities[&id].tenant_id).unwrap();
        let nothing = [Value::from(0), Value::from(false)];
        for (attribute, _) in cells.iter().filter(|(_, value)| !nothing.contains(value)) {
            let analyzed = schema.shown_analyzed(*attribute);
            extent.conversions += u64::from(analyzed.is_some_and(|analyzed| analyzed.is_converted()));
            match analyzed.and_then(|analyzed| Some(analyzed.crossing()?.direction)) {
                Some(Direction::Reach { .. }) => extent.closures += 1,
                Some(Direction::Match(_)) => extent.matches += 1,
                _ => {}
            }
        }
    }
    Running::start(1).check(log, &world.oracle);
    extent
}
