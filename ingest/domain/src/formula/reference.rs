//! The language reference, made from what stands with each function.

use std::fmt::Write;

use super::ast::escaped;
use super::functions::{ALIASES, FAMILIES};
use crate::value::Value;

/// A value as the reference shows it: text in quotes, lists in brackets, an error by its kind.
pub fn show(value: &Value) -> String {
    match value {
        Value::Blank => "blank".into(),
        Value::Text(text) => format!("\"{}\"", escaped(text)),
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        other => super::coerce::text(other).to_string(),
    }
}

/// The attributes that the reference's examples refer to.
pub const FIELDS: &[(&str, &str)] =
    &[("a", "7"), ("nums", "[3, 1, 2]"), ("tags", "[\"red\", \"blue\", \"red\"]"), ("day", "2024-01-31"), ("at", "2024-01-31T10:30:15Z")];

/// The id of the entity that they belong to.
pub const ENTITY: &str = "0190a5b0-0000-7000-8000-000000000005";

/// When ada made it, as the fifth of its collection.
pub const CREATED: &str = "2024-02-01T09:00:00Z";

/// When bo set `{a}`.
pub const MODIFIED: &str = "2024-02-02T10:30:00Z";

/// What time it is.
pub const NOW: &str = "2024-02-03T12:34:56Z";

const LANGUAGE: &str = include_str!("reference.md");

/// The whole reference, in Markdown.
pub fn markdown() -> String {
    let mut out = LANGUAGE.to_owned();
    let fields: Vec<_> = FIELDS.iter().map(|(name, value)| format!("`{{{name}}}` is `{value}`")).collect();
    let _ = write!(out, "\n## Functions\n\nIn the examples {}.\n", fields.join(", "));
    let _ = writeln!(
        out,
        "The entity is the fifth of its collection, made by ada at {CREATED}; bo set `{{a}}` at {MODIFIED}, and it is {NOW}."
    );
    let aliases: Vec<_> = ALIASES.iter().map(|(alias, name)| format!("{alias} is {name}")).collect();
    let _ = writeln!(out, "Other names are known too: {}.", aliases.join(", "));
    for (heading, functions) in FAMILIES {
        let _ = write!(out, "\n### {heading}\n");
        for function in *functions {
            let _ = write!(out, "\n#### {}({})\n\n{}\n", function.name, function.arguments, function.doc);
            if !function.examples.is_empty() {
                let _ = write!(out, "\n| formula | value |\n|---|---|\n");
            }
            for (formula, value) in function.examples {
                let cell = |text: &str| format!("`{}`", text.replace('|', "\\|"));
                let _ = writeln!(out, "| {} | {} |", cell(formula), cell(value));
            }
        }
    }
    out
}
