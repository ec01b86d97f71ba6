//! A formula as it is stored: text whose references are attribute ids.

use std::collections::HashMap;

use ecow::EcoString;
use serde::{Deserialize, Serialize};

use super::check::{Attributes, Resolved, Variable, check};
use super::eval::Program;
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
        Self::from_user_with(text, attributes, &[])
    }

    /// The same for a formula that may use these variables.
    pub fn from_user_with(
        text: &str,
        attributes: &dyn Attributes,
        variables: &[Variable<'_>],
    ) -> Result<(Expression, Program), FormulaError> {
        let tree = parse(text, &names(variables))?;
        let program = check(&tree, attributes, variables)?;
        let stored = rewrite(text, &tree, |name| match attributes.resolve(name) {
            Resolved::Attribute(id, _) => Some(id.to_string()),
            _ => None,
        });
        Ok((Expression(stored), program))
    }

    /// The typed program; `attributes` resolves ids.
    pub fn program(&self, attributes: &dyn Attributes) -> Result<Program, FormulaError> {
        self.program_with(attributes, &[])
    }

    /// The same for a formula that may use these variables.
    pub fn program_with(&self, attributes: &dyn Attributes, variables: &[Variable<'_>]) -> Result<Program, FormulaError> {
        check(&parse_stored(&self.0, &names(variables))?, attributes, variables)
    }

    /// The formula as a user would write it today: each id replaced by what `names` has for it.
    pub fn to_user(&self, names: &HashMap<AttributeId, EcoString>) -> EcoString {
        match parse_stored(&self.0, &[]) {
            Ok(tree) => rewrite(&self.0, &tree, |id| id.parse().ok().and_then(|id| names.get(&id)).map(|name| name.to_string())),
            Err(_) => self.0.clone(),
        }
    }

    /// The attributes that it refers to, those that are gone included.
    pub fn references(&self) -> Vec<AttributeId> {
        let mut out = Vec::new();
        if let Ok(tree) = parse_stored(&self.0, &[]) {
            tree.each_attribute(&mut |_, id| out.extend(id.parse::<AttributeId>()));
        }
        out
    }

    /// The stored text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn names<'a>(variables: &[Variable<'a>]) -> Vec<&'a str> {
    variables.iter().map(|(name, _)| *name).collect()
}

/// `text` with every reference replaced that `replacement` knows.
fn rewrite(text: &str, tree: &super::ast::Node, replacement: impl Fn(&str) -> Option<String>) -> EcoString {
    let (mut out, mut copied) = (EcoString::new(), 0);
    tree.each_attribute(&mut |Span { start, end }, name| {
        if let Some(new) = replacement(name) {
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
