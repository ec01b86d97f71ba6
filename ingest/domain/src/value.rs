//! What a cell may hold. Totally ordered, hashable, and exact: two values are equal if and only if they show alike.

use std::fmt;
use std::sync::Arc;

use ecow::EcoString;
use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::id::EntityId;

/// A cell's value. 24 bytes; cloning never copies text or lists.
///
/// The order is that of the variants, then that of the content; blank comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    /// Nothing there.
    #[default]
    Blank,
    /// A checkbox, or the answer to a comparison.
    Bool(bool),
    /// A decimal number of up to 28 digits. Always normalised: see [`Value::number`].
    Number(#[serde(with = "decimal_bytes")] Decimal),
    /// Text; also the chosen option of a single select.
    Text(EcoString),
    /// A day of the calendar, without a zone.
    Date(Date),
    /// An instant, in UTC.
    DateTime(Timestamp),
    /// The target of a single link.
    Link(EntityId),
    /// The targets of a multiple link, in the link's order.
    Links(Arc<[EntityId]>),
    /// Several values, in order: a lookup through a multiple link, the options of a multi select.
    List(Arc<[Value]>),
    /// What a formula says in place of a result. It flows and retracts as any other value.
    Error(Arc<ErrorValue>),
}

/// An error as a value of a cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ErrorValue {
    /// What kind of error, for programs.
    pub kind: ErrorKind,
    /// What went wrong, for people.
    pub message: EcoString,
}

/// The kinds of error that a cell may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// Division by zero.
    Div0,
    /// A value that the operation cannot work on.
    Value,
    /// A number, date or text out of range.
    Range,
    /// The attribute that was referred to is gone.
    Reference,
    /// A formula that no longer fits the attributes it refers to.
    Type,
    /// The evaluation took more steps or memory than it may.
    Limit,
    /// What the function ERROR made.
    User,
    /// The cell depends on itself, through links that lead back to its entity.
    Cycle,
}

impl ErrorKind {
    /// The name that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Div0 => "div0",
            ErrorKind::Value => "value",
            ErrorKind::Range => "range",
            ErrorKind::Reference => "reference",
            ErrorKind::Type => "type",
            ErrorKind::Limit => "limit",
            ErrorKind::User => "error",
            ErrorKind::Cycle => "cycle",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Value {
    /// A number, in the one form in which it is kept: no trailing zeros, no negative zero.
    pub fn number(number: Decimal) -> Value {
        let mut number = number.normalize();
        if number.is_zero() {
            number = Decimal::ZERO;
        }
        Value::Number(number)
    }

    /// Text.
    pub fn text(text: impl Into<EcoString>) -> Value {
        Value::Text(text.into())
    }

    /// A list. Blanks are not listed, and a list of nothing is blank.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
        let items: Arc<[Value]> = items.into_iter().filter(|item| !item.is_blank()).collect();
        if items.is_empty() { Value::Blank } else { Value::List(items) }
    }

    /// An error.
    pub fn error(kind: ErrorKind, message: impl Into<EcoString>) -> Value {
        Value::Error(Arc::new(ErrorValue { kind, message: message.into() }))
    }

    /// How much memory it takes beside itself, in bytes: what it shares with others is counted each time.
    pub fn heap_bytes(&self) -> usize {
        // Shared memory has two counts in front.
        const SHARED: usize = 2 * size_of::<usize>();
        // Short texts are in the value itself.
        let text = |text: &EcoString| if text.len() < size_of::<EcoString>() { 0 } else { SHARED + text.len() };
        match self {
            Value::Blank | Value::Bool(_) | Value::Number(_) | Value::Date(_) | Value::DateTime(_) | Value::Link(_) => 0,
            Value::Text(value) => text(value),
            Value::Links(ids) => SHARED + size_of_val(&**ids),
            Value::List(items) => SHARED + size_of_val(&**items) + items.iter().map(Value::heap_bytes).sum::<usize>(),
            Value::Error(error) => SHARED + size_of::<ErrorValue>() + text(&error.message),
        }
    }

    /// Whether nothing is there. Empty text is not blank; an empty list is.
    pub fn is_blank(&self) -> bool {
        match self {
            Value::Blank => true,
            Value::List(items) => items.is_empty(),
            Value::Links(ids) => ids.is_empty(),
            _ => false,
        }
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    /// The entities that a link's value leads to, in order.
    pub fn targets(&self) -> &[EntityId] {
        match self {
            Value::Link(id) => std::slice::from_ref(id),
            Value::Links(ids) => ids,
            _ => &[],
        }
    }

    /// The word for this value's type in messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Blank => "blank",
            Value::Bool(_) => "checkbox",
            Value::Number(_) => "number",
            Value::Text(_) => "text",
            Value::Date(_) => "date",
            Value::DateTime(_) => "datetime",
            Value::Link(_) | Value::Links(_) => "link",
            Value::List(_) => "list",
            Value::Error(_) => "error",
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Value {
        Value::Number(Decimal::from(n))
    }
}

/// A decimal as its sixteen bytes, for exchange between processes.
mod decimal_bytes {
    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        number.serialize().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        <[u8; 16]>::deserialize(deserializer).map(Decimal::deserialize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_small() {
        assert_eq!(std::mem::size_of::<Value>(), 24);
    }

    #[test]
    fn equal_numbers_show_alike() {
        for (a, b) in [("1.50", "1.5"), ("-0.00", "0"), ("100", "1e2")] {
            let number = |s: &str| Value::number(s.parse().or_else(|_| Decimal::from_scientific(s)).unwrap());
            assert_eq!(format!("{:?}", number(a)), format!("{:?}", number(b)));
        }
    }
}
