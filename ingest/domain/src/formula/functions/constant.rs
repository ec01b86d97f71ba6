//! BLANK, TRUE, FALSE: values that have no literal.

use super::{Call, Function, Parameters};
use crate::formula::types::Type;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "BLANK", parameters: Parameters::exactly(&[]), returns: |_| Type::Blank, call: Call::Strict(|_| Ok(Value::Blank)) },
    Function { name: "TRUE", parameters: Parameters::exactly(&[]), returns: |_| Type::Bool, call: Call::Strict(|_| Ok(Value::Bool(true))) },
    Function {
        name: "FALSE",
        parameters: Parameters::exactly(&[]),
        returns: |_| Type::Bool,
        call: Call::Strict(|_| Ok(Value::Bool(false))),
    },
];
