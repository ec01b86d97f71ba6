//! CONCATENATE, LEFT, RIGHT, LEN, LOWER, UPPER. Lengths and places count code points.

use ecow::EcoString;
use rust_decimal::prelude::ToPrimitive;

use super::{Call, Function, Kind, Parameters};
use crate::formula::eval::{Outcome, bounded, number, text};
use crate::formula::types::Type;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "CONCATENATE",
        parameters: Parameters::at_least_one(Kind::Text, &[Kind::Text]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let mut out = EcoString::new();
            for value in values {
                let part = text(value);
                bounded(out.len() + part.len())?;
                out.push_str(&part);
            }
            Ok(Value::Text(out))
        }),
    },
    Function {
        name: "LEFT",
        parameters: Parameters::with_optional(&[Kind::Text], &[Kind::Number]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let (text, count) = (text(&values[0]), count(values.get(1))?);
            let end = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
            Ok(Value::text(&text[..end]))
        }),
    },
    Function {
        name: "RIGHT",
        parameters: Parameters::with_optional(&[Kind::Text], &[Kind::Number]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let (text, count) = (text(&values[0]), count(values.get(1))?);
            let start = text.char_indices().rev().take(count).last().map_or(text.len(), |(at, _)| at);
            Ok(Value::text(&text[start..]))
        }),
    },
    Function {
        name: "LEN",
        parameters: Parameters::exactly(&[Kind::Text]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| Ok(Value::from(text(&values[0]).chars().count() as i64))),
    },
    Function {
        name: "LOWER",
        parameters: Parameters::exactly(&[Kind::Text]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| Ok(Value::text(text(&values[0]).to_lowercase()))),
    },
    Function {
        name: "UPPER",
        parameters: Parameters::exactly(&[Kind::Text]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| Ok(Value::text(text(&values[0]).to_uppercase()))),
    },
];

/// How many code points are wanted: 1 if not said, none if negative, the whole part of a fraction.
fn count(value: Option<&Value>) -> Outcome<usize> {
    let Some(value) = value else { return Ok(1) };
    let count = number(value)?;
    Ok(if count.is_sign_negative() { 0 } else { count.trunc().to_usize().unwrap_or(usize::MAX) })
}
