//! Random histories, and whether what is computed incrementally equals what is computed from scratch.
//!
//! Random commands make random schemas and change random entities: attributes of every kind come, change and go, links in
//! both directions, to the same collection and hierarchical, archiving and restoring, several events in a timestamp. The
//! words that the commands are made from are all that a history depends on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use decidr_domain::aggregate::attribute::Definition;
use decidr_domain::arrangements::Arrangements;
use decidr_domain::delta::{Change, Delta, Row};
use decidr_domain::event::{Event, Recorded};
use decidr_domain::id::{AttributeId, EntityId, Position};
use decidr_domain::schema::Direction;
use decidr_domain::value::{ErrorKind, Value};

use super::Oracle;
use super::world::World;
use crate::{Arranged, Engine, EngineConfig};

/// The batches of a history, and the state after the last of them.
pub(super) struct History {
    world: World,
    splits: std::iter::Cycle<std::vec::IntoIter<u8>>,
    log: Vec<Recorded>,
    batches: u64,
    is_through: bool,
    depth: u32,
}

impl History {
    /// The words decide what happens, the splits how it is cut into batches.
    pub(super) fn new(words: Vec<u32>, splits: Vec<u8>) -> Self {
        let (world, log) = World::new(words);
        Self { world, splits: splits.into_iter().cycle(), log, batches: 0, is_through: false, depth: 0 }
    }

    /// The next batch; the last one shows all that is computed aside.
    pub(super) fn next(&mut self) -> Option<Vec<Recorded>> {
        let batch = match self.batches {
            0 => self.log.clone(),
            _ if self.is_through => return None,
            _ => {
                let mut batch = Vec::new();
                while batch.is_empty() && !self.is_through {
                    for _ in 0..self.splits.next().unwrap_or(0) % 6 + 1 {
                        match self.world.step() {
                            Some(events) => batch.extend(events),
                            None if self.world.words.len() == 0 => self.is_through = true,
                            None => {}
                        }
                    }
                }
                if self.is_through {
                    batch.extend(self.world.complete().unwrap_or_default());
                }
                self.log.extend(batch.iter().cloned());
                batch
            }
        };
        self.batches += 1;
        for schema in self.world.oracle.catalog.tenants() {
            let attributes = schema.collections().flat_map(|collection| collection.attributes());
            let deepest = attributes.filter_map(|a| Some(schema.shown_analyzed(a.id)?.level)).max();
            self.depth = self.depth.max(deepest.unwrap_or(0));
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// The state after the newest batch.
    pub(super) fn oracle(&self) -> &Oracle {
        &self.world.oracle
    }

    /// How much it was up to here.
    pub(super) fn extent(&self) -> Extent {
        let oracle = self.oracle();
        let (batches, events, refused) = (self.batches, self.log.len() as u64, self.world.refused);
        let mut extent = Extent { batches, events, refused, depth: self.depth, ..Extent::default() };
        for recorded in &self.log {
            *extent.events_by_type.entry(recorded.event.to_stored().event_type.into_owned()).or_default() += 1;
        }
        for schema in oracle.catalog.tenants() {
            extent.collections = schema.collections().count() as u64;
            for attribute in schema.collections().flat_map(|collection| collection.attributes()) {
                *extent.attributes_by_kind.entry(attribute.definition.kind()).or_default() += 1;
            }
        }
        for (id, cells) in oracle.compute() {
            let schema = oracle.catalog.tenant(oracle.entities[&id].tenant_id).expect("its tenant was registered");
            let is_cycle = |value: &Value| matches!(value, Value::Error(error) if error.kind == ErrorKind::Cycle);
            extent.cycles += cells.iter().filter(|(_, value)| is_cycle(value)).count() as u64;
            let nothing = [Value::from(0), Value::from(false)];
            for (attribute, value) in cells.iter().filter(|(_, value)| !nothing.contains(value)) {
                let analyzed = schema.shown_analyzed(*attribute);
                if let Some(Definition::Rollup { function, .. }) = schema.attribute(*attribute).map(|shown| &shown.definition) {
                    *extent.cells_by_rollup.entry(function.name).or_default() += u64::from(!value.is_error());
                }
                extent.conversions += u64::from(analyzed.is_some_and(|analyzed| analyzed.is_converted()));
                match analyzed.and_then(|analyzed| Some(analyzed.crossing()?.direction)) {
                    Some(Direction::Reach { .. }) => extent.closures += 1,
                    Some(Direction::Match(_)) => extent.matches += 1,
                    _ => {}
                }
            }
        }
        extent
    }
}

/// The rows of somebody who knows only deltas.
#[derive(Default)]
pub(super) struct Mirror(BTreeMap<EntityId, Row>);

impl Mirror {
    pub(super) fn take_in(&mut self, changes: &[Change], is_aside: bool) {
        for change in changes {
            let before = self.0.insert(change.entity_id, change.new.clone());
            assert_eq!(before, change.old, "a delta's old row is the one that its reader has");
            assert!(is_aside || Some(&change.new) != change.old.as_ref(), "a delta holds no change that is none");
        }
    }

    /// Compares what is arranged and what was told with the oracle, as far as it is about entities that are here.
    pub(super) fn check(&self, position: Position, arranged: &Arranged, oracle: &Oracle, is_here: &dyn Fn(EntityId) -> bool) {
        let computed = oracle.compute();
        let here = || oracle.entities.iter().filter(|(id, _)| is_here(**id));
        assert_eq!(self.0.len(), here().count());
        for (id, entity) in here() {
            let row = arranged.row(*id).expect("every entity has a row");
            assert_eq!(*row.entity, *entity);
            let schema = oracle.catalog.tenant(entity.tenant_id).expect("its tenant was registered");
            let named = |attribute: AttributeId, value: &Value| format!("{} = {value:?}", schema.path(attribute));
            let attributes = schema.collection(entity.collection_id).expect("its collection was made").attributes().iter();
            let mut cells: Vec<(AttributeId, &Value)> =
                attributes.filter_map(|a| Some((a.id, row.computed(schema.shown_cell(a.id)?)))).filter(|(_, v)| !v.is_blank()).collect();
            cells.sort_unstable_by_key(|(attribute, _)| *attribute);
            let expected: Vec<String> = computed[id].iter().map(|(a, v)| named(*a, v)).collect();
            let cells: Vec<String> = cells.into_iter().map(|(a, v)| named(a, v)).collect();
            let explained = || {
                let differing = cells.iter().chain(&expected).filter(|cell| !(cells.contains(cell) && expected.contains(cell)));
                let keys: Vec<_> = differing.filter_map(|cell| cell.split(' ').next()?.split('.').nth(1)).collect();
                let attributes = schema.collection(entity.collection_id).expect("its collection was made").attributes().iter();
                let definitions: Vec<_> = attributes.map(|a| format!("{} {} {:?}", a.id, a.key, a.definition)).collect();
                format!("{id} at {position}: {keys:?} differ: {cells:?} is not {expected:?}; of {definitions:#?}")
            };
            assert!(cells == expected, "{}", explained());
            assert_eq!(row, self.0[id]);
        }
        let schema = oracle.catalog.tenants().next().expect("its tenant was registered");
        for collection in schema.collections() {
            let members: Vec<_> = here().filter(|(_, e)| e.collection_id == collection.id() && !e.archived).map(|(id, _)| *id).collect();
            assert_eq!(arranged.members(collection.id(), None, usize::MAX), members);
            assert_eq!(arranged.count(collection.id()), members.len() as u64);
            for link in collection.attributes().iter().filter(|a| matches!(a.definition, Definition::Link { .. })) {
                let mut holders: BTreeMap<EntityId, Vec<EntityId>> = BTreeMap::new();
                for (id, entity) in &oracle.entities {
                    entity.values.get(link.id).targets().iter().for_each(|target| holders.entry(*target).or_default().push(*id));
                }
                for (target, _) in here().filter(|(_, e)| Some(e.collection_id) == link.definition.leads_to()) {
                    let (mut pages, mut after) = (Vec::new(), None);
                    loop {
                        let page = arranged.holders(link.id, *target, after, 2);
                        let Some(last) = page.last() else { break };
                        after = Some(*last);
                        pages.extend(page);
                    }
                    assert_eq!(pages, holders.remove(target).unwrap_or_default(), "at {position}, who links to {target} by {}", link.key);
                }
            }
        }
    }
}

struct Running {
    engine: Engine,
    deltas: Receiver<(Arc<Delta>, Arc<Arranged>)>,
    mirror: Mirror,
}

impl Running {
    fn start(workers: usize) -> Self {
        // One entity at a time, so that much happens between slices.
        let config = EngineConfig { workers, slice_time: Duration::ZERO, ..EngineConfig::default() };
        let engine = Engine::start(config).expect("threads can be started");
        let (sender, deltas) = channel();
        engine.subscribe(Box::new(move |published| drop(sender.send((published.delta.clone(), published.arranged.clone())))));
        Self { engine, deltas, mirror: Mirror::default() }
    }

    /// Starts with the rows that another has at the end of a log, and compares them with the oracle.
    fn restore(workers: usize, of: &Arranged, log: &[Recorded], oracle: &Oracle) -> Self {
        let (mut running, position) = (Self::start(workers), of.position);
        let of_schema = log.iter().filter(|event| !matches!(event.event, Event::Entity(_))).cloned().collect();
        running.engine.restore_schema(of_schema, oracle.entities.len());
        let as_of_old = |row: Row| Row::new(0, row.entity.clone(), row.layout().clone(), row.values().to_vec().into_iter());
        let rows: Vec<Row> = of.rows().map(as_of_old).collect();
        rows.chunks(PIECE).for_each(|some| running.engine.restore(position, some.to_vec()));
        // The newest event of the schema may have the same position.
        running.engine.restored(position, of.newest_positions().collect()).blocking_recv().expect("they are arranged");
        running.compare(position, oracle);
        running
    }

    /// Feeds one batch and compares what comes out with the oracle; gives what is arranged.
    fn check(&mut self, batch: Vec<Recorded>, oracle: &Oracle) -> Arc<Arranged> {
        let position = batch.last().expect("a batch has events").position;
        self.engine.accept(batch);
        self.compare(position, oracle)
    }

    /// Compares what comes out, up to a position, with the oracle.
    fn compare(&mut self, position: Position, oracle: &Oracle) -> Arc<Arranged> {
        // What is computed aside may come before and after, and a batch is cut where something is shown.
        let mut shown = loop {
            let (delta, arranged) = self.deltas.recv_timeout(Duration::from_secs(60)).expect("a delta comes");
            self.mirror.take_in(&delta.changes, delta.is_aside);
            if delta.position == position {
                break arranged;
            }
        };
        while let Ok((delta, arranged)) = self.deltas.try_recv() {
            self.mirror.take_in(&delta.changes, delta.is_aside);
            shown = arranged;
        }
        self.mirror.check(position, &shown, oracle, &|_| true);
        shown
    }
}

/// How much a history was.
#[derive(Clone, Debug, Default)]
pub struct Extent {
    /// How many batches were compared.
    pub batches: u64,
    /// How many collections there were.
    pub collections: u64,
    /// How many events were in the batches.
    pub events: u64,
    /// The same by the type of event.
    pub events_by_type: BTreeMap<String, u64>,
    /// How many commands were refused, as they would be by the write side.
    pub refused: u64,
    /// How many attributes there were at the end, by what they are.
    pub attributes_by_kind: BTreeMap<&'static str, u64>,
    /// How many cells were compared of each rollup, neither blank nor 0 nor an error.
    pub cells_by_rollup: BTreeMap<&'static str, u64>,
    /// Through how many links, one after the other, the deepest cell followed from what is stored.
    pub depth: u32,
    /// How many cells were compared that hold the error of a circle in the data.
    pub cycles: u64,
    /// How many cells were compared that come through closures, and not from nothing.
    pub closures: u64,
    /// How many cells were compared that come through matches, and not from nothing.
    pub matches: u64,
    /// How many cells were compared that come from what is stored under another type or by another name.
    pub conversions: u64,
}

/// How many events are in a batch when a history is replayed in pieces.
const PIECE: usize = 37;

/// After how many batches somebody begins with the rows that there are then.
const RESTORED_AT: [u64; 2] = [5, 20];

/// Makes a history from words, and compares after each batch what is arranged, and what somebody has who knows only the
/// deltas, with the oracle, also of those who began with the rows of others in the middle of it; at last what comes of the
/// whole log in one batch, and with another number of workers in other batches.
///
/// # Panics
/// At the first difference.
pub fn run(words: Vec<u32>, splits: Vec<u8>, workers: usize) -> Extent {
    let mut history = History::new(words, splits);
    let mut running = Running::start(workers);
    let mut restored: Vec<Running> = Vec::new();
    while let Some(batch) = history.next() {
        restored.iter_mut().for_each(|running| drop(running.check(batch.clone(), history.oracle())));
        let arranged = running.check(batch, history.oracle());
        let is_due = RESTORED_AT.get(restored.len()).is_some_and(|at| *at <= history.batches);
        if is_due {
            restored.push(Running::restore(3 - workers.min(2), &arranged, &history.log, history.oracle()));
        }
    }
    // Replayed from the log it is the same, in one batch, and cut otherwise.
    Running::start(1).check(history.log.clone(), history.oracle());
    let mut replayed = Running::start(3 - workers.min(2));
    let mut rest = history.log.clone();
    while rest.len() > PIECE {
        let later = rest.split_off(PIECE);
        replayed.engine.accept(std::mem::replace(&mut rest, later));
    }
    replayed.check(rest, history.oracle());
    history.extent()
}
