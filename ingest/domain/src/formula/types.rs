//! The static types of formulas.

use std::fmt;

/// What a formula or an attribute gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Always blank.
    Blank,
    /// Yes or no.
    Bool,
    /// A decimal number.
    Number,
    /// Text.
    Text,
    /// A day.
    Date,
    /// An instant.
    DateTime,
    /// Several of one type.
    List(Box<Type>),
    /// Known only when evaluated: branches that differ, or an attribute that is gone.
    Any,
}

impl Type {
    /// The type that both fit in: what an IF with these branches gives.
    pub fn union(self, other: Type) -> Type {
        match (self, other) {
            (a, b) if a == b => a,
            (Type::Blank, other) | (other, Type::Blank) => other,
            (Type::Date, Type::DateTime) | (Type::DateTime, Type::Date) => Type::DateTime,
            _ => Type::Any,
        }
    }

    /// The type of a list's items, to any depth; of anything else the type itself.
    pub fn item(&self) -> &Type {
        match self {
            Type::List(item) => item.item(),
            other => other,
        }
    }

    /// Whether values of it are days or instants, or may be.
    pub fn is_moment(&self) -> bool {
        matches!(self.item(), Type::Date | Type::DateTime | Type::Blank | Type::Any)
    }

    /// Whether values of it can be put in order beside values of `other`.
    pub fn is_comparable(&self, other: &Type) -> bool {
        match (self.item(), other.item()) {
            (Type::Blank | Type::Any, _) | (_, Type::Blank | Type::Any) => true,
            (a, b) if a.is_moment() && b.is_moment() => true,
            // Text beside a date is read as one.
            (a, Type::Text) | (Type::Text, a) if a.is_moment() => true,
            (Type::Number | Type::Bool, Type::Number | Type::Bool) => true,
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Blank => f.write_str("blank"),
            Type::Bool => f.write_str("checkbox"),
            Type::Number => f.write_str("number"),
            Type::Text => f.write_str("text"),
            Type::Date => f.write_str("date"),
            Type::DateTime => f.write_str("datetime"),
            Type::List(item) => write!(f, "list of {item}"),
            Type::Any => f.write_str("any value"),
        }
    }
}
