//! Sums that retract exactly.
//!
//! A sum of 28-digit decimals rounds when the scales lie far apart, and then taking a number out again does not give back
//! what was there before. So sums are kept in a 256-bit integer at the largest scale that a decimal may have, where adding
//! and subtracting are exact in any order, and are rounded once, when shown.

use ethnum::I256;
use num_bigint::{BigInt, Sign};
pub use rust_decimal::Decimal;

/// The scale of the accumulator: the most decimal places that a [`Decimal`] has.
const SCALE: u32 = 28;

/// The largest mantissa of a [`Decimal`]: 96 bits.
const MANTISSA_MAX: u128 = (1 << 96) - 1;

/// A sum of decimals, in units of 10⁻²⁸. A group under addition: `add` and `subtract` undo one another to the last digit.
///
/// Room: a decimal takes at most 96 + 93 bits here, so 2⁶⁵ of the largest fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExactSum(I256);

impl Default for ExactSum {
    fn default() -> Self {
        Self(I256::ZERO)
    }
}

impl ExactSum {
    /// Adds one number.
    pub fn add(&mut self, number: Decimal) {
        self.0 += fixed(number);
    }

    /// Takes one number out again.
    pub fn subtract(&mut self, number: Decimal) {
        self.0 -= fixed(number);
    }

    /// The sum, rounded half to even if it has more digits than a decimal; `None` if it is too large for one.
    pub fn total(&self) -> Option<Decimal> {
        self.divided_by(1)
    }

    /// The sum divided by `count`, rounded once; `None` if that is too large for a decimal, or `count` is zero.
    pub fn divided_by(&self, count: u64) -> Option<Decimal> {
        if count == 0 {
            return None;
        }
        let magnitude = self.0.unsigned_abs();
        let mut divisor = ethnum::U256::from(count);
        for scale in (0..=SCALE).rev() {
            let (quotient, remainder) = (magnitude / divisor, magnitude % divisor);
            let rest = divisor - remainder;
            let up = remainder > rest || (remainder == rest && quotient.as_u8() & 1 == 1);
            let rounded = if up { quotient + 1 } else { quotient };
            if rounded <= ethnum::U256::from(MANTISSA_MAX) {
                let mut number = Decimal::from_i128_with_scale(rounded.as_i128(), scale);
                number.set_sign_negative(self.0.is_negative() && rounded != 0);
                return Some(number.normalize());
            }
            divisor *= 10;
        }
        None
    }
}

/// The count, the sum and the sum of the squares of decimals, all exact: what a variance is made of. A group under addition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExactSquares {
    count: u64,
    /// In units of 10⁻²⁸.
    sum: BigInt,
    /// In units of 10⁻⁵⁶.
    squares: BigInt,
}

impl ExactSquares {
    /// Adds one number.
    pub fn add(&mut self, number: Decimal) {
        let number = large(number);
        self.count += 1;
        self.squares += &number * &number;
        self.sum += number;
    }

    /// Takes one number out again.
    pub fn subtract(&mut self, number: Decimal) {
        let number = large(number);
        self.count -= 1;
        self.squares -= &number * &number;
        self.sum -= number;
    }

    /// Whether there are more than `less`, so that they have a variance, though a decimal may have no room for it.
    pub fn is_enough(&self, less: u64) -> bool {
        self.count > less
    }

    /// The mean squared distance from the mean, divided by the count less `less`: 1 for a sample, 0 for a population. Rounded
    /// once, to 28 digits at most; `None` of too few, or if it is too large for a decimal.
    pub fn variance(&self, less: u64) -> Option<Decimal> {
        let divisor = self.count.checked_sub(less).filter(|divisor| *divisor > 0)?;
        // (n Σx² - (Σx)²) / (n (n - less)), in units of 10⁻⁵⁶.
        let numerator = &self.squares * self.count - &self.sum * &self.sum;
        let denominator = BigInt::from(self.count) * divisor;
        rounded(&numerator, &denominator)
    }
}

/// The sum of numbers times their weights, and of the weights, both exact. A group under addition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExactMean {
    /// In units of 10⁻⁵⁶.
    weighted: BigInt,
    /// In units of 10⁻²⁸.
    weights: BigInt,
}

impl ExactMean {
    /// Adds a number with its weight.
    pub fn add(&mut self, number: Decimal, weight: Decimal) {
        self.weighted += large(number) * large(weight);
        self.weights += large(weight);
    }

    /// Takes one out again.
    pub fn subtract(&mut self, number: Decimal, weight: Decimal) {
        self.weighted -= large(number) * large(weight);
        self.weights -= large(weight);
    }

    /// The mean, rounded once; `None` if the weights come to nothing, or if it is too large for a decimal.
    pub fn mean(&self) -> Option<Decimal> {
        if self.weights == BigInt::ZERO {
            return None;
        }
        // In units of 10⁻²⁸ over 1; brought to 10⁻⁵⁶.
        let scaled = &self.weighted * BigInt::from(10).pow(SCALE);
        let negative = (scaled < BigInt::ZERO) != (self.weights < BigInt::ZERO);
        let mut mean = rounded(&BigInt::from(scaled.magnitude().clone()), &BigInt::from(self.weights.magnitude().clone()))?;
        mean.set_sign_negative(negative && !mean.is_zero());
        Some(mean)
    }
}

/// A fraction of whole numbers: what is computed with decimals by `+`, `-`, `*` and `/`, without rounding.
///
/// One whose terms need more than [`ExactFraction::BITS_MAX`] bits is rounded to a decimal, so that each step takes bounded
/// time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactFraction {
    numerator: BigInt,
    /// Above 0.
    denominator: BigInt,
}

impl From<Decimal> for ExactFraction {
    fn from(number: Decimal) -> Self {
        Self { numerator: BigInt::from(number.mantissa()), denominator: BigInt::from(POWERS[number.scale() as usize]) }
    }
}

impl ExactFraction {
    /// How many bits a term may take: those of twenty decimals with all their digits.
    pub const BITS_MAX: u64 = 2_048;

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.numerator == BigInt::ZERO
    }

    /// With the other sign.
    pub fn negated(&self) -> Self {
        Self { numerator: -&self.numerator, denominator: self.denominator.clone() }
    }

    /// The sum; `None` if it is too large.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        if self.denominator == other.denominator {
            return Self::of(&self.numerator + &other.numerator, self.denominator.clone());
        }
        let numerator = &self.numerator * &other.denominator + &other.numerator * &self.denominator;
        Self::of(numerator, &self.denominator * &other.denominator)
    }

    /// The product; `None` if it is too large.
    pub fn times(&self, other: &Self) -> Option<Self> {
        Self::of(&self.numerator * &other.numerator, &self.denominator * &other.denominator)
    }

    /// The quotient; `None` if it is too large, or by zero.
    pub fn over(&self, other: &Self) -> Option<Self> {
        let (numerator, denominator) = (&self.numerator * &other.denominator, &self.denominator * &other.numerator);
        match denominator.sign() {
            Sign::Plus => Self::of(numerator, denominator),
            Sign::Minus => Self::of(-numerator, -denominator),
            Sign::NoSign => None,
        }
    }

    /// As a decimal, rounded half to even; `None` if it is too large for one.
    pub fn total(&self) -> Option<Decimal> {
        let magnitude = BigInt::from(self.numerator.magnitude().clone()) * BigInt::from(10).pow(2 * SCALE);
        let mut total = rounded(&magnitude, &self.denominator)?;
        total.set_sign_negative(self.numerator < BigInt::ZERO && !total.is_zero());
        Some(total)
    }

    fn of(numerator: BigInt, denominator: BigInt) -> Option<Self> {
        let fraction = Self { numerator, denominator };
        match fraction.numerator.bits().max(fraction.denominator.bits()) > Self::BITS_MAX {
            true => fraction.total().map(Self::from),
            false => Some(fraction),
        }
    }
}

/// A fraction that is not negative, in units of 10⁻⁵⁶, as a decimal rounded half to even.
fn rounded(numerator: &BigInt, denominator: &BigInt) -> Option<Decimal> {
    let mut divisor = denominator * BigInt::from(10).pow(SCALE);
    for scale in (0..=SCALE).rev() {
        let (quotient, remainder) = (numerator / &divisor, numerator % &divisor);
        let rest = &divisor - &remainder;
        let up = remainder > rest || (remainder == rest && quotient.bit(0));
        let rounded = if up { quotient + 1 } else { quotient };
        if let Some(mantissa) = u128::try_from(rounded).ok().filter(|mantissa| *mantissa <= MANTISSA_MAX) {
            return Some(Decimal::from_i128_with_scale(mantissa as i128, scale).normalize());
        }
        divisor *= 10;
    }
    None
}

fn large(number: Decimal) -> BigInt {
    BigInt::from(number.mantissa()) * BigInt::from(10).pow(SCALE - number.scale())
}

/// The powers of ten to the largest scale.
const POWERS: [i128; SCALE as usize + 1] = {
    let mut powers = [1; SCALE as usize + 1];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

fn fixed(number: Decimal) -> I256 {
    let power = POWERS[(SCALE - number.scale()) as usize];
    match number.mantissa().checked_mul(power) {
        // Most have few digits.
        Some(product) => I256::from(product),
        None => I256::from(number.mantissa()) * I256::from(power),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal() -> impl Strategy<Value = Decimal> {
        (any::<i64>(), any::<u32>(), 0u32..=28).prop_map(|(a, b, s)| Decimal::from_i128_with_scale(a as i128 * b as i128, s))
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(numbers in prop::collection::vec(decimal(), 1..40), seed in any::<usize>()) {
            let mut sum = ExactSum::default();
            let base = numbers[seed % numbers.len()];
            sum.add(base);
            for n in &numbers { sum.add(*n); }
            for n in numbers.iter().rev() { sum.subtract(*n); }
            prop_assert_eq!(sum.total(), Some(base.normalize()));
        }
    }

    proptest! {
        #[test]
        fn fractions_go_there_and_back(a in decimal(), b in decimal(), c in decimal()) {
            let [a, b, c] = [a, b, c].map(|number| number.normalize());
            let [x, y, z] = [a, b, c].map(ExactFraction::from);
            prop_assert_eq!(x.total(), Some(a));
            prop_assert_eq!(x.plus(&y).unwrap().plus(&y.negated()).unwrap().total(), Some(a));
            if !y.is_zero() && !z.is_zero() {
                prop_assert_eq!(x.over(&y).unwrap().times(&y).unwrap().total(), Some(a));
                prop_assert_eq!(x.times(&z).unwrap().over(&y).unwrap().over(&z).unwrap().times(&y).unwrap().total(), Some(a));
            }
        }
    }

    #[test]
    fn rounds_once() {
        let mut sum = ExactSum::default();
        for n in ["1e-28", "79228162514264337593543950335", "-79228162514264337593543950335"] {
            sum.add(n.parse().or_else(|_| Decimal::from_scientific(n)).unwrap());
        }
        assert_eq!(sum.total().unwrap().to_string(), "0.0000000000000000000000000001");
        let mut thirds = ExactSum::default();
        thirds.add(Decimal::from(10));
        assert_eq!(thirds.divided_by(3).unwrap().to_string(), "3.3333333333333333333333333333");
        thirds.add(Decimal::from(10));
        assert_eq!(thirds.divided_by(3).unwrap().to_string(), "6.6666666666666666666666666667");
        let mut large = ExactSum::default();
        large.add(Decimal::MAX);
        assert_eq!(large.total(), Some(Decimal::MAX));
        large.add(Decimal::MAX);
        assert_eq!(large.total(), None);
        assert_eq!(large.divided_by(2), Some(Decimal::MAX));
    }
}
