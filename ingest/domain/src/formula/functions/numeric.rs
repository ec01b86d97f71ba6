//! Arithmetic on single numbers.

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, MathematicalOps};

use super::{Call, Function, Kind, Parameters, flattened, number_among};
use crate::formula::coerce::number;
use crate::formula::eval::{modulo, too_large};
use crate::formula::outcome::{Outcome, error};
use crate::formula::power::{approximate, power};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

const ONE: Parameters = Parameters::exactly(&[Kind::Number]);
const TWO: Parameters = Parameters::exactly(&[Kind::Number, Kind::Number]);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "ABS",
        arguments: "number",
        parameters: ONE,
        returns: |_| Type::Number,
        call: Call::Strict(|values| Ok(Value::number(number(&values[0])?.abs()))),
        doc: "The number without its sign.",
        examples: &[("ABS(-2.5)", "2.5")],
    },
    Function {
        name: "SIGN",
        arguments: "number",
        parameters: ONE,
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let n = number(&values[0])?;
            Ok(Value::from(if n.is_zero() {
                0
            } else if n.is_sign_negative() {
                -1
            } else {
                1
            }))
        }),
        doc: "-1, 0 or 1.",
        examples: &[("SIGN(-3)", "-1"), ("SIGN(0)", "0")],
    },
    Function {
        name: "MOD",
        arguments: "number, divisor",
        parameters: TWO,
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let (a, b) = divided(values)?;
            modulo(a, b).map(Value::number).ok_or_else(|| too_large("MOD"))
        }),
        doc: "The remainder, with the sign of the divisor, as `%`.",
        examples: &[("MOD(7, 3)", "1"), ("MOD(-7, 3)", "2"), ("MOD(7, -3)", "-2"), ("MOD(1, 0)", "#div0")],
    },
    Function {
        name: "QUOTIENT",
        arguments: "number, divisor",
        parameters: TWO,
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let (a, b) = divided(values)?;
            a.checked_div(b).map(|n| Value::number(n.trunc())).ok_or_else(|| too_large("QUOTIENT"))
        }),
        doc: "How often the divisor goes into the number, cut off toward zero.",
        examples: &[("QUOTIENT(7, 2)", "3"), ("QUOTIENT(-7, 2)", "-3")],
    },
    Function {
        name: "POWER",
        arguments: "base, exponent",
        parameters: TWO,
        returns: |_| Type::Number,
        call: Call::Strict(|values| power(number(&values[0])?, number(&values[1])?).map(Value::number)),
        doc: "The base raised to the exponent, as `^`. Whole exponents are exact as far as 28 digits reach; others are approximated with fifteen.",
        examples: &[("POWER(2, 10)", "1024"), ("POWER(0, 0)", "1"), ("POWER(2, 0.5)", "1.4142135623731")],
    },
    Function {
        name: "SQRT",
        arguments: "number",
        parameters: ONE,
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let root = number(&values[0])?.sqrt();
            root.map(Value::number).ok_or_else(|| error(ErrorKind::Range, "a negative number has no square root"))
        }),
        doc: "The square root. Not exact where it has more than 28 digits.",
        examples: &[("SQRT(9)", "3"), ("SQRT(-1)", "#range")],
    },
    Function {
        name: "EXP",
        arguments: "number",
        parameters: ONE,
        returns: |_| Type::Number,
        call: Call::Strict(|values| real(values, f64::exp).and_then(|n| n.ok_or_else(|| too_large("EXP")))),
        doc: "e to this power, approximated with fifteen digits.",
        examples: &[("EXP(0)", "1"), ("ROUND(EXP(1), 6)", "2.718282")],
    },
    Function {
        name: "LN",
        arguments: "number",
        parameters: ONE,
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            positive(values)?;
            real(values, f64::ln).and_then(|n| n.ok_or_else(|| too_large("LN")))
        }),
        doc: "The natural logarithm, approximated with fifteen digits.",
        examples: &[("LN(1)", "0"), ("LN(0)", "#range")],
    },
    Function {
        name: "LOG",
        arguments: "number, [base]",
        parameters: Parameters::with_optional(&[Kind::Number], &[Kind::Number]),
        returns: |_| Type::Number,
        call: Call::Strict(log),
        doc: "The logarithm, to base 10 if none is given; approximated with fifteen digits.",
        examples: &[("LOG(1000)", "3"), ("LOG(8, 2)", "3"), ("LOG(8, 1)", "#div0")],
    },
    Function {
        name: "PI",
        arguments: "",
        parameters: Parameters::exactly(&[]),
        returns: |_| Type::Number,
        call: Call::Strict(|_| Ok(Value::number(Decimal::PI))),
        doc: "The ratio of a circle's circumference to its diameter, with 28 decimal places.",
        examples: &[("ROUND(PI(), 5)", "3.14159")],
    },
    Function {
        name: "PRODUCT",
        arguments: "number, [number …]",
        parameters: Parameters::with_rest(&[Kind::Number], Kind::Number),
        returns: |_| Type::Number,
        call: Call::Strict(|values| {
            let mut product: Option<Decimal> = None;
            flattened(values, &mut |value| {
                if let Some(n) = number_among(value) {
                    product = Some(match product {
                        None => n,
                        Some(product) => product.checked_mul(n).ok_or_else(|| too_large("PRODUCT"))?,
                    });
                }
                Ok(())
            })?;
            Ok(Value::number(product.unwrap_or(Decimal::ZERO)))
        }),
        doc: "The numbers multiplied. Blanks are left out, and so is text that is no number.",
        examples: &[("PRODUCT(2, 3, 4)", "24"), ("PRODUCT({nums})", "6"), ("PRODUCT(2, \"\", 4)", "8")],
    },
];

/// A number and what it is divided by.
fn divided(values: &[Value]) -> Outcome<(Decimal, Decimal)> {
    let (a, b) = (number(&values[0])?, number(&values[1])?);
    if b.is_zero() { Err(error(ErrorKind::Div0, "division by zero")) } else { Ok((a, b)) }
}

/// A function of the binary fractions, shown with fifteen digits; `None` if the result is none or too large.
fn real(values: &[Value], of: fn(f64) -> f64) -> Outcome<Option<Value>> {
    let n = number(&values[0])?;
    Ok(approximate(of(n.to_f64().unwrap_or(f64::NAN))).map(Value::number))
}

fn positive(values: &[Value]) -> Outcome<Decimal> {
    let n = number(&values[0])?;
    if n > Decimal::ZERO { Ok(n) } else { Err(error(ErrorKind::Range, "only numbers above zero have a logarithm")) }
}

fn log(values: &[Value]) -> Outcome {
    let n = positive(values)?.to_f64().unwrap_or(f64::NAN);
    let base = values.get(1).filter(|base| !base.is_blank()).map(|base| positive(std::slice::from_ref(base))).transpose()?;
    let result = match base.map(|base| (base, base.to_f64().unwrap_or(f64::NAN))) {
        None => n.log10(),
        Some((base, _)) if base == Decimal::ONE => return Err(error(ErrorKind::Div0, "a logarithm to base 1 divides by zero")),
        Some((base, _)) if base == Decimal::TEN => n.log10(),
        Some((base, _)) if base == Decimal::TWO => n.log2(),
        Some((_, base)) => n.ln() / base.ln(),
    };
    approximate(result).map(Value::number).ok_or_else(|| too_large("LOG"))
}
