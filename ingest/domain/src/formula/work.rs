//! How many steps a formula may take, before there is an entity to compute it for, and how many were taken.

use std::cell::Cell;

use super::ast::Operator;
use super::eval::{Expr, Program, weight};
use super::parse::variable_of;

thread_local! {
    static STEPS_TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// How many steps all evaluations on this thread took so far: the difference of two says what came between.
pub fn steps_taken() -> u64 {
    STEPS_TAKEN.get()
}

/// An evaluation took so many steps.
pub(super) fn taken(steps: u32) {
    STEPS_TAKEN.set(STEPS_TAKEN.get().wrapping_add(steps.into()));
}

/// How large a cell is taken to be, in what [`weight`] counts: a text of a few hundred letters, or a list of so many items.
const CELL: u64 = 16;

/// How large what is written, repeated or taken apart by a function that makes much of little is taken to be.
const MADE: u64 = 1_000;

/// The functions that make much of little.
const MAKERS: &[&str] = &["REPT", "SPLIT", "SUBSTITUTE", "REGEX_REPLACE", "REGEX_EXTRACTALL"];

/// The functions that look at each letter often.
const SEARCHERS: &[&str] = &["REGEX_MATCH", "REGEX_EXTRACT", "REGEX_EXTRACTALL", "REGEX_REPLACE"];

/// What is known of an expression.
#[derive(Clone, Copy)]
struct Estimate {
    /// How many steps it takes.
    work: u64,
    /// How large its value is.
    size: u64,
}

impl Program {
    /// About how many steps an evaluation takes where cells are as they usually are: in the right order of magnitude, whichever
    /// functions are nested in which.
    pub fn work(&self) -> u64 {
        estimate(&self.expr, &mut Vec::new()).work
    }

    /// The same of a formula over the values that a crossing gives, its one variable.
    pub fn work_over_values(&self) -> u64 {
        estimate(&self.expr, &mut vec![CELL]).work
    }
}

/// As deep as formulas may be nested.
fn estimate(expr: &Expr, variables: &mut Vec<u64>) -> Estimate {
    match expr {
        Expr::Constant(value) => Estimate { work: 1, size: weight(value) as u64 },
        Expr::Attribute(_) | Expr::HostAttribute(_) | Expr::Links { .. } | Expr::Converted(_) => Estimate { work: 1, size: CELL },
        Expr::Variable(place) => Estimate { work: 1, size: variables.get(*place).copied().unwrap_or(CELL) },
        Expr::Listed(operand) | Expr::Exact(operand) | Expr::Fraction(operand) | Expr::Negate(operand, _) => {
            let Estimate { work, size } = estimate(operand, variables);
            Estimate { work: work.saturating_add(1), size }
        }
        Expr::Binary(operator, operands, _) => {
            let (left, right) = (estimate(&operands.0, variables), estimate(&operands.1, variables));
            let size = left.size.saturating_add(right.size);
            let work = left.work.saturating_add(right.work).saturating_add(size).saturating_add(1);
            Estimate { work, size: if *operator == Operator::Join { size } else { 0 } }
        }
        Expr::Call(function, arguments, _) | Expr::Lazy(function, arguments, _) => {
            let known = variables.len();
            let (mut work, mut size, mut largest) = (1_u64, 0_u64, 0_u64);
            for (place, argument) in arguments.iter().enumerate() {
                let is_of_items = variable_of(function.name, place).is_some();
                if is_of_items {
                    variables.push(1);
                }
                let argument = estimate(argument, variables);
                match function.name {
                    "LET" => variables.push(argument.size),
                    _ => variables.truncate(known),
                }
                let times = if is_of_items { size.max(1) } else { 1 };
                work = work.saturating_add(argument.work.saturating_mul(times)).saturating_add(argument.size);
                if !is_of_items {
                    size = size.saturating_add(argument.size);
                    largest = largest.max(argument.size);
                }
            }
            variables.truncate(known);
            let size = match function.name {
                name if MAKERS.contains(&name) => size.max(MADE),
                // One of them.
                "IF" | "SWITCH" | "IFS" | "LET" | "COALESCE" | "IFERROR" => largest,
                _ => size,
            };
            let searched = if SEARCHERS.contains(&function.name) { MADE.saturating_add(size) } else { 0 };
            Estimate { work: work.saturating_add(searched), size }
        }
    }
}
