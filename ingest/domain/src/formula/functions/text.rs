//! Texts made from texts. Lengths and places count code points, from 1.

use ecow::EcoString;
use rust_decimal::prelude::ToPrimitive;

use super::{Call, Function, Kind, Parameters, flattened};
use crate::formula::coerce::{TEXT_LENGTH_MAX, bounded, number, only, text};
use crate::formula::outcome::{Outcome, error, excerpt};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

const ONE: Parameters = Parameters::exactly(&[Kind::Text]);
const COUNTED: Parameters = Parameters::with_optional(&[Kind::Text], &[Kind::Number]);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "CONCATENATE",
        arguments: "text, [text …]",
        parameters: Parameters::with_rest(&[Kind::Text], Kind::Text),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let mut out = EcoString::new();
            for value in values {
                let part = text(value);
                bounded(out.len() + part.len())?;
                out.push_str(&part);
            }
            Ok(Value::Text(out))
        }),
        doc: "The texts one after the other, as `&`.",
        examples: &[("CONCATENATE(\"a\", 1, BLANK(), \"b\")", "\"a1b\"")],
    },
    Function {
        name: "LEFT",
        arguments: "text, [count]",
        parameters: COUNTED,
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let (text, count) = (text(&values[0]), count(values.get(1))?);
            let end = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
            Ok(Value::text(&text[..end]))
        }),
        doc: "The first characters, one if no count is given.",
        examples: &[("LEFT(\"Flight\", 3)", "\"Fli\""), ("LEFT(\"👍a\")", "\"👍\"")],
    },
    Function {
        name: "RIGHT",
        arguments: "text, [count]",
        parameters: COUNTED,
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let (text, count) = (text(&values[0]), count(values.get(1))?);
            let start = text.char_indices().rev().take(count).last().map_or(text.len(), |(at, _)| at);
            Ok(Value::text(&text[start..]))
        }),
        doc: "The last characters, one if no count is given.",
        examples: &[("RIGHT(\"Flight\", 3)", "\"ght\"")],
    },
    Function {
        name: "MID",
        arguments: "text, start, count",
        parameters: Parameters::exactly(&[Kind::Text, Kind::Number, Kind::Number]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let (text, start, count) = (text(&values[0]), place(&values[1], "MID")?, count(values.get(2))?);
            Ok(Value::text(text.chars().skip(start - 1).take(count).collect::<EcoString>()))
        }),
        doc: "So many characters from a place on.",
        examples: &[("MID(\"Flight\", 2, 3)", "\"lig\""), ("MID(\"Flight\", 0, 3)", "#value")],
    },
    Function {
        name: "LEN",
        arguments: "text",
        parameters: ONE,
        returns: |_| Type::Number,
        call: Call::Strict(|values| Ok(Value::from(text(&values[0]).chars().count() as i64))),
        doc: "How many characters it has.",
        examples: &[("LEN(\"quick\")", "5"), ("LEN(\"👍a\")", "2")],
    },
    Function {
        name: "LOWER",
        arguments: "text",
        parameters: ONE,
        returns: |_| Type::Text,
        call: Call::Strict(|values| cased(&text(&values[0]).to_lowercase())),
        doc: "In small letters.",
        examples: &[("LOWER(\"ÄbC\")", "\"äbc\"")],
    },
    Function {
        name: "UPPER",
        arguments: "text",
        parameters: ONE,
        returns: |_| Type::Text,
        call: Call::Strict(|values| cased(&text(&values[0]).to_uppercase())),
        doc: "In capitals.",
        examples: &[("UPPER(\"äbc\")", "\"ÄBC\"")],
    },
    Function {
        name: "PROPER",
        arguments: "text",
        parameters: ONE,
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let mut after_letter = false;
            let mut out = EcoString::new();
            for c in text(&values[0]).chars() {
                if after_letter {
                    out.extend(c.to_lowercase())
                } else {
                    out.extend(c.to_uppercase())
                }
                after_letter = c.is_alphabetic();
            }
            cased(&out)
        }),
        doc: "Each word with a capital in front and small letters behind.",
        examples: &[("PROPER(\"jOHN o'neil-smith\")", "\"John O'Neil-Smith\"")],
    },
    Function {
        name: "TRIM",
        arguments: "text",
        parameters: ONE,
        returns: |_| Type::Text,
        call: Call::Strict(|values| Ok(Value::text(text(&values[0]).trim()))),
        doc: "Without white space at its ends.",
        examples: &[("TRIM(\"  a  b \")", "\"a  b\"")],
    },
    Function {
        name: "REPT",
        arguments: "text, count",
        parameters: Parameters::exactly(&[Kind::Text, Kind::Number]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let (text, count) = (text(&values[0]), count(values.get(1))?);
            bounded(text.len().saturating_mul(count))?;
            // Nothing is not repeated, however often.
            Ok(Value::Text(if text.is_empty() { text } else { text.repeat(count) }))
        }),
        doc: "So many times.",
        examples: &[("REPT(\"ab\", 3)", "\"ababab\""), ("REPT(\"ab\", 1000000)", "#limit"), ("REPT(\"\", 1000000)", "\"\"")],
    },
    Function {
        name: "REPLACE",
        arguments: "text, start, count, replacement",
        parameters: Parameters::exactly(&[Kind::Text, Kind::Number, Kind::Number, Kind::Text]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let (old, start, count) = (text(&values[0]), place(&values[1], "REPLACE")?, count(values.get(2))?);
            let new = text(&values[3]);
            bounded(old.len() + new.len())?;
            let mut out: EcoString = old.chars().take(start - 1).collect();
            out.push_str(&new);
            out.extend(old.chars().skip((start - 1).saturating_add(count)));
            Ok(Value::Text(out))
        }),
        doc: "The text with so many characters, from a place on, replaced.",
        examples: &[("REPLACE(\"database\", 5, 2, \"BA\")", "\"dataBAse\""), ("REPLACE(\"abc\", 9, 1, \"!\")", "\"abc!\"")],
    },
    Function {
        name: "SUBSTITUTE",
        arguments: "text, old, new, [which]",
        parameters: Parameters::with_optional(&[Kind::Text, Kind::Text, Kind::Text], &[Kind::Number]),
        returns: |_| Type::Text,
        call: Call::Strict(substitute),
        doc: "The text with each occurrence of `old` replaced, or only the one that `which` counts to.",
        examples: &[
            ("SUBSTITUTE(\"gold mold\", \"old\", \"et\")", "\"get met\""),
            ("SUBSTITUTE(\"gold mold\", \"old\", \"et\", 2)", "\"gold met\""),
        ],
    },
    Function {
        name: "PADLEFT",
        arguments: "text, length, [with]",
        parameters: Parameters::with_optional(&[Kind::Text, Kind::Number], &[Kind::Text]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let (text, length) = (text(&values[0]), count(values.get(1))?);
            let with = values.get(2).map_or_else(|| " ".into(), super::as_text);
            bounded(length)?;
            let missing = length.saturating_sub(text.chars().count());
            if missing == 0 || with.is_empty() {
                return Ok(Value::Text(text));
            }
            bounded(missing.saturating_mul(4) + text.len())?;
            Ok(Value::Text(with.chars().cycle().take(missing).chain(text.chars()).collect()))
        }),
        doc: "Filled up in front to this length, with spaces or what is given.",
        examples: &[("PADLEFT(7, 3, \"0\")", "\"007\"")],
    },
    Function {
        name: "T",
        arguments: "value",
        parameters: Parameters::exactly(&[Kind::Any]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let is_text = match &values[0] {
                Value::Text(_) => true,
                Value::List(items) => items.iter().all(|item| matches!(item, Value::Text(_))),
                _ => false,
            };
            Ok(if is_text { Value::Text(text(&values[0])) } else { Value::Blank })
        }),
        doc: "The value if it is text, or a list of texts as one; else blank.",
        examples: &[("T(\"a\")", "\"a\""), ("T(1)", "blank")],
    },
    Function {
        name: "VALUE",
        arguments: "text",
        parameters: ONE,
        returns: |_| Type::Number,
        call: Call::Strict(value),
        doc: "The number that a text shows; currency signs and separators of thousands are passed over, and `%` divides by a hundred.",
        examples: &[
            ("VALUE(\"$1,234.50\")", "1234.5"),
            ("VALUE(\"12%\")", "0.12"),
            ("VALUE(\"1.234,56\")", "#value"),
            ("VALUE(\"\")", "blank"),
            ("VALUE(\"abc\")", "#value"),
            ("VALUE({nums})", "#value"),
        ],
    },
    Function {
        name: "ENCODE_URL_COMPONENT",
        arguments: "text",
        parameters: ONE,
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let mut out = EcoString::new();
            for byte in text(&values[0]).bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => {
                        out.push(byte.into());
                    }
                    _ => out.push_str(&format!("%{byte:02X}")),
                }
            }
            bounded(out.len())?;
            Ok(Value::Text(out))
        }),
        doc: "The text as a part of an address: everything but letters, digits and `-_.!~*'()` as `%` and two digits.",
        examples: &[("ENCODE_URL_COMPONENT(\"a b/é\")", "\"a%20b%2F%C3%A9\"")],
    },
    Function {
        name: "TEXTALL",
        arguments: "value, [value …]",
        parameters: Parameters::with_rest(&[Kind::Any], Kind::Any),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let mut parts: Vec<EcoString> = Vec::new();
            flattened(values, &mut |value| {
                parts.push(text(value));
                bounded(parts.iter().map(|part| part.len()).sum::<usize>().min(TEXT_LENGTH_MAX + 1))
            })?;
            Ok(Value::text(parts.join(", ")))
        }),
        doc: "All values as one text, with commas between.",
        examples: &[("TEXTALL({nums})", "\"3, 1, 2\"")],
    },
];

/// A text in other letters, of which there may be more.
fn cased(text: &str) -> Outcome {
    bounded(text.len())?;
    Ok(Value::text(text))
}

/// How many code points are wanted: 1 if not said, none if negative, the whole part of a fraction.
pub(super) fn count(value: Option<&Value>) -> Outcome<usize> {
    let Some(value) = value else { return Ok(1) };
    let count = number(value)?;
    Ok(if count.is_sign_negative() { 0 } else { count.trunc().to_usize().unwrap_or(usize::MAX) })
}

/// A place in a text, counted from 1.
fn place(value: &Value, function: &str) -> Outcome<usize> {
    let place = number(value)?.trunc();
    let place = if place > rust_decimal::Decimal::ZERO { Some(place.to_usize().unwrap_or(usize::MAX)) } else { None };
    place.ok_or_else(|| error(ErrorKind::Value, format!("{function} counts places from 1")))
}

fn substitute(values: &[Value]) -> Outcome {
    let (old_text, old, new) = (text(&values[0]), text(&values[1]), text(&values[2]));
    let which = match values.get(3) {
        None | Some(Value::Blank) => None,
        Some(which) => Some(place(which, "SUBSTITUTE")?),
    };
    if old.is_empty() {
        return Ok(Value::Text(old_text));
    }
    let mut out = EcoString::new();
    let mut copied = 0;
    for (i, (at, _)) in old_text.match_indices(old.as_str()).enumerate() {
        if which.is_none_or(|which| which == i + 1) {
            out.push_str(&old_text[copied..at]);
            out.push_str(&new);
            bounded(out.len())?;
            copied = at + old.len();
        }
    }
    bounded(out.len() + old_text.len() - copied)?;
    out.push_str(&old_text[copied..]);
    Ok(Value::Text(out))
}

/// Unicode's category Sc.
fn is_currency_sign(c: char) -> bool {
    const SIGNS: &str = "$¢£¤¥֏؋߾߿৲৳৻૱௹฿៛꠸﷼﹩＄￠￡￥￦";
    ('\u{20a0}'..='\u{20cf}').contains(&c) || SIGNS.contains(c)
}

/// Whether each comma has digits around it, and stands in front of the point.
fn separates_thousands(number: &str) -> bool {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let groups: Vec<&str> = whole.split(',').collect();
    let (first, last) = (groups[0], groups[groups.len() - 1]);
    let is_between = groups.len() < 3 || groups[1..groups.len() - 1].iter().all(|group| !group.is_empty());
    !fraction.contains(',') && is_between && (groups.len() < 2 || (first.ends_with(|c: char| c.is_ascii_digit()) && !last.is_empty()))
}

fn value(values: &[Value]) -> Outcome {
    let written = match &values[0] {
        // Joined, its items would look like one number with separators.
        Value::List(items) => text(only(items, "number")?),
        other => text(other),
    };
    let trimmed = written.trim();
    if trimmed.is_empty() {
        return Ok(Value::Blank);
    }
    // In brackets, as accountants write what is below zero; then there is no sign.
    let in_brackets = trimmed.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).filter(|within| !within.contains(['-', '+']));
    let (negative, shown) = (in_brackets.is_some(), in_brackets.unwrap_or(trimmed));
    let (percent, bare) = shown.strip_suffix('%').map_or((false, shown), |bare| (true, bare));
    let separated: String = bare.chars().filter(|c| !(c.is_whitespace() || is_currency_sign(*c))).collect();
    let digits = separated.replace(',', "");
    let parsed = number(&Value::text(digits.as_str()))
        .ok()
        .filter(|_| digits.contains(|c: char| c.is_ascii_digit()) && separates_thousands(&separated));
    let n = parsed.ok_or_else(|| error(ErrorKind::Value, format!("\"{}\" is not a number", excerpt(&written))))?;
    let n = if percent { n / rust_decimal::Decimal::ONE_HUNDRED } else { n };
    Ok(Value::number(if negative { -n } else { n }))
}
