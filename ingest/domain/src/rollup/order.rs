//! The first and last, of those that have an order of their own, and of those that stand in the link's.

use rust_decimal::prelude::ToPrimitive;

use super::{Argument, Rollup, Takes, anything, list_of, of_ordered};
use crate::formula::Type;
use crate::formula::coerce::text;
use crate::rollup::share::is_filled;
use crate::value::{ErrorKind, Value};

const BASE: Rollup = Rollup {
    name: "",
    of_attribute: true,
    order_matters: true,
    takes: Takes::Items,
    argument: Argument::None,
    result: |ty| Ok(ty.item().clone()),
    admit: anything,
    naive: |_, _| Value::Blank,
};

pub(super) static EARLIEST: Rollup = Rollup {
    name: "EARLIEST",
    order_matters: false,
    result: of_dates,
    naive: |values, _| values.iter().filter(|value| !value.is_blank()).min().cloned().unwrap_or_default(),
    ..BASE
};

pub(super) static LATEST: Rollup = Rollup {
    name: "LATEST",
    order_matters: false,
    result: of_dates,
    naive: |values, _| values.iter().filter(|value| !value.is_blank()).max().cloned().unwrap_or_default(),
    ..BASE
};

pub(super) static TOP: Rollup = Rollup {
    name: "TOP",
    order_matters: false,
    argument: Argument::Count,
    result: |ty| of_ordered(ty).map(|ty| Type::List(Box::new(ty))),
    naive: |values, argument| {
        let mut sorted: Vec<_> = values.iter().filter(|value| !value.is_blank()).cloned().collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        sorted.truncate(count_of(argument));
        Value::list(sorted)
    },
    ..BASE
};

pub(super) static FIRST: Rollup =
    Rollup { name: "FIRST", naive: |values, _| values.iter().find(|value| !value.is_blank()).cloned().unwrap_or_default(), ..BASE };

pub(super) static LAST: Rollup =
    Rollup { name: "LAST", naive: |values, _| values.iter().rfind(|value| !value.is_blank()).cloned().unwrap_or_default(), ..BASE };

pub(super) static JOIN: Rollup = Rollup {
    name: "JOIN",
    argument: Argument::Separator,
    result: |_| Ok(Type::Text),
    naive: |values, argument| {
        let separator = if argument.is_blank() { ", ".into() } else { text(argument) };
        let mut out = ecow::EcoString::new();
        for (i, value) in values.iter().filter(|value| is_filled(value)).enumerate() {
            if i > 0 {
                out.push_str(&separator);
            }
            out.push_str(&text(value));
            if let Err(error) = crate::formula::coerce::bounded(out.len()) {
                return Value::Error(error);
            }
        }
        if out.is_empty() { Value::Blank } else { Value::Text(out) }
    },
    ..BASE
};

pub(super) static UNIQUE: Rollup = Rollup {
    name: "UNIQUE",
    result: |ty| Ok(Type::List(Box::new(ty.item().clone()))),
    naive: |values, _| {
        let mut seen = std::collections::BTreeSet::new();
        list_of(values.iter().filter(|value| !value.is_blank() && seen.insert(*value)))
    },
    ..BASE
};

pub(super) static COMPACT: Rollup = Rollup {
    name: "COMPACT",
    result: |ty| Ok(Type::List(Box::new(ty.item().clone()))),
    naive: |values, _| list_of(values.iter().filter(|value| is_filled(value))),
    ..BASE
};

/// Stands for a formula over the values, which is given with the rollup.
pub(super) static FORMULA: Rollup = Rollup {
    name: "FORMULA",
    result: |_| Ok(Type::Any),
    naive: |_, _| Value::error(ErrorKind::Type, "the rollup's formula is missing"),
    ..BASE
};

/// How many TOP is asked for.
pub fn count_of(argument: &Value) -> usize {
    if let Value::Number(count) = argument { count.to_usize().unwrap_or(1) } else { 1 }
}

pub(super) fn of_dates(ty: &Type) -> Result<Type, &'static str> {
    match ty.item() {
        item @ (Type::Date | Type::DateTime | Type::Blank | Type::Any) => Ok(item.clone()),
        _ => Err("dates"),
    }
}
