//! When a formula that asks what time it is comes out otherwise, without anything else having changed.
//!
//! Nothing is evaluated again just because time passes: a cell is evaluated at the moment at which its value changes next.
//! That moment is found from the formula. The value of an expression that only ever rises or falls with time differs from
//! what it is now from some moment on, so that the moment is found by doubling and halving steps; any other expression
//! changes when one of its parts does, or later.
//!
//! An instant moved by months does not only rise: from a 30th to a 31st, which the month that it is moved to may not have, it
//! goes back by a day; and so do whole months between two. These are looked at day by day where they may be about to change
//! or to change back.
//!
//! # What NOW is
//! In a comparison that flips once, NOW is the time to the millisecond, so that the flip is seen when it happens.
//! Everywhere else it is the minute that has begun: what shows the time changes once a minute.

use std::sync::LazyLock;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rust_decimal::Decimal;

use super::ast::Operator;
use super::cells::Cells;
use super::eval::{Context, Evaluation, Expr, Program};
use super::functions::{self, Function};
use crate::value::Value;

/// What NOW moves by where it is not compared.
const MINUTE: i64 = 60_000;

/// A day, of UTC.
const DAY: i64 = 86_400_000;

/// For how many days an instant that is moved by months, or months that are counted, may be behind what was, at most; and some
/// more.
const UNSTEADY_DAYS: i64 = 5;

/// How many instants may be so in one formula for it to be looked at day by day.
const UNSTEADY_MAX: i64 = 3;

/// The steps that an evaluation may take for its next change to be searched for.
const STEPS_MAX: u32 = 1_000;

/// How a value moves as time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trend {
    /// It stays.
    Fixed,
    /// It stays or becomes greater.
    Rising,
    /// It stays or becomes smaller.
    Falling,
    /// Nothing is known of it.
    Any,
}

impl Trend {
    fn reversed(self) -> Self {
        match self {
            Trend::Rising => Trend::Falling,
            Trend::Falling => Trend::Rising,
            other => other,
        }
    }

    /// Of the sum of two.
    fn and(self, other: Trend) -> Self {
        match (self, other) {
            (Trend::Fixed, other) | (other, Trend::Fixed) => other,
            (one, other) if one == other => one,
            _ => Trend::Any,
        }
    }

    fn is_one_way(self) -> bool {
        matches!(self, Trend::Rising | Trend::Falling)
    }
}

fn trend(expr: &Expr) -> Trend {
    match expr {
        Expr::Constant(_) | Expr::Attribute(_) | Expr::HostAttribute(_) | Expr::Links { .. } | Expr::Converted(_) => Trend::Fixed,
        // What it stands for is not at hand here.
        Expr::Variable(_) => Trend::Any,
        Expr::Exact(inner) | Expr::Fraction(inner) | Expr::Listed(inner) => trend(inner),
        Expr::Negate(operand, _) => trend(operand).reversed(),
        Expr::Binary(operator, operands, _) => {
            let (left, right) = (trend(&operands.0), trend(&operands.1));
            match operator {
                Operator::Add => left.and(right),
                Operator::Subtract => left.and(right.reversed()),
                Operator::Multiply => times(left, &operands.1).or_else(|| times(right, &operands.0)).unwrap_or(left.and_fixed(right)),
                Operator::Divide => times(left, &operands.1).unwrap_or(left.and_fixed(right)),
                Operator::Greater | Operator::GreaterEqual => left.and(right.reversed()),
                Operator::Less | Operator::LessEqual => left.reversed().and(right),
                _ => left.and_fixed(right),
            }
        }
        Expr::Call(function, arguments, _) | Expr::Lazy(function, arguments, _) => of_call(function, arguments),
    }
}

impl Trend {
    /// Of anything that is made of two.
    fn and_fixed(self, other: Trend) -> Self {
        if (self, other) == (Trend::Fixed, Trend::Fixed) { Trend::Fixed } else { Trend::Any }
    }
}

/// The trend of a multiple, if the factor is known.
fn times(trend: Trend, factor: &Expr) -> Option<Trend> {
    match factor {
        Expr::Constant(Value::Number(factor)) => Some(if *factor < Decimal::ZERO { trend.reversed() } else { trend }),
        Expr::Negate(operand, _) => times(trend.reversed(), operand),
        _ => None,
    }
}

fn of_call(function: &Function, arguments: &[Expr]) -> Trend {
    let all = |arguments: &[Expr]| arguments.iter().map(trend).fold(Trend::Fixed, Trend::and_fixed);
    let rest_is_fixed = |count: usize| all(arguments.get(count..).unwrap_or_default()) == Trend::Fixed;
    match (function.name, arguments) {
        ("NOW" | "TODAY", _) => Trend::Rising,
        ("FROMNOW" | "TONOW", _) => Trend::Any,
        // With SET_TIMEZONE days are those of a place, where clocks are put back.
        ("DATEADD" | "YEAR" | "ROUND" | "INT" | "FLOOR" | "CEILING", [of, ..]) if rest_is_fixed(1) => trend(of),
        ("DATETIME_DIFF" | "IS_AFTER", [one, other, ..]) if rest_is_fixed(2) => trend(one).and(trend(other).reversed()),
        ("IS_BEFORE", [one, other, ..]) if rest_is_fixed(2) => trend(one).reversed().and(trend(other)),
        _ => all(arguments),
    }
}

/// Visits the instants that are moved by months or between which months are counted, as far as they move with time: at the ends
/// of months what rises or falls otherwise goes the other way there.
fn each_unsteady<'a>(expr: &'a Expr, visit: &mut dyn FnMut(&'a Expr)) {
    match expr {
        Expr::Constant(_) | Expr::Attribute(_) | Expr::HostAttribute(_) | Expr::Links { .. } | Expr::Converted(_) | Expr::Variable(_) => {}
        Expr::Exact(operand) | Expr::Fraction(operand) | Expr::Listed(operand) | Expr::Negate(operand, _) => each_unsteady(operand, visit),
        Expr::Binary(_, operands, _) => {
            each_unsteady(&operands.0, visit);
            each_unsteady(&operands.1, visit);
        }
        Expr::Call(function, arguments, _) | Expr::Lazy(function, arguments, _) => {
            arguments.iter().for_each(|argument| each_unsteady(argument, visit));
            let counts_months = matches!(function.name, "DATEADD" | "DATETIME_DIFF")
                && match arguments.get(2) {
                    Some(Expr::Constant(unit)) => matches!(functions::Unit::of(unit), Ok(functions::Unit::Months(_))),
                    unit => unit.is_some(),
                };
            if counts_months {
                arguments.iter().take(2).filter(|of| trend(of) != Trend::Fixed).for_each(visit);
            }
        }
    }
}

/// Has the time to the millisecond in a comparison that flips once as time passes.
pub(super) fn exact_if_it_flips(expr: Expr) -> Expr {
    let compares = match &expr {
        Expr::Binary(operator, ..) => {
            matches!(operator, Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual)
        }
        Expr::Call(function, ..) => matches!(function.name, "IS_BEFORE" | "IS_AFTER"),
        _ => false,
    };
    if compares && trend(&expr).is_one_way() { Expr::Exact(Box::new(expr)) } else { expr }
}

/// The circumstances at a moment, where comparisons look at the time and where anything else does.
pub(super) fn contexts(context: &Context, now: Timestamp) -> (Context, Context) {
    let minute = now.as_millisecond().div_euclid(MINUTE) * MINUTE;
    let at = |now| Context { now: Some(now), ..context.clone() };
    (at(now), at(Timestamp::from_millisecond(minute).unwrap_or(now)))
}

/// Nothing is expected of the time after this.
fn horizon() -> Timestamp {
    static HORIZON: LazyLock<Timestamp> = LazyLock::new(|| "2500-01-01T00:00:00Z".parse().expect("it is a moment as it should be written"));
    *HORIZON
}

impl Program {
    /// The first moment after that of `cells` at which the value may be another though no cell is; `None` if there is none
    /// before the year 2500. Where the cells know no time, anything may be otherwise as soon as they do.
    pub fn next_change(&self, cells: &dyn Cells) -> Option<Timestamp> {
        if !self.is_timed {
            return None;
        }
        let Some(now) = cells.now() else { return Some(Timestamp::MIN) };
        let search = Search { cells, now };
        search.next(&self.expr)
    }
}

struct Search<'a> {
    cells: &'a dyn Cells,
    now: Timestamp,
}

impl Search<'_> {
    fn next(&self, expr: &Expr) -> Option<Timestamp> {
        let least = |parts: &[Expr]| parts.iter().filter_map(|part| self.next(part)).min();
        let minute = || self.begin_of(self.step(MINUTE) + 1, MINUTE);
        match expr {
            Expr::Constant(_)
            | Expr::Attribute(_)
            | Expr::HostAttribute(_)
            | Expr::Links { .. }
            | Expr::Converted(_)
            | Expr::Variable(_) => None,
            Expr::Exact(inner) => self.first_other(inner, 1),
            Expr::Listed(operand) => self.next(operand),
            Expr::Call(function, _, _) if function.name == "NOW" => minute(),
            Expr::Call(function, _, _) if function.name == "TODAY" => {
                let tomorrow = TimeZone::UTC.to_datetime(self.now).date().checked_add(1.day());
                tomorrow.and_then(|day| TimeZone::UTC.to_timestamp(day.to_datetime(Time::midnight()))).ok()
            }
            Expr::Call(function, arguments, _) if functions::TIMED.contains(&function.name) => {
                minute().into_iter().chain(least(arguments)).min()
            }
            expr if trend(expr).is_one_way() => self.first_other(expr, MINUTE),
            Expr::Fraction(operand) | Expr::Negate(operand, _) => self.next(operand),
            Expr::Binary(_, operands, _) => self.next(&operands.0).into_iter().chain(self.next(&operands.1)).min(),
            Expr::Call(_, arguments, _) | Expr::Lazy(_, arguments, _) => least(arguments),
        }
    }

    /// In which step of so many milliseconds the time is.
    fn step(&self, length: i64) -> i64 {
        self.now.as_millisecond().div_euclid(length)
    }

    fn begin_of(&self, step: i64, length: i64) -> Option<Timestamp> {
        Timestamp::from_millisecond(step.checked_mul(length)?).ok()
    }

    /// The first step of so many milliseconds in which an expression that moves one way is not what it is now.
    fn first_other(&self, expr: &Expr, length: i64) -> Option<Timestamp> {
        let (first, last) = (self.step(length), horizon().as_millisecond().div_euclid(length));
        let at = |step| self.value(expr, self.begin_of(step, length).unwrap_or(self.now)).0;
        let (now, steps) = self.value(expr, self.begin_of(first, length).unwrap_or(self.now));
        let mut instants = 0;
        each_unsteady(expr, &mut |_| instants += 1);
        let unsteady = instants * UNSTEADY_DAYS * DAY / length;
        if steps > STEPS_MAX || instants > UNSTEADY_MAX {
            // It takes less to look whether it changed than to find out when it will.
            return self.begin_of(self.step(MINUTE) + 1, MINUTE);
        }
        if unsteady > 0
            && let Some(other) = self.day_by_day(expr, length, &now, first, last.min(first.saturating_add(unsteady)))
        {
            return self.begin_of(other, length);
        }
        if first >= last || at(last) == now {
            return None;
        }
        let (mut same, mut stride) = (first, 1);
        let mut other = loop {
            let next = same.saturating_add(stride).min(last);
            if next == last || at(next) != now {
                break next;
            }
            (same, stride) = (next, stride * 2);
        };
        while other - same > 1 {
            let middle = same + (other - same) / 2;
            if at(middle) == now { same = middle } else { other = middle }
        }
        if unsteady > 0 {
            other = self.day_by_day(expr, length, &now, first.max(other - unsteady), other).unwrap_or(other);
        }
        self.begin_of(other, length)
    }

    /// The same from one step to another, each day by itself; a day ends when one of the unsteady instants comes to its midnight.
    fn day_by_day(&self, expr: &Expr, length: i64, now: &Value, from: i64, to: i64) -> Option<i64> {
        let mut ahead = vec![0];
        each_unsteady(expr, &mut |instant| {
            if let Value::DateTime(there) = self.value(instant, self.now).0 {
                ahead.push((there.as_millisecond() - self.now.as_millisecond()).rem_euclid(DAY));
            }
        });
        let is_other = |step| self.begin_of(step, length).is_some_and(|at| self.value(expr, at).0 != *now);
        let mut begin = from;
        while begin <= to {
            let midnight = |ahead: &i64| ((begin * length + ahead).div_euclid(DAY) + 1) * DAY - ahead;
            let next = ahead.iter().map(|ahead| (midnight(ahead) + length - 1).div_euclid(length)).min().unwrap_or(to + 1);
            let end = to.min((next - 1).max(begin));
            if is_other(begin) {
                return Some(begin);
            }
            if is_other(end) {
                let (mut same, mut other) = (begin, end);
                while other - same > 1 {
                    let middle = same + (other - same) / 2;
                    if is_other(middle) { other = middle } else { same = middle }
                }
                return Some(other);
            }
            begin = end + 1;
        }
        None
    }

    /// The value at a moment, and how many steps it took.
    fn value(&self, expr: &Expr, at: Timestamp) -> (Value, u32) {
        let context = Context { now: Some(at), ..Context::utc().clone() };
        let mut evaluation = Evaluation::new(self.cells, &context, &context, Vec::new());
        (evaluation.expr(expr).unwrap_or_else(Value::Error), evaluation.steps)
    }
}
