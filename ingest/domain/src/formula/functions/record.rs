//! What there is to say about the entity itself.

use super::{CALLER, Call, Function, Kind, Parameters};
use crate::formula::eval::{Evaluation, Expr};
use crate::formula::outcome::error;
use crate::formula::types::Type;
use crate::id::AttributeId;
use crate::stamp::Stamp;
use crate::value::{ErrorKind, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "RECORD_ID",
        arguments: "",
        parameters: Parameters::exactly(&[]),
        returns: |_| Type::Text,
        call: Call::Lazy(|evaluation, _| Ok(evaluation.cells.entity().map_or(Value::Blank, |entity| Value::text(entity.id.to_string())))),
        doc: "The id of the entity, as text.",
        examples: &[("RECORD_ID()", "\"0190a5b0-0000-7000-8000-000000000005\"")],
    },
    Function {
        name: "AUTONUMBER",
        arguments: "",
        parameters: Parameters::exactly(&[]),
        returns: |_| Type::Number,
        call: Call::Lazy(|evaluation, _| Ok(evaluation.cells.entity().map_or(Value::Blank, |entity| Value::number(entity.number.into())))),
        doc: "Which entity of its collection it is: 1 for the first that was made, and so on. It never changes.",
        examples: &[("AUTONUMBER()", "5"), ("\"INV-\" & AUTONUMBER()", "\"INV-5\"")],
    },
    Function {
        name: "CREATED_TIME",
        arguments: "",
        parameters: Parameters::exactly(&[]),
        returns: |_| Type::DateTime,
        call: Call::Lazy(|evaluation, _| Ok(evaluation.cells.entity().map_or(Value::Blank, |entity| Value::DateTime(entity.created.at)))),
        doc: "When the entity was made.",
        examples: &[("CREATED_TIME()", "2024-02-01T09:00:00Z")],
    },
    Function {
        name: "CREATED_BY",
        arguments: "",
        parameters: Parameters::exactly(&[]),
        returns: |_| Type::Text,
        call: Call::Lazy(|evaluation, _| {
            Ok(evaluation.cells.entity().map_or(Value::Blank, |entity| Value::text(entity.created.by.as_str())))
        }),
        doc: "Who made the entity.",
        examples: &[("CREATED_BY()", "\"ada\"")],
    },
    Function {
        name: "LAST_MODIFIED_TIME",
        arguments: "[attribute, …]",
        parameters: Parameters::with_rest(&[], Kind::Any),
        returns: |_| Type::DateTime,
        call: Call::Lazy(|evaluation, of| Ok(modified(evaluation, of).map_or(Value::Blank, |stamp| Value::DateTime(stamp.at)))),
        doc: "When one of the attributes, or without any the entity, was last written to: a value set, or a link made or cut. \
              What is computed is never written to.",
        examples: &[
            ("LAST_MODIFIED_TIME()", "2024-02-02T10:30:00Z"),
            ("LAST_MODIFIED_TIME({a})", "2024-02-02T10:30:00Z"),
            ("LAST_MODIFIED_TIME({day})", "2024-02-01T09:00:00Z"),
        ],
    },
    Function {
        name: "LAST_MODIFIED_BY",
        arguments: "[attribute, …]",
        parameters: Parameters::with_rest(&[], Kind::Any),
        returns: |_| Type::Text,
        call: Call::Lazy(|evaluation, of| Ok(modified(evaluation, of).map_or(Value::Blank, |stamp| Value::text(stamp.by.as_str())))),
        doc: "Who wrote last to one of the attributes, or without any to the entity.",
        examples: &[("LAST_MODIFIED_BY()", "\"bo\""), ("LAST_MODIFIED_BY({day})", "\"ada\"")],
    },
    Function {
        name: CALLER,
        arguments: "",
        parameters: Parameters::exactly(&[]),
        returns: |_| Type::Text,
        // In the filter of a query a text stands in its place.
        call: Call::Strict(|_| Err(error(ErrorKind::Value, "only the filter of a query knows who asks"))),
        doc: "Who asks, as text: the id of the user, or what the token's bearer is called who is none. For filters of queries and of \
              live queries only: `HAS_ANY({assignees}, ME())`.",
        examples: &[("ME()", "#value")],
    },
];

/// The last change of attributes that are given as arguments.
fn modified<'a>(evaluation: &Evaluation<'a>, of: &[Expr]) -> Option<&'a Stamp> {
    let attribute = |expr: &Expr| if let Expr::Attribute(id) = expr { Some(*id) } else { None };
    let among: Vec<AttributeId> = of.iter().filter_map(attribute).collect();
    // Only attributes that are gone are none.
    let entity = evaluation.cells.entity()?;
    Some(if among.is_empty() && !of.is_empty() { &entity.created } else { entity.modified(&among) })
}
