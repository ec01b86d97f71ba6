//! Numbers made shorter. Decimals are rounded as they are written: 600.425 to two places is 600.43.

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::{Call, Function, Kind, Parameters};
use crate::formula::coerce::number;
use crate::formula::eval::too_large;
use crate::formula::outcome::{Outcome, error};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

const PLACES: Parameters = Parameters::with_optional(&[Kind::Number], &[Kind::Number]);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "ROUND",
        arguments: "number, [places]",
        parameters: PLACES,
        returns: |_| Type::Number,
        call: Call::Strict(|values| places(values, half_up)),
        doc: "To so many decimal places, or none; a half goes up, toward positive infinity. Negative places round before the point.",
        examples: &[("ROUND(600.425, 2)", "600.43"), ("ROUND(-2.5)", "-2"), ("ROUND(1250, -2)", "1300")],
    },
    Function {
        name: "ROUNDUP",
        arguments: "number, [places]",
        parameters: PLACES,
        returns: |_| Type::Number,
        call: Call::Strict(|values| places(values, away_from_zero)),
        doc: "To so many decimal places, away from zero.",
        examples: &[("ROUNDUP(1.001, 2)", "1.01"), ("ROUNDUP(-1.1)", "-2")],
    },
    Function {
        name: "ROUNDDOWN",
        arguments: "number, [places]",
        parameters: PLACES,
        returns: |_| Type::Number,
        call: Call::Strict(|values| places(values, to_zero)),
        doc: "To so many decimal places, toward zero.",
        examples: &[("ROUNDDOWN(1.999, 2)", "1.99"), ("ROUNDDOWN(-1.9)", "-1")],
    },
    Function {
        name: "TRUNC",
        arguments: "number, [places]",
        parameters: PLACES,
        returns: |_| Type::Number,
        call: Call::Strict(|values| places(values, to_zero)),
        doc: "The same as ROUNDDOWN.",
        examples: &[("TRUNC(-8.9)", "-8"), ("TRUNC(3.14159, 3)", "3.141")],
    },
    Function {
        name: "INT",
        arguments: "number",
        parameters: Parameters::exactly(&[Kind::Number]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| Ok(Value::number(number(&values[0])?.floor()))),
        doc: "The largest whole number that is not larger.",
        examples: &[("INT(1.9)", "1"), ("INT(-1.5)", "-2")],
    },
    Function {
        name: "CEILING",
        arguments: "number, [significance]",
        parameters: PLACES,
        returns: |_| Type::Number,
        call: Call::Strict(|values| multiple(values, Decimal::ceil)),
        doc: "The nearest multiple of the significance, or of 1, that is not smaller; with a number and a significance below zero, that is not larger.",
        examples: &[
            ("CEILING(2.1)", "3"),
            ("CEILING(7, 5)", "10"),
            ("CEILING(-2.5)", "-2"),
            ("CEILING(1.23, 0.1)", "1.3"),
            ("CEILING(-11, -2)", "-12"),
        ],
    },
    Function {
        name: "FLOOR",
        arguments: "number, [significance]",
        parameters: PLACES,
        returns: |_| Type::Number,
        call: Call::Strict(|values| multiple(values, Decimal::floor)),
        doc: "The nearest multiple of the significance, or of 1, that is not larger.",
        examples: &[("FLOOR(2.9)", "2"), ("FLOOR(7, 5)", "5"), ("FLOOR(-2.5)", "-3")],
    },
    Function {
        name: "EVEN",
        arguments: "number",
        parameters: Parameters::exactly(&[Kind::Number]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| away(number(&values[0])?, Decimal::ZERO)),
        doc: "The nearest even whole number that is not nearer to zero.",
        examples: &[("EVEN(3)", "4"), ("EVEN(-0.5)", "-2"), ("EVEN(0)", "0")],
    },
    Function {
        name: "ODD",
        arguments: "number",
        parameters: Parameters::exactly(&[Kind::Number]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| away(number(&values[0])?, Decimal::ONE)),
        doc: "The nearest odd whole number that is not nearer to zero.",
        examples: &[("ODD(2)", "3"), ("ODD(-2)", "-3"), ("ODD(0)", "1")],
    },
];

/// How a number is brought to so many decimal places.
type Rounding = fn(Decimal, u32) -> Decimal;

fn away_from_zero(n: Decimal, places: u32) -> Decimal {
    n.round_dp_with_strategy(places, RoundingStrategy::AwayFromZero)
}

fn to_zero(n: Decimal, places: u32) -> Decimal {
    n.round_dp_with_strategy(places, RoundingStrategy::ToZero)
}

/// To the nearest; a half goes up, also below zero.
pub(crate) fn half_up(n: Decimal, places: u32) -> Decimal {
    let half = if n.is_sign_negative() { RoundingStrategy::MidpointTowardZero } else { RoundingStrategy::MidpointAwayFromZero };
    n.round_dp_with_strategy(places, half)
}

/// Rounds the first argument to as many places as the second says; its fraction is floored, and it may be negative.
fn places(values: &[Value], round: Rounding) -> Outcome {
    let n = number(&values[0])?;
    let places = values.get(1).map_or(Ok(Decimal::ZERO), number)?.floor();
    let places = places.to_i64().unwrap_or(if places.is_sign_negative() { i64::MIN } else { i64::MAX });
    Ok(Value::number(match places {
        28.. => n,
        0..28 => round(n, places as u32),
        -28..0 => {
            let unit = Decimal::from_i128_with_scale(10i128.pow(-places as u32), 0);
            let rounded = n.checked_div(unit).map(|n| round(n, 0)).and_then(|n| n.checked_mul(unit));
            rounded.ok_or_else(|| error(ErrorKind::Range, "the rounded number has more digits than a number may have"))?
        }
        // To a multiple of more than any number has room for.
        _ if n.is_zero() || round(Decimal::new(if n.is_sign_negative() { -1 } else { 1 }, 1), 0).is_zero() => Decimal::ZERO,
        _ => return Err(error(ErrorKind::Range, "the rounded number has more digits than a number may have")),
    }))
}

fn multiple(values: &[Value], to_whole: fn(&Decimal) -> Decimal) -> Outcome {
    let n = number(&values[0])?;
    let significance = match values.get(1) {
        Some(significance) if !significance.is_blank() => number(significance)?,
        _ => Decimal::ONE,
    };
    if significance.is_zero() {
        return Ok(Value::from(0));
    }
    if significance.is_sign_negative() && n.is_sign_positive() && !n.is_zero() {
        return Err(error(ErrorKind::Range, "a number above zero has no significance below"));
    }
    let multiple = n.checked_div(significance).and_then(|n| to_whole(&n).checked_mul(significance));
    multiple.map(Value::number).ok_or_else(|| too_large("CEILING or FLOOR"))
}

/// The nearest whole number not nearer to zero that leaves `remainder` when halved.
fn away(n: Decimal, remainder: Decimal) -> Outcome {
    let whole = n.round_dp_with_strategy(0, RoundingStrategy::AwayFromZero);
    let fits = (whole % Decimal::TWO).abs() == remainder;
    let step = if fits {
        Decimal::ZERO
    } else if whole.is_sign_negative() && !whole.is_zero() {
        -Decimal::ONE
    } else {
        Decimal::ONE
    };
    whole.checked_add(step).map(Value::number).ok_or_else(|| too_large("EVEN"))
}
