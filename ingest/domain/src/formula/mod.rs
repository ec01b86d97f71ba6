//! The formula language: text to syntax tree ([`parse`]), tree to typed program ([`mod@check`]), program and row to value
//! ([`eval`]).
//!
//! A formula that is stored refers to attributes by id, so that renaming never breaks it: [`Expression`]. What a user
//! writes refers by key or name; [`Expression::from_user`] turns the one into the other and [`Expression::to_user`] back.
//! A bad formula is refused before it is stored, with the place in the text; what can only go wrong with the data gives an
//! error as a value. Nothing here panics, and all work is bounded by [`EXPRESSION_LENGTH_MAX`] and [`DEPTH_MAX`].

pub mod ast;
mod cells;
pub mod check;
pub mod coerce;
mod date_format;
pub mod dates;
mod equality;
pub mod eval;
mod expression;
pub mod functions;
pub mod locale;
pub mod outcome;
pub mod parse;
pub mod power;
pub mod reference;
mod time;
pub mod token;
pub mod types;
mod work;

pub use cells::{At, Cells, MODIFIED};
pub use check::{Attributes, Resolved, Scope, Variable, check};
pub use equality::{Equality, ValueKey};
pub use eval::{Context, Program};
pub use expression::Expression;
pub use types::Type;
pub use work::steps_taken;

use std::fmt;

use crate::id::KEY_LENGTH_MAX;

/// The longest formula that a user may write, in bytes.
pub const EXPRESSION_LENGTH_MAX: usize = 32 * 1024;

/// The longest formula in its stored form, where a reference that was written with one letter has 38.
const STORED_LENGTH_MAX: usize = 16 * EXPRESSION_LENGTH_MAX;

/// How deep a formula may be nested: brackets, calls, and chains of operators.
pub const DEPTH_MAX: usize = 250;

/// A range of bytes in a formula's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// The range that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// What is wrong with a formula's text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at byte {})", span.start)]
pub struct FormulaError {
    /// The kind of mistake.
    pub kind: FormulaErrorKind,
    /// What is wrong, and if possible what would be right.
    pub message: String,
    /// Where in the text.
    pub span: Span,
}

/// The kinds of mistake in a formula's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormulaErrorKind {
    /// The text is not a formula.
    Syntax,
    /// A function or operator got what it cannot work on, or does not exist.
    Type,
    /// No attribute goes by that name.
    UnknownAttribute,
    /// The text is too long or too deep.
    TooLarge,
}

impl FormulaError {
    pub(crate) fn new(kind: FormulaErrorKind, span: Span, message: impl fmt::Display) -> Self {
        Self { kind, span, message: message.to_string() }
    }
}

/// The candidate nearest to what was written, if one is near enough to be meant.
pub fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // What is much longer than any name is near to none, and comparing it would cost its length times theirs.
    if written.len() > 4 * KEY_LENGTH_MAX {
        return None;
    }
    let written = written.to_lowercase();
    // Of a short name nearly any other is near.
    let is_near = |distance: usize, candidate: &str| {
        let length = written.chars().count().min(candidate.chars().count());
        distance <= 1 + length / 4 && distance < length.max(1)
    };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&written, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| is_near(*distance, candidate))
        .min()
        .map(|(_, candidate)| candidate)
}
