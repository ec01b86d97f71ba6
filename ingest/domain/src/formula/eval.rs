//! Program and row to value. Total: every evaluation ends with a value, an error being one.

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use super::Span;
use super::ast::Operator;
use super::cells::Cells;
use super::coerce::{bounded, compare, equal, number, text, truth};
use super::functions::{Call, Function};
use super::locale::Locale;
use super::outcome::{Outcome, error};
use super::power::power;
use super::time;
use super::types::Type;
use super::work;
use crate::exact::ExactFraction;
use crate::id::AttributeId;
use crate::schema::Conversion;
use crate::value::{ErrorKind, ErrorValue, Value};

/// Under which circumstances a formula is evaluated. No clock is read: what the time is, is part of this.
#[derive(Clone, Debug)]
pub struct Context {
    /// The zone in which days begin and instants are shown.
    pub zone: TimeZone,
    /// The language of the names of months and days.
    pub locale: Locale,
    /// The time. Without one it is that of the cells, and if these have none, NOW and TODAY are errors.
    pub now: Option<Timestamp>,
}

impl Context {
    /// In UTC, in English, at no time.
    pub fn utc() -> &'static Context {
        static UTC: LazyLock<Context> = LazyLock::new(|| Context { zone: TimeZone::UTC, locale: Locale::english(), now: None });
        &UTC
    }
}

/// A checked formula, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// What to compute.
    pub expr: Expr,
    /// The type of the result.
    pub result: Type,
    /// The attributes that it reads, sorted.
    pub references: Vec<AttributeId>,
    /// The attributes of the host of a crossing that it reads, sorted.
    pub host_references: Vec<AttributeId>,
    /// Whether it asks what time it is.
    pub is_timed: bool,
}

/// An expression of a program.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A value.
    Constant(Value),
    /// A cell of the entity.
    Attribute(AttributeId),
    /// A cell of the host of a crossing.
    HostAttribute(AttributeId),
    /// The ids of the entities to which a stored link of the entity, or of the host, leads; their cells say how many there are.
    Links {
        /// The link.
        link: AttributeId,
        /// Whether it is the host's.
        of_host: bool,
    },
    /// What is shown of stored values. It stands alone.
    Converted(Arc<Conversion>),
    /// A list, where blank is one of nothing: so cells hold it.
    Listed(Box<Expr>),
    /// A variable, by its place among those that are known there.
    Variable(usize),
    /// Something in which the time is known to the millisecond.
    Exact(Box<Expr>),
    /// Sums, differences, products and quotients of numbers, computed as one fraction that is rounded at the end: a third
    /// times three is one.
    Fraction(Box<Expr>),
    /// The number with the other sign.
    Negate(Box<Expr>, Span),
    /// An operator between two operands.
    Binary(Operator, Box<(Expr, Expr)>, Span),
    /// A function whose arguments are all evaluated first; an error among them is the result.
    Call(&'static Function, Box<[Expr]>, Span),
    /// A function that chooses what it evaluates.
    Lazy(&'static Function, Box<[Expr]>, Span),
}

impl Expr {
    /// Whether it calls a function that passes this test.
    pub fn calls(&self, is_meant: &dyn Fn(&Function) -> bool) -> bool {
        self.has(&|part| matches!(part, Expr::Call(function, ..) | Expr::Lazy(function, ..) if is_meant(function)))
    }

    /// Whether it, or a part of it, passes this test. As deep as formulas may be nested.
    fn has(&self, is_meant: &dyn Fn(&Expr) -> bool) -> bool {
        let of_parts = match self {
            Expr::Constant(_)
            | Expr::Attribute(_)
            | Expr::HostAttribute(_)
            | Expr::Links { .. }
            | Expr::Converted(_)
            | Expr::Variable(_) => false,
            Expr::Exact(operand) | Expr::Fraction(operand) | Expr::Listed(operand) | Expr::Negate(operand, _) => operand.has(is_meant),
            Expr::Binary(_, operands, _) => operands.0.has(is_meant) || operands.1.has(is_meant),
            Expr::Call(_, arguments, _) | Expr::Lazy(_, arguments, _) => arguments.iter().any(|argument| argument.has(is_meant)),
        };
        of_parts || is_meant(self)
    }

    /// Whether it reads what is stored of an attribute, whichever its cells are.
    fn reads_stored(&self) -> bool {
        match self {
            Expr::Links { .. } => true,
            Expr::Lazy(function, ..) => is_of_writing(function),
            _ => false,
        }
    }

    /// The same with other ids of cells. As deep as formulas may be nested.
    fn with_cells(&self, cells: &dyn Fn(AttributeId) -> AttributeId) -> Self {
        let all = |exprs: &[Expr]| exprs.iter().map(|expr| expr.with_cells(cells)).collect();
        match self {
            Expr::Attribute(id) => Expr::Attribute(cells(*id)),
            Expr::HostAttribute(id) => Expr::HostAttribute(cells(*id)),
            // Links, and when something was written to, are known by the attribute, and not by its cells.
            Expr::Constant(_) | Expr::Links { .. } | Expr::Converted(_) | Expr::Variable(_) => self.clone(),
            Expr::Lazy(function, ..) if is_of_writing(function) => self.clone(),
            Expr::Exact(operand) => Expr::Exact(Box::new(operand.with_cells(cells))),
            Expr::Fraction(operand) => Expr::Fraction(Box::new(operand.with_cells(cells))),
            Expr::Listed(operand) => Expr::Listed(Box::new(operand.with_cells(cells))),
            Expr::Negate(operand, span) => Expr::Negate(Box::new(operand.with_cells(cells)), *span),
            Expr::Binary(operator, operands, span) => {
                Expr::Binary(*operator, Box::new((operands.0.with_cells(cells), operands.1.with_cells(cells))), *span)
            }
            Expr::Call(function, arguments, span) => Expr::Call(function, all(arguments), *span),
            Expr::Lazy(function, arguments, span) => Expr::Lazy(function, all(arguments), *span),
        }
    }
}

/// Whether it says when attributes were written to, or by whom.
fn is_of_writing(function: &Function) -> bool {
    matches!(function.name, "LAST_MODIFIED_TIME" | "LAST_MODIFIED_BY")
}

/// The steps that one evaluation may take, each an operation on one value or one item of a list: a few milliseconds, for while
/// one cell is computed all others wait.
pub(crate) const STEPS_MAX: u32 = 250_000;

impl Program {
    /// The same with other ids of cells.
    pub fn with_cells(&self, cells: &dyn Fn(AttributeId) -> AttributeId) -> Self {
        let sorted = |ids: &[AttributeId]| {
            let mut ids: Vec<_> = ids.iter().map(|id| cells(*id)).collect();
            ids.sort_unstable();
            ids
        };
        if matches!(self.expr, Expr::Converted(_)) {
            return self.clone();
        }
        let (mut references, mut host_references) = (sorted(&self.references), sorted(&self.host_references));
        if self.expr.has(&Expr::reads_stored) {
            for (all, stored) in [(&mut references, &self.references), (&mut host_references, &self.host_references)] {
                all.extend(stored);
                all.sort_unstable();
                all.dedup();
            }
        }
        let expr = self.expr.with_cells(cells);
        Self { expr, result: self.result.clone(), references, host_references, is_timed: self.is_timed }
    }

    /// The value for these cells, in UTC.
    pub fn evaluate(&self, cells: &dyn Cells) -> Value {
        self.outcome(cells, Context::utc(), Vec::new()).unwrap_or_else(|(error, _)| Value::Error(error))
    }

    /// The value for these cells when its variables have these values.
    pub fn evaluate_with(&self, cells: &dyn Cells, variables: Vec<Value>) -> Value {
        self.outcome(cells, Context::utc(), variables).unwrap_or_else(|(error, _)| Value::Error(error))
    }

    /// The value for these cells under these circumstances, or the error and the place in the formula where it came up.
    pub fn outcome(&self, cells: &dyn Cells, context: &Context, variables: Vec<Value>) -> Result<Value, (Arc<ErrorValue>, Option<Span>)> {
        let run = |exact: &Context, context: &Context| {
            let mut evaluation = Evaluation::new(cells, exact, context, variables);
            let outcome = evaluation.expr(&self.expr);
            work::taken(evaluation.steps);
            match outcome {
                // So cells hold it.
                Ok(Value::List(items)) if items.is_empty() => Ok(Value::Blank),
                outcome => outcome.map_err(|error| (error, evaluation.failed_at)),
            }
        };
        match context.now.or_else(|| cells.now()).filter(|_| self.is_timed) {
            Some(now) => {
                let (exact, context) = time::contexts(context, now);
                run(&exact, &context)
            }
            None => run(context, context),
        }
    }
}

/// One evaluation under way.
pub struct Evaluation<'a> {
    /// The cells of the entity.
    pub cells: &'a dyn Cells,
    /// The circumstances.
    pub context: &'a Context,
    /// The same, with the time to the millisecond.
    exact: &'a Context,
    /// The values of the variables that are known now.
    pub variables: Vec<Value>,
    pub(super) steps: u32,
    /// The innermost place of the error that is on its way.
    failed_at: Option<Span>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(cells: &'a dyn Cells, exact: &'a Context, context: &'a Context, variables: Vec<Value>) -> Self {
        Self { cells, context, exact, variables, steps: 0, failed_at: None }
    }

    /// The value of `expr`.
    pub fn expr(&mut self, expr: &Expr) -> Outcome {
        self.step(1)?;
        match expr {
            Expr::Constant(value) => flows(value.clone()),
            Expr::Attribute(id) => flows(self.cells.cell(*id)),
            Expr::HostAttribute(id) => flows(self.cells.host_cell(*id)),
            Expr::Links { link, of_host } => {
                let cell = if *of_host { self.cells.host_cell(*link) } else { self.cells.cell(*link) };
                match cell.targets() {
                    [] => Ok(Value::Blank),
                    ids => Ok(Value::List(ids.iter().map(|id| Value::Link(*id)).collect())),
                }
            }
            Expr::Converted(conversion) => flows(conversion.value(self.cells)),
            Expr::Variable(place) => flows(self.variables.get(*place).cloned().unwrap_or_default()),
            Expr::Listed(operand) => match self.expr(operand)? {
                Value::Blank => Ok(Value::List([].into())),
                value => Ok(value),
            },
            Expr::Exact(operand) => {
                let coarse = std::mem::replace(&mut self.context, self.exact);
                let outcome = self.expr(operand);
                self.context = coarse;
                outcome
            }
            Expr::Fraction(operand) => {
                let fraction = self.fraction(operand)?;
                fraction.total().map(Value::number).ok_or_else(|| too_large("/"))
            }
            Expr::Negate(operand, span) => {
                let operand = self.expr(operand)?;
                self.at(*span, number(&operand).map(|n| Value::number(-n)))
            }
            Expr::Binary(operator, operands, span) => {
                let (left, right) = (self.expr(&operands.0)?, self.expr(&operands.1)?);
                self.step(weight(&left) + weight(&right))?;
                self.at(*span, binary(*operator, &left, &right))
            }
            Expr::Call(function, arguments, span) => self.call(function, arguments, *span),
            Expr::Lazy(function, arguments, span) => {
                let outcome = match function.call {
                    Call::Lazy(call) => call(self, arguments),
                    Call::Strict(_) | Call::Dated(_) => Err(misplaced(function)),
                };
                self.at(*span, outcome)
            }
        }
    }

    /// The value of what lies within an [`Expr::Fraction`].
    fn fraction(&mut self, expr: &Expr) -> Outcome<ExactFraction> {
        self.step(1)?;
        match expr {
            Expr::Negate(operand, _) => Ok(self.fraction(operand)?.negated()),
            Expr::Binary(operator, operands, span) if operator.is_of_fractions() => {
                let (left, right) = (self.fraction(&operands.0)?, self.fraction(&operands.1)?);
                let result = match operator {
                    Operator::Add => left.plus(&right),
                    Operator::Subtract => left.plus(&right.negated()),
                    Operator::Multiply => left.times(&right),
                    _ if right.is_zero() => return self.at(*span, Err(divided_by_zero())),
                    _ => left.over(&right),
                };
                self.at(*span, result.ok_or_else(|| too_large(operator.symbol())))
            }
            other => {
                let value = self.expr(other)?;
                self.step(weight(&value))?;
                number(&value).map(ExactFraction::from)
            }
        }
    }

    fn call(&mut self, function: &'static Function, arguments: &[Expr], span: Span) -> Outcome {
        // Most functions have one argument, and need no allocation for it.
        let (only, many);
        let values: &[Value] = match arguments {
            [argument] => {
                only = [self.expr(argument)?];
                &only
            }
            arguments => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.expr(argument)?);
                }
                many = values;
                &many
            }
        };
        self.step(values.iter().map(weight).sum())?;
        let outcome = match function.call {
            Call::Strict(call) => call(values),
            Call::Dated(call) => match self.own_context(arguments.first()) {
                Ok(Some(context)) => call(&context, values),
                Ok(None) => call(self.context, values),
                Err(error) => Err(error),
            },
            Call::Lazy(_) => Err(misplaced(function)),
        };
        if let Ok(value) = &outcome {
            self.step(weight(value))?;
        }
        self.at(span, outcome)
    }

    /// The zone and language that a date brings along from SET_TIMEZONE and SET_LOCALE, if it does.
    pub(super) fn own_context(&mut self, expr: Option<&Expr>) -> Outcome<Option<Context>> {
        let Some(Expr::Call(function, arguments, _) | Expr::Lazy(function, arguments, _)) = expr else { return Ok(None) };
        let mut context = match function.name {
            "SET_TIMEZONE" | "SET_LOCALE" | "DATEADD" | "WORKDAY" => self.own_context(arguments.first())?,
            _ => return Ok(None),
        };
        if matches!(function.name, "SET_TIMEZONE" | "SET_LOCALE") {
            let named = self.expr(&arguments[1])?;
            let own = context.get_or_insert_with(|| self.context.clone());
            match function.name {
                "SET_TIMEZONE" => own.zone = super::dates::zone(&text(&named))?,
                _ => own.locale = Locale::named(&text(&named))?,
            }
        }
        Ok(context)
    }

    /// Counts steps; an error when there were too many.
    pub fn step(&mut self, count: usize) -> Outcome<()> {
        self.steps = self.steps.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if self.steps > STEPS_MAX {
            return Err(error(ErrorKind::Limit, format!("the formula takes more than {STEPS_MAX} steps")));
        }
        Ok(())
    }

    /// The value of `expr`, an error being one; whatever error there was is forgotten.
    pub fn caught(&mut self, expr: &Expr) -> Value {
        let outcome = self.expr(expr);
        self.failed_at = None;
        outcome.unwrap_or_else(Value::Error)
    }

    /// Keeps the innermost place of an error.
    fn at<T>(&mut self, span: Span, outcome: Outcome<T>) -> Outcome<T> {
        if outcome.is_err() && self.failed_at.is_none() {
            self.failed_at = Some(span);
        }
        outcome
    }
}

/// How many steps it takes to look at a value, beside the one for the operation: as many as a list has items, and one for
/// so many bytes of a text.
pub(super) fn weight(value: &Value) -> usize {
    const BYTES_PER_STEP: usize = 32;
    match value {
        Value::List(items) => items.len(),
        Value::Text(text) => text.len() / BYTES_PER_STEP,
        _ => 0,
    }
}

/// An error as a value becomes an error on its way, and so does the first one in a list.
fn flows(value: Value) -> Outcome {
    match value {
        Value::Error(error) => Err(error),
        Value::List(items) => match first_error(&items) {
            Some(error) => Err(error.clone()),
            None => Ok(Value::List(items)),
        },
        value => Ok(value),
    }
}

fn first_error(items: &[Value]) -> Option<&Arc<ErrorValue>> {
    items.iter().find_map(|item| match item {
        Value::Error(error) => Some(error),
        Value::List(items) => first_error(items),
        _ => None,
    })
}

fn misplaced(function: &Function) -> Arc<ErrorValue> {
    error(ErrorKind::Value, format!("{} cannot be called so", function.name))
}

fn binary(operator: Operator, left: &Value, right: &Value) -> Outcome {
    use Operator::*;
    Ok(match operator {
        Join => {
            let (left, right) = (text(left), text(right));
            bounded(left.len() + right.len())?;
            Value::Text(left + right)
        }
        And => Value::Bool(truth(left) && truth(right)),
        Or => Value::Bool(truth(left) || truth(right)),
        Equal => Value::Bool(equal(left, right)),
        NotEqual => Value::Bool(!equal(left, right)),
        Less => Value::Bool(compare(left, right)? == Ordering::Less),
        LessEqual => Value::Bool(compare(left, right)? != Ordering::Greater),
        Greater => Value::Bool(compare(left, right)? == Ordering::Greater),
        GreaterEqual => Value::Bool(compare(left, right)? != Ordering::Less),
        // Of a type that is known only now: text is joined, as where it is known before.
        Add if matches!(left, Value::Text(_)) || matches!(right, Value::Text(_)) => return binary(Join, left, right),
        Add | Subtract | Multiply | Divide | Modulo | Power => {
            let (a, b) = (number(left)?, number(right)?);
            let result = match operator {
                Add => a.checked_add(b),
                Subtract => a.checked_sub(b),
                Multiply => a.checked_mul(b),
                Divide | Modulo if b.is_zero() => return Err(divided_by_zero()),
                Divide => a.checked_div(b),
                Modulo => modulo(a, b),
                _ => return power(a, b).map(Value::number),
            };
            Value::number(result.ok_or_else(|| too_large(operator.symbol()))?)
        }
    })
}

fn divided_by_zero() -> Arc<ErrorValue> {
    error(ErrorKind::Div0, "division by zero")
}

/// The error of a result for which a number has no room.
pub fn too_large(operation: &str) -> Arc<ErrorValue> {
    error(ErrorKind::Range, format!("the result of `{operation}` has more digits than a number may have"))
}

/// The remainder with the sign of the divisor.
pub fn modulo(a: Decimal, b: Decimal) -> Option<Decimal> {
    let remainder = a.checked_rem(b)?;
    if !remainder.is_zero() && remainder.is_sign_negative() != b.is_sign_negative() { remainder.checked_add(b) } else { Some(remainder) }
}
