//! How many, and which share of them.

use rust_decimal::Decimal;

use super::{Argument, Rollup, Takes, anything, whole};
use crate::formula::Type;
use crate::formula::coerce::{equal, truth};
use crate::value::Value;

const BASE: Rollup = Rollup {
    name: "",
    of_attribute: true,
    order_matters: false,
    takes: Takes::Items,
    argument: Argument::None,
    result: |_| Ok(Type::Number),
    admit: anything,
    naive: |_, _| Value::Blank,
};

pub(super) static COUNTA: Rollup = Rollup { name: "COUNTA", naive: |values, _| count(values, is_counted), ..BASE };

pub(super) static COUNT_UNIQUE: Rollup = Rollup {
    name: "COUNT_UNIQUE",
    naive: |values, _| {
        let different: std::collections::BTreeSet<_> = values.iter().filter(|value| !value.is_blank()).collect();
        Value::from(different.len() as i64)
    },
    ..BASE
};

pub(super) static COUNT_EMPTY: Rollup =
    Rollup { name: "COUNT_EMPTY", takes: Takes::Wholes, admit: whole, naive: |values, _| count(values, |v| !is_counted(v)), ..BASE };

pub(super) static COUNT_CHECKED: Rollup = Rollup { name: "COUNT_CHECKED", naive: |values, _| count(values, truth), ..BASE };

pub(super) static COUNT_UNCHECKED: Rollup = Rollup { name: "COUNT_UNCHECKED", naive: |values, _| count(values, |v| !truth(v)), ..BASE };

pub(super) static PERCENT_FILLED: Rollup =
    Rollup { name: "PERCENT_FILLED", takes: Takes::Wholes, admit: whole, naive: |values, _| share_of(values, is_counted), ..BASE };

pub(super) static PERCENT_EMPTY: Rollup =
    Rollup { name: "PERCENT_EMPTY", takes: Takes::Wholes, admit: whole, naive: |values, _| share_of(values, |v| !is_counted(v)), ..BASE };

pub(super) static PERCENT_CHECKED: Rollup = Rollup { name: "PERCENT_CHECKED", naive: |values, _| share_of(values, truth), ..BASE };

pub(super) static PERCENT_UNCHECKED: Rollup =
    Rollup { name: "PERCENT_UNCHECKED", naive: |values, _| share_of(values, |v| !truth(v)), ..BASE };

pub(super) static PERCENT_UNIQUE: Rollup = Rollup {
    name: "PERCENT_UNIQUE",
    naive: |values, _| {
        let different: std::collections::BTreeSet<_> = values.iter().filter(|value| !value.is_blank()).collect();
        share(different.len(), values.len())
    },
    ..BASE
};

pub(super) static AND: Rollup =
    Rollup { name: "AND", result: |_| Ok(Type::Bool), naive: |values, _| Value::Bool(values.iter().all(truth)), ..BASE };

pub(super) static OR: Rollup =
    Rollup { name: "OR", result: |_| Ok(Type::Bool), naive: |values, _| Value::Bool(values.iter().any(truth)), ..BASE };

pub(super) static XOR: Rollup = Rollup {
    name: "XOR",
    result: |_| Ok(Type::Bool),
    naive: |values, _| Value::Bool(values.iter().filter(|value| truth(value)).count() % 2 == 1),
    ..BASE
};

/// Whether a value is neither blank nor empty text.
pub fn is_filled(value: &Value) -> bool {
    !equal(value, &Value::Blank)
}

/// Whether COUNTA counts a value: one that is filled, and no box that is not ticked. A box that never was is blank, and
/// looks the same. A list is filled if an item of it is.
pub fn is_counted(value: &Value) -> bool {
    match value {
        Value::List(items) => items.iter().any(is_counted),
        value => is_filled(value) && *value != Value::Bool(false),
    }
}

fn count(values: &[Value], counts: fn(&Value) -> bool) -> Value {
    Value::from(values.iter().filter(|value| counts(value)).count() as i64)
}

fn share_of(values: &[Value], counts: fn(&Value) -> bool) -> Value {
    share(values.iter().filter(|value| counts(value)).count(), values.len())
}

/// A part of a whole, from 0 to 1; blank of nothing.
pub fn share(part: usize, whole: usize) -> Value {
    let share = Decimal::from(part).checked_div(Decimal::from(whole));
    share.map_or(Value::Blank, Value::number)
}
