//! Regular expressions: those of RE2, which take time in proportion to the text whatever the expression.

use std::cell::RefCell;

use ecow::EcoString;
use regex::{Regex, RegexBuilder};
use rustc_hash::FxHashMap;

use super::{Call, Function, Kind, Parameters};
use crate::formula::coerce::{bounded, list, text};
use crate::formula::outcome::{Outcome, error, excerpt};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

/// How large the compiled form of an expression may become, in bytes.
const COMPILED_MAX: usize = 256 * 1024;

/// How many compiled expressions a thread keeps.
const KEPT_MAX: usize = 128;

const MATCHING: Parameters = Parameters::exactly(&[Kind::Text, Kind::Pattern]);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "REGEX_MATCH",
        arguments: "text, expression",
        parameters: MATCHING,
        returns: |_| Type::Bool,
        call: Call::Strict(|values| Ok(Value::Bool(compiled(&text(&values[1]))?.is_match(&text(&values[0]))))),
        doc: "Whether the expression matches anywhere in the text.",
        examples: &[("REGEX_MATCH(\"Hello World\", \"Hello.World\")", "true"), ("REGEX_MATCH(\"a\", \"(\")", "refused")],
    },
    Function {
        name: "REGEX_EXTRACT",
        arguments: "text, expression",
        parameters: MATCHING,
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let (regex, text) = (compiled(&text(&values[1]))?, text(&values[0]));
            let found = regex.captures(&text).and_then(|found| found.get(1).or(found.get(0)));
            Ok(found.map_or(Value::Blank, |found| Value::text(found.as_str())))
        }),
        doc: "The first match, or its first group if there is one; blank if nothing matches.",
        examples: &[
            ("REGEX_EXTRACT(\"Order 66 of 99\", \"[0-9]+\")", "\"66\""),
            ("REGEX_EXTRACT(\"a@b\", \"(.+)@\")", "\"a\""),
            ("REGEX_EXTRACT(\"a\", \"b\")", "blank"),
        ],
    },
    Function {
        name: "REGEX_EXTRACTALL",
        arguments: "text, expression",
        parameters: MATCHING,
        returns: |_| Type::List(Box::new(Type::Text)),
        call: Call::Strict(|values| {
            let (regex, text) = (compiled(&text(&values[1]))?, text(&values[0]));
            list(regex.find_iter(&text).map(|found| Value::text(found.as_str())).collect())
        }),
        doc: "All matches, as a list.",
        examples: &[("REGEX_EXTRACTALL(\"a1b22\", \"[0-9]+\")", "[\"1\", \"22\"]")],
    },
    Function {
        name: "REGEX_REPLACE",
        arguments: "text, expression, replacement",
        parameters: Parameters::exactly(&[Kind::Text, Kind::Pattern, Kind::Text]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let (old, regex, replacement) = (text(&values[0]), compiled(&text(&values[1]))?, text(&values[2]));
            let (mut out, mut copied) = (String::new(), 0);
            for found in regex.captures_iter(&old) {
                let Some(whole) = found.get(0) else { continue };
                out.push_str(&old[copied..whole.start()]);
                found.expand(&replacement, &mut out);
                bounded(out.len())?;
                copied = whole.end();
            }
            out.push_str(&old[copied..]);
            bounded(out.len())?;
            Ok(Value::text(out))
        }),
        doc: "The text with every match replaced; `$1` is the first group.",
        examples: &[
            ("REGEX_REPLACE(\"a-b-c\", \"-\", \"+\")", "\"a+b+c\""),
            ("REGEX_REPLACE(\"Ada Lovelace\", \"(\\\\w+) (\\\\w+)\", \"$2, $1\")", "\"Lovelace, Ada\""),
        ],
    },
];

/// The expression ready to run.
pub(super) fn compiled(expression: &str) -> Outcome<Regex> {
    thread_local! {
        static KEPT: RefCell<FxHashMap<EcoString, Regex>> = RefCell::default();
    }
    KEPT.with_borrow_mut(|kept| {
        if let Some(regex) = kept.get(expression) {
            return Ok(regex.clone());
        }
        let built = RegexBuilder::new(expression).size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX).build();
        let regex = built.map_err(|cause| match cause {
            regex::Error::CompiledTooBig(_) => error(ErrorKind::Limit, "the regular expression is too large"),
            _ => error(ErrorKind::Value, format!("\"{}\" is not a regular expression", excerpt(expression))),
        })?;
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(expression.into(), regex.clone());
        Ok(regex)
    })
}
