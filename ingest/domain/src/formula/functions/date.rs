//! YEAR, MONTH, DAY, DATEADD, DATETIME_DIFF. Instants are read in UTC.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, civil};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::{Call, Function, Kind, Parameters};
use crate::formula::eval::{Moment, Outcome, error, moment, number, text};
use crate::formula::types::Type;
use crate::value::{ErrorKind, ErrorValue, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "YEAR", parameters: ONE, returns: |_| Type::Number, call: Call::Strict(|v| part(v, |d| d.year().into())) },
    Function { name: "MONTH", parameters: ONE, returns: |_| Type::Number, call: Call::Strict(|v| part(v, |d| d.month().into())) },
    Function { name: "DAY", parameters: ONE, returns: |_| Type::Number, call: Call::Strict(|v| part(v, |d| d.day().into())) },
    Function {
        name: "DATEADD",
        parameters: Parameters::exactly(&[Kind::Moment, Kind::Number, Kind::Unit]),
        returns: |types| if *types[0].item() == Type::Date { Type::DateTime.union(Type::Date) } else { types[0].item().clone() },
        call: Call::Strict(|values| {
            let Some(start) = moment(&values[0])? else { return Ok(Value::Blank) };
            add(start, number(&values[1])?, Unit::of(&values[2])?)
        }),
    },
    Function {
        name: "DATETIME_DIFF",
        parameters: Parameters::with_optional(&[Kind::Moment, Kind::Moment], &[Kind::Unit]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let (Some(end), Some(start)) = (moment(&values[0])?, moment(&values[1])?) else { return Ok(Value::Blank) };
            let unit = values.get(2).map_or(Ok(Unit::Seconds(1)), Unit::of)?;
            Ok(Value::from(difference(end.civil(), start.civil(), unit)))
        }),
    },
];

const ONE: Parameters = Parameters::exactly(&[Kind::Moment]);

fn part(values: &[Value], of: fn(civil::DateTime) -> i64) -> Outcome {
    Ok(moment(&values[0])?.map_or(Value::Blank, |m| Value::from(of(m.civil()))))
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
        let lower = written.to_lowercase();
        Ok(match (written.as_str(), lower.as_str()) {
            ("M", _) => Unit::Months(1),
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
}

/// `start` moved by `count` units, the fraction of `count` cut off. The day is clamped to the month's end; a day stays a
/// day unless it is moved by hours or less.
fn add(start: Moment, count: Decimal, unit: Unit) -> Outcome {
    let out_of_range = || error(ErrorKind::Range, "the date lies outside the years -9999 to 9999");
    let count = count.trunc().to_i64().ok_or_else(out_of_range)?;
    let times = |n: i64| count.checked_mul(n).ok_or_else(out_of_range);
    let moved = match unit {
        Unit::Milliseconds(n) => start.civil().checked_add(SignedDuration::from_millis(times(n)?)),
        Unit::Seconds(n) => start.civil().checked_add(SignedDuration::from_secs(times(n)?)),
        Unit::Days(n) => Span::new().try_days(times(n)?).and_then(|span| start.civil().checked_add(span)),
        Unit::Months(n) => Span::new().try_months(times(n)?).and_then(|span| start.civil().checked_add(span)),
    }
    .map_err(|_| out_of_range())?;
    match (start, unit) {
        (Moment::Date(_), Unit::Days(_) | Unit::Months(_)) => Ok(Value::Date(moved.date())),
        _ => TimeZone::UTC.to_timestamp(moved).map(Value::DateTime).map_err(|_| out_of_range()),
    }
}

/// `end - start` in whole units, truncated toward zero. Months are of the calendar: from the 31st to the last day of a
/// shorter month is one.
fn difference(end: civil::DateTime, start: civil::DateTime, unit: Unit) -> i64 {
    let elapsed = end.duration_since(start);
    match unit {
        Unit::Milliseconds(n) => (elapsed.as_millis() / i128::from(n)) as i64,
        Unit::Seconds(n) => elapsed.as_secs() / n,
        Unit::Days(n) => elapsed.as_secs() / (n * 86_400),
        Unit::Months(n) => {
            let sign = if end < start { -1 } else { 1 };
            let month = |d: civil::DateTime| i64::from(d.year()) * 12 + i64::from(d.month());
            let mut months = (month(end) - month(start)).abs();
            // One month too many if that many from the start overshoots the end.
            let reached = Span::new().try_months(months * sign).and_then(|span| start.checked_add(span));
            if months > 0 && reached.is_ok_and(|reached| if sign > 0 { reached > end } else { reached < end }) {
                months -= 1;
            }
            sign * months / n
        }
    }
}
