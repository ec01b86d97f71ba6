//! The first entities of an order, kept up to date.
//!
//! A window keeps somewhat more than it shows: all entities up to a bound in the order, and none behind it. A change behind
//! the bound is passed over; one before it costs a search. Only when so many left that there are too few is the collection
//! looked at again. The rest of the collection is not kept, however large it is.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use decidr_domain::delta::Row;
use decidr_domain::formula::Program;
use decidr_domain::id::{CollectionId, EntityId};
use decidr_domain::value::Value;
use decidr_sinks::live;
use rustc_hash::FxHashMap;

use super::changes::{Op, OpKind};
use super::listener::{Beginning, Listener};
use super::maintained::Maintained;
use super::page::{Direction, OrderBy, checked_order};
use super::reading::Reading;
use super::{Refusal, ScanBudget, TenantView};

/// How many entities more than it shows a window keeps at least when it is filled.
const SPARE: usize = 100;

/// A value to sort by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Ascending(Value),
    Descending(Reverse<Value>),
}

/// Where an entity is in the order; those alike in all keys are ordered by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    keys: Vec<Key>,
    id: EntityId,
}

/// One step from what was shown to what is. Places count from 0, in the list as the steps before left it.
#[derive(Clone, Debug)]
enum Step {
    /// It comes in at this place, or comes back in at another.
    Insert(usize, EntityId, Row),
    /// It is there and otherwise than before.
    Update(usize, EntityId, Row),
    /// It goes from this place, for good or to another.
    Delete(usize, EntityId),
}

impl Step {
    fn op(self, view: &TenantView) -> Op {
        match self {
            Step::Insert(index, id, row) => Op::new(view, OpKind::Insert, id, Some(index), Some(row)),
            Step::Update(index, id, row) => Op::new(view, OpKind::Update, id, Some(index), Some(row)),
            Step::Delete(index, id) => Op::new(view, OpKind::Delete, id, Some(index), None),
        }
    }
}

/// The first entities of an order.
pub(super) struct Window {
    order: Vec<(Reading, Direction)>,
    first: usize,
    rows: BTreeMap<Place, Row>,
    places: FxHashMap<EntityId, Place>,
    /// Up to where in the order all entities are in `rows`; nothing if all are there.
    bound: Option<Place>,
    shown: Vec<(EntityId, Row)>,
    /// Whether of all that is shown other cells may be.
    may_show_others: bool,
}

impl Window {
    /// Nothing is known yet.
    pub(super) fn new(view: &TenantView, collection: CollectionId, order_by: &[OrderBy], first: usize) -> Result<Self, Refusal> {
        let order = checked_order(view, collection, order_by)?;
        Ok(Self {
            order,
            first,
            rows: BTreeMap::new(),
            places: FxHashMap::default(),
            bound: None,
            shown: Vec::new(),
            may_show_others: false,
        })
    }

    fn place(&self, row: &Row) -> Place {
        let key = |(reading, direction): &(Reading, Direction)| match direction {
            Direction::Asc => Key::Ascending(reading.place(row)),
            Direction::Desc => Key::Descending(Reverse(reading.place(row))),
        };
        Place { keys: self.order.iter().map(key).collect(), id: row.entity.id }
    }

    /// Looks at the collection, or at what of it may match. Nothing was shown before a first time.
    fn fill(&mut self, view: &TenantView, collection: CollectionId, filter: Option<&Program>) -> Result<(), Refusal> {
        self.clear();
        let mut affordable = true;
        let selection = view.select(collection, filter);
        view.arranged.scan_selected(collection, &selection, None, |row| {
            affordable = view.budget.take();
            if affordable && view.matches_by_clock(row, filter) {
                self.put(row);
            }
            affordable
        });
        if affordable { Ok(()) } else { Err(ScanBudget::exhausted()) }
    }

    /// Looks at all rows of a result that somebody else keeps.
    pub(super) fn fill_from<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) {
        self.clear();
        rows.for_each(|row| self.put(row));
    }

    /// Whatever is shown is told again: other cells of the same rows may be shown.
    pub(super) fn tell_all(&mut self) {
        self.may_show_others = true;
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.places.clear();
        self.bound = None;
    }

    /// Takes in a row that is in the result, if it is not behind the bound.
    fn put(&mut self, row: &Row) {
        let place = self.place(row);
        if self.bound.as_ref().is_some_and(|bound| place > *bound) {
            return;
        }
        self.places.insert(row.entity.id, place.clone());
        self.rows.insert(place, row.clone());
        let most = 2 * self.first + 2 * SPARE;
        if self.rows.len() > most {
            // Half of what is spare goes at once, so that not each that comes makes one go.
            while self.rows.len() > self.first + SPARE
                && let Some((place, _)) = self.rows.pop_last()
            {
                self.places.remove(&place.id);
            }
            self.bound = self.rows.last_key_value().map(|(place, _)| place.clone());
        }
    }

    /// Takes in changes. Afterwards it may have to be filled anew: [`Window::is_short`].
    pub(super) fn take_in<'a>(&mut self, changes: impl IntoIterator<Item = (EntityId, Option<&'a Row>)>) {
        for (id, row) in changes {
            if let Some(place) = self.places.remove(&id) {
                self.rows.remove(&place);
            }
            if let Some(row) = row {
                self.put(row);
            }
        }
    }

    /// Whether there may be entities that must be shown and are not known.
    pub(super) fn is_short(&self) -> bool {
        self.bound.is_some() && self.rows.len() < self.first
    }

    /// Whether what it sorts by is read as it was, and from now on as it is; an error if some of it is gone.
    pub(super) fn is_of(&mut self, view: &TenantView) -> Result<bool, Refusal> {
        let mut same = true;
        for (reading, _) in &mut self.order {
            let newest = reading.renewed(&view.schema)?;
            same &= newest == *reading;
            *reading = newest;
        }
        Ok(same)
    }

    /// The steps from what was shown last to what there is now.
    fn steps(&mut self) -> Vec<Step> {
        let next: Vec<_> = self.rows.values().take(self.first).map(|row| (row.entity.id, row.clone())).collect();
        let steps = steps(&self.shown, &next, std::mem::take(&mut self.may_show_others));
        self.shown = next;
        steps
    }

    /// The same as subscribers are told.
    pub(super) fn ops(&mut self, view: &TenantView) -> Vec<Op> {
        self.steps().into_iter().map(|step| step.op(view)).collect()
    }
}

impl Maintained for Window {
    type Op = Op;

    fn begin(&mut self, listener: &Listener, beginning: &Beginning) -> Result<Vec<Op>, Refusal> {
        self.shown.clear();
        self.is_of(&beginning.view)?;
        self.fill(&beginning.view, listener.collection(), beginning.filter.as_ref())?;
        Ok(self.ops(&beginning.view))
    }

    fn change(&mut self, listener: &mut Listener, view: &TenantView, changes: &live::Changes) -> Result<Vec<Op>, Refusal> {
        let mut view = view.clone();
        let same = self.is_of(&view)?;
        if same {
            self.take_in(changes.ops.iter().map(|op| (op.id, op.row.as_ref())));
        }
        if !same || self.is_short() {
            let filter;
            (view, filter) = listener.newest()?;
            self.is_of(&view)?;
            self.fill(&view, listener.collection(), filter.as_ref())?;
        }
        Ok(self.ops(&view))
    }
}

/// As few steps as lead from one list to the other.
fn steps(before: &[(EntityId, Row)], after: &[(EntityId, Row)], may_show_others: bool) -> Vec<Step> {
    let old_places: FxHashMap<EntityId, usize> = before.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect();
    // Those that need not move: the longest run of them that is in the same order before and after (patience sorting).
    let mut piles: Vec<(usize, usize)> = Vec::new();
    let mut below: Vec<Option<usize>> = vec![None; after.len()];
    for (new, (id, _)) in after.iter().enumerate() {
        let Some(old) = old_places.get(id) else { continue };
        let pile = piles.partition_point(|(top, _)| top < old);
        below[new] = pile.checked_sub(1).map(|pile| piles[pile].1);
        match piles.get_mut(pile) {
            Some(top) => *top = (*old, new),
            None => piles.push((*old, new)),
        }
    }
    let (mut stays, mut last) = (vec![false; before.len()], piles.last().map(|(_, new)| *new));
    while let Some(new) = last {
        stays[old_places[&after[new].0]] = true;
        last = below[new];
    }
    let mut steps = Vec::new();
    for (place, (id, _)) in before.iter().enumerate().rev() {
        if !stays[place] {
            steps.push(Step::Delete(place, *id));
        }
    }
    for (place, (id, row)) in after.iter().enumerate() {
        match old_places.get(id).filter(|old| stays[**old]) {
            None => steps.push(Step::Insert(place, *id, row.clone())),
            Some(old) if may_show_others || !before[*old].1.is_copy_of(row) => steps.push(Step::Update(place, *id, row.clone())),
            Some(_) => {}
        }
    }
    steps
}
