//! Summaries of many values: of arguments, and of the items of lists among them.

use std::cmp::Ordering;

use ecow::EcoString;
use jiff::tz::TimeZone;
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, MathematicalOps};

use super::{Call, Function, Kind, Parameters, any_of, flattened, number_among};
use crate::exact::{ExactSquares, ExactSum};
use crate::formula::coerce::{compare, equal, number, only, text};
use crate::formula::dates::{self, Moment};
use crate::formula::eval::too_large;
use crate::formula::outcome::{Outcome, error};
use crate::formula::types::Type;
use crate::rollup::share::is_counted;
use crate::statistics::{median, percentile};
use crate::value::{ErrorKind, Value};

const NUMBERS: Parameters = Parameters::with_rest(&[], Kind::Number);
const ORDERED: Parameters = Parameters::with_rest(&[], Kind::Ordered);
const VALUES: Parameters = Parameters::with_rest(&[], Kind::Any);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "SUM",
        arguments: "number, [number …]",
        parameters: NUMBERS,
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let mut sum = ExactSum::default();
            numbers(values)?.into_iter().for_each(|n| sum.add(n));
            sum.total().map(Value::number).ok_or_else(|| too_large("SUM"))
        }),
        doc: "The sum, exact whatever the order; 0 of none. Blanks are left out, and so is text that is no number.",
        examples: &[("SUM({nums})", "6"), ("SUM(1, BLANK(), 0.5)", "1.5")],
    },
    Function {
        name: "AVERAGE",
        arguments: "number, [number …]",
        parameters: NUMBERS,
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let numbers = numbers(values)?;
            let mut sum = ExactSum::default();
            numbers.iter().for_each(|n| sum.add(*n));
            Ok(sum.divided_by(numbers.len() as u64).map_or(Value::Blank, Value::number))
        }),
        doc: "The mean; blank of none. Blanks are left out.",
        examples: &[("AVERAGE({nums})", "2"), ("AVERAGE(1, BLANK())", "1")],
    },
    Function {
        name: "MIN",
        arguments: "number, [number …]",
        parameters: ORDERED,
        returns: any_of,
        call: Call::Strict(|values| extreme(values, Ordering::Less)),
        doc: "The smallest number, or the earliest date; blank of none.",
        examples: &[("MIN({nums})", "1"), ("MIN(BLANK())", "blank")],
    },
    Function {
        name: "MAX",
        arguments: "number, [number …]",
        parameters: ORDERED,
        returns: any_of,
        call: Call::Strict(|values| extreme(values, Ordering::Greater)),
        doc: "The largest number, or the latest date; blank of none.",
        examples: &[("MAX({nums}, 2)", "3")],
    },
    Function {
        name: "COUNT",
        arguments: "value, [value …]",
        parameters: VALUES,
        returns: |_| Type::Number,
        call: Call::Strict(|values| count(values, |v| matches!(v, Value::Number(_)))),
        doc: "How many are numbers.",
        examples: &[("COUNT(1, \"a\", BLANK())", "1"), ("COUNT({nums})", "3")],
    },
    Function {
        name: "COUNTA",
        arguments: "value, [value …]",
        parameters: VALUES,
        returns: |_| Type::Number,
        call: Call::Strict(|values| count(values, is_counted)),
        doc: "How many are neither blank nor empty text, nor boxes that are not ticked.",
        examples: &[("COUNTA(1, \"a\", \"\")", "2"), ("COUNTA(TRUE(), FALSE())", "1")],
    },
    Function {
        name: "COUNTALL",
        arguments: "value, [value …]",
        parameters: VALUES,
        returns: |_| Type::Number,
        call: Call::Strict(|values| count(values, |_| true)),
        doc: "How many there are, blanks included.",
        examples: &[("COUNTALL(1, \"a\", BLANK())", "3")],
    },
    Function {
        name: "COUNTBLANK",
        arguments: "value, [value …]",
        parameters: VALUES,
        returns: |_| Type::Number,
        call: Call::Strict(|values| count(values, |v| !is_counted(v))),
        doc: "How many are blank, empty text or boxes that are not ticked: those that COUNTA leaves out.",
        examples: &[("COUNTBLANK(1, \"\", BLANK())", "2")],
    },
    Function {
        name: "COUNTIF",
        arguments: "list, criterion",
        parameters: Parameters::exactly(&[Kind::Any, Kind::Any]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let criterion = Criterion::of(&values[1])?;
            let mut found = 0;
            flattened(&values[..1], &mut |value| {
                found += i64::from(criterion.admits(value));
                Ok(())
            })?;
            Ok(Value::from(found))
        }),
        doc: "How many items fit the criterion: a value that they equal, or text that begins with a comparison, as \">2\". A blank is neither less nor greater than anything.",
        examples: &[
            ("COUNTIF({nums}, \">1\")", "2"),
            ("COUNTIF({tags}, \"red\")", "2"),
            ("COUNTIF(ARRAYFLATTEN(1, BLANK()), \"<5\")", "1"),
        ],
    },
    Function {
        name: "SUMIF",
        arguments: "list, criterion, [numbers]",
        parameters: Parameters::with_optional(&[Kind::Any, Kind::Any], &[Kind::Number]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let criterion = Criterion::of(&values[1])?;
            let (mut items, mut added) = (Vec::new(), Vec::new());
            flattened(&values[..1], &mut |value| {
                items.push(value);
                Ok(())
            })?;
            flattened(&values[values.len() - 1..], &mut |value| {
                added.push(value);
                Ok(())
            })?;
            let added = if values.len() == 3 { &added } else { &items };
            let mut sum = ExactSum::default();
            for (_, added) in items.iter().zip(added).filter(|(item, _)| criterion.admits(item)) {
                // As in SUM.
                number_among(added).into_iter().for_each(|number| sum.add(number));
            }
            sum.total().map(Value::number).ok_or_else(|| too_large("SUMIF"))
        }),
        doc: "The sum of the items that fit the criterion, or of the numbers at their places.",
        examples: &[("SUMIF({nums}, \">=2\")", "5"), ("SUMIF({tags}, \"red\", {nums})", "5")],
    },
    Function {
        name: "MEDIAN",
        arguments: "number, [number …]",
        parameters: NUMBERS,
        returns: |_| Type::Number,
        call: Call::Strict(|values| Ok(median(numbers(values)?).map_or(Value::Blank, Value::number))),
        doc: "The middle one, or the mean of the two in the middle; blank of none.",
        examples: &[("MEDIAN(1, 9, 3)", "3"), ("MEDIAN(1, 2, 3, 4)", "2.5")],
    },
    Function {
        name: "PERCENTILE",
        arguments: "list, share",
        parameters: Parameters::exactly(&[Kind::Number, Kind::Number]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let share = number(&values[1])?;
            if share.is_sign_negative() && !share.is_zero() || share > Decimal::ONE {
                return Err(error(ErrorKind::Range, "a share lies between 0 and 1"));
            }
            Ok(percentile(numbers(&values[..1])?, share).map_or(Value::Blank, Value::number))
        }),
        doc: "The number below which this share of the list lies, from 0 to 1, interpolated between neighbours; blank of none.",
        examples: &[("PERCENTILE({nums}, 0.5)", "2"), ("PERCENTILE({nums}, 0.25)", "1.5")],
    },
    Function {
        name: "LARGE",
        arguments: "list, rank",
        parameters: Parameters::exactly(&[Kind::Number, Kind::Number]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| ranked(values, true)),
        doc: "The number of this rank, counted from the largest.",
        examples: &[("LARGE({nums}, 2)", "2"), ("LARGE({nums}, 9)", "#range")],
    },
    Function {
        name: "SMALL",
        arguments: "list, rank",
        parameters: Parameters::exactly(&[Kind::Number, Kind::Number]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| ranked(values, false)),
        doc: "The number of this rank, counted from the smallest.",
        examples: &[("SMALL({nums}, 1)", "1")],
    },
    Function {
        name: "VAR",
        arguments: "number, [number …]",
        parameters: NUMBERS,
        returns: |_| Type::Number,
        call: Call::Strict(|values| spread(values, 1).map(|v| v.map_or(Value::Blank, Value::number))),
        doc: "The variance of a sample; blank of fewer than two.",
        examples: &[("VAR(1, 2, 3, 4)", "1.6666666666666666666666666667"), ("VAR(1)", "blank")],
    },
    Function {
        name: "VARP",
        arguments: "number, [number …]",
        parameters: NUMBERS,
        returns: |_| Type::Number,
        call: Call::Strict(|values| spread(values, 0).map(|v| v.map_or(Value::Blank, Value::number))),
        doc: "The variance of a whole population; blank of none.",
        examples: &[("VARP(1, 2, 3, 4)", "1.25")],
    },
    Function {
        name: "STDEV",
        arguments: "number, [number …]",
        parameters: NUMBERS,
        returns: |_| Type::Number,
        call: Call::Strict(|values| Ok(spread(values, 1)?.and_then(|v| v.sqrt()).map_or(Value::Blank, Value::number))),
        doc: "The standard deviation of a sample; blank of fewer than two. Not exact where it has more than 28 digits.",
        examples: &[("STDEV(2, 4, 6)", "2")],
    },
    Function {
        name: "STDEVP",
        arguments: "number, [number …]",
        parameters: NUMBERS,
        returns: |_| Type::Number,
        call: Call::Strict(|values| Ok(spread(values, 0)?.and_then(|v| v.sqrt()).map_or(Value::Blank, Value::number))),
        doc: "The standard deviation of a whole population; blank of none. Not exact where it has more than 28 digits.",
        examples: &[("STDEVP(2, 4, 4, 4, 5, 5, 7, 9)", "2")],
    },
];

/// The numbers among values, text that reads as one included.
fn numbers(values: &[Value]) -> Outcome<Vec<Decimal>> {
    let mut out = Vec::with_capacity(values.len());
    flattened(values, &mut |value| {
        out.extend(number_among(value));
        Ok(())
    })?;
    Ok(out)
}

/// The first value for which none is more `towards`, of the dates and what reads as a number; beside a date, of what reads as
/// a date.
fn extreme(values: &[Value], towards: Ordering) -> Outcome {
    let mut is_of_dates = false;
    flattened(values, &mut |value| {
        is_of_dates |= matches!(value, Value::Date(_) | Value::DateTime(_));
        Ok(())
    })?;
    let mut best: Option<Value> = None;
    flattened(values, &mut |value| {
        let value = match value {
            Value::Date(_) | Value::DateTime(_) => value.clone(),
            other if equal(other, &Value::Blank) => return Ok(()),
            Value::Text(text) if is_of_dates => match dates::parse(text, &TimeZone::UTC) {
                Some(Moment::Date(date)) => Value::Date(date),
                Some(Moment::DateTime(at)) => Value::DateTime(at),
                None => return Ok(()),
            },
            other => match number(other) {
                Ok(n) => Value::number(n),
                Err(_) => return Ok(()),
            },
        };
        if match &best {
            None => true,
            Some(best) => compare(&value, best)? == towards,
        } {
            best = Some(value);
        }
        Ok(())
    })?;
    Ok(best.unwrap_or_default())
}

fn count(values: &[Value], counts: fn(&Value) -> bool) -> Outcome {
    let mut count = 0;
    flattened(values, &mut |value| {
        count += i64::from(counts(value));
        Ok(())
    })?;
    Ok(Value::from(count))
}

fn ranked(values: &[Value], from_largest: bool) -> Outcome {
    let mut numbers = numbers(&values[..1])?;
    numbers.sort_unstable();
    let rank = number(&values[1])?.trunc().to_usize().filter(|rank| (1..=numbers.len()).contains(rank));
    let rank = rank.ok_or_else(|| {
        let message =
            if numbers.is_empty() { "there are no numbers".to_owned() } else { format!("a rank lies between 1 and {}", numbers.len()) };
        error(ErrorKind::Range, message)
    })?;
    Ok(Value::number(if from_largest { numbers[numbers.len() - rank] } else { numbers[rank - 1] }))
}

/// The variance; `less` is 1 for a sample and 0 for a population.
fn spread(values: &[Value], less: u64) -> Outcome<Option<Decimal>> {
    let mut squares = ExactSquares::default();
    numbers(values)?.into_iter().for_each(|n| squares.add(n));
    match squares.variance(less) {
        None if squares.is_enough(less) => Err(error(ErrorKind::Range, "the variance has more digits than a number may have")),
        variance => Ok(variance),
    }
}

/// What an item must be to count.
struct Criterion {
    operator: &'static str,
    value: Value,
    /// The operand as it was written, if the criterion is text.
    written: Option<EcoString>,
}

impl Criterion {
    fn of(value: &Value) -> Outcome<Self> {
        let value = match value {
            Value::List(items) => only(items, "criterion")?,
            other => other,
        };
        let Value::Text(written) = value else { return Ok(Self { operator: "=", value: value.clone(), written: None }) };
        let operator = [">=", "<=", "<>", "!=", ">", "<", "="].into_iter().find(|operator| written.starts_with(operator));
        let operand = written[operator.map_or(0, str::len)..].trim();
        let value = match operand.parse::<Decimal>() {
            Ok(n) => Value::number(n),
            Err(_) if operand.eq_ignore_ascii_case("true") => Value::Bool(true),
            Err(_) if operand.eq_ignore_ascii_case("false") => Value::Bool(false),
            Err(_) => Value::text(operand),
        };
        Ok(Self { operator: operator.unwrap_or("="), value, written: Some(operand.into()) })
    }

    fn admits(&self, item: &Value) -> bool {
        let same = match (&self.value, item) {
            // `1` is TRUE elsewhere; who looks for TRUE looks for ticks.
            (Value::Bool(wanted), Value::Bool(there)) => wanted == there,
            (Value::Bool(_), Value::Text(there)) => self.written.as_ref() == Some(there),
            (Value::Bool(_), _) => false,
            (wanted, there) => equal(there, wanted) || (matches!(there, Value::Text(_)) && text(there) == text(wanted)),
        };
        let order = || if equal(item, &Value::Blank) { None } else { compare(item, &self.value).ok() };
        match self.operator {
            "=" => same,
            "<>" | "!=" => !same,
            ">" => order() == Some(Ordering::Greater),
            "<" => order() == Some(Ordering::Less),
            ">=" => order().is_some_and(|order| order != Ordering::Less),
            _ => order().is_some_and(|order| order != Ordering::Greater),
        }
    }
}
