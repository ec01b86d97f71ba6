//! How many entities are linked.

use super::{Argument, Rollup, Takes, anything};
use crate::formula::Type;
use crate::value::Value;

pub(super) static COUNTALL: Rollup = Rollup {
    name: "COUNTALL",
    of_attribute: false,
    order_matters: false,
    takes: Takes::Items,
    argument: Argument::None,
    result: |_| Ok(Type::Number),
    admit: anything,
    naive: |values, _| Value::from(values.len() as i64),
};
