//! Medians and percentiles of decimals.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::exact::ExactSum;

/// The number in the middle; the mean of two.
pub fn median(mut numbers: Vec<Decimal>) -> Option<Decimal> {
    numbers.sort_unstable();
    middle(numbers.len(), |i| numbers.get(i).copied())
}

/// The number in the middle of `count` sorted ones.
pub fn middle(count: usize, at: impl Fn(usize) -> Option<Decimal>) -> Option<Decimal> {
    let upper = at(count / 2)?;
    if count % 2 == 1 {
        return Some(upper);
    }
    let mut sum = ExactSum::default();
    sum.add(at(count / 2 - 1)?);
    sum.add(upper);
    sum.divided_by(2)
}

/// The number below which this share lies, by linear interpolation between the closest ranks.
pub fn percentile(mut numbers: Vec<Decimal>, share: Decimal) -> Option<Decimal> {
    numbers.sort_unstable();
    at_share(numbers.len(), share, |i| numbers.get(i).copied())
}

/// The number at this share of `count` sorted ones.
pub fn at_share(count: usize, share: Decimal, at: impl Fn(usize) -> Option<Decimal>) -> Option<Decimal> {
    let place = share.checked_mul(Decimal::from(count.checked_sub(1)?))?;
    let below = place.floor().to_usize()?;
    let low = at(below)?;
    match at(below + 1) {
        Some(high) if !place.fract().is_zero() => high.checked_sub(low)?.checked_mul(place.fract())?.checked_add(low),
        _ => Some(low),
    }
}
