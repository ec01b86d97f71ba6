//! A formula as it is stored: text whose references are attribute ids.

use std::collections::HashMap;

use ecow::EcoString;
use serde::{Deserialize, Serialize};

use super::ast::escaped;
use super::check::{Attributes, Resolved, Scope, check};
use super::eval::Program;
use super::functions;
use super::parse::{parse, parse_stored};
use super::{FormulaError, Span};
use crate::id::AttributeId;

/// A formula whose references are ids in braces: `{0193…} * 2`. Renaming an attribute never breaks it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expression(EcoString);

impl Expression {
    /// Checks what a user wrote and turns its references into ids. Spacing and comments stay as they were.
    pub fn from_user(text: &str, attributes: &dyn Attributes) -> Result<(Expression, Program), FormulaError> {
        Self::from_user_in(text, Scope::of(attributes))
    }

    /// The same for a formula that may refer to what is in this scope.
    pub fn from_user_in(text: &str, scope: Scope<'_>) -> Result<(Expression, Program), FormulaError> {
        let tree = parse(text, &scope.variable_names())?;
        let program = check(&tree, scope)?;
        let stored = rewrite(text, &tree, |name, of_host| match scope.host.filter(|_| of_host).unwrap_or(scope.attributes).resolve(name) {
            Resolved::Attribute(id, _) | Resolved::Zoned(id, _) | Resolved::Links(id) => Some(id.to_string()),
            _ => None,
        });
        Ok((Expression(stored), program))
    }

    /// The same where somebody asks: [`functions::CALLER`] is this text.
    pub fn from_caller(text: &str, attributes: &dyn Attributes, caller: &str) -> Result<(Expression, Program), FormulaError> {
        let scope = Scope::of(attributes);
        let as_written = Self::from_user_in(text, scope)?;
        if !as_written.1.expr.calls(&|function| function.name == functions::CALLER) {
            return Ok(as_written);
        }
        let (mut out, mut copied) = (String::new(), 0);
        parse(text, &scope.variable_names())?.each_call(functions::CALLER, &mut |Span { start, end }| {
            out.push_str(&text[copied..start]);
            out.push_str(&format!("\"{}\"", escaped(caller)));
            copied = end;
        });
        out.push_str(&text[copied..]);
        Self::from_user_in(&out, scope)
    }

    /// The typed program; `attributes` resolves ids.
    pub fn program(&self, attributes: &dyn Attributes) -> Result<Program, FormulaError> {
        self.program_in(Scope::of(attributes))
    }

    /// The same for a formula that may refer to what is in this scope.
    pub fn program_in(&self, scope: Scope<'_>) -> Result<Program, FormulaError> {
        check(&parse_stored(&self.0, &scope.variable_names())?, scope)
    }

    /// The formula as a user would write it today: each id replaced by what `names` has for it.
    pub fn to_user(&self, names: &HashMap<AttributeId, EcoString>) -> EcoString {
        match parse_stored(&self.0, &[]) {
            Ok(tree) => rewrite(&self.0, &tree, |id, _| id.parse().ok().and_then(|id| names.get(&id)).map(|name| name.to_string())),
            Err(_) => self.0.clone(),
        }
    }

    /// The attributes that it refers to, those that are gone included.
    pub fn references(&self) -> Vec<AttributeId> {
        self.references_by_side().into_iter().map(|(id, _)| id).collect()
    }

    /// The same, and for each whether it is one of the host of a crossing.
    pub fn references_by_side(&self) -> Vec<(AttributeId, bool)> {
        let mut out = Vec::new();
        if let Ok(tree) = parse_stored(&self.0, &[]) {
            tree.each_attribute(&mut |_, id, of_host| out.extend(id.parse::<AttributeId>().map(|id| (id, of_host))));
        }
        out
    }

    /// The stored text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `text` with every reference replaced that `replacement` knows.
fn rewrite(text: &str, tree: &super::ast::Node, replacement: impl Fn(&str, bool) -> Option<String>) -> EcoString {
    let (mut out, mut copied) = (EcoString::new(), 0);
    tree.each_attribute(&mut |Span { start, end }, name, of_host| {
        if let Some(new) = replacement(name, of_host) {
            out.push_str(&text[copied..start]);
            out.push('{');
            out.push_str(&new);
            out.push('}');
            copied = end;
        }
    });
    out.push_str(&text[copied..]);
    out
}
