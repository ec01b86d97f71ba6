//! The sum of the numbers; 0 of none.

use super::{Argument, Rollup, Takes, decimals, numbers, of_numbers};
use crate::exact::ExactSum;
use crate::value::{ErrorKind, Value};

pub(super) static SUM: Rollup = Rollup {
    name: "SUM",
    of_attribute: true,
    order_matters: false,
    takes: Takes::Items,
    argument: Argument::None,
    result: of_numbers,
    admit: numbers,
    naive: |values, _| {
        let mut sum = ExactSum::default();
        decimals(values).for_each(|number| sum.add(number));
        shown(&sum)
    },
};

/// The sum as a value.
pub fn shown(sum: &ExactSum) -> Value {
    sum.total().map_or_else(|| Value::error(ErrorKind::Range, "the sum has more digits than a number may have"), Value::number)
}
