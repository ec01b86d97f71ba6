//! How large attached files are.

use super::{Argument, Rollup, Takes, decimals};
use crate::exact::ExactSum;
use crate::formula::Type;
use crate::value::{ErrorKind, Value};

/// In bytes; of a file that does not say its size, nothing.
pub(super) static ATTACHMENTS_SIZE: Rollup = Rollup {
    name: "ATTACHMENTS_SIZE",
    of_attribute: true,
    order_matters: false,
    takes: Takes::Items,
    argument: Argument::None,
    result: |ty| match ty.item() {
        Type::Text | Type::Blank | Type::Any => Ok(Type::Number),
        _ => Err("attachments"),
    },
    admit: size,
    naive: |values, _| {
        let mut sum = ExactSum::default();
        decimals(values).for_each(|number| sum.add(number));
        super::sum::shown(&sum)
    },
};

fn size(value: &Value) -> Value {
    let Value::Text(text) = value else { return if value.is_error() { value.clone() } else { Value::Blank } };
    let files = serde_json::from_str::<Vec<serde_json::Value>>(text);
    let size = |file: &serde_json::Value| file["size"].as_u64().unwrap_or(0);
    files.map_or_else(
        |_| Value::error(ErrorKind::Value, "these are no attachments"),
        |files| Value::number(files.iter().map(|file| rust_decimal::Decimal::from(size(file))).sum()),
    )
}
