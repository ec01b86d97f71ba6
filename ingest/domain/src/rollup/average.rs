//! The mean of the numbers; blank of none.

use super::{Argument, Rollup, Takes, decimals, numbers, of_numbers};
use crate::exact::ExactSum;
use crate::value::Value;

pub(super) static AVERAGE: Rollup = Rollup {
    name: "AVERAGE",
    of_attribute: true,
    order_matters: false,
    takes: Takes::Items,
    argument: Argument::None,
    result: of_numbers,
    admit: numbers,
    naive: |values, _| {
        let mut sum = ExactSum::default();
        let count = decimals(values).map(|number| sum.add(number)).count();
        shown(&sum, count as u64)
    },
};

/// The mean as a value.
pub fn shown(sum: &ExactSum, count: u64) -> Value {
    sum.divided_by(count).map_or(Value::Blank, Value::number)
}
