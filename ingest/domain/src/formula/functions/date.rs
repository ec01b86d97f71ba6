//! Dates: their parts, steps from one to another, distances, comparisons. A day has no zone; an instant is looked at in
//! the formula's zone.

use jiff::civil::{self, Date};
use jiff::{SignedDuration, Span};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::{Call, Function, Kind, Parameters};
use crate::formula::coerce::{moment, number, text};
use crate::formula::dates::{Moment, cut, whole_months};
use crate::formula::eval::Context;
use crate::formula::outcome::{Outcome, error};
use crate::formula::types::Type;
use crate::value::{ErrorKind, ErrorValue, Value};

const ONE: Parameters = Parameters::exactly(&[Kind::Moment]);
const COMPARED: Parameters = Parameters::with_optional(&[Kind::Moment, Kind::Moment], &[Kind::Unit]);

/// A part of a date as a number.
macro_rules! part {
    ($name:literal, $doc:literal, $example:expr, $part:expr) => {
        Function {
            name: $name,
            arguments: "date",
            parameters: ONE,
            returns: |_| Type::Number,
            call: Call::Dated(|context, values| part(context, values, $part)),
            doc: $doc,
            examples: &[$example],
        }
    };
}

pub(super) const FUNCTIONS: &[Function] = &[
    part!("YEAR", "The year.", ("YEAR({day})", "2024"), |at| at.year().into()),
    part!("MONTH", "The month, from 1.", ("MONTH({day})", "1"), |at| at.month().into()),
    part!("DAY", "The day of the month.", ("DAY({day})", "31"), |at| at.day().into()),
    part!("HOUR", "The hour, from 0.", ("HOUR({at})", "10"), |at| at.hour().into()),
    part!("MINUTE", "The minute, from 0.", ("MINUTE({at})", "30"), |at| at.minute().into()),
    part!("SECOND", "The second, from 0.", ("SECOND({at})", "15"), |at| at.second().into()),
    part!("QUARTER", "The quarter of the year, from 1.", ("QUARTER({day})", "1"), |at| i64::from((at.month() + 2) / 3)),
    Function {
        name: "DATE",
        arguments: "year, month, day",
        parameters: Parameters::exactly(&[Kind::Number, Kind::Number, Kind::Number]),
        returns: |_| Type::Date,
        call: Call::Strict(|values| {
            let [year, month, day] = [&values[0], &values[1], &values[2]].map(|value| number(value).map(|n| n.trunc().to_i64()));
            let (Some(year), Some(month), Some(day)) = (year?, month?, day?) else { return Err(out_of_range()) };
            // As everywhere where there is such a function.
            let year = if (0..100).contains(&year) { year + 1900 } else { year };
            if year < 0 {
                return Err(error(ErrorKind::Range, "DATE wants a year from 0 on"));
            }
            let first = i16::try_from(year).ok().and_then(|year| Date::new(year, 1, 1).ok()).ok_or_else(out_of_range)?;
            let months = Span::new().try_months(month.checked_sub(1).ok_or_else(out_of_range)?);
            let days = Span::new().try_days(day.checked_sub(1).ok_or_else(out_of_range)?);
            let date = months.and_then(|span| first.checked_add(span)).and_then(|date| date.checked_add(days?));
            date.map(Value::Date).map_err(|_| out_of_range())
        }),
        doc: "The day of these numbers; a month or day beyond its end counts on from there. Years from 0 to 99 are of the twentieth century.",
        examples: &[("DATE(99, 12, 31)", "1999-12-31"), ("DATE(2024, 2, 29)", "2024-02-29"), ("DATE(2023, 14, 1)", "2024-02-01")],
    },
    Function {
        name: "DATEADD",
        arguments: "date, count, unit",
        parameters: Parameters::exactly(&[Kind::Moment, Kind::Number, Kind::Unit]),
        returns: |types| if *types[0].item() == Type::DateTime { Type::DateTime } else { Type::Any },
        call: Call::Dated(|context, values| {
            let Some(start) = moment(&values[0], &context.zone)? else { return Ok(Value::Blank) };
            add(context, start, number(&values[1])?, Unit::of(&values[2])?)
        }),
        doc: "The date so many units later. The fraction of the count is cut off; a month later is the last day of a shorter month; a day stays a day unless it is moved by hours or less.",
        examples: &[
            ("DATEADD({day}, 1, \"month\")", "2024-02-29"),
            ("DATEADD({at}, -90, \"minutes\")", "2024-01-31T09:00:15Z"),
            ("DATEADD({day}, 2, \"weeks\")", "2024-02-14"),
        ],
    },
    Function {
        name: "DATETIME_DIFF",
        arguments: "date, other, [unit]",
        parameters: COMPARED,
        returns: |_| Type::Number,
        call: Call::Dated(|context, values| {
            let zone = &context.zone;
            let (Some(end), Some(start)) = (moment(&values[0], zone)?, moment(&values[1], zone)?) else { return Ok(Value::Blank) };
            let unit = values.get(2).map_or(Ok(Unit::Seconds(1)), Unit::of)?;
            Ok(Value::from(difference(end, start, unit, context)?))
        }),
        doc: "The first date minus the second in whole units, cut off toward zero; seconds if no unit is given. Months and years are those of the calendar.",
        examples: &[
            ("DATETIME_DIFF(\"2024-03-01\", {day}, \"days\")", "30"),
            ("DATETIME_DIFF({day}, \"2024-02-29\", \"months\")", "-1"),
            ("DATETIME_DIFF(\"2025-02-28\", \"2024-02-29\", \"years\")", "1"),
        ],
    },
    Function {
        name: "IS_SAME",
        arguments: "date, other, [unit]",
        parameters: COMPARED,
        returns: |_| Type::Bool,
        call: Call::Dated(|context, values| compared(context, values, |apart| apart.is_zero())),
        doc: "Whether both are the same instant, or with a unit lie in the same unit of the calendar.",
        examples: &[("IS_SAME({day}, {at}, \"day\")", "true"), ("IS_SAME({day}, {at})", "false")],
    },
    Function {
        name: "IS_AFTER",
        arguments: "date, other, [unit]",
        parameters: COMPARED,
        returns: |_| Type::Bool,
        call: Call::Dated(|context, values| compared(context, values, |apart| apart.is_positive())),
        doc: "Whether the first is later.",
        examples: &[("IS_AFTER({at}, {day})", "true")],
    },
    Function {
        name: "IS_BEFORE",
        arguments: "date, other, [unit]",
        parameters: COMPARED,
        returns: |_| Type::Bool,
        call: Call::Dated(|context, values| compared(context, values, |apart| apart.is_negative())),
        doc: "Whether the first is earlier.",
        examples: &[("IS_BEFORE({at}, {day})", "false")],
    },
    Function {
        name: "NOW",
        arguments: "",
        parameters: Parameters::exactly(&[]),
        returns: |_| Type::DateTime,
        call: Call::Dated(|context, _| now(context).map(Value::DateTime)),
        doc: "The time. In a comparison (`<`, `<=`, `>`, `>=`, IS_BEFORE, IS_AFTER) it is that to the millisecond, and the cell changes when the comparison flips; anywhere else it is the minute that has begun.",
        examples: &[("NOW()", "2024-02-03T12:34:00Z"), ("{at} < NOW()", "true"), ("DATETIME_DIFF(NOW(), {at}, \"days\")", "3")],
    },
    Function {
        name: "TODAY",
        arguments: "",
        parameters: Parameters::exactly(&[]),
        returns: |_| Type::Date,
        call: Call::Dated(|context, _| Ok(Value::Date(context.zone.to_datetime(now(context)?).date()))),
        doc: "The day that it is in the formula's zone; in attributes that is UTC.",
        examples: &[("TODAY()", "2024-02-03"), ("DATETIME_DIFF(TODAY(), {day}, \"days\")", "3")],
    },
];

/// The time, if there is one.
pub(super) fn now(context: &Context) -> Outcome<jiff::Timestamp> {
    context.now.ok_or_else(|| error(ErrorKind::Value, "it is not known here what time it is"))
}

fn part(context: &Context, values: &[Value], of: fn(civil::DateTime) -> i64) -> Outcome {
    Ok(moment(&values[0], &context.zone)?.map_or(Value::Blank, |m| Value::from(of(m.civil(&context.zone)))))
}

/// A unit of time, as a multiple of the one it is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// So many thousandths of a second.
    Milliseconds(i64),
    /// So many seconds.
    Seconds(i64),
    /// So many days of the calendar.
    Days(i64),
    /// So many months of the calendar.
    Months(i64),
}

impl Unit {
    /// The unit that `name` names: singular, plural or short; `M` is a month and `m` a minute.
    pub fn of(name: &Value) -> Result<Unit, std::sync::Arc<ErrorValue>> {
        let written = text(name);
        let lower = written.trim().to_lowercase();
        Ok(match (written.trim(), lower.as_str()) {
            ("M", _) => Unit::Months(1),
            ("Q", _) => Unit::Months(3),
            (_, "millisecond" | "milliseconds" | "ms") => Unit::Milliseconds(1),
            (_, "second" | "seconds" | "s") => Unit::Seconds(1),
            (_, "minute" | "minutes" | "m") => Unit::Seconds(60),
            (_, "hour" | "hours" | "h") => Unit::Seconds(3600),
            (_, "day" | "days" | "d") => Unit::Days(1),
            (_, "week" | "weeks" | "w") => Unit::Days(7),
            (_, "month" | "months") => Unit::Months(1),
            (_, "quarter" | "quarters" | "q") => Unit::Months(3),
            (_, "year" | "years" | "y") => Unit::Months(12),
            _ => {
                let short: String = written.chars().take(40).collect();
                return Err(error(
                    ErrorKind::Value,
                    format!("\"{short}\" is not a unit of time; \"days\", \"months\" or \"minutes\" is one"),
                ));
            }
        })
    }

    /// Its name, in the singular.
    fn name(self) -> &'static str {
        match self {
            Unit::Milliseconds(_) => "millisecond",
            Unit::Seconds(60) => "minute",
            Unit::Seconds(3600) => "hour",
            Unit::Seconds(_) => "second",
            Unit::Days(7) => "week",
            Unit::Days(_) => "day",
            Unit::Months(3) => "quarter",
            Unit::Months(12) => "year",
            Unit::Months(_) => "month",
        }
    }
}

fn out_of_range() -> std::sync::Arc<ErrorValue> {
    error(ErrorKind::Range, "the date lies outside the years -9999 to 9999")
}

/// `start` moved by `count` units, the fraction of `count` cut off. The day is clamped to the month's end; a day stays a
/// day unless it is moved by hours or less.
fn add(context: &Context, start: Moment, count: Decimal, unit: Unit) -> Outcome {
    let count = count.trunc().to_i64().ok_or_else(out_of_range)?;
    let times = |n: i64| count.checked_mul(n).ok_or_else(out_of_range);
    // By the clock: so many seconds later, whatever the clocks on the walls do meanwhile.
    let elapsed = match unit {
        Unit::Milliseconds(n) => Some(SignedDuration::from_millis(times(n)?)),
        Unit::Seconds(n) => Some(SignedDuration::from_secs(times(n)?)),
        Unit::Days(_) | Unit::Months(_) => None,
    };
    if let Some(elapsed) = elapsed {
        let at = start.instant(&context.zone)?.checked_add(elapsed);
        return at.map(Value::DateTime).map_err(|_| out_of_range());
    }
    let span = match unit {
        Unit::Days(n) => Span::new().try_days(times(n)?),
        Unit::Months(n) | Unit::Seconds(n) | Unit::Milliseconds(n) => Span::new().try_months(times(n)?),
    }
    .map_err(|_| out_of_range())?;
    match start {
        Moment::Date(date) => date.checked_add(span).map(Value::Date).map_err(|_| out_of_range()),
        Moment::DateTime(at) => {
            let civil = context.zone.to_datetime(at).checked_add(span).map_err(|_| out_of_range())?;
            context.zone.to_timestamp(civil).map(Value::DateTime).map_err(|_| out_of_range())
        }
    }
}

/// `end - start` in whole units, truncated toward zero.
fn difference(end: Moment, start: Moment, unit: Unit, context: &Context) -> Outcome<i64> {
    let zone = &context.zone;
    let elapsed = || -> Outcome<SignedDuration> { Ok(start.instant(zone)?.duration_until(end.instant(zone)?)) };
    let (civil_end, civil_start) = (end.civil(zone), start.civil(zone));
    Ok(match unit {
        Unit::Milliseconds(n) => (elapsed()?.as_millis() / i128::from(n)) as i64,
        Unit::Seconds(n) => elapsed()?.as_secs() / n,
        Unit::Days(n) => civil_end.duration_since(civil_start).as_secs() / (n * 86_400),
        Unit::Months(n) => {
            // Counted from the earlier one, so that either way round gives the same number.
            let (sign, from, to) = if civil_end < civil_start { (-1, civil_end, civil_start) } else { (1, civil_start, civil_end) };
            sign * whole_months(from, to) / n
        }
    })
}

/// Days and longer units are of the calendar in the zone; what is shorter is compared as it passes, also where clocks are
/// put back.
fn compared(context: &Context, values: &[Value], holds: fn(SignedDuration) -> bool) -> Outcome {
    let zone = &context.zone;
    let (Some(a), Some(b)) = (moment(&values[0], zone)?, moment(&values[1], zone)?) else { return Ok(Value::Bool(false)) };
    let unit = values.get(2).filter(|unit| !unit.is_blank()).map(Unit::of).transpose()?.map_or("", Unit::name);
    let cut = |at: Moment| cut(at.civil(zone), unit).ok_or_else(out_of_range);
    let apart = match unit {
        "year" | "quarter" | "month" | "week" | "day" => cut(b)?.duration_until(cut(a)?),
        _ => {
            let begin = |at: Moment| -> Outcome<_> { Ok(at.instant(zone)? - cut(at)?.duration_until(at.civil(zone))) };
            begin(b)?.duration_until(begin(a)?)
        }
    };
    Ok(Value::Bool(holds(apart)))
}
