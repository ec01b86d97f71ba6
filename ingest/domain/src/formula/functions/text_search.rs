//! What is in a text, and where. Places count code points, from 1.

use rust_decimal::prelude::ToPrimitive;

use super::{Call, Function, Kind, Parameters};
use crate::formula::coerce::{list, number, text};
use crate::formula::outcome::Outcome;
use crate::formula::types::Type;
use crate::value::Value;

const FINDING: Parameters = Parameters::with_optional(&[Kind::Text, Kind::Text], &[Kind::Number]);
const TWO: Parameters = Parameters::exactly(&[Kind::Text, Kind::Text]);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "FIND",
        arguments: "what, text, [start]",
        parameters: FINDING,
        returns: |_| Type::Number,
        call: Call::Strict(|values| Ok(Value::from(find(values)?.unwrap_or(0)))),
        doc: "The first place at which a text is found, from the start on; 0 if it is not. Capitals matter.",
        examples: &[("FIND(\"fox\", \"quick brown fox\")", "13"), ("FIND(\"FOX\", \"quick brown fox\")", "0")],
    },
    Function {
        name: "SEARCH",
        arguments: "what, text, [start]",
        parameters: FINDING,
        returns: |_| Type::Number,
        call: Call::Strict(|values| Ok(find(values)?.map_or(Value::Blank, Value::from))),
        doc: "As FIND, but blank if it is not found.",
        examples: &[("SEARCH(\"World\", \"Hello World\")", "7"), ("SEARCH(\"x\", \"Hello\")", "blank")],
    },
    Function {
        name: "CONTAINS",
        arguments: "text, what",
        parameters: TWO,
        returns: |_| Type::Bool,
        call: Call::Strict(|values| Ok(Value::Bool(text(&values[0]).contains(text(&values[1]).as_str())))),
        doc: "Whether a text is found. Capitals matter.",
        examples: &[("CONTAINS(\"Hello\", \"ell\")", "true")],
    },
    Function {
        name: "STARTSWITH",
        arguments: "text, what",
        parameters: TWO,
        returns: |_| Type::Bool,
        call: Call::Strict(|values| Ok(Value::Bool(text(&values[0]).starts_with(text(&values[1]).as_str())))),
        doc: "Whether it begins with a text.",
        examples: &[("STARTSWITH(\"Hello\", \"He\")", "true")],
    },
    Function {
        name: "ENDSWITH",
        arguments: "text, what",
        parameters: TWO,
        returns: |_| Type::Bool,
        call: Call::Strict(|values| Ok(Value::Bool(text(&values[0]).ends_with(text(&values[1]).as_str())))),
        doc: "Whether it ends with a text.",
        examples: &[("ENDSWITH(\"Hello\", \"He\")", "false")],
    },
    Function {
        name: "EXACT",
        arguments: "text, other",
        parameters: TWO,
        returns: |_| Type::Bool,
        call: Call::Strict(|values| Ok(Value::Bool(text(&values[0]) == text(&values[1])))),
        doc: "Whether both are the same text.",
        examples: &[("EXACT(\"a\", \"A\")", "false"), ("EXACT(\"a\", \"a\")", "true")],
    },
    Function {
        name: "SPLIT",
        arguments: "text, separator",
        parameters: TWO,
        returns: |_| Type::List(Box::new(Type::Text)),
        call: Call::Strict(|values| {
            let (text, separator) = (text(&values[0]), text(&values[1]));
            list(if text.is_empty() {
                Vec::new()
            } else if separator.is_empty() {
                text.chars().map(|c| Value::text(c.to_string())).collect()
            } else {
                text.split(separator.as_str()).map(Value::text).collect()
            })
        }),
        doc: "The parts of a text between separators, as a list.",
        examples: &[("SPLIT(\"a,b,,c\", \",\")", "[\"a\", \"b\", \"\", \"c\"]")],
    },
];

fn find(values: &[Value]) -> Outcome<Option<i64>> {
    let (needle, text) = (text(&values[0]), text(&values[1]));
    let start = match values.get(2) {
        None => 1,
        Some(start) => number(start)?.trunc().clamp(1.into(), i64::MAX.into()).to_usize().unwrap_or(usize::MAX),
    };
    // Beyond the end nothing is found, not even nothing.
    let Some(from) = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(start - 1) else { return Ok(None) };
    let found = text[from..].find(needle.as_str());
    Ok(found.map(|at| text[..from + at].chars().count() as i64 + 1))
}
