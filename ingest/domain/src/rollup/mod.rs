//! Rollups: summaries of what linked entities contribute. Each file has a rollup's type rule and its naive definition over
//! a multiset; how it is kept up to date incrementally is the dataflow's affair, under the same name.

mod attachments;
pub mod average;
mod count;
mod countall;
mod max;
mod min;
pub mod order;
pub mod share;
pub mod spread;
pub mod sum;
pub mod weighted;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::formula::Type;
use crate::formula::coerce::{ITEMS_MAX, number};
use crate::value::{ErrorKind, Value};

/// Every rollup.
pub const ROLLUPS: &[&Rollup] = &[
    &countall::COUNTALL,
    &count::COUNT,
    &share::COUNTA,
    &share::COUNT_UNIQUE,
    &share::COUNT_EMPTY,
    &share::COUNT_CHECKED,
    &share::COUNT_UNCHECKED,
    &share::PERCENT_FILLED,
    &share::PERCENT_EMPTY,
    &share::PERCENT_CHECKED,
    &share::PERCENT_UNCHECKED,
    &share::PERCENT_UNIQUE,
    &share::AND,
    &share::OR,
    &share::XOR,
    &sum::SUM,
    &average::AVERAGE,
    &weighted::WEIGHTED_AVERAGE,
    &min::MIN,
    &max::MAX,
    &order::EARLIEST,
    &order::LATEST,
    &order::TOP,
    &order::FIRST,
    &order::LAST,
    &order::JOIN,
    &order::UNIQUE,
    &order::COMPACT,
    &order::FORMULA,
    &spread::MEDIAN,
    &spread::PERCENTILE,
    &spread::VAR,
    &spread::VARP,
    &spread::STDEV,
    &spread::STDEVP,
    &spread::RANGE,
    &spread::RANGE_MONTHS,
    &attachments::ATTACHMENTS_SIZE,
];

/// A summary of the values that linked entities contribute.
pub struct Rollup {
    /// Its name. Part of the log: never renamed, never reused.
    pub name: &'static str,
    /// Whether it summarises an attribute; otherwise it looks only at which entities are linked.
    pub of_attribute: bool,
    /// Whether it depends on the order in which the values stand.
    pub order_matters: bool,
    /// What of a contribution it takes as one value.
    pub takes: Takes,
    /// What it must be told beside the values.
    pub argument: Argument,
    /// The type of the summary of values of this type, or what it would want instead.
    pub result: fn(&Type) -> Result<Type, &'static str>,
    /// What one contributed value counts as: the value itself, blank, or an error if it cannot be summarised.
    pub admit: fn(&Value) -> Value,
    /// What it means: the summary of `values`, which have been admitted, and hold no errors, and lists only if it takes
    /// contributions as they are; given the argument.
    pub naive: fn(&[Value], &Value) -> Value,
}

/// What of a contribution a rollup takes as one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// The value; of a list each item.
    Items,
    /// The value, also if it is a list.
    Wholes,
    /// A pair of the value and its weight.
    Pairs,
}

/// What a rollup must be told beside the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// A number from 0 to 1.
    Share,
    /// A whole number from 1 on.
    Count,
    /// A text; it may be left out.
    Separator,
}

/// The most values that TOP lists.
const COUNT_MAX: i64 = 1_000;

/// The longest separator, in bytes.
const SEPARATOR_LENGTH_MAX: usize = 100;

impl Argument {
    /// Says what is wanted if `value` is no such argument.
    pub fn check(self, value: &Value) -> Result<(), String> {
        let number = if let Value::Number(number) = value { Some(*number) } else { None };
        let fits = match self {
            Argument::None => value.is_blank(),
            Argument::Share => number.is_some_and(|n| n >= 0.into() && n <= 1.into()),
            Argument::Count => number.is_some_and(|n| n.fract().is_zero() && n >= 1.into() && n <= COUNT_MAX.into()),
            Argument::Separator => match value {
                Value::Text(text) => text.len() <= SEPARATOR_LENGTH_MAX,
                value => value.is_blank(),
            },
        };
        if fits {
            return Ok(());
        }
        Err(match self {
            Argument::None => "takes no argument".into(),
            Argument::Share => "wants a share from 0 to 1".into(),
            Argument::Count => format!("wants a count from 1 to {COUNT_MAX}"),
            Argument::Separator => format!("wants a separator of {SEPARATOR_LENGTH_MAX} bytes at most"),
        })
    }
}

impl Rollup {
    /// The rollup of this name.
    pub fn find(name: &str) -> Option<&'static Rollup> {
        ROLLUPS.iter().copied().find(|rollup| rollup.name == name)
    }

    /// The summary of what the linked entities contribute. An error among the contributions is the result: the smallest,
    /// so that it does not depend on their order.
    pub fn summary(&self, contributions: &[Value], argument: &Value) -> Value {
        let mut values = Vec::with_capacity(contributions.len());
        contributions.iter().for_each(|value| self.each_item(value, &mut |item| values.push((self.admit)(item))));
        match values.iter().filter(|value| value.is_error()).min() {
            Some(error) => error.clone(),
            None => (self.naive)(&values, argument),
        }
    }

    /// Whether it takes pairs of a value and its weight.
    pub fn is_weighted(&self) -> bool {
        self.takes == Takes::Pairs
    }

    /// Calls `visit` with the values of a contribution.
    pub fn each_item<'a>(&self, contribution: &'a Value, visit: &mut impl FnMut(&'a Value)) {
        if self.takes == Takes::Items { each_item(contribution, visit) } else { visit(contribution) }
    }
}

/// Calls `visit` with the value, or if it is a list with each of its items, to any depth.
pub fn each_item<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    match value {
        Value::List(items) => items.iter().for_each(|item| each_item(item, visit)),
        other => visit(other),
    }
}

/// A list of the items of these values, lists among them taken apart; an error if it would be too long.
pub fn list_of<'a>(values: impl Iterator<Item = &'a Value>) -> Value {
    let mut items = Vec::new();
    for value in values {
        if items.len() > ITEMS_MAX {
            break;
        }
        each_item(value, &mut |item| {
            if items.len() <= ITEMS_MAX && !item.is_blank() {
                items.push(item.clone());
            }
        });
    }
    if items.len() > ITEMS_MAX {
        return Value::error(ErrorKind::Limit, format!("the list would have more than {ITEMS_MAX} items"));
    }
    Value::list(items)
}

/// Admits numbers and checkboxes; text that reads as a number, as formulas do.
fn numbers(value: &Value) -> Value {
    match value {
        Value::Error(_) => value.clone(),
        value if value.is_blank() => Value::Blank,
        value => number(value).map_or_else(Value::Error, Value::number),
    }
}

/// Admits every value as it is, and a list with errors in it as the smallest of them.
fn whole(value: &Value) -> Value {
    let mut error = None;
    each_item(value, &mut |item| {
        if item.is_error() && error.is_none_or(|least| item < least) {
            error = Some(item);
        }
    });
    error.unwrap_or(value).clone()
}

/// Admits every value as it is.
fn anything(value: &Value) -> Value {
    value.clone()
}

/// The numbers among admitted values.
fn decimals(values: &[Value]) -> impl Iterator<Item = rust_decimal::Decimal> {
    values.iter().filter_map(|value| if let Value::Number(number) = value { Some(*number) } else { None })
}

fn of_numbers(ty: &Type) -> Result<Type, &'static str> {
    match ty.item() {
        Type::Number | Type::Bool | Type::Blank | Type::Any => Ok(Type::Number),
        _ => Err("numbers"),
    }
}

fn of_ordered(ty: &Type) -> Result<Type, &'static str> {
    match ty.item() {
        item @ (Type::Number | Type::Date | Type::DateTime | Type::Blank | Type::Any) => Ok(item.clone()),
        _ => Err("numbers or dates"),
    }
}

impl fmt::Debug for Rollup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Rollup {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Rollup {}

/// A rollup's name, as events hold it.
pub(crate) mod by_name {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(rollup: &&'static Rollup, serializer: S) -> Result<S::Ok, S::Error> {
        rollup.name.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static Rollup, D::Error> {
        let name = String::deserialize(deserializer)?;
        Rollup::find(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown rollup {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, values: &[Value], expected: Value) {
        assert_eq!(Rollup::find(name).unwrap().summary(values, &Value::Blank), expected, "{name} of {values:?}");
    }

    #[test]
    fn of_nothing() {
        for (name, expected) in [
            ("COUNTALL", Value::from(0)),
            ("COUNT", Value::from(0)),
            ("SUM", Value::from(0)),
            ("AVERAGE", Value::Blank),
            ("MIN", Value::Blank),
            ("MAX", Value::Blank),
        ] {
            check(name, &[], expected);
        }
    }

    #[test]
    fn blanks_are_left_out_and_lists_taken_apart() {
        let values = [Value::Blank, Value::from(2), Value::list([Value::from(5), Value::from(2)])];
        for (name, expected) in [("COUNT", 3), ("SUM", 9), ("AVERAGE", 3), ("MIN", 2), ("MAX", 5)] {
            check(name, &values, Value::from(expected));
        }
    }

    /// What each makes of a few values, as other products and textbooks have it.
    #[test]
    fn by_constants() {
        let n = |n: i64| Value::from(n);
        let t = |text: &str| Value::text(text);
        let d = |text: &str| Value::Date(text.parse().unwrap());
        let fraction = |text: &str| Value::number(text.parse().unwrap());
        let numbers = [n(4), Value::Blank, n(2), n(9), n(2)];
        let texts = [t("b"), t(""), Value::Blank, t("a"), t("b")];
        let boxes = [Value::Bool(true), Value::Bool(false), Value::Blank, Value::Bool(true)];
        let days = [d("2024-03-31"), Value::Blank, d("2024-01-31"), d("2024-06-30")];
        let lists = [Value::list([t("a"), t("b")]), Value::Blank];
        for (name, values, expected) in [
            ("COUNTALL", &numbers[..], n(5)),
            ("COUNT", &numbers, n(4)),
            ("COUNTA", &texts, n(3)),
            ("COUNTA", &boxes, n(2)),
            ("COUNT_UNIQUE", &numbers, n(3)),
            ("COUNT_EMPTY", &texts, n(2)),
            ("COUNT_EMPTY", &lists, n(1)),
            ("COUNT_CHECKED", &boxes, n(2)),
            ("COUNT_UNCHECKED", &boxes, n(2)),
            ("PERCENT_FILLED", &numbers, fraction("0.8")),
            ("PERCENT_FILLED", &lists, fraction("0.5")),
            ("PERCENT_EMPTY", &texts, fraction("0.4")),
            ("PERCENT_EMPTY", &lists, fraction("0.5")),
            ("PERCENT_CHECKED", &boxes, fraction("0.5")),
            ("PERCENT_UNCHECKED", &boxes, fraction("0.5")),
            ("PERCENT_UNIQUE", &numbers, fraction("0.6")),
            ("AND", &boxes, Value::Bool(false)),
            ("AND", &boxes[..1], Value::Bool(true)),
            ("OR", &boxes, Value::Bool(true)),
            ("XOR", &boxes, Value::Bool(false)),
            ("XOR", &boxes[..3], Value::Bool(true)),
            ("SUM", &numbers, n(17)),
            ("AVERAGE", &numbers, fraction("4.25")),
            ("MIN", &numbers, n(2)),
            ("MAX", &numbers, n(9)),
            ("MEDIAN", &numbers, n(3)),
            ("RANGE", &numbers, n(7)),
            ("RANGE", &days, n(151)),
            // To the last day of a shorter month is a whole one, as for DATETIME_DIFF.
            ("RANGE_MONTHS", &days, n(5)),
            ("RANGE_MONTHS", &[d("2024-03-31"), d("2024-04-30")], n(1)),
            ("RANGE_MONTHS", &[d("2024-01-30"), d("2025-02-28")], n(13)),
            ("EARLIEST", &days, d("2024-01-31")),
            ("LATEST", &days, d("2024-06-30")),
            ("FIRST", &texts, t("b")),
            ("LAST", &numbers, n(2)),
            ("JOIN", &texts, t("b, a, b")),
            ("UNIQUE", &numbers, Value::list([n(4), n(2), n(9)])),
            ("COMPACT", &texts, Value::list([t("b"), t("a"), t("b")])),
            // Of 4, 2, 9, 2: the squares of the distances from 4.25 add up to 32.75.
            ("VARP", &numbers, fraction("8.1875")),
            ("VAR", &numbers, fraction("10.916666666666666666666666667")),
        ] {
            check(name, values, expected);
        }
        let with = |name: &str, values: &[Value], argument| Rollup::find(name).unwrap().summary(values, &argument);
        assert_eq!(with("TOP", &numbers, n(2)), Value::list([n(9), n(4)]));
        assert_eq!(with("JOIN", &texts, t("")), t("bab"));
        assert_eq!(with("PERCENTILE", &numbers, fraction("0.5")), n(3));
        let pair = |value: i64, weight: i64| Value::List([n(value), n(weight)].into());
        assert_eq!(with("WEIGHTED_AVERAGE", &[pair(1, 1), pair(4, 2)], Value::Blank), n(3));
        let [deviation, variance] = ["STDEVP", "VARP"].map(|name| with(name, &numbers, Value::Blank));
        let (Value::Number(deviation), Value::Number(variance)) = (deviation, variance) else { panic!("numbers") };
        assert!((deviation * deviation - variance).abs() < rust_decimal::Decimal::new(1, 20));
        let files = [
            r#"[{"name":"a","url":"https://a.b","size":5},{"name":"c","url":"https://a.b"}]"#,
            r#"[{"name":"d","url":"https://a.b","size":7}]"#,
        ];
        check("ATTACHMENTS_SIZE", &[t(files[0]), Value::Blank, t(files[1])], n(12));
        assert!(with("ATTACHMENTS_SIZE", &[t("a.pdf")], Value::Blank).is_error());
    }

    #[test]
    fn the_smallest_error_wins() {
        let (a, b) = (Value::error(ErrorKind::Div0, "a"), Value::error(ErrorKind::Value, "b"));
        for rollup in ROLLUPS {
            assert_eq!(rollup.summary(&[Value::from(1), b.clone(), a.clone()], &Value::Blank), a, "{rollup:?}");
        }
    }
}
