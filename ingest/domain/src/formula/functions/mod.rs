//! The functions of the language: one file for a small family, one line in [`FAMILIES`] for the file. The language
//! reference is made from what stands with each function here; its examples are run as tests.

mod array;
mod calendar;
mod date;
mod date_text;
mod file;
mod logical;
mod numeric;
mod record;
mod regex;
pub(crate) mod rounding;
mod statistic;
mod text;
mod text_search;

pub use date::Unit;

use std::fmt;

use rust_decimal::Decimal;

use super::coerce::{equal, number, text as as_text};
use super::eval::{Context, Evaluation, Expr};
use super::outcome::Outcome;
use super::types::Type;
use crate::value::Value;

/// Functions that belong together, with a heading.
pub type Family = (&'static str, &'static [Function]);

/// Every family of functions.
pub const FAMILIES: &[Family] = &[
    ("Logic", logical::FUNCTIONS),
    ("Numbers", numeric::FUNCTIONS),
    ("Rounding", rounding::FUNCTIONS),
    ("Statistics", statistic::FUNCTIONS),
    ("Text", text::FUNCTIONS),
    ("Searching text", text_search::FUNCTIONS),
    ("Regular expressions", regex::FUNCTIONS),
    ("Dates", date::FUNCTIONS),
    ("Calendar", calendar::FUNCTIONS),
    ("Dates as text", date_text::FUNCTIONS),
    ("Lists", array::FUNCTIONS),
    ("Files", file::FUNCTIONS),
    ("Records", record::FUNCTIONS),
];

/// The functions whose value changes with time alone.
pub const TIMED: &[&str] = &["NOW", "TODAY", "FROMNOW", "TONOW"];

/// Whether a function asks the entity itself, and not its cells.
pub fn is_of_entity(function: &Function) -> bool {
    record::FUNCTIONS.iter().any(|other| other.name == function.name)
}

/// The function that says who asks. Only who asks a query does; what is stored is the same for everybody.
pub const CALLER: &str = "ME";

/// The functions whose value depends on when attributes were written to.
pub const OF_CHANGES: &[&str] = &["LAST_MODIFIED_TIME", "LAST_MODIFIED_BY"];

/// The functions that take a link to many as the list of the ids of those that it leads to.
pub const OF_LINKS: &[&str] = &["HAS_ANY", "HAS_ALL", "HAS_NONE", "HAS_EXACTLY", "COUNTALL", "ISBLANK"];

/// A function of the formula language.
pub struct Function {
    /// Its name, in capitals.
    pub name: &'static str,
    /// What its arguments are called; optional ones in brackets.
    pub arguments: &'static str,
    /// What it takes.
    pub parameters: Parameters,
    /// The type that it gives for arguments of these types.
    pub returns: fn(&[Type]) -> Type,
    /// What it does.
    pub call: Call,
    /// What it does, for the reference.
    pub doc: &'static str,
    /// Formulas and what they give, as the reference shows values.
    pub examples: &'static [(&'static str, &'static str)],
}

/// How a function is called.
#[derive(Clone, Copy)]
pub enum Call {
    /// With the values of all arguments; an error among them is the result, and the function is not called.
    Strict(fn(&[Value]) -> Outcome),
    /// The same, and it matters in which zone, in which language, or when.
    Dated(fn(&Context, &[Value]) -> Outcome),
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
    /// Whether each second argument belongs to the one before it.
    pub come_in_pairs: bool,
}

impl Parameters {
    const fn exactly(required: &'static [Kind]) -> Self {
        Self { required, optional: &[], rest: None, come_in_pairs: false }
    }

    const fn with_optional(required: &'static [Kind], optional: &'static [Kind]) -> Self {
        Self { required, optional, rest: None, come_in_pairs: false }
    }

    const fn with_rest(required: &'static [Kind], rest: Kind) -> Self {
        Self { required, optional: &[], rest: Some(rest), come_in_pairs: false }
    }

    const fn in_pairs(required: &'static [Kind], rest: Kind) -> Self {
        Self { required, optional: &[], rest: Some(rest), come_in_pairs: true }
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
    /// A date or datetime, or text that reads as one.
    Moment,
    /// The name of a unit of time.
    Unit,
    /// The name of a time zone.
    Zone,
    /// The name of a language.
    Locale,
    /// A regular expression.
    Pattern,
}

impl Kind {
    /// Whether values of type `ty` may stand here; what a value then is may still give an error as a value.
    pub fn accepts(self, ty: &Type) -> bool {
        let item = ty.item();
        match self {
            Kind::Any | Kind::Text | Kind::Condition => true,
            Kind::Number => matches!(item, Type::Number | Type::Bool | Type::Text | Type::Blank | Type::Any),
            Kind::Ordered => Kind::Number.accepts(ty) || item.is_moment(),
            Kind::Moment => item.is_moment() || *item == Type::Text,
            Kind::Unit | Kind::Zone | Kind::Locale | Kind::Pattern => matches!(item, Type::Text | Type::Blank | Type::Any),
        }
    }

    /// Refuses a constant that can never stand here, so that a slip is found when the formula is written.
    pub fn check_constant(self, value: &Value) -> Outcome<()> {
        match self {
            Kind::Unit => Unit::of(value).map(drop),
            Kind::Zone => super::dates::zone(&as_text(value)).map(drop),
            Kind::Locale => super::locale::Locale::named(&as_text(value)).map(drop),
            Kind::Pattern => regex::compiled(&as_text(value)).map(drop),
            _ => Ok(()),
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
            Kind::Zone => "a time zone in quotes",
            Kind::Locale => "a language in quotes",
            Kind::Pattern => "a regular expression in quotes",
        })
    }
}

/// Other products' names for the same.
pub const ALIASES: &[(&str, &str)] = &[
    ("AVG", "AVERAGE"),
    ("ARRAY_JOIN", "ARRAYJOIN"),
    ("ARRAY_UNIQUE", "ARRAYUNIQUE"),
    ("ARRAY_COMPACT", "ARRAYCOMPACT"),
    ("ARRAY_FLATTEN", "ARRAYFLATTEN"),
    ("ARRAY_SLICE", "ARRAYSLICE"),
    ("ARRAY_SORT", "ARRAYSORT"),
    ("REGEXP_REPLACE", "REGEX_REPLACE"),
    ("REGEXP_MATCH", "REGEX_MATCH"),
    ("REGEXP_EXTRACT", "REGEX_EXTRACT"),
    ("TEXT_ALL", "TEXTALL"),
    ("AUTO_NUMBER", "AUTONUMBER"),
    ("IS_ERROR", "ISERROR"),
    ("IS_BLANK", "ISBLANK"),
    ("CONCAT", "CONCATENATE"),
    ("DATE_ADD", "DATEADD"),
    ("DATETIME_ADD", "DATEADD"),
    ("DATE_DIFF", "DATETIME_DIFF"),
    ("STARTS_WITH", "STARTSWITH"),
    ("CEIL", "CEILING"),
    ("LOG10", "LOG"),
    ("VARS", "VAR"),
];

/// The function of this name, in capitals.
pub fn find(name: &str) -> Option<&'static Function> {
    let known = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, known)| known);
    all().find(|function| function.name == known)
}

/// What to write for functions of other products that have another name here, or none; by their names in capitals.
pub fn advice(name: &str) -> Option<&'static str> {
    Some(match name {
        "DATEDIF" => "DATETIME_DIFF counts the time between two dates",
        "EDATE" => "DATEADD adds months to a date",
        "ISNOTBLANK" | "IS_NOT_BLANK" => "NOT(ISBLANK({x})) says so",
        "MODE" | "RANK" => "there is none here",
        "NETWORKDAYS" => "WORKDAY_DIFF counts working days",
        "RAND" | "RANDBETWEEN" | "RANDOM" => "a formula gives the same whenever it is computed, so that nothing is random",
        "SUBSTR" | "SUBSTRING" => "MID takes a part of a text",
        "TEXT" => "DATETIME_FORMAT shows a date in a format, and `&` makes text of anything",
        "VLOOKUP" | "XLOOKUP" | "HLOOKUP" | "LOOKUP" => "a lookup attribute does it",
        _ => return None,
    })
}

/// Every function.
pub fn all() -> impl Iterator<Item = &'static Function> {
    FAMILIES.iter().flat_map(|(_, functions)| *functions)
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

/// The type of what is picked from arguments of these types.
fn any_of(types: &[Type]) -> Type {
    types.iter().map(|ty| ty.item().clone()).reduce(Type::union).unwrap_or(Type::Blank)
}

/// What a value is among numbers that are summed up or multiplied: one of them, if it reads as one.
fn number_among(value: &Value) -> Option<Decimal> {
    (!equal(value, &Value::Blank)).then(|| number(value).ok()).flatten()
}

/// All values in `values`, lists taken apart, blank items included.
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
