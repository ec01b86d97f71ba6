//! What there is to say about the entity itself.

use super::{Call, Function, Parameters};
use crate::formula::types::Type;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[Function {
    name: "RECORD_ID",
    arguments: "",
    parameters: Parameters::exactly(&[]),
    returns: |_| Type::Text,
    call: Call::Lazy(|evaluation, _| Ok(evaluation.cells.id().map_or(Value::Blank, |id| Value::text(id.to_string())))),
    doc: "The id of the entity, as text.",
    examples: &[],
}];
