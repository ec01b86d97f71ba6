//! ROUND, ABS, MIN, MAX.

use std::cmp::Ordering;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::{Call, Function, Kind, Parameters, flattened};
use crate::formula::eval::{Outcome, compare, error, number};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "ROUND",
        parameters: Parameters::with_optional(&[Kind::Number], &[Kind::Number]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let places = values.get(1).map_or(Ok(Decimal::ZERO), number)?;
            round(number(&values[0])?, places).map(Value::number)
        }),
    },
    Function {
        name: "ABS",
        parameters: Parameters::exactly(&[Kind::Number]),
        returns: |_| Type::Number,
        call: Call::Strict(|values| Ok(Value::number(number(&values[0])?.abs()))),
    },
    Function { name: "MIN", parameters: EXTREME, returns: ordered, call: Call::Strict(|values| extreme(values, Ordering::Less)) },
    Function { name: "MAX", parameters: EXTREME, returns: ordered, call: Call::Strict(|values| extreme(values, Ordering::Greater)) },
];

const EXTREME: Parameters = Parameters::at_least_one(Kind::Ordered, &[Kind::Ordered]);

fn ordered(types: &[Type]) -> Type {
    types.iter().map(|ty| ty.item().clone()).reduce(Type::union).unwrap_or(Type::Blank)
}

/// Half rounds up, toward positive infinity: -2.5 becomes -2. `places` is floored, and may be negative.
pub(super) fn round(number: Decimal, places: Decimal) -> Outcome<Decimal> {
    let places = places.floor().to_i64().unwrap_or(if places.is_sign_negative() { i64::MIN } else { i64::MAX });
    let half_up = |n: Decimal, places: u32| {
        let towards = if n.is_sign_negative() { RoundingStrategy::MidpointTowardZero } else { RoundingStrategy::MidpointAwayFromZero };
        n.round_dp_with_strategy(places, towards)
    };
    match places {
        28.. => Ok(number),
        0..28 => Ok(half_up(number, places as u32)),
        -28..0 => {
            let unit = Decimal::from_i128_with_scale(10i128.pow(-places as u32), 0);
            let rounded = number.checked_div(unit).map(|n| half_up(n, 0)).and_then(|n| n.checked_mul(unit));
            rounded.ok_or_else(|| error(ErrorKind::Range, "the rounded number has more digits than a number may have"))
        }
        _ => Ok(Decimal::ZERO),
    }
}

/// The first value for which none is more `towards`; blanks are left out.
fn extreme(values: &[Value], towards: Ordering) -> Outcome {
    let mut best: Option<Value> = None;
    flattened(values, &mut |value| {
        let value = match value {
            Value::Blank => return Ok(()),
            Value::Date(_) | Value::DateTime(_) => value.clone(),
            other => Value::number(number(other)?),
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
