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

const LANGUAGE: &str = include_str!("reference.md");

/// The whole reference, in Markdown.
pub fn markdown() -> String {
    let mut out = LANGUAGE.to_owned();
    let fields: Vec<_> = FIELDS.iter().map(|(name, value)| format!("`{{{name}}}` is `{value}`")).collect();
    let _ = write!(out, "\n## Functions\n\nIn the examples {}.\n", fields.join(", "));
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
