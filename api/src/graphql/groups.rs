//! Groups of entities with summaries: what a table shows above and below its rows.

use std::collections::BTreeMap;

use async_graphql::{InputObject, SimpleObject};
use decidr_domain::delta::Row;
use decidr_domain::formula::{Program, Type};
use decidr_domain::id::CollectionId;
use decidr_domain::rollup::Rollup;
use decidr_domain::schema::{over_values, range_as_text, resolve, takes_ranges};
use decidr_domain::value::Value;

use super::definition::{RollupFunction, argument};
use super::explain::Cell;
use super::page::{Direction, OrderBy};
use super::reading::Reading;
use super::scalars::{PositionToken, json};
use super::{Refusal, ScanBudget, TenantView};

/// How deep groups lie in groups, how many there may be in all, and how many summaries each has.
const LEVELS_MAX: usize = 3;
pub(super) const GROUPS_MAX: usize = 10_000;
const SUMMARIES_MAX: usize = 20;

/// A summary of an attribute over the entities of a group. COUNTALL needs no attribute.
#[derive(InputObject)]
pub(crate) struct SummaryInput {
    attribute: Option<String>,
    function: RollupFunction,
    /// For PERCENTILE, from 0 to 1.
    share: Option<f64>,
    /// For TOP.
    count: Option<i32>,
    /// For JOIN; a comma and a space if it is left out.
    separator: Option<String>,
    /// For WEIGHTED_AVERAGE: the key of the attribute to weigh by.
    weight: Option<String>,
    /// For FORMULA: a formula in which the values go by the name `values`, in the order of the entities' ids.
    expression: Option<String>,
}

/// The entities of a collection, in groups.
#[derive(SimpleObject)]
pub(crate) struct Groups {
    /// How many entities there are in all.
    count: i64,
    /// The summaries over all of them, in the order in which they were asked for.
    summaries: Vec<Cell>,
    groups: Vec<Group>,
    position: PositionToken,
}

/// The entities that are alike in what they are grouped by.
#[derive(SimpleObject)]
pub(crate) struct Group {
    /// What they have in common.
    key: Cell,
    /// How many there are.
    count: i64,
    /// The summaries over them, in the order in which they were asked for.
    summaries: Vec<Cell>,
    /// The groups in it, by the next attribute.
    groups: Vec<Group>,
}

/// A summary, checked.
pub(super) struct Summary {
    pub(super) rollup: &'static Rollup,
    /// What it reads of each entity, if that matters.
    pub(super) reading: Option<Reading>,
    /// By what that is weighed.
    weight: Option<Reading>,
    pub(super) argument: Value,
    /// In place of what the rollup does.
    formula: Option<Program>,
    /// Whether each cell is a range of days that counts as one value.
    is_of_ranges: bool,
}

impl Summary {
    /// What it takes of an entity.
    pub(super) fn value(&self, row: &Row) -> Value {
        let value = match self.reading.as_ref().map_or(Value::Bool(true), |reading| reading.value(row)) {
            // Each of those that a link leads to is a value.
            Value::Links(ids) => Value::list(ids.iter().map(|id| Value::Link(*id))),
            range if self.is_of_ranges => range_as_text(range),
            value => value,
        };
        match &self.weight {
            Some(weight) => Value::List([value, weight.value(row)].into()),
            None => value,
        }
    }

    /// What it makes of what it took of entities.
    pub(super) fn summary(&self, values: &[Value]) -> Value {
        match &self.formula {
            Some(formula) => over_values(formula, values.iter(), &|_| Value::Blank),
            None => self.rollup.summary(values, &self.argument),
        }
    }

    /// How it reads entities.
    pub(super) fn readings(&mut self) -> impl Iterator<Item = &mut Reading> {
        self.reading.iter_mut().chain(&mut self.weight)
    }
}

/// How the attributes of these keys are read, to group by them.
pub(super) fn checked_levels(view: &TenantView, collection: CollectionId, keys: &[String]) -> Result<Vec<Reading>, Refusal> {
    let schema = view.schema.collection(collection).ok_or_else(|| Refusal::new("NOT_FOUND", format!("no collection `{collection}`")))?;
    if keys.len() > LEVELS_MAX {
        return Err(Refusal::new("TOO_LARGE", format!("groupBy takes {LEVELS_MAX} attributes at most")));
    }
    keys.iter().map(|key| view.reading(schema.attribute_or_refuse(key)?.id)).collect()
}

/// Summaries of entities of a collection.
pub(super) fn checked_summaries(view: &TenantView, collection: CollectionId, inputs: Vec<SummaryInput>) -> Result<Vec<Summary>, Refusal> {
    let schema = view.schema.collection(collection).ok_or_else(|| Refusal::new("NOT_FOUND", format!("no collection `{collection}`")))?;
    if inputs.len() > SUMMARIES_MAX {
        return Err(Refusal::new("TOO_LARGE", format!("there are {SUMMARIES_MAX} summaries at most")));
    }
    let summary = |input: SummaryInput| {
        let rollup = input.function.rollup()?;
        let argument = argument(input.share, input.count, input.separator)?;
        rollup.argument.check(&argument).map_err(|wants| Refusal::new("INVALID_INPUT", format!("{rollup:?} {wants}")))?;
        let attribute = match (&input.attribute, rollup.of_attribute) {
            (Some(key), true) => Some(schema.attribute_or_refuse(key)?),
            (None, true) => return Err(Refusal::new("INVALID_INPUT", format!("{rollup:?} needs an attribute to summarise"))),
            (_, false) => None,
        };
        let is_of_ranges =
            input.expression.is_none() && attribute.is_some_and(|attribute| takes_ranges(&view.schema, attribute.id, rollup));
        let read = attribute.and_then(|attribute| {
            let analyzed = view.schema.shown_analyzed(attribute.id)?;
            Some(if is_of_ranges { Type::Text } else { Reading::type_of(attribute, &analyzed.ty) })
        });
        if let Some(read) = &read {
            let wants = |wanted| Refusal::new("FORMULA_TYPE", format!("{rollup:?} wants {wanted}, and this is {read}"));
            (rollup.result)(read).map_err(wants)?;
        }
        attribute.map_or(Ok(()), |attribute| resolve::summarises(&view.schema, rollup, attribute.id))?;
        resolve::summary_parts(rollup, input.weight.is_some(), input.expression.is_some())?;
        let weight = input.weight.as_ref().map(|key| view.reading(schema.attribute_or_refuse(key)?.id)).transpose()?;
        let item = read.map_or(Type::Any, |read| read.item().clone());
        let formula = input.expression.as_ref().map(|text| resolve::summary_formula(text, item)).transpose()?;
        let reading = attribute.map(|attribute| view.reading(attribute.id)).transpose()?;
        Ok(Summary { rollup, reading, weight, argument, formula, is_of_ranges })
    };
    inputs.into_iter().map(summary).collect()
}

/// The entities that pass the filter, in groups by these attributes, one in the other.
pub(crate) fn groups(
    view: &TenantView,
    collection: CollectionId,
    filter: Option<&str>,
    group_by: &[OrderBy],
    summaries: Vec<SummaryInput>,
) -> Result<Groups, Refusal> {
    let filter = filter.map(|filter| view.filter(collection, filter)).transpose()?;
    let filter = filter.map(|(_, program)| view.schema.shown_program(program));
    let mut grouping = Grouping::new(view, collection, group_by, summaries)?;
    let mut trouble = None;
    let selection = view.select(collection, filter.as_ref());
    view.arranged.scan_selected(collection, &selection, None, |row| {
        if !view.budget.take() {
            trouble = Some(ScanBudget::exhausted());
        } else if view.matches(row, filter.as_ref()) {
            trouble = grouping.take_in(row).err();
        }
        trouble.is_none()
    });
    match trouble {
        Some(trouble) => Err(trouble),
        None => Ok(grouping.groups(view)),
    }
}

/// Entities on their way into groups.
pub(super) struct Grouping {
    levels: Vec<(Reading, Direction)>,
    summaries: Vec<Summary>,
    alike: BTreeMap<Vec<Value>, Vec<Row>>,
}

impl Grouping {
    pub(super) fn new(
        view: &TenantView,
        collection: CollectionId,
        group_by: &[OrderBy],
        summaries: Vec<SummaryInput>,
    ) -> Result<Self, Refusal> {
        let keys: Vec<String> = group_by.iter().map(|order| order.attribute.clone()).collect();
        let keys = checked_levels(view, collection, &keys)?;
        let levels = keys.into_iter().zip(group_by.iter().map(|order| order.direction)).collect();
        Ok(Self { levels, summaries: checked_summaries(view, collection, summaries)?, alike: BTreeMap::new() })
    }

    pub(super) fn take_in(&mut self, row: &Row) -> Result<(), Refusal> {
        let key: Vec<_> = self.levels.iter().map(|(reading, _)| reading.group(row)).collect();
        self.alike.entry(key).or_default().push(row.clone());
        if self.alike.len() > GROUPS_MAX {
            let message = format!("there are more than {GROUPS_MAX} groups; group by something else, or filter");
            return Err(Refusal::new("TOO_LARGE", message));
        }
        Ok(())
    }

    pub(super) fn groups(self, view: &TenantView) -> Groups {
        let Self { levels, summaries, alike } = self;
        let directions: Vec<_> = levels.iter().map(|(_, direction)| *direction).collect();
        let mut alike: Vec<_> = alike.into_iter().collect();
        if levels.iter().any(|(reading, _)| reading.has_own_order()) {
            let places = |(keys, _): &(Vec<Value>, _)| -> Vec<(Value, Value)> {
                levels.iter().zip(keys).map(|((reading, _), key)| (reading.place_of(key.clone()), key.clone())).collect()
            };
            alike.sort_by_cached_key(places);
        }
        let all = Part { summaries: &summaries, alike: alike.iter().collect() };
        Groups { count: all.count(), summaries: all.summarised(), groups: all.groups(0, &directions), position: view.position() }
    }
}

/// Some of the entities, as lists of those that are alike in everything.
struct Part<'a> {
    summaries: &'a [Summary],
    alike: Vec<&'a (Vec<Value>, Vec<Row>)>,
}

impl Part<'_> {
    fn count(&self) -> i64 {
        self.alike.iter().map(|(_, rows)| rows.len() as i64).sum()
    }

    fn summarised(&self) -> Vec<Cell> {
        let rows = || self.alike.iter().flat_map(|(_, rows)| rows);
        let summarised = |summary: &Summary| {
            let mut rows: Vec<_> = rows().collect();
            if summary.rollup.order_matters {
                rows.sort_unstable_by_key(|row| row.entity.id);
            }
            let values: Vec<Value> = rows.into_iter().map(|row| summary.value(row)).collect();
            Cell::of(json(&summary.summary(&values)))
        };
        self.summaries.iter().map(summarised).collect()
    }

    /// The groups by the attribute of `level` and those behind it.
    fn groups(&self, level: usize, directions: &[Direction]) -> Vec<Group> {
        let Some(direction) = directions.get(level) else { return Vec::new() };
        let group = |alike: &[&_]| {
            let part = Part { summaries: self.summaries, alike: alike.to_vec() };
            let key = part.alike.first().map_or(Value::Blank, |(key, _): &&(Vec<Value>, _)| key[level].clone());
            Group {
                key: Cell::of(json(&key)),
                count: part.count(),
                summaries: part.summarised(),
                groups: part.groups(level + 1, directions),
            }
        };
        // They are in the order of their keys, blank first, options in their own.
        let mut groups: Vec<_> = self.alike.chunk_by(|a, b| a.0[level] == b.0[level]).map(group).collect();
        if *direction == Direction::Desc {
            groups.reverse();
        }
        groups
    }
}
