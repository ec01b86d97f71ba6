//! What a value counts as where another type is wanted, and how values compare.

use std::cmp::Ordering;

use ecow::EcoString;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use super::dates::{self, Moment};
use super::outcome::{Outcome, article, error, excerpt};
use crate::value::{ErrorKind, Value};

/// The longest text that a formula may make, in bytes.
pub const TEXT_LENGTH_MAX: usize = 100_000;

/// The most items of a list.
pub const ITEMS_MAX: usize = 10_000;

/// A list with its blanks; refused if it is too long.
pub fn list(items: Vec<Value>) -> Outcome {
    match items.len() {
        length if length > ITEMS_MAX => {
            Err(error(ErrorKind::Limit, format!("the list would have {length} items; {ITEMS_MAX} are the most")))
        }
        _ => Ok(Value::List(items.into())),
    }
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
            let parsed = if trimmed.contains('_') { Err(()) } else { Ok(()) };
            let parsed = parsed.and_then(|()| trimmed.parse().or_else(|_| Decimal::from_scientific(trimmed)).map_err(drop));
            parsed.map_err(|_| error(ErrorKind::Value, format!("\"{}\" is not a number", excerpt(t))))
        }
        Value::List(items) => number(only(items, "number")?),
        other => Err(error(ErrorKind::Value, format!("{} is not a number", article(other.type_name())))),
    }
}

/// The one item of a list that stands where one value is wanted.
pub fn only<'a>(items: &'a [Value], wanted: &str) -> Outcome<&'a Value> {
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

/// As a day or an instant; `None` for blank and empty text. Text is read as a date, in this zone if it names none.
pub fn moment(value: &Value, zone: &TimeZone) -> Outcome<Option<Moment>> {
    match value {
        Value::Blank => Ok(None),
        Value::Date(date) => Ok(Some(Moment::Date(*date))),
        Value::DateTime(at) => Ok(Some(Moment::DateTime(*at))),
        Value::List(items) => moment(only(items, "date")?, zone),
        Value::Text(text) if text.trim().is_empty() => Ok(None),
        Value::Text(text) => {
            let parsed = dates::parse(text.trim(), zone);
            parsed.map(Some).ok_or_else(|| error(ErrorKind::Value, format!("\"{}\" is not a date", excerpt(text))))
        }
        other => Err(error(ErrorKind::Value, format!("{} is not a date", article(other.type_name())))),
    }
}

/// `=`: of unlike types never, but for numbers and conditions; blank equals blank and empty text.
pub fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::List(a), b) if a.len() == 1 && !matches!(b, Value::List(_)) => equal(&a[0], b),
        (a, Value::List(b)) if b.len() == 1 && !matches!(a, Value::List(_)) => equal(a, &b[0]),
        (Value::Blank, Value::Text(t)) | (Value::Text(t), Value::Blank) => t.is_empty(),
        // Beside a text a list is the text that it shows.
        (Value::List(_), Value::Text(t)) => text(left) == *t,
        (Value::Text(t), Value::List(_)) => text(right) == *t,
        (Value::Link(id), Value::Text(t)) | (Value::Text(t), Value::Link(id)) => ecow::eco_format!("{id}") == *t,
        (Value::Bool(_), Value::Number(_)) | (Value::Number(_), Value::Bool(_)) => number(left).ok() == number(right).ok(),
        (Value::Date(_) | Value::DateTime(_), Value::Date(_) | Value::DateTime(_) | Value::Text(_))
        | (Value::Text(_), Value::Date(_) | Value::DateTime(_)) => compare(left, right) == Ok(Ordering::Equal),
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
            let civil = |value| moment(value, &TimeZone::UTC).map(|m| m.map(|m| m.civil(&TimeZone::UTC)));
            Ok(civil(left)?.cmp(&civil(right)?))
        }
        (Value::Number(_) | Value::Bool(_) | Value::Blank, Value::Number(_) | Value::Bool(_) | Value::Blank) => {
            Ok(number(left)?.cmp(&number(right)?))
        }
        (a, b) => {
            let (a, b) = (article(a.type_name()), article(b.type_name()));
            Err(error(ErrorKind::Value, format!("{a} and {b} cannot be put in order")))
        }
    }
}
