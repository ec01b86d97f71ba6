//! One entity on its worker: what is known of it, and what a timestamp did to it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use decidr_domain::aggregate::entity::Entity;
use decidr_domain::delta::Row;
use decidr_domain::formula::Cells;
use decidr_domain::id::{AttributeId, EntityId};
use decidr_domain::layout::Layout;
use decidr_domain::rollup::list_of;
use decidr_domain::schema::{Crossing, Direction, Summary};
use decidr_domain::value::Value;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::records::Slot;
use crate::message::Contribution;
use crate::plan::CrossingPlan;
use crate::rollup::{Group, Sequence, is_sequence, take_in_together};

/// No place among the touched.
const UNTOUCHED: u32 = u32::MAX;

/// One entity. What most visits look at is together in one line of the processor's cache.
#[repr(C, align(64))]
pub(super) struct Record {
    /// Which entity.
    pub(super) id: EntityId,
    /// Its state after all events.
    pub(super) entity: Option<Arc<Entity>>,
    /// Its row as of the last complete timestamp; once it is touched, [`Touched`] has it.
    pub(super) row: Option<Row>,
    /// Its place among the entities that this timestamp touched.
    touched: u32,
    /// What its sources contribute, by lookup or rollup.
    pub(super) held: Vec<(AttributeId, Held)>,
    /// Who links here, by link; and the hosts from which a closure reaches it.
    pub(super) incoming: Vec<(AttributeId, BTreeSet<EntityId>)>,
    /// The components in which it depends on itself and the closures in which it lies too deep, with the errors that say so.
    pub(super) cycles: Vec<(AttributeId, Value)>,
    /// Its place among the entities of its collection on this worker.
    pub(super) place: usize,
}

impl Record {
    /// Nothing is known of it yet.
    pub(super) fn new(id: EntityId) -> Self {
        Self { id, entity: None, row: None, touched: UNTOUCHED, held: Vec::new(), incoming: Vec::new(), cycles: Vec::new(), place: 0 }
    }

    /// Its place among the entities that this timestamp touched, if it did.
    pub(super) fn touched(&self) -> Option<usize> {
        (self.touched != UNTOUCHED).then_some(self.touched as usize)
    }

    /// This timestamp touched it; gives its row from before.
    pub(super) fn touch(&mut self, place: usize) -> Option<Row> {
        self.touched = u32::try_from(place).expect("there are no more places than records");
        self.row.take()
    }

    /// The timestamp is complete, and this is its row, if it has one.
    pub(super) fn untouch(&mut self, row: Option<Row>) {
        self.touched = UNTOUCHED;
        self.row = row;
    }

    /// Takes in what sources contribute to several cells, in the order of their places in `held`: what their rollups have in
    /// common is kept once.
    pub(super) fn take_in_together<'a>(&mut self, places: &[usize], contributions: impl Iterator<Item = &'a Contribution> + Clone) {
        let mut groups: SmallVec<[&mut Group; 4]> = SmallVec::new();
        let mut wanted = places.iter().peekable();
        for (place, (_, held)) in self.held.iter_mut().enumerate() {
            if wanted.next_if(|wanted| **wanted == place).is_none() {
                continue;
            }
            match held {
                Held::Group(group) => match group.is_ordered() {
                    true => groups.push(group),
                    false => contributions.clone().for_each(|contribution| group.take_in(&contribution.old, &contribution.new)),
                },
                held => contributions.clone().for_each(|Contribution { source, old, new, .. }| held.take_in(*source, old, new)),
            }
        }
        let mut groups = groups.into_iter();
        if let Some(first) = groups.next() {
            take_in_together(first, groups, contributions.map(|contribution| (&contribution.old, &contribution.new)));
        }
    }

    /// The entities that have this link to it.
    pub(super) fn holders(&self, link: AttributeId) -> impl Iterator<Item = &EntityId> {
        self.incoming.iter().filter(move |(id, _)| *id == link).flat_map(|(_, holders)| holders)
    }

    /// Notes a holder of a link to it, or a host of a closure that reaches it.
    pub(super) fn meet(&mut self, link: AttributeId, holder: EntityId, added: bool) {
        let place = match self.incoming.iter().position(|(id, _)| *id == link) {
            Some(place) => place,
            None => {
                reserve_few(&mut self.incoming);
                self.incoming.push((link, BTreeSet::new()));
                self.incoming.len() - 1
            }
        };
        let holders = &mut self.incoming[place].1;
        let changed = if added { holders.insert(holder) } else { holders.remove(&holder) };
        debug_assert!(changed, "each change is announced once");
    }

    /// What says that it has no say in this component or closure, if something does.
    pub(super) fn error_of(&self, component: AttributeId) -> Option<&Value> {
        self.cycles.iter().find(|(there, _)| *there == component).map(|(_, error)| error)
    }
}

/// Makes room for one more, in a list of which there is one for each entity and which mostly has one item or two: room for
/// four, as a list makes of itself, would be most of a record.
pub(super) fn reserve_few<T>(list: &mut Vec<T>) {
    if list.len() < 4 {
        list.reserve_exact(1);
    }
}

/// What the sources of one cell contribute.
pub(super) enum Held {
    /// The one source of a lookup through a single link, and its value.
    Only(Option<(EntityId, Value)>),
    /// How many contribute.
    Count(u64),
    /// The values of a list, by source.
    List(BTreeMap<EntityId, Value>),
    /// A rollup's state.
    Group(Box<Group>),
    /// Contributions that are looked at one by one, in an order of their own.
    Sequence(Box<Sequence>),
}

/// What a timestamp did to one entity.
pub(super) struct Touched {
    /// Where its record is.
    pub(super) slot: Slot,
    /// Its row before.
    pub(super) before: Option<Row>,
    /// The computed cells that were set to something else than before, sorted by attribute, blank where nothing is any more.
    pub(super) set_cells: SmallVec<[(AttributeId, Value); 2]>,
    /// The attributes whose cells changed so far.
    pub(super) changed: SmallVec<[AttributeId; 2]>,
    /// The lookups and rollups to which sources contributed since the last visit.
    pub(super) contributed: SmallVec<[AttributeId; 1]>,
    /// What most entities have nothing of.
    seldom: Option<Box<Seldom>>,
    /// Whether an event of its own was folded.
    pub(super) folded: bool,
    /// Whether it comes out otherwise because time passed.
    pub(super) is_due: bool,
    /// Whether a cell was set twice, and so may be again what it was.
    pub(super) is_set_again: bool,
}

/// What a timestamp does to few entities.
#[derive(Default)]
pub(super) struct Seldom {
    /// What it contributed last in this timestamp, for what it may contribute to several times.
    pub(super) sent: Vec<(AttributeId, Option<Value>)>,
    /// The components and closures of which it has an error now and had none before, or the other way round, with the error
    /// before.
    pub(super) cycles_changed: Vec<(AttributeId, Option<Value>)>,
    /// Links to it, and closures that reach it, that came (`true`) or went, with their holders and hosts.
    pub(super) linked: Vec<(AttributeId, EntityId, bool)>,
    /// Hosts that take up a cell to which it contributes, with the attribute of the cell.
    pub(super) wanted: Vec<(AttributeId, EntityId)>,
}

impl Touched {
    /// Nothing yet.
    pub(super) fn new(slot: Slot, before: Option<Row>) -> Self {
        Self {
            slot,
            before,
            set_cells: SmallVec::new(),
            changed: SmallVec::new(),
            contributed: SmallVec::new(),
            seldom: None,
            folded: false,
            is_due: false,
            is_set_again: false,
        }
    }

    /// What most entities have nothing of.
    pub(super) fn seldom(&self) -> &Seldom {
        static NOTHING: Seldom = Seldom { sent: Vec::new(), cycles_changed: Vec::new(), linked: Vec::new(), wanted: Vec::new() };
        self.seldom.as_deref().unwrap_or(&NOTHING)
    }

    /// The same, to add to it.
    pub(super) fn seldom_mut(&mut self) -> &mut Seldom {
        self.seldom.get_or_insert_default()
    }

    /// Its row before, if it was there.
    pub(super) fn row_before(&self) -> Option<&Row> {
        self.before.as_ref()
    }

    /// Whether nothing was done to it.
    pub(super) fn is_nothing(&self) -> bool {
        let Self { slot: _, before, set_cells, changed, contributed, seldom, folded, is_due, is_set_again: _ } = self;
        let nothing_changed = set_cells.is_empty() && changed.is_empty() && contributed.is_empty() && seldom.is_none();
        before.is_some() && nothing_changed && !folded && !is_due
    }

    /// Whether it was not there before this timestamp.
    pub(super) fn is_new(&self) -> bool {
        self.before.is_none()
    }

    /// The error that it had of a component or closure before, if it has another or none now.
    pub(super) fn cycle_changed(&self, component: AttributeId) -> Option<&Option<Value>> {
        self.seldom().cycles_changed.iter().find(|(there, _)| *there == component).map(|(_, before)| before)
    }

    /// A computed cell as it is so far.
    pub(super) fn cell(&self, attribute: AttributeId) -> &Value {
        static BLANK: Value = Value::Blank;
        match self.place(attribute) {
            Ok(place) => &self.set_cells[place].1,
            Err(_) => self.row_before().map_or(&BLANK, |row| row.computed(attribute)),
        }
    }

    fn place(&self, attribute: AttributeId) -> Result<usize, usize> {
        self.set_cells.binary_search_by_key(&attribute, |(id, _)| *id)
    }

    /// Sets a computed cell; returns whether that changed it.
    pub(super) fn set(&mut self, attribute: AttributeId, value: Value) -> bool {
        if *self.cell(attribute) == value {
            return false;
        }
        match self.place(attribute) {
            Ok(place) => {
                self.set_cells[place].1 = value;
                self.is_set_again = true;
            }
            Err(place) => self.set_cells.insert(place, (attribute, value)),
        }
        if !self.changed.contains(&attribute) {
            self.changed.push(attribute);
        }
        true
    }

    /// The row that its entity has now; leaves nothing of what was set. Cells of attributes that are not `kept` go.
    pub(super) fn new_row(&mut self, since: u64, entity: &Arc<Entity>, kept: Option<&dyn Fn(AttributeId) -> bool>) -> Row {
        let set = std::mem::take(&mut self.set_cells);
        let before = self.row_before();
        let has_layout_of = |row: &Row| set.iter().all(|(attribute, value)| !value.is_blank() && row.layout().find(*attribute).is_ok());
        let is_like_before = kept.is_none() && before.is_some_and(has_layout_of);
        let mut set = set.into_iter().peekable();
        if let Some(row) = before.filter(|_| is_like_before) {
            let cells = row.layout().ids().iter().zip(row.values());
            let values = cells.map(|(id, old)| set.next_if(|(attribute, _)| attribute == id).map_or_else(|| old.clone(), |(_, new)| new));
            return Row::new(since, entity.clone(), row.layout().clone(), values);
        }
        let mut old = before.into_iter().flat_map(Row::cells).peekable();
        let (mut ids, mut values) = (Vec::new(), Vec::new());
        loop {
            let next = match (old.peek(), set.peek()) {
                (None, None) => break,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let before = if next == Ordering::Greater { None } else { old.next() };
            let after = if next == Ordering::Less { None } else { set.next() };
            let cell = after.or_else(|| before.map(|(attribute, value)| (attribute, value.clone())));
            if let Some((attribute, value)) = cell
                && !value.is_blank()
                && kept.is_none_or(|kept| kept(attribute))
            {
                ids.push(attribute);
                values.push(value);
            }
        }
        Row::new(since, entity.clone(), Layout::of(&ids), values.into_iter())
    }
}

/// An entity's cells in the middle of a timestamp.
pub(super) struct View<'a> {
    pub(super) entity: &'a Entity,
    pub(super) touched: &'a Touched,
    pub(super) now: Option<Timestamp>,
}

impl Cells for View<'_> {
    fn cell(&self, attribute: AttributeId) -> Value {
        match self.entity.values.get(attribute) {
            Value::Blank => self.touched.cell(attribute).clone(),
            stored => stored.clone(),
        }
    }

    fn entity(&self) -> Option<&Entity> {
        Some(self.entity)
    }

    fn now(&self) -> Option<Timestamp> {
        self.now
    }
}

impl Held {
    pub(super) fn new(crossing: &Crossing) -> Self {
        match &crossing.summary {
            Summary::Collect(collect) if is_sequence(crossing) => Held::Sequence(Box::new(Sequence::new(collect))),
            Summary::Only => Held::Only(None),
            Summary::Count => Held::Count(0),
            Summary::List | Summary::Collect(_) => Held::List(BTreeMap::new()),
            Summary::Rollup(rollup, argument) => Held::Group(Box::new(Group::new(rollup, argument))),
        }
    }

    /// Something of it that lies elsewhere in memory.
    pub(super) fn look(&self) -> u64 {
        match self {
            Held::Only(_) | Held::Count(_) => 0,
            Held::List(list) => list.len() as u64,
            Held::Group(group) => group.errors() as u64,
            Held::Sequence(sequence) => sequence.look(),
        }
    }

    /// Takes in what a source contributes now, in place of what it did.
    pub(super) fn take_in(&mut self, source: EntityId, old: &Option<Value>, new: &Option<Value>) {
        match self {
            Held::Only(only) => match new {
                Some(value) => *only = Some((source, value.clone())),
                // Another source may have come before this one went.
                None if only.as_ref().is_some_and(|(there, _)| *there == source) => *only = None,
                None => {}
            },
            Held::Count(count) => match (old, new) {
                (None, Some(_)) => *count += 1,
                (Some(_), None) => *count -= 1,
                _ => {}
            },
            Held::List(list) => match new {
                Some(value) => drop(list.insert(source, value.clone())),
                None => drop(list.remove(&source)),
            },
            Held::Group(group) => group.take_in(old, new),
            Held::Sequence(sequence) => sequence.take_in(source, old, new),
        }
    }

    /// The host has other cells than when it made a cell of it.
    pub(super) fn host_changed(&mut self) {
        if let Held::Sequence(sequence) = self {
            sequence.host_changed();
        }
    }

    /// What it makes of the contributions, in the order of the sources' ids, where that does not depend on the host.
    pub(super) fn in_order_of_sources(&mut self) -> Value {
        match self {
            Held::Only(only) => only.as_ref().map_or(Value::Blank, |(_, value)| value.clone()),
            Held::Count(0) => Value::Blank,
            Held::Count(count) => Value::number((*count).into()),
            Held::List(list) => list_of(list.values()),
            Held::Group(group) => group.summary(),
            Held::Sequence(sequence) => sequence.summary(&Value::Blank, &|_| Value::Blank),
        }
    }

    /// The cell that it makes.
    pub(super) fn summary(&mut self, crossing: &CrossingPlan, host: &View<'_>) -> Value {
        match self {
            // A bucket told what there is.
            Held::Only(Some((_, Value::List(all)))) if crossing.crossing.keys.is_some() && crossing.crossing.looks_at_host() => {
                match &crossing.crossing.summary {
                    Summary::Collect(collect) => collect.summary(all.iter(), host),
                    _ => Value::Blank,
                }
            }
            Held::Only(None) if crossing.crossing.keys.is_some() => Held::new(&crossing.crossing).summary(crossing, host),
            Held::Sequence(sequence) => {
                let order = crossing.order().map_or(&Value::Blank, |order| host.entity.values.get(order));
                sequence.summary(order, host)
            }
            Held::List(list) => {
                let values: Vec<&Value> = match crossing.crossing.direction {
                    Direction::Forward(link) => {
                        host.entity.values.get(link).targets().iter().filter_map(|source| list.get(source)).collect()
                    }
                    Direction::Backward(link) => {
                        let mut sources: Vec<(&EntityId, &Value)> = list.iter().collect();
                        host.entity.put_in_order(link, &mut sources, |(source, _)| **source);
                        sources.into_iter().map(|(_, value)| value).collect()
                    }
                    Direction::Reach { .. } | Direction::Match(_) => list.values().collect(),
                };
                if let Summary::Collect(collect) = &crossing.crossing.summary {
                    return collect.summary(values.into_iter(), host);
                }
                list_of(values.into_iter())
            }
            held => held.in_order_of_sources(),
        }
    }
}

/// The stored values that differ, as (attribute, before, after).
pub(super) fn differences<'a>(before: Option<&'a Entity>, after: &'a Entity) -> SmallVec<[(AttributeId, &'a Value, &'a Value); 4]> {
    static BLANK: Value = Value::Blank;
    let mut old = before.into_iter().flat_map(|entity| entity.values.iter()).peekable();
    let mut new = after.values.iter().peekable();
    let mut out = SmallVec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return out,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let a = if order != Ordering::Greater { old.next() } else { None };
        let b = if order != Ordering::Less { new.next() } else { None };
        let attribute = a.or(b).map(|(id, _)| id);
        let (a, b) = (a.map_or(&BLANK, |(_, value)| value), b.map_or(&BLANK, |(_, value)| value));
        if a != b {
            out.extend(attribute.map(|attribute| (attribute, a, b)));
        }
    }
}
