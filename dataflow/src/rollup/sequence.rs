//! Contributions that are looked at one by one, in the order in which they count: by what they are sorted by, and those that
//! are alike in the order that the host gives their sources, or else by their source.
//!
//! A filter that looks at the host is asked about what came since the last time, and about all when the host changed. What
//! is admitted goes into a kernel where the order does not matter; else it is kept in order, so that the first few, or the
//! last, are found without looking at the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use decidr_domain::aggregate::link_order::places;
use decidr_domain::formula::Cells;
use decidr_domain::formula::coerce::truth;
use decidr_domain::id::EntityId;
use decidr_domain::rollup::{each_item, list_of};
use decidr_domain::schema::{Collect, Finish, SortPlace};
use decidr_domain::value::Value;
use rustc_hash::FxHashMap;

use super::{Group, decrement};

/// Where a contribution stands: by what it is sorted by, by the place that the host gives its source, and by its source.
type Standing = (SortPlace, u32, EntityId);

/// A value and its columns.
type Row = Arc<[Value]>;

/// The state of one cell whose contributions stand in an order.
pub(crate) struct Sequence {
    collect: Arc<Collect>,
    order: Order,
    /// What was contributed, by source, where a filter looks at the host.
    asked: Option<Asked>,
    counted: Counted,
    /// Contributions that are errors, and those for which the filter is one.
    errors: BTreeMap<Value, u32>,
}

/// The order that the host gives sources.
#[derive(Default)]
struct Order {
    /// As the host stores it.
    stored: Value,
    places: FxHashMap<EntityId, u32>,
}

impl Order {
    /// Where a contribution of this source stands.
    fn standing(&self, collect: &Collect, source: EntityId, row: &Row) -> Standing {
        (collect.place(row), self.place(source), source)
    }

    fn place(&self, source: EntityId) -> u32 {
        self.places.get(&source).copied().unwrap_or(u32::MAX)
    }
}

/// Contributions of which the host decides whether they count.
#[derive(Default)]
struct Asked {
    all: BTreeMap<EntityId, (Value, Verdict)>,
    /// Those that came since the filter was asked.
    open: BTreeSet<EntityId>,
}

/// What the filter said of a contribution.
enum Verdict {
    /// Nothing yet.
    Open,
    Counts,
    LeftOut,
    Fails(Value),
}

/// What is kept of the contributions that count.
enum Counted {
    /// A kernel: their order does not matter.
    Group(Group),
    /// All, in order.
    InOrder(BTreeMap<Standing, Row>),
    /// The same, and the errors among their values: only the first or the last that is not blank is looked at.
    AtAnEnd { end: End, rows: BTreeMap<Standing, Row>, errors: BTreeMap<Value, u32> },
    /// Where each value stands.
    Distinct { places: BTreeMap<Value, BTreeSet<(Standing, u32)>>, errors: BTreeMap<Value, u32> },
}

#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

impl Counted {
    fn new(collect: &Collect) -> Self {
        match &collect.finish {
            Finish::Rollup(rollup, argument) if collect.limit.is_none() => match rollup.name {
                _ if !rollup.order_matters => Counted::Group(Group::new(rollup, argument)),
                "FIRST" => Counted::AtAnEnd { end: End::First, rows: BTreeMap::new(), errors: BTreeMap::new() },
                "LAST" => Counted::AtAnEnd { end: End::Last, rows: BTreeMap::new(), errors: BTreeMap::new() },
                "UNIQUE" => Counted::Distinct { places: BTreeMap::new(), errors: BTreeMap::new() },
                _ => Counted::InOrder(BTreeMap::new()),
            },
            _ => Counted::InOrder(BTreeMap::new()),
        }
    }

    /// How it is kept, in words for users.
    fn strategy(&self, is_asked: bool, is_limited: bool) -> String {
        let how = match self {
            Counted::Group(group) => group.kept(),
            Counted::AtAnEnd { .. } => "the values in their order, of which one end is looked at",
            Counted::Distinct { .. } => "where each different value stands",
            Counted::InOrder(_) if is_limited => "the values in their order, of which the first are summarised anew",
            Counted::InOrder(_) => "the values in their order, summarised anew",
        };
        if is_asked {
            format!("{how}; of those that pass the filter, which is asked of all anew when the host changes")
        } else {
            how.into()
        }
    }

    fn add(&mut self, collect: &Collect, order: &Order, source: EntityId, row: &Row) {
        match self {
            Counted::Group(group) => group.add(&collect.summarised(row)),
            Counted::InOrder(rows) => drop(rows.insert(order.standing(collect, source, row), row.clone())),
            Counted::AtAnEnd { end, rows, errors } => {
                // What is blank is passed over, however much of it there is.
                if end_of(&row[0], *end).is_some() {
                    rows.insert(order.standing(collect, source, row), row.clone());
                }
                each_item(&row[0], &mut |item| {
                    if item.is_error() {
                        *errors.entry(item.clone()).or_default() += 1;
                    }
                });
            }
            Counted::Distinct { places, errors } => each_placed(order.standing(collect, source, row), row, &mut |item, place| match item {
                Value::Error(_) => *errors.entry(item.clone()).or_default() += 1,
                item if item.is_blank() => {}
                item => drop(places.entry(item.clone()).or_default().insert(place)),
            }),
        }
    }

    fn remove(&mut self, collect: &Collect, order: &Order, source: EntityId, row: &Row) {
        match self {
            Counted::Group(group) => group.remove(&collect.summarised(row)),
            Counted::InOrder(rows) => drop(rows.remove(&order.standing(collect, source, row))),
            Counted::AtAnEnd { rows, errors, .. } => {
                rows.remove(&order.standing(collect, source, row));
                each_item(&row[0], &mut |item| {
                    if item.is_error() {
                        decrement(errors, item);
                    }
                });
            }
            Counted::Distinct { places, errors } => each_placed(order.standing(collect, source, row), row, &mut |item, place| match item {
                Value::Error(_) => decrement(errors, item),
                item if item.is_blank() => {}
                item => {
                    let Some(at) = places.get_mut(item) else { return };
                    at.remove(&place);
                    if at.is_empty() {
                        places.remove(item);
                    }
                }
            }),
        }
    }

    /// Gives all of them the places that the host gives their sources now.
    fn put_in_order(&mut self, order: &Order) {
        let stands = |(sorted, _, source): Standing| (sorted, order.place(source), source);
        match self {
            Counted::Group(_) => {}
            Counted::InOrder(rows) | Counted::AtAnEnd { rows, .. } => {
                *rows = std::mem::take(rows).into_iter().map(|(standing, row)| (stands(standing), row)).collect();
            }
            Counted::Distinct { places, .. } => {
                for at in places.values_mut() {
                    *at = std::mem::take(at).into_iter().map(|(standing, item)| (stands(standing), item)).collect();
                }
            }
        }
    }

    fn summary(&self, collect: &Collect, host: &dyn Cells) -> Value {
        match self {
            Counted::Group(group) => group.summary(),
            Counted::InOrder(rows) => collect.finished(rows.values().map(|row| &**row), host),
            Counted::AtAnEnd { errors, .. } | Counted::Distinct { errors, .. } if !errors.is_empty() => {
                errors.keys().next().cloned().unwrap_or_default()
            }
            Counted::AtAnEnd { end: End::First, rows, .. } => rows.values().find_map(|row| end_of(&row[0], End::First)).unwrap_or_default(),
            Counted::AtAnEnd { end: End::Last, rows, .. } => {
                rows.values().rev().find_map(|row| end_of(&row[0], End::Last)).unwrap_or_default()
            }
            Counted::Distinct { places, .. } => {
                let mut first: Vec<_> = places.iter().filter_map(|(value, at)| Some((at.first()?, value))).collect();
                first.sort_unstable_by_key(|(at, _)| *at);
                list_of(first.into_iter().map(|(_, value)| value))
            }
        }
    }
}

/// Calls `visit` with each item of a row's value and where it stands.
fn each_placed<'a>(standing: Standing, row: &'a Row, visit: &mut impl FnMut(&'a Value, (Standing, u32))) {
    let mut items = 0;
    each_item(&row[0], &mut |item| {
        visit(item, (standing.clone(), items));
        items += 1;
    });
}

/// The first or last item that is not blank.
fn end_of(value: &Value, end: End) -> Option<Value> {
    let mut found = None;
    each_item(value, &mut |item| {
        if !item.is_blank() && (found.is_none() || matches!(end, End::Last)) {
            found = Some(item);
        }
    });
    found.cloned()
}

/// How what this collects is kept where no link of the host's gives the order, in words.
pub(super) fn strategy(collect: &Collect) -> String {
    Counted::new(collect).strategy(collect.filter.is_some(), collect.limit.is_some())
}

impl Sequence {
    pub(crate) fn new(collect: &Arc<Collect>) -> Self {
        Self {
            collect: collect.clone(),
            order: Order::default(),
            asked: collect.filter.as_ref().map(|_| Asked::default()),
            counted: Counted::new(collect),
            errors: BTreeMap::new(),
        }
    }

    /// Something of it that lies elsewhere in memory.
    pub(crate) fn look(&self) -> u64 {
        match &self.counted {
            Counted::Group(group) => group.errors() as u64,
            Counted::InOrder(rows) | Counted::AtAnEnd { rows, .. } => rows.len() as u64,
            Counted::Distinct { places, .. } => places.len() as u64,
        }
    }

    /// Takes in what a source contributes now, in place of what it did.
    pub(crate) fn take_in(&mut self, source: EntityId, old: &Option<Value>, new: &Option<Value>) {
        let Some(asked) = &mut self.asked else {
            old.iter().for_each(|old| self.remove(source, old));
            new.iter().for_each(|new| self.add(source, new));
            return;
        };
        asked.open.remove(&source);
        match asked.all.remove(&source) {
            Some((Value::List(row), Verdict::Counts)) => self.counted.remove(&self.collect, &self.order, source, &row),
            Some((_, Verdict::Fails(error))) => decrement(&mut self.errors, &error),
            _ => {}
        }
        if let Some(new) = new {
            asked.all.insert(source, (new.clone(), Verdict::Open));
            asked.open.insert(source);
        }
    }

    fn add(&mut self, source: EntityId, contribution: &Value) {
        match contribution {
            Value::List(row) => self.counted.add(&self.collect, &self.order, source, row),
            error => *self.errors.entry(error.clone()).or_default() += 1,
        }
    }

    fn remove(&mut self, source: EntityId, contribution: &Value) {
        match contribution {
            Value::List(row) => self.counted.remove(&self.collect, &self.order, source, row),
            error => decrement(&mut self.errors, error),
        }
    }

    /// The host has other cells than when the filter was asked.
    pub(crate) fn host_changed(&mut self) {
        let Some(asked) = &mut self.asked else { return };
        self.counted = Counted::new(&self.collect);
        self.errors.clear();
        asked.all.values_mut().for_each(|(_, verdict)| *verdict = Verdict::Open);
        asked.open = asked.all.keys().copied().collect();
    }

    /// Takes in the order that the host gives sources now. Where none matters it costs nothing.
    fn put_in_order(&mut self, order: &Value) {
        let is_same = match (&self.order.stored, order) {
            (Value::List(one), Value::List(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_blank() && other.is_blank(),
        };
        if is_same || matches!(self.counted, Counted::Group(_)) {
            return;
        }
        self.order = Order { stored: order.clone(), places: places(order) };
        self.counted.put_in_order(&self.order);
    }

    /// The cell that it makes, of a host with these cells, which stores this order of sources.
    pub(crate) fn summary(&mut self, order: &Value, host: &dyn Cells) -> Value {
        self.put_in_order(order);
        if let Some(asked) = &mut self.asked {
            for source in std::mem::take(&mut asked.open) {
                let Some((contribution, verdict)) = asked.all.get_mut(&source) else { continue };
                *verdict = match contribution {
                    Value::List(row) => match self.collect.admits(row, host) {
                        error @ Value::Error(_) => Verdict::Fails(error),
                        value if truth(&value) => {
                            self.counted.add(&self.collect, &self.order, source, row);
                            Verdict::Counts
                        }
                        _ => Verdict::LeftOut,
                    },
                    error => Verdict::Fails(error.clone()),
                };
                if let Verdict::Fails(error) = verdict {
                    *self.errors.entry(error.clone()).or_default() += 1;
                }
            }
        }
        self.errors.keys().next().cloned().unwrap_or_else(|| self.counted.summary(&self.collect, host))
    }
}

#[cfg(test)]
mod tests {
    use decidr_domain::rollup::{Argument, ROLLUPS};
    use decidr_domain::schema::SortColumn;
    use decidr_domain::value::ErrorKind;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let item = || {
            prop_oneof![
                2 => Just(Value::Blank),
                6 => (-3i64..4).prop_map(Value::from),
                1 => "[ab]?".prop_map(|text: String| Value::Text(text.into())),
            ]
        };
        prop_oneof![
            12 => item(),
            2 => prop::collection::vec(item(), 0..3).prop_map(Value::list),
            1 => Just(Value::error(ErrorKind::Div0, "there")),
        ]
    }

    /// What a source contributes: a row of a value and two columns, or an error, or nothing.
    fn contribution() -> impl Strategy<Value = Option<Value>> {
        let row = (value(), value(), value()).prop_map(|(value, one, other)| Some(Value::List([value, one, other].into())));
        prop_oneof![12 => row, 4 => Just(None), 1 => Just(Some(Value::error(ErrorKind::Type, "of the filter")))]
    }

    proptest! {
        #[test]
        fn it_is_what_all_contributions_make(
            finish in 0..ROLLUPS.len() + 1,
            sort in prop::collection::vec((0usize..2, any::<bool>()), 0..3),
            limit in prop::option::of(1usize..5),
            steps in prop::collection::vec((0u128..12, contribution(), prop::option::weighted(0.2, prop::collection::vec(0u128..12, 0..6))), 1..60),
        ) {
            let finish = ROLLUPS.get(finish).map_or(Finish::List, |rollup| {
                let argument = match rollup.argument {
                    Argument::None | Argument::Separator => Value::Blank,
                    Argument::Share => Value::from(1),
                    Argument::Count => Value::from(2),
                };
                Finish::Rollup(rollup, argument)
            });
            let sort = sort.into_iter().map(|(column, descending)| SortColumn { column, descending, options: Vec::new() }).collect();
            let collect = Arc::new(Collect { columns: Vec::new(), filter: None, sort, limit, finish });
            let mut sequence = Sequence::new(&collect);
            let mut all: BTreeMap<EntityId, Value> = BTreeMap::new();
            let (mut order, host) = (Vec::new(), |_| Value::Blank);
            let mut stored = Value::Blank;
            for (source, new, reordered) in steps {
                if let Some(mut reordered) = reordered {
                    let mut seen = BTreeSet::new();
                    reordered.retain(|source| seen.insert(*source));
                    order = reordered.into_iter().map(|source| EntityId(Uuid::from_u128(source))).collect();
                    stored = Value::list(order.iter().map(|source| Value::Link(*source)));
                }
                let source = EntityId(Uuid::from_u128(source));
                let old = match &new {
                    Some(new) => all.insert(source, new.clone()),
                    None => all.remove(&source),
                };
                sequence.take_in(source, &old, &new);
                let others = all.keys().filter(|source| !order.contains(source));
                let in_order: Vec<&Value> = order.iter().chain(others).filter_map(|source| all.get(source)).collect();
                prop_assert_eq!(sequence.summary(&stored, &host), collect.summary(in_order.into_iter(), &host));
            }
        }
    }
}
