//! The mean of numbers that weigh differently; blank of none, or if they weigh nothing together.

use rust_decimal::Decimal;

use super::{Argument, Rollup, Takes, numbers, of_numbers};
use crate::exact::ExactMean;
use crate::value::Value;

pub(super) static WEIGHTED_AVERAGE: Rollup = Rollup {
    name: "WEIGHTED_AVERAGE",
    of_attribute: true,
    order_matters: false,
    takes: Takes::Pairs,
    argument: Argument::None,
    result: of_numbers,
    admit: pairs,
    naive: |values, _| {
        let mut mean = ExactMean::default();
        values.iter().filter_map(pair).for_each(|(number, weight)| mean.add(number, weight));
        shown(&mean)
    },
};

/// A number and its weight, both read as numbers. One without either does not count.
fn pairs(value: &Value) -> Value {
    let Value::List(items) = value else { return value.clone() };
    let both: Vec<_> = items.iter().map(numbers).collect();
    both.iter().find(|value| value.is_error()).cloned().unwrap_or_else(|| Value::List(both.into()))
}

/// The number and the weight of an admitted value.
pub fn pair(value: &Value) -> Option<(Decimal, Decimal)> {
    match value {
        Value::List(items) => match &items[..] {
            [Value::Number(number), Value::Number(weight)] => Some((*number, *weight)),
            _ => None,
        },
        _ => None,
    }
}

/// The mean as a value.
pub fn shown(mean: &ExactMean) -> Value {
    mean.mean().map_or(Value::Blank, Value::number)
}
