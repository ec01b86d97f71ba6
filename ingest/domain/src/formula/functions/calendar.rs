//! Weeks, working days, ends of months.

use std::collections::BTreeSet;

use jiff::civil::{Date, Weekday};
use jiff::{Span, ToSpan};
use rust_decimal::prelude::ToPrimitive;

use super::{Call, Function, Kind, Parameters, flattened};
use crate::formula::coerce::{moment, number, text};
use crate::formula::dates::Moment;
use crate::formula::eval::{Context, Evaluation};
use crate::formula::outcome::{Outcome, error, excerpt};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

const WEEK: Parameters = Parameters::with_optional(&[Kind::Moment], &[Kind::Text]);

/// How far WORKDAY counts: about 380 years.
const WORKDAYS_MAX: i64 = 100_000;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "WEEKDAY",
        arguments: "date, [first day]",
        parameters: WEEK,
        returns: |_| Type::Number,
        call: Call::Dated(|context, values| {
            let Some(date) = day(context, &values[0])? else { return Ok(Value::Blank) };
            Ok(Value::from(i64::from(date.weekday().since(first_day(values.get(1))?))))
        }),
        doc: "The day of the week: 0 is Sunday, or Monday if that is the first day.",
        examples: &[("WEEKDAY({day})", "3"), ("WEEKDAY({day}, \"Monday\")", "2")],
    },
    Function {
        name: "WEEKNUM",
        arguments: "date, [first day]",
        parameters: WEEK,
        returns: |_| Type::Number,
        call: Call::Dated(|context, values| {
            let Some(date) = day(context, &values[0])? else { return Ok(Value::Blank) };
            Ok(Value::from(week_of_year(date, first_day(values.get(1))?).1))
        }),
        doc: "The week of the year. The first is the one that holds 1 January, wherever it begins; weeks begin on Sunday, or on Monday if that is the first day.",
        examples: &[
            ("WEEKNUM(\"2024-12-31\")", "1"),
            ("WEEKNUM(\"2021-01-02\")", "1"),
            ("WEEKNUM(\"2021-01-03\")", "2"),
            ("WEEKNUM(\"2021-01-03\", \"Monday\")", "1"),
        ],
    },
    Function {
        name: "ISOWEEKNUM",
        arguments: "date",
        parameters: Parameters::exactly(&[Kind::Moment]),
        returns: |_| Type::Number,
        call: Call::Dated(|context, values| {
            Ok(day(context, &values[0])?.map_or(Value::Blank, |date| Value::from(i64::from(date.iso_week_date().week()))))
        }),
        doc: "The week of the year by ISO 8601: the first holds the first Thursday, and weeks begin on Monday.",
        examples: &[("ISOWEEKNUM(\"2021-01-03\")", "53"), ("ISOWEEKNUM({day})", "5")],
    },
    Function {
        name: "EOMONTH",
        arguments: "date, [months]",
        parameters: Parameters::with_optional(&[Kind::Moment], &[Kind::Number]),
        returns: |_| Type::Date,
        call: Call::Dated(|context, values| {
            let Some(date) = day(context, &values[0])? else { return Ok(Value::Blank) };
            let months = values.get(1).map_or(Ok(0.into()), number)?.trunc().to_i64().unwrap_or(i64::MAX);
            let moved = Span::new().try_months(months).and_then(|span| date.checked_add(span));
            moved.map(|date| Value::Date(date.last_of_month())).map_err(|_| out_of_range())
        }),
        doc: "The last day of the month so many months later.",
        examples: &[("EOMONTH({day}, 1)", "2024-02-29"), ("EOMONTH(\"2024-05-05\")", "2024-05-31")],
    },
    Function {
        name: "WORKDAY",
        arguments: "date, days, [holidays]",
        parameters: Parameters::with_optional(&[Kind::Moment, Kind::Number], &[Kind::Any]),
        returns: |types| if matches!(types[0].item(), Type::Date | Type::DateTime) { types[0].item().clone() } else { Type::Any },
        call: Call::Lazy(|evaluation, arguments| {
            let (start, days) = (evaluation.expr(&arguments[0])?, number(&evaluation.expr(&arguments[1])?)?);
            let off = arguments.get(2).map(|holidays| evaluation.expr(holidays)).transpose()?;
            let own = evaluation.own_context(arguments.first())?;
            let context = own.as_ref().unwrap_or(evaluation.context);
            let Some(start) = moment(&start, &context.zone)? else { return Ok(Value::Blank) };
            let off = holidays(context, off.as_ref())?;
            let days = days.trunc().to_i64().filter(|days| days.abs() <= WORKDAYS_MAX).ok_or_else(out_of_range)?;
            let at = start.civil(&context.zone);
            let date = workday(evaluation, at.date(), days, &off)?;
            match start {
                Moment::Date(_) => Ok(Value::Date(date)),
                Moment::DateTime(_) => {
                    context.zone.to_timestamp(date.to_datetime(at.time())).map(Value::DateTime).map_err(|_| out_of_range())
                }
            }
        }),
        doc: "The day so many working days later, or earlier if negative, at the same time of day; the date itself is not counted. Saturdays, Sundays and holidays are no working days; holidays are a list of dates, or text with commas.",
        examples: &[
            ("WORKDAY(\"2024-03-28\", 2)", "2024-04-01"),
            ("WORKDAY(\"2024-03-28\", 2, \"2024-03-29, 2024-04-01\")", "2024-04-03"),
            ("WORKDAY(\"2024-04-01\", -1)", "2024-03-29"),
        ],
    },
    Function {
        name: "WORKDAY_DIFF",
        arguments: "start, end, [holidays]",
        parameters: Parameters::with_optional(&[Kind::Moment, Kind::Moment], &[Kind::Any]),
        returns: |_| Type::Number,
        call: Call::Dated(|context, values| {
            let (Some(start), Some(end)) = (day(context, &values[0])?, day(context, &values[1])?) else { return Ok(Value::Blank) };
            let off = holidays(context, values.get(2))?;
            let (sign, from, to) = if start <= end { (1, start, end) } else { (-1, end, start) };
            let within = off.iter().filter(|date| (from..=to).contains(*date) && is_weekday(**date)).count() as i64;
            Ok(Value::from(sign * (weekdays(from, to) - within)))
        }),
        doc: "How many working days there are from one date to another, both counted; negative if the end comes first.",
        examples: &[("WORKDAY_DIFF(\"2024-03-28\", \"2024-04-02\")", "4"), ("WORKDAY_DIFF(\"2024-04-02\", \"2024-03-28\")", "-4")],
    },
];

fn out_of_range() -> std::sync::Arc<crate::value::ErrorValue> {
    error(ErrorKind::Range, "the date lies outside the years -9999 to 9999")
}

fn day(context: &Context, value: &Value) -> Outcome<Option<Date>> {
    Ok(moment(value, &context.zone)?.map(|at| at.civil(&context.zone).date()))
}

fn first_day(value: Option<&Value>) -> Outcome<Weekday> {
    let Some(value) = value.filter(|value| !value.is_blank()) else { return Ok(Weekday::Sunday) };
    let name = text(value);
    match name.trim().to_lowercase().as_str() {
        "sunday" | "sun" => Ok(Weekday::Sunday),
        "monday" | "mon" => Ok(Weekday::Monday),
        _ => Err(error(ErrorKind::Value, format!("a week begins on \"Sunday\" or \"Monday\", and not on \"{}\"", excerpt(&name)))),
    }
}

/// The year and the week in it, where the week that holds 1 January is the first of its year.
pub(super) fn week_of_year(date: Date, first: Weekday) -> (i16, i64) {
    let last_of_week = date.checked_add((6 - i64::from(date.weekday().since(first))).days());
    match last_of_week {
        Ok(last) if last.year() > date.year() => (last.year(), 1),
        _ => {
            let before = i64::from(date.first_of_year().weekday().since(first)) + i64::from(date.day_of_year()) - 1;
            (date.year(), before / 7 + 1)
        }
    }
}

fn is_weekday(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// Monday to Friday from `from` to `to`, both counted.
fn weekdays(from: Date, to: Date) -> i64 {
    let days = i64::from((to - from).get_days()) + 1;
    let rest = (0..days % 7).filter(|i| is_weekday(from + i.days())).count() as i64;
    days / 7 * 5 + rest
}

/// Days off: a list of dates, or a text with commas.
fn holidays(context: &Context, value: Option<&Value>) -> Outcome<BTreeSet<Date>> {
    let mut out = BTreeSet::new();
    let mut add = |value: &Value| -> Outcome<()> {
        match value {
            Value::Text(written) => {
                for part in written.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                    out.extend(day(context, &Value::text(part))?);
                }
            }
            other => out.extend(day(context, other)?),
        }
        Ok(())
    };
    flattened(value.map_or(&[], std::slice::from_ref), &mut |value| add(value))?;
    Ok(out)
}

fn workday(evaluation: &mut Evaluation<'_>, start: Date, days: i64, off: &BTreeSet<Date>) -> Outcome<Date> {
    let step = if days < 0 { (-1).days() } else { 1.days() };
    let (mut date, mut left) = (start, days.abs());
    while left > 0 {
        evaluation.step(1)?;
        date = date.checked_add(step).map_err(|_| out_of_range())?;
        left -= i64::from(is_weekday(date) && !off.contains(&date));
    }
    Ok(date)
}
