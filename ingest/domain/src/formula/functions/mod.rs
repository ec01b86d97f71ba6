//! The functions of the language: one file for a small family, one line in `FAMILIES` for the file.

mod conditional;
mod constant;
mod date;
mod numeric;
mod text;

pub use date::Unit;

use std::fmt;

use super::eval::{Evaluation, Expr, Outcome};
use super::types::Type;
use crate::value::Value;

/// Every family of functions.
const FAMILIES: &[&[Function]] = &[conditional::FUNCTIONS, constant::FUNCTIONS, numeric::FUNCTIONS, text::FUNCTIONS, date::FUNCTIONS];

/// A function of the formula language.
pub struct Function {
    /// Its name, in capitals.
    pub name: &'static str,
    /// What it takes.
    pub parameters: Parameters,
    /// The type that it gives for arguments of these types.
    pub returns: fn(&[Type]) -> Type,
    /// What it does.
    pub call: Call,
}

/// How a function is called.
#[derive(Clone, Copy)]
pub enum Call {
    /// With the values of all arguments; an error among them is the result, and the function is not called.
    Strict(fn(&[Value]) -> Outcome),
    /// With the arguments unevaluated: it may leave some out, or stop an error.
    Lazy(fn(&mut Evaluation<'_>, &[Expr]) -> Outcome),
}

/// What a function takes.
pub struct Parameters {
    /// Arguments that must be there.
    pub required: &'static [Kind],
    /// Arguments that may follow.
    pub optional: &'static [Kind],
    /// Arguments that may follow those, any number of them.
    pub rest: Option<Kind>,
}

impl Parameters {
    const fn exactly(required: &'static [Kind]) -> Self {
        Self { required, optional: &[], rest: None }
    }

    const fn with_optional(required: &'static [Kind], optional: &'static [Kind]) -> Self {
        Self { required, optional, rest: None }
    }

    const fn at_least_one(kind: Kind, required: &'static [Kind]) -> Self {
        Self { required, optional: &[], rest: Some(kind) }
    }

    /// The kind of the argument at `index`, counted from 0.
    pub fn kind(&self, index: usize) -> Kind {
        self.required.iter().chain(self.optional).nth(index).copied().or(self.rest).unwrap_or(Kind::Any)
    }

    /// The most arguments, if there is a bound.
    pub fn most(&self) -> Option<usize> {
        self.rest.is_none().then_some(self.required.len() + self.optional.len())
    }
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Any,
    /// A number, or what can be read as one.
    Number,
    /// A number, a date, or a datetime.
    Ordered,
    /// Text, or anything shown as text.
    Text,
    /// A condition.
    Condition,
    /// A date or datetime.
    Moment,
    /// The name of a unit of time.
    Unit,
}

impl Kind {
    /// Whether values of type `ty` may stand here; what a value then is may still give an error as a value.
    pub fn accepts(self, ty: &Type) -> bool {
        let item = ty.item();
        match self {
            Kind::Any | Kind::Text | Kind::Condition => true,
            Kind::Number => matches!(item, Type::Number | Type::Bool | Type::Text | Type::Blank | Type::Any),
            Kind::Ordered => Kind::Number.accepts(ty) || item.is_moment(),
            Kind::Moment => item.is_moment(),
            Kind::Unit => matches!(item, Type::Text | Type::Any),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Any => "any value",
            Kind::Number => "a number",
            Kind::Ordered => "a number or date",
            Kind::Text => "text",
            Kind::Condition => "a condition",
            Kind::Moment => "a date or datetime",
            Kind::Unit => "a unit of time in quotes",
        })
    }
}

/// The function of this name, in capitals.
pub fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

/// Every function.
pub fn all() -> impl Iterator<Item = &'static Function> {
    FAMILIES.iter().copied().flatten()
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.name == other.name
    }
}

/// All values in `values`, lists taken apart.
fn flattened<'a>(values: &'a [Value], visit: &mut dyn FnMut(&'a Value) -> Outcome<()>) -> Outcome<()> {
    for value in values {
        match value {
            Value::List(items) => flattened(items, visit)?,
            Value::Error(e) => return Err(e.clone()),
            other => visit(other)?,
        }
    }
    Ok(())
}
