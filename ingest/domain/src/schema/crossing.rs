//! How a cell of one entity comes from cells of others.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::aggregate::choice::{Choice, place_among};
use crate::formula::coerce::{equal, text, truth};
use crate::formula::{Cells, Equality, Program, ValueKey};
use crate::id::{AttributeId, CollectionId, EntityId};
use crate::rollup::{Rollup, each_item, list_of};
use crate::value::{ErrorKind, Value};

/// How a cell of one entity, the *host*, comes from cells of others, the *sources*.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossing {
    /// The link, and which end of it the host is.
    pub direction: Direction,
    /// The collection of the sources.
    pub source: CollectionId,
    /// Of a match, what of hosts must equal what of sources.
    pub keys: Option<Arc<MatchKeys>>,
    /// The attribute whose cells the sources contribute; without one, their mere presence.
    pub value: Option<AttributeId>,
    /// Whether the value is a range of days, each of which is one value, its text.
    pub is_of_ranges: bool,
    /// Only sources for which this is true contribute.
    pub filter: Option<Program>,
    /// What the host makes of the contributions.
    pub summary: Summary,
}

impl Crossing {
    /// About how many steps its formulas take.
    pub(crate) fn work(&self) -> u64 {
        let of_summary = match &self.summary {
            Summary::Collect(collect) => {
                let finish = if let Finish::Formula(program) = &collect.finish { program.work_over_values() } else { 0 };
                finish.saturating_add(collect.filter.as_ref().map_or(0, Program::work))
            }
            _ => 0,
        };
        of_summary.saturating_add(self.filter.as_ref().map_or(0, Program::work))
    }
}

/// Which end of a link the host of a crossing is. Both name the link's own attribute, never the backlink's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The host holds the link; sources are its targets.
    Forward(AttributeId),
    /// The sources hold the link; the host is their target.
    Backward(AttributeId),
    /// Sources are all that the steps of a self-link lead to, directly or through others; the host is not among them.
    Reach {
        /// The attribute that shows them.
        closure: AttributeId,
        /// The link.
        link: AttributeId,
        /// Whether a step leads from a target to the holders of the link.
        is_backward: bool,
    },
    /// Sources are the entities whose keys equal the host's. It names the attribute that shows them.
    Match(AttributeId),
}

/// What joins hosts and sources where no link does: attributes of the one, and of the other in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchKeys {
    /// The hosts' attributes.
    pub host: Vec<AttributeId>,
    /// The sources' attributes.
    pub source: Vec<AttributeId>,
}

impl MatchKeys {
    /// By which key a host with these cells matches; none if one of them is blank, an error or a list: these equal nothing.
    pub fn of_host(&self, cells: &dyn Cells) -> Option<Value> {
        Self::key(&self.host, cells)
    }

    /// By which key a source with these cells matches.
    pub fn of_source(&self, cells: &dyn Cells) -> Option<Value> {
        Self::key(&self.source, cells)
    }

    /// What the sources' cells equal that match a host with these cells, if it has a key.
    pub fn required_by(&self, host: &dyn Cells) -> Vec<Equality> {
        let required = |(host_cell, cell): (&AttributeId, &AttributeId)| {
            Some(Equality { cell: *cell, keys: vec![ValueKey::of(&host.cell(*host_cell))?] })
        };
        self.host.iter().zip(&self.source).filter_map(required).collect()
    }

    fn key(attributes: &[AttributeId], cells: &dyn Cells) -> Option<Value> {
        let key = |attribute: &AttributeId| match cells.cell(*attribute) {
            Value::List(_) | Value::Links(_) | Value::Error(_) => None,
            value if equal(&value, &Value::Blank) => None,
            value => Some(value),
        };
        match attributes {
            [one] => key(one),
            several => several.iter().map(key).collect::<Option<Arc<[Value]>>>().map(Value::List),
        }
    }
}

impl Direction {
    /// What hosts and sources are joined by: the link, the closure or the match.
    pub fn link(self) -> AttributeId {
        match self {
            Direction::Forward(link) | Direction::Backward(link) | Direction::Reach { closure: link, .. } | Direction::Match(link) => link,
        }
    }

    /// One step of it: of a closure that of its link.
    pub fn step(self) -> Direction {
        match self {
            Direction::Reach { link, is_backward: false, .. } => Direction::Forward(link),
            Direction::Reach { link, is_backward: true, .. } => Direction::Backward(link),
            other => other,
        }
    }
}

/// What a host makes of the contributions of its sources.
#[derive(Clone, Debug, PartialEq)]
pub enum Summary {
    /// The one contribution there is, through a single link.
    Only,
    /// How many contributions there are, blank if there are none: the cell of a link that may lead to many.
    Count,
    /// The list of contributions, in the order of the link; through a backlink in the order of the sources' ids.
    List,
    /// A rollup of the contributions, whatever their order.
    Rollup(&'static Rollup, Value),
    /// What depends on the order of the contributions, on how many there are, or on the host's own cells.
    Collect(Arc<Collect>),
}

/// One of the things by which contributions are sorted.
#[derive(Clone, Debug, PartialEq)]
pub struct SortColumn {
    /// Which of the columns.
    pub column: usize,
    /// Whether the largest comes first.
    pub descending: bool,
    /// The options in their order, if it is a select.
    pub options: Vec<Choice>,
}

/// What is made of contributions that are looked at one by one. A contribution is a [`Value::List`] of the value and of
/// the columns, blanks included.
#[derive(Clone, Debug, PartialEq)]
pub struct Collect {
    /// The sources' attributes that are contributed beside the value.
    pub columns: Vec<AttributeId>,
    /// Only contributions for which this is true count; it may refer to the host's cells too.
    pub filter: Option<Program>,
    /// What they are sorted by; else they keep the link's order.
    pub sort: Vec<SortColumn>,
    /// How many count, at most.
    pub limit: Option<usize>,
    /// What is made of those that count.
    pub finish: Finish,
}

/// What is made of the values that count.
#[derive(Clone, Debug, PartialEq)]
pub enum Finish {
    /// Their list.
    List,
    /// The one that there is at most.
    Only,
    /// A rollup; of the value and the first column, if it is a weighted one.
    Rollup(&'static Rollup, Value),
    /// A formula in which they go by the name `values`.
    Formula(Program),
}

/// What the cells of entities hold that depend on themselves: these entities, in the order of their ids, are the way round.
pub fn cycle_error(entities: &[EntityId]) -> Value {
    const NAMED_MAX: usize = 10;
    let mut named: Vec<_> = entities.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if entities.len() > NAMED_MAX {
        named.push(format!("and {} more", entities.len() - NAMED_MAX));
    }
    Value::error(ErrorKind::Cycle, format!("these entities depend on one another: {}", named.join(", ")))
}

/// How many entities may be reached from one by a closure, or one be reached from, so that all its pairs can be told. A host is
/// too deep if it reaches more than that, and some of these are reached from more than that: its cells hold the error
/// [`depth_error`].
pub const REACH_MAX: usize = 1_000;

/// What cells through a closure hold where a host is too deep.
pub fn depth_error() -> Value {
    let message = format!("more than {REACH_MAX} entities are reached here, some of them from more than {REACH_MAX} others");
    Value::error(ErrorKind::Limit, message)
}

impl Crossing {
    /// The same with other ids of cells; links keep theirs.
    pub fn with_cells(&self, cells: &dyn Fn(AttributeId) -> AttributeId) -> Self {
        let all = |ids: &[AttributeId]| ids.iter().map(|id| cells(*id)).collect();
        Self {
            keys: self.keys.as_ref().map(|keys| Arc::new(MatchKeys { host: all(&keys.host), source: all(&keys.source) })),
            value: self.value.map(cells),
            filter: self.filter.as_ref().map(|filter| filter.with_cells(cells)),
            summary: match &self.summary {
                Summary::Collect(collect) => Summary::Collect(Arc::new(Collect {
                    columns: collect.columns.iter().map(|column| cells(*column)).collect(),
                    filter: collect.filter.as_ref().map(|filter| filter.with_cells(cells)),
                    finish: match &collect.finish {
                        Finish::Formula(program) => Finish::Formula(program.with_cells(cells)),
                        other => other.clone(),
                    },
                    ..(**collect).clone()
                })),
                other => other.clone(),
            },
            ..self.clone()
        }
    }

    /// Whether what is made of contributions depends on the host's own cells.
    pub fn looks_at_host(&self) -> bool {
        let Summary::Collect(collect) = &self.summary else { return false };
        collect.filter.is_some() || matches!(&collect.finish, Finish::Formula(program) if !program.references.is_empty())
    }

    /// Whether what a source contributes depends on what time it is.
    pub fn is_timed(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.is_timed)
    }

    /// A source's cell as it is contributed.
    pub fn contributed(&self, cell: Value) -> Value {
        if self.is_of_ranges { range_as_text(cell) } else { cell }
    }

    /// What a source with these cells contributes; `None` if the filter leaves it out. An error of the filter is the
    /// contribution, for whether the source counts is not known then.
    pub fn contribution(&self, cells: &dyn Cells) -> Option<Value> {
        if let Some(filter) = &self.filter {
            match filter.evaluate(cells) {
                error @ Value::Error(_) => return Some(error),
                value if !truth(&value) => return None,
                _ => {}
            }
        }
        // Without an attribute only its presence counts.
        let value = self.value.map_or(Value::Bool(true), |attribute| self.contributed(cells.cell(attribute)));
        Some(match &self.summary {
            Summary::Collect(collect) => {
                let columns = collect.columns.iter().map(|column| cells.cell(*column));
                Value::List(std::iter::once(value).chain(columns).collect())
            }
            _ => value,
        })
    }
}

/// A range of days as one value: its text.
pub fn range_as_text(cell: Value) -> Value {
    match &cell {
        Value::List(days) if days.len() == 2 => Value::Text(ecow::eco_format!("{}/{}", text(&days[0]), text(&days[1]))),
        _ => cell,
    }
}

/// The cells that a filter over a contribution sees.
struct Columns<'a> {
    columns: &'a [AttributeId],
    values: &'a [Value],
    host: &'a dyn Cells,
}

impl Cells for Columns<'_> {
    fn cell(&self, attribute: AttributeId) -> Value {
        let place = self.columns.iter().position(|column| *column == attribute);
        place.and_then(|place| self.values.get(place)).cloned().unwrap_or_default()
    }

    fn host_cell(&self, attribute: AttributeId) -> Value {
        self.host.cell(attribute)
    }
}

/// What a formula makes of contributed values, which go by the name `values` in it, for a host with these cells.
pub fn over_values<'a>(program: &Program, contributed: impl Iterator<Item = &'a Value>, host: &dyn Cells) -> Value {
    let mut values = Vec::new();
    // Blanks are among them, so that they can be counted.
    contributed.for_each(|value| each_item(value, &mut |item| values.push(item.clone())));
    program.evaluate_with(host, vec![Value::List(values.into())])
}

/// By what a contribution is sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortPlace(Arc<[PlaceIn]>);

/// By what it is sorted in one column.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PlaceIn {
    /// None if it is blank.
    value: Option<Value>,
    descending: bool,
}

impl Ord for PlaceIn {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.value, &other.value) {
            // Whichever way they are sorted, blanks come last.
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) if self.descending => b.cmp(a),
            (Some(a), Some(b)) => a.cmp(b),
        }
    }
}

impl PartialOrd for PlaceIn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Collect {
    /// What these contributions make, in the order of the link, for a host with these cells.
    pub fn summary<'a>(&self, contributions: impl Iterator<Item = &'a Value>, host: &dyn Cells) -> Value {
        let mut rows: Vec<&[Value]> = Vec::new();
        let mut errors: Vec<Value> = Vec::new();
        for contribution in contributions {
            let Value::List(row) = contribution else {
                errors.push(contribution.clone());
                continue;
            };
            match self.admits(row, host) {
                error @ Value::Error(_) => errors.push(error),
                value if truth(&value) => rows.push(row),
                _ => {}
            }
        }
        if let Some(error) = errors.into_iter().min() {
            return error;
        }
        if !self.sort.is_empty() {
            // Stable: those that are alike keep the link's order.
            rows.sort_by_cached_key(|row| self.place(row));
        }
        self.finished(rows.into_iter(), host)
    }

    /// Whether a contribution counts for a host with these cells, as the filter says it.
    pub fn admits(&self, row: &[Value], host: &dyn Cells) -> Value {
        let columns = row.get(1..).unwrap_or_default();
        self.filter.as_ref().map_or(Value::Bool(true), |filter| filter.evaluate(&Columns { columns: &self.columns, values: columns, host }))
    }

    /// Where a contribution stands among others.
    pub fn place(&self, row: &[Value]) -> SortPlace {
        let place = |SortColumn { column, descending, options }: &SortColumn| {
            let value = row.get(column + 1).filter(|value| !equal(value, &Value::Blank));
            PlaceIn { value: value.map(|value| place_among(options, value).into_owned()), descending: *descending }
        };
        SortPlace(self.sort.iter().map(place).collect())
    }

    /// What a contribution gives to a rollup: the value, or the value and its weight.
    pub fn summarised(&self, row: &[Value]) -> Value {
        match &self.finish {
            Finish::Rollup(rollup, _) if rollup.is_weighted() => Value::List(row[..2.min(row.len())].into()),
            _ => row.first().cloned().unwrap_or_default(),
        }
    }

    /// What is made of contributions that count, in the order in which they stand, for a host with these cells.
    pub fn finished<'a>(&self, rows: impl Iterator<Item = &'a [Value]>, host: &dyn Cells) -> Value {
        let rows = rows.take(self.limit.unwrap_or(usize::MAX));
        match &self.finish {
            Finish::List => list_of(rows.filter_map(|row| row.first())),
            Finish::Only => rows.last().and_then(|row| row.first()).cloned().unwrap_or_default(),
            Finish::Rollup(rollup, argument) => {
                let values: Vec<_> = rows.map(|row| self.summarised(row)).collect();
                rollup.summary(&values, argument)
            }
            Finish::Formula(program) => over_values(program, rows.filter_map(|row| row.first()), host),
        }
    }
}
