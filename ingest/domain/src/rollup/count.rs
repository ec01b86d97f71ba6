//! How many values are not blank.

use super::{Argument, Rollup, Takes, anything};
use crate::formula::Type;
use crate::value::Value;

pub(super) static COUNT: Rollup = Rollup {
    name: "COUNT",
    of_attribute: true,
    order_matters: false,
    takes: Takes::Items,
    argument: Argument::None,
    result: |_| Ok(Type::Number),
    admit: anything,
    naive: |values, _| Value::from(values.iter().filter(|value| !value.is_blank()).count() as i64),
};
