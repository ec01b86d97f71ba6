//! What there is to say about the files of an attachments attribute.

use serde_json::Value as Json;

use super::{Call, Function, Kind, Parameters};
use crate::formula::outcome::{Outcome, error};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

const FILES: Parameters = Parameters::exactly(&[Kind::Any]);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "FILE_NAMES",
        arguments: "attachments",
        parameters: FILES,
        returns: |_| Type::List(Box::new(Type::Text)),
        call: Call::Strict(|values| each(&values[0], |file| file["name"].as_str().map_or(Value::Blank, Value::text))),
        doc: "What the files are called. A filter by it: `FIND(\"invoice\", LOWER(ARRAYJOIN(FILE_NAMES({files})))) > 0`.",
        examples: &[
            (
                "FILE_NAMES('[{\"name\": \"a.pdf\", \"url\": \"https://x.org/a\"}, {\"name\": \"b.png\", \"url\": \"https://x.org/b\"}]')",
                "[\"a.pdf\", \"b.png\"]",
            ),
            ("FILE_NAMES(BLANK())", "blank"),
            ("FILE_NAMES(\"a.pdf\")", "#value"),
        ],
    },
    Function {
        name: "FILE_TYPES",
        arguments: "attachments",
        parameters: FILES,
        returns: |_| Type::List(Box::new(Type::Text)),
        call: Call::Strict(|values| each(&values[0], |file| file["mediaType"].as_str().map_or(Value::Blank, Value::text))),
        doc: "The media types of the files; blank where none was given. A filter by it: `HAS_ANY(FILE_TYPES({files}), \"image/png\")`.",
        examples: &[(
            "FILE_TYPES('[{\"name\": \"b.png\", \"url\": \"https://x.org/b\", \"mediaType\": \"image/png\"}]')",
            "[\"image/png\"]",
        )],
    },
    Function {
        name: "FILE_SIZES",
        arguments: "attachments",
        parameters: FILES,
        returns: |_| Type::List(Box::new(Type::Number)),
        call: Call::Strict(|values| each(&values[0], |file| file["size"].as_u64().map_or(Value::Blank, |size| Value::number(size.into())))),
        doc: "How large the files are, in bytes; blank where that was not said. A filter by it: `MAX(FILE_SIZES({files})) < 1000000`.",
        examples: &[(
            "SUM(FILE_SIZES('[{\"name\": \"a\", \"url\": \"https://x.org/a\", \"size\": 7}, {\"name\": \"b\", \"url\": \"https://x.org/b\", \"size\": 5}]'))",
            "12",
        )],
    },
];

/// What `of` says of each file, those of a lookup's items one after the other; blank if there is none.
fn each(files: &Value, of: impl Fn(&Json) -> Value + Copy) -> Outcome {
    let mut out = Vec::new();
    add(files, of, &mut out)?;
    if out.is_empty() { Ok(Value::Blank) } else { crate::formula::coerce::list(out) }
}

fn add(files: &Value, of: impl Fn(&Json) -> Value + Copy, out: &mut Vec<Value>) -> Outcome<()> {
    let not = || error(ErrorKind::Value, "these are no attachments");
    match files {
        Value::Blank => Ok(()),
        Value::Text(text) => {
            let json: Json = serde_json::from_str(text).map_err(|_| not())?;
            let files = json.as_array().filter(|files| files.iter().all(Json::is_object)).ok_or_else(not)?;
            out.extend(files.iter().map(of));
            Ok(())
        }
        Value::List(items) => items.iter().try_for_each(|item| add(item, of, out)),
        _ => Err(not()),
    }
}
