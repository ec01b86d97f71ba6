//! Program and row to value. Total: every evaluation ends with a value, an error being one.

use std::cmp::Ordering;
use std::sync::Arc;

use ecow::EcoString;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::{Decimal, MathematicalOps};

use super::ast::Operator;
use super::functions::{Call, Function};
use super::types::Type;
use crate::id::AttributeId;
use crate::value::{ErrorKind, ErrorValue, Value};

/// A value, or the error that takes its place.
pub type Outcome<T = Value> = Result<T, Arc<ErrorValue>>;

/// The cells of one entity.
pub trait Cells {
    /// The cell of this attribute; blank where there is none.
    fn cell(&self, attribute: AttributeId) -> Value;
}

impl<F: Fn(AttributeId) -> Value> Cells for F {
    fn cell(&self, attribute: AttributeId) -> Value {
        self(attribute)
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
}

/// An expression of a program.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A value.
    Constant(Value),
    /// A cell of the entity.
    Attribute(AttributeId),
    /// The number with the other sign.
    Negate(Box<Expr>),
    /// An operator between two operands.
    Binary(Operator, Box<(Expr, Expr)>),
    /// A function whose arguments are all evaluated first; an error among them is the result.
    Call(&'static Function, Box<[Expr]>),
    /// A function that chooses what it evaluates.
    Lazy(&'static Function, Box<[Expr]>),
}

/// The steps that one evaluation may take. Programs do not loop, so that this bounds only their size.
const STEPS_MAX: u32 = 100_000;

/// The longest text that a formula may make, in bytes.
pub const TEXT_LENGTH_MAX: usize = 100_000;

impl Program {
    /// The value for these cells.
    pub fn evaluate(&self, cells: &dyn Cells) -> Value {
        Evaluation { cells, steps: 0 }.expr(&self.expr).unwrap_or_else(Value::Error)
    }
}

/// One evaluation under way.
pub struct Evaluation<'a> {
    cells: &'a dyn Cells,
    steps: u32,
}

impl Evaluation<'_> {
    /// The value of `expr`.
    pub fn expr(&mut self, expr: &Expr) -> Outcome {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(error(ErrorKind::Limit, format!("the formula takes more than {STEPS_MAX} steps")));
        }
        match expr {
            Expr::Constant(Value::Error(e)) => Err(e.clone()),
            Expr::Constant(value) => Ok(value.clone()),
            Expr::Attribute(id) => match self.cells.cell(*id) {
                Value::Error(e) => Err(e),
                value => Ok(value),
            },
            Expr::Negate(operand) => Ok(Value::number(-number(&self.expr(operand)?)?)),
            Expr::Binary(operator, operands) => binary(*operator, &self.expr(&operands.0)?, &self.expr(&operands.1)?),
            Expr::Call(function, arguments) => {
                let Call::Strict(call) = function.call else { return Err(misplaced(function)) };
                // Few functions have more than four arguments: those need no allocation.
                if let [only] = &**arguments {
                    return call(&[self.expr(only)?]);
                }
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.expr(argument)?);
                }
                call(&values)
            }
            Expr::Lazy(function, arguments) => match function.call {
                Call::Lazy(call) => call(self, arguments),
                Call::Strict(_) => Err(misplaced(function)),
            },
        }
    }
}

fn misplaced(function: &Function) -> Arc<ErrorValue> {
    error(ErrorKind::Value, format!("{} cannot be called so", function.name))
}

/// An error to return from a function.
pub fn error(kind: ErrorKind, message: impl Into<EcoString>) -> Arc<ErrorValue> {
    Arc::new(ErrorValue { kind, message: message.into() })
}

fn binary(operator: Operator, left: &Value, right: &Value) -> Outcome {
    use Operator::*;
    Ok(match operator {
        Join => {
            let (left, right) = (text(left), text(right));
            bounded(left.len() + right.len())?;
            Value::Text(left + right)
        }
        Equal => Value::Bool(equal(left, right)),
        NotEqual => Value::Bool(!equal(left, right)),
        Less => Value::Bool(compare(left, right)? == Ordering::Less),
        LessEqual => Value::Bool(compare(left, right)? != Ordering::Greater),
        Greater => Value::Bool(compare(left, right)? == Ordering::Greater),
        GreaterEqual => Value::Bool(compare(left, right)? != Ordering::Less),
        Add | Subtract | Multiply | Divide | Modulo | Power => {
            let (a, b) = (number(left)?, number(right)?);
            let result = match operator {
                Add => a.checked_add(b),
                Subtract => a.checked_sub(b),
                Multiply => a.checked_mul(b),
                Divide | Modulo if b.is_zero() => return Err(error(ErrorKind::Div0, "division by zero")),
                Divide => a.checked_div(b),
                Modulo => modulo(a, b),
                _ => power(a, b),
            };
            Value::number(result.ok_or_else(|| too_large(operator))?)
        }
    })
}

fn too_large(operator: Operator) -> Arc<ErrorValue> {
    error(ErrorKind::Range, format!("the result of `{}` has more digits than a number may have", operator.symbol()))
}

/// The remainder with the sign of the divisor.
fn modulo(a: Decimal, b: Decimal) -> Option<Decimal> {
    let remainder = a.checked_rem(b)?;
    if !remainder.is_zero() && remainder.is_sign_negative() != b.is_sign_negative() { remainder.checked_add(b) } else { Some(remainder) }
}

/// Whole exponents are exact where the result has room; others are approximated, and shown with fifteen digits.
fn power(base: Decimal, exponent: Decimal) -> Option<Decimal> {
    if base.is_zero() && exponent.is_sign_negative() && !exponent.is_zero() {
        return None;
    }
    if base.is_sign_negative() && !exponent.fract().is_zero() {
        return None;
    }
    let power = base.checked_powd(exponent)?;
    if exponent.fract().is_zero() { Some(power) } else { power.round_sf(15) }
}

/// Refuses a text of more than [`TEXT_LENGTH_MAX`] bytes before it is made.
pub fn bounded(length: usize) -> Outcome<()> {
    if length > TEXT_LENGTH_MAX {
        return Err(error(ErrorKind::Limit, format!("the text would have {length} bytes; {TEXT_LENGTH_MAX} are the most")));
    }
    Ok(())
}

/// As a condition: false, zero, blank and empty text are false, all else is true.
pub fn truth(value: &Value) -> bool {
    match value {
        Value::Blank => false,
        Value::Bool(b) => *b,
        Value::Number(n) => !n.is_zero(),
        Value::Text(t) => !t.is_empty(),
        Value::List(items) => items.iter().any(truth),
        Value::Links(ids) => !ids.is_empty(),
        Value::Date(_) | Value::DateTime(_) | Value::Link(_) | Value::Error(_) => true,
    }
}

/// As a number: blank is 0, text is read as one, a list counts as its only item.
pub fn number(value: &Value) -> Outcome<Decimal> {
    match value {
        Value::Number(n) => Ok(*n),
        Value::Blank => Ok(Decimal::ZERO),
        Value::Bool(b) => Ok(Decimal::from(u8::from(*b))),
        Value::Text(t) => {
            let trimmed = t.trim();
            if trimmed.is_empty() {
                return Ok(Decimal::ZERO);
            }
            let parsed = trimmed.parse().or_else(|_| Decimal::from_scientific(trimmed));
            parsed.map_err(|_| error(ErrorKind::Value, format!("\"{}\" is not a number", excerpt(t))))
        }
        Value::List(items) => number(only(items, "number")?),
        other => Err(error(ErrorKind::Value, format!("{} is not a number", article(other.type_name())))),
    }
}

/// The one item of a list that stands where one value is wanted.
fn only<'a>(items: &'a [Value], wanted: &str) -> Outcome<&'a Value> {
    match items {
        [] => Ok(&Value::Blank),
        [Value::Error(e)] => Err(e.clone()),
        [item] => Ok(item),
        _ => Err(error(ErrorKind::Value, format!("a list of {} values stands where one {wanted} is wanted", items.len()))),
    }
}

/// As text: blank is empty, items of a list are joined with ", ".
pub fn text(value: &Value) -> EcoString {
    match value {
        Value::Blank => EcoString::new(),
        Value::Bool(b) => if *b { "true" } else { "false" }.into(),
        Value::Number(n) => ecow::eco_format!("{n}"),
        Value::Text(t) => t.clone(),
        Value::Date(d) => ecow::eco_format!("{d}"),
        Value::DateTime(t) => ecow::eco_format!("{t}"),
        Value::Link(id) => ecow::eco_format!("{id}"),
        Value::Links(ids) => join(ids.iter().map(|id| ecow::eco_format!("{id}"))),
        Value::List(items) => join(items.iter().filter(|item| !item.is_blank()).map(text)),
        Value::Error(e) => ecow::eco_format!("#{}", e.kind),
    }
}

fn join(items: impl Iterator<Item = EcoString>) -> EcoString {
    let mut out = EcoString::new();
    for (i, item) in items.enumerate() {
        if out.len() > TEXT_LENGTH_MAX {
            break;
        }
        if i > 0 {
            out.push_str(", ");
        }
        out.push_str(&item);
    }
    out
}

/// A day or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A day.
    Date(Date),
    /// An instant, in UTC.
    DateTime(Timestamp),
}

impl Moment {
    /// The civil day and time in UTC; a day begins at midnight.
    pub fn civil(self) -> jiff::civil::DateTime {
        match self {
            Moment::Date(date) => date.to_datetime(jiff::civil::Time::midnight()),
            Moment::DateTime(at) => TimeZone::UTC.to_datetime(at),
        }
    }
}

/// As a day or an instant; `None` for blank.
pub fn moment(value: &Value) -> Outcome<Option<Moment>> {
    match value {
        Value::Blank => Ok(None),
        Value::Date(date) => Ok(Some(Moment::Date(*date))),
        Value::DateTime(at) => Ok(Some(Moment::DateTime(*at))),
        Value::List(items) => moment(only(items, "date")?),
        other => Err(error(ErrorKind::Value, format!("{} is not a date", article(other.type_name())))),
    }
}

fn article(noun: &str) -> String {
    format!("a {noun}")
}

/// The first forty characters, for messages.
fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// `=`: of unlike types never; blank equals blank and empty text.
pub fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::List(a), b) if a.len() == 1 && !matches!(b, Value::List(_)) => equal(&a[0], b),
        (a, Value::List(b)) if b.len() == 1 && !matches!(a, Value::List(_)) => equal(a, &b[0]),
        (Value::Blank, Value::Text(t)) | (Value::Text(t), Value::Blank) => t.is_empty(),
        (Value::Link(id), Value::Text(t)) | (Value::Text(t), Value::Link(id)) => ecow::eco_format!("{id}") == *t,
        (Value::Bool(_), Value::Number(_)) | (Value::Number(_), Value::Bool(_)) => number(left).ok() == number(right).ok(),
        (Value::Date(_), Value::DateTime(_)) | (Value::DateTime(_), Value::Date(_)) => compare(left, right) == Ok(Ordering::Equal),
        (a, b) if a.is_blank() && b.is_blank() => true,
        (a, b) => a == b,
    }
}

/// The order of two values of like type. Blank acts as 0 beside a number, "" beside a text, and before any date.
pub fn compare(left: &Value, right: &Value) -> Outcome<Ordering> {
    match (left, right) {
        (Value::List(items), other) | (other, Value::List(items)) => {
            let item = only(items, "value")?;
            if matches!(left, Value::List(_)) { compare(item, other) } else { compare(other, item) }
        }
        (Value::Blank, Value::Blank) => Ok(Ordering::Equal),
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        (Value::Text(a), Value::Blank) => Ok(a.as_str().cmp("")),
        (Value::Blank, Value::Text(b)) => Ok("".cmp(b)),
        (Value::Date(_) | Value::DateTime(_), _) | (_, Value::Date(_) | Value::DateTime(_)) => {
            let civil = |value| moment(value).map(|m| m.map(Moment::civil));
            Ok(civil(left)?.cmp(&civil(right)?))
        }
        (Value::Number(_) | Value::Bool(_) | Value::Blank, Value::Number(_) | Value::Bool(_) | Value::Blank) => {
            Ok(number(left)?.cmp(&number(right)?))
        }
        (a, b) => Err(error(ErrorKind::Value, format!("a {} and a {} cannot be put in order", a.type_name(), b.type_name()))),
    }
}
