//! How many entities are linked.

use super::{Rollup, anything};
use crate::formula::Type;
use crate::value::Value;

pub(super) static COUNTALL: Rollup = Rollup {
    name: "COUNTALL",
    of_attribute: false,
    result: |_| Ok(Type::Number),
    admit: anything,
    naive: |values| Value::from(values.len() as i64),
};
