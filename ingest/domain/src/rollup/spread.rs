//! How numbers are spread: medians, percentiles, variances, ranges.

use rust_decimal::{Decimal, MathematicalOps};

use super::order::of_dates;
use super::{Argument, Rollup, Takes, anything, decimals, numbers, of_numbers, of_ordered};
use crate::exact::ExactSquares;
use crate::formula::Type;
use crate::formula::dates::whole_months;
use crate::statistics::{median, percentile};
use crate::value::{ErrorKind, Value};

const BASE: Rollup = Rollup {
    name: "",
    of_attribute: true,
    order_matters: false,
    takes: Takes::Items,
    argument: Argument::None,
    result: of_numbers,
    admit: numbers,
    naive: |_, _| Value::Blank,
};

pub(super) static MEDIAN: Rollup =
    Rollup { name: "MEDIAN", naive: |values, _| median(decimals(values).collect()).map_or(Value::Blank, Value::number), ..BASE };

pub(super) static PERCENTILE: Rollup = Rollup {
    name: "PERCENTILE",
    argument: Argument::Share,
    naive: |values, argument| percentile(decimals(values).collect(), share_of(argument)).map_or(Value::Blank, Value::number),
    ..BASE
};

pub(super) static VAR: Rollup = Rollup { name: "VAR", naive: |values, _| variance(&squares(values), 1), ..BASE };
pub(super) static VARP: Rollup = Rollup { name: "VARP", naive: |values, _| variance(&squares(values), 0), ..BASE };
pub(super) static STDEV: Rollup = Rollup { name: "STDEV", naive: |values, _| deviation(&squares(values), 1), ..BASE };
pub(super) static STDEVP: Rollup = Rollup { name: "STDEVP", naive: |values, _| deviation(&squares(values), 0), ..BASE };

pub(super) static RANGE: Rollup = Rollup {
    name: "RANGE",
    result: |ty| of_ordered(ty).map(|_| Type::Number),
    admit: anything,
    naive: |values, _| between_ends(values, range),
    ..BASE
};

pub(super) static RANGE_MONTHS: Rollup = Rollup {
    name: "RANGE_MONTHS",
    result: |ty| of_dates(ty).map(|_| Type::Number),
    admit: anything,
    naive: |values, _| between_ends(values, months),
    ..BASE
};

/// What lies between the least and the most that are not blank.
fn between_ends(values: &[Value], between: fn(&Value, &Value) -> Value) -> Value {
    let there = || values.iter().filter(|value| !value.is_blank());
    there().min().zip(there().max()).map_or(Value::Blank, |(least, most)| between(least, most))
}

/// How many whole months lie between two dates; datetimes count in UTC.
pub fn months(least: &Value, most: &Value) -> Value {
    let at = |value: &Value| match value {
        Value::Date(date) => Some(date.at(0, 0, 0, 0)),
        Value::DateTime(at) => Some(jiff::tz::TimeZone::UTC.to_datetime(*at)),
        _ => None,
    };
    let between = at(least).zip(at(most)).map(|(least, most)| whole_months(least, most));
    between.map_or_else(|| Value::error(ErrorKind::Value, "months lie between dates"), Value::from)
}

/// The share that a percentile is asked for.
pub fn share_of(argument: &Value) -> Decimal {
    if let Value::Number(share) = argument { *share } else { Decimal::new(5, 1) }
}

fn squares(values: &[Value]) -> ExactSquares {
    let mut squares = ExactSquares::default();
    decimals(values).for_each(|number| squares.add(number));
    squares
}

/// The variance as a value; `less` is 1 for a sample and 0 for a population.
pub fn variance(squares: &ExactSquares, less: u64) -> Value {
    shown(squares, less, squares.variance(less))
}

/// The standard deviation as a value.
pub fn deviation(squares: &ExactSquares, less: u64) -> Value {
    shown(squares, less, squares.variance(less).and_then(|variance| variance.sqrt()))
}

/// Blank of too few; an error if a number has no room for it.
fn shown(squares: &ExactSquares, less: u64, spread: Option<Decimal>) -> Value {
    match spread {
        Some(spread) => Value::number(spread),
        None if squares.is_enough(less) => Value::error(ErrorKind::Range, "the variance has more digits than a number may have"),
        None => Value::Blank,
    }
}

/// How far the most lies from the least: numbers by their difference, dates by whole days.
pub fn range(least: &Value, most: &Value) -> Value {
    match (least, most) {
        (Value::Number(least), Value::Number(most)) => most
            .checked_sub(*least)
            .map_or_else(|| Value::error(ErrorKind::Range, "the range has more digits than a number may have"), Value::number),
        (Value::Date(least), Value::Date(most)) => Value::from(i64::from((*most - *least).get_days())),
        (Value::DateTime(least), Value::DateTime(most)) => Value::from(least.duration_until(*most).as_secs() / 86_400),
        _ => Value::error(ErrorKind::Value, "numbers and dates have no common range"),
    }
}
