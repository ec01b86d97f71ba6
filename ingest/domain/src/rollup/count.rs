//! How many values are not blank.

use super::{Rollup, anything};
use crate::formula::Type;
use crate::value::Value;

pub(super) static COUNT: Rollup = Rollup {
    name: "COUNT",
    of_attribute: true,
    result: |_| Ok(Type::Number),
    admit: anything,
    naive: |values| Value::from(values.iter().filter(|value| !value.is_blank()).count() as i64),
};
