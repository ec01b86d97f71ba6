//! Powers, and numbers that are only approximated.

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, MathematicalOps};

use super::eval::too_large;
use super::outcome::{Outcome, error};
use crate::value::ErrorKind;

/// Whole exponents are exact where the result has room; others are approximated, and shown with fifteen digits.
pub fn power(base: Decimal, exponent: Decimal) -> Outcome<Decimal> {
    if base.is_zero() && exponent.is_sign_negative() && !exponent.is_zero() {
        return Err(error(ErrorKind::Div0, "zero to a negative power divides by zero"));
    }
    match exponent.fract().is_zero().then(|| exponent.to_i64()).flatten() {
        Some(whole) => whole_power(base, whole).ok_or_else(|| too_large("^")),
        None if base.is_sign_negative() => {
            Err(error(ErrorKind::Range, "a negative number has no power whose exponent is not a whole number"))
        }
        None => approximate(base.to_f64().unwrap_or(f64::NAN).powf(exponent.to_f64().unwrap_or(f64::NAN))).ok_or_else(|| too_large("^")),
    }
}

/// What is too small for a number is 0, as everywhere; `None` if it is too large.
fn whole_power(base: Decimal, exponent: i64) -> Option<Decimal> {
    if exponent >= 0 {
        return base.checked_powi(exponent);
    }
    let positive = exponent.saturating_neg();
    let is_exact = i64::from(base.normalize().scale()).checked_mul(positive).is_some_and(|scale| scale <= i64::from(Decimal::MAX_SCALE));
    if base.abs() >= Decimal::ONE || is_exact {
        return base.checked_powi(positive).map_or(Some(Decimal::ZERO), |power| Decimal::ONE.checked_div(power));
    }
    // The power itself would be close to 0, with few digits or none.
    Decimal::ONE.checked_div(base)?.checked_powi(positive)
}

/// A binary fraction as the decimal number of fifteen digits that is nearest to it; `None` if it is none or too large.
pub fn approximate(number: f64) -> Option<Decimal> {
    if number.is_finite() { Decimal::from_f64_retain(number)?.round_sf(15) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_powers_are_small_and_not_too_large() {
        let shown = |base: &str, exponent: i64| whole_power(base.parse().unwrap(), exponent).map(|n| n.normalize().to_string());
        for (base, exponent, wanted) in [
            ("10", -28, Some("0.0000000000000000000000000001")),
            ("10", -30, Some("0")),
            ("-1.5", -1_000, Some("0")),
            ("2", i64::MIN, Some("0")),
            ("-2", -3, Some("-0.125")),
            ("0.1", -28, Some("10000000000000000000000000000")),
            ("0.1", -30, None),
            ("-1", -7, Some("-1")),
        ] {
            assert_eq!(shown(base, exponent).as_deref(), wanted, "{base}^{exponent}");
        }
        // The power of 0.3 itself has two digits.
        assert!(shown("0.3", -50).unwrap().starts_with("1392955569098538"));
    }

    #[test]
    fn approximations_have_fifteen_digits() {
        assert_eq!(approximate(0.1 + 0.2).map(|n| n.normalize().to_string()), Some("0.3".to_owned()));
        assert_eq!(approximate(f64::INFINITY), None);
        assert_eq!(approximate(1e30), None);
    }
}
