//! What is shown of stored values whose attribute changed its type, or whose options have other names.
//!
//! What was stored stays as it is in the log: under each type that an attribute had, values are stored under an id of their
//! own ([`Attribute::stored_as`]), and at most one of them is there. The newest is shown as it is; an older one as what it
//! comes to in the newer types, one after the other. A value that does not fit is an error in its cell, and is there again
//! when the attribute gets a type that it fits.

use ecow::{EcoString, eco_format};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde_json::Value as Json;

use super::input::{self, TEXT_LENGTH_MAX};
use crate::aggregate::attribute::{Attribute, Definition};
use crate::aggregate::choice::Choice;
use crate::aggregate::format::{NumberFormat, seconds};
use crate::formula::eval::Expr;
use crate::formula::outcome::article;
use crate::formula::{Cells, Program, Type, coerce, dates::Moment};
use crate::id::AttributeId;
use crate::value::{ErrorKind, Value};

/// How cells come from what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// The types that the attribute had, the newest last, with the id under which values of each are stored.
    types: Vec<(AttributeId, Definition)>,
}

impl Conversion {
    /// That of an attribute, if it needs one.
    pub fn of(attribute: &Attribute) -> Option<Self> {
        let newest = (attribute.stored_as(), attribute.definition.clone());
        attribute.converts.then(|| Self { types: attribute.former.iter().cloned().chain([newest]).collect() })
    }

    /// As a program, whose result has this type. It reads what is stored, whatever the ids of cells are.
    pub(super) fn program(self, result: Type) -> Program {
        let mut references: Vec<_> = self.types.iter().map(|(id, _)| *id).collect();
        references.sort_unstable();
        Program { expr: Expr::Converted(self.into()), result, references, host_references: Vec::new(), is_timed: false }
    }

    /// What is shown of an entity.
    pub fn value(&self, cells: &dyn Cells) -> Value {
        let (mut shown, mut fits, mut seen): (Value, Value, Option<&Definition>) = (Value::Blank, Value::Blank, None);
        // What was chosen is no option any more: there is nothing else to say of it in another type either.
        let mut lost = None;
        for (place, (id, definition)) in self.types.iter().enumerate() {
            let (stored, is_newest) = (cells.cell(*id), place + 1 == self.types.len());
            let is_stored = !stored.is_blank();
            shown = match (is_stored, seen, &lost) {
                (true, ..) => as_shown(stored, definition, is_newest),
                (false, None, _) => continue,
                (false, Some(_), Some(error)) => Value::clone(error),
                (false, Some(before), None) => converted(&fits, before, definition),
            };
            if !shown.is_error() {
                (fits, seen, lost) = (shown.clone(), Some(definition), None);
            } else if is_stored {
                (seen, lost) = (Some(definition), Some(shown.clone()));
            }
        }
        shown
    }
}

fn misfit(value: &Value, wanted: &str) -> Value {
    let text = coerce::text(value);
    let short: EcoString = text.chars().take(40).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    Value::error(ErrorKind::Value, eco_format!("\"{short}{more}\" is not {wanted}"))
}

/// What is shown of a value that was stored under this definition. That it is too long, or has too many decimal places, only the
/// newest says: under others it is there for what comes after.
fn as_shown(stored: Value, definition: &Definition, is_newest: bool) -> Value {
    let name = |id: &Value, choices: &[Choice]| match id {
        Value::Text(id) => choices.iter().find(|choice| choice.id == *id).map(|choice| Value::Text(choice.name.clone())),
        _ => None,
    };
    match (definition, &stored) {
        (Definition::SingleSelect { options }, id) => name(id, options).unwrap_or_else(|| misfit(id, "an option")),
        (Definition::MultiSelect { options }, Value::List(ids)) => {
            let names: Result<Vec<Value>, Value> = ids.iter().map(|id| name(id, options).ok_or_else(|| misfit(id, "an option"))).collect();
            names.map_or_else(|error| error, Value::list)
        }
        (Definition::Number { scale, .. }, Value::Number(number)) if is_newest => input::scaled(*number, *scale),
        (Definition::Text { max_length: Some(most), .. }, Value::Text(text)) if is_newest && text.chars().count() > *most as usize => {
            misfit(&stored, "as short as the attribute wants")
        }
        _ => stored,
    }
}

/// A value that is shown under one definition, as a value of another; an error if it does not fit.
fn converted(value: &Value, from: &Definition, to: &Definition) -> Value {
    // What holds text can hold nothing but spaces; all others say nothing by it.
    let holds_text = matches!(to, Definition::Text { .. } | Definition::Json {});
    let plain = plain(value, from);
    // One value where a list has one.
    let single = match &plain {
        Value::List(items) if items.len() == 1 => &items[0],
        other => other,
    };
    let is_empty = matches!(single, Value::Text(text) if text.trim().is_empty());
    let is_null = matches!((from, value), (Definition::Json {}, Value::Text(text)) if text.trim() == "null");
    if value.is_blank() || is_null || !holds_text && (plain.is_blank() || is_empty) {
        return Value::Blank;
    }
    // What says it all as text.
    let text = || match (from, value) {
        (Definition::Json {}, _) if matches!(plain, Value::Text(_)) => coerce::text(&plain),
        (Definition::DateRange {}, Value::List(days)) if days.len() == 2 => {
            eco_format!("{}/{}", coerce::text(&days[0]), coerce::text(&days[1]))
        }
        _ => coerce::text(value),
    };
    // Days begin where the one or the other says.
    let zone = from.time_zone().or_else(|| to.time_zone()).unwrap_or(TimeZone::UTC);
    let result = match to {
        Definition::Text { max_length, format } => {
            let text = text();
            let fits = text.len() <= TEXT_LENGTH_MAX && max_length.is_none_or(|max| text.chars().count() <= max as usize);
            match format.check(&text) {
                Ok(()) if fits => Some(Value::Text(text)),
                Ok(()) => return misfit(value, "as short as the attribute wants"),
                Err(wanted) => return misfit(value, wanted),
            }
        }
        Definition::Number { scale, format } => {
            let number = match (format, single) {
                (NumberFormat::Duration {}, Value::Text(text)) => number(single).or_else(|| seconds(text)),
                _ => number(single),
            };
            number.filter(|number| format.check(*number).is_ok()).map(|number| input::scaled(number, *scale))
        }
        Definition::Checkbox {} => match single {
            Value::Bool(b) => Some(Value::Bool(*b)),
            Value::Number(number) => Some(Value::Bool(!number.is_zero())),
            Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "y" | "1" | "on" | "x" | "checked" => Some(Value::Bool(true)),
                "false" | "no" | "n" | "0" | "off" | "unchecked" => Some(Value::Bool(false)),
                _ => None,
            },
            _ => None,
        },
        Definition::Date {} => moment(single, &zone).map(|moment| Value::Date(moment.civil(&zone).date())),
        Definition::Datetime { .. } => moment(single, &zone).and_then(|moment| moment.instant(&zone).ok()).map(Value::DateTime),
        Definition::DateRange {} => {
            let text = text();
            let days: Option<Vec<_>> = text.split('/').map(|day| day.trim().parse::<jiff::civil::Date>().ok()).collect();
            match days.as_deref() {
                Some([day]) => Some(Value::list([Value::Date(*day), Value::Date(*day)])),
                Some([start, end]) if start <= end => Some(Value::list([Value::Date(*start), Value::Date(*end)])),
                _ => None,
            }
        }
        Definition::Json {} => {
            let json = match (from, value) {
                (Definition::Attachments {}, Value::Text(text)) => text.to_string(),
                (_, Value::Number(number)) => number.to_string(),
                (_, Value::Bool(b)) => b.to_string(),
                (_, Value::List(items)) => {
                    Json::Array(items.iter().map(|item| coerce::text(item).to_string().into()).collect()).to_string()
                }
                _ => {
                    let text = text();
                    match serde_json::from_str::<Json>(&text) {
                        Ok(_) => text.to_string(),
                        Err(_) => Json::String(text.to_string()).to_string(),
                    }
                }
            };
            (json.len() <= TEXT_LENGTH_MAX).then(|| Value::text(json))
        }
        Definition::Attachments {} => {
            let json = match serde_json::from_str::<Json>(&text()) {
                Ok(json @ Json::Array(_)) => json,
                _ => {
                    let url = text();
                    let name = url.rsplit('/').find(|part| !part.is_empty()).unwrap_or(&url);
                    serde_json::json!([{ "name": name, "url": url.as_str() }])
                }
            };
            input::are_attachments(&json).then(|| Value::text(json.to_string()))
        }
        Definition::SingleSelect { options } => {
            let text = coerce::text(single);
            options.iter().find(|choice| choice.name == text.trim()).map(|choice| Value::Text(choice.name.clone()))
        }
        Definition::MultiSelect { options } => {
            let names: Vec<EcoString> = match &plain {
                Value::List(items) => items.iter().map(coerce::text).collect(),
                other => {
                    let text = coerce::text(other);
                    // A name may have a comma in it.
                    match options.iter().any(|choice| choice.name == text.trim()) {
                        true => vec![text.trim().into()],
                        false => text.split(',').map(|name| name.trim().into()).filter(|name: &EcoString| !name.is_empty()).collect(),
                    }
                }
            };
            let known = |name: &EcoString| options.iter().any(|choice| choice.name == *name);
            let mut seen = std::collections::BTreeSet::new();
            names
                .iter()
                .all(known)
                .then(|| Value::list(names.iter().filter(|name| seen.insert(*name)).map(|name| Value::Text(name.clone()))))
        }
        Definition::User { multiple } => match (&plain, multiple) {
            (Value::List(_), true) => Some(plain.clone()),
            (one, true) => Some(Value::list([one.clone()])),
            (Value::List(items), false) => (items.len() == 1).then(|| items[0].clone()),
            (one, false) => Some(one.clone()),
        },
        _ => None,
    };
    result.unwrap_or_else(|| misfit(value, &article(to.kind())))
}

/// What a value is without its type: of JSON, the text, number or list that it is.
fn plain(value: &Value, from: &Definition) -> Value {
    // Of numbers the text says all digits; what is within what is within a list stays JSON.
    fn of_json(json: &Json, text: EcoString) -> Value {
        match json {
            Json::Null => Value::Blank,
            Json::Bool(b) => Value::Bool(*b),
            Json::String(text) => Value::text(text.as_str()),
            Json::Number(_) | Json::Array(_) | Json::Object(_) => Value::Text(text),
        }
    }
    match (from, value) {
        (Definition::Json {}, Value::Text(text)) => match serde_json::from_str(text) {
            Ok(Json::Array(items)) => Value::list(items.iter().map(|item| of_json(item, eco_format!("{item}")))),
            Ok(json) => of_json(&json, text.clone()),
            Err(_) => value.clone(),
        },
        _ => value.clone(),
    }
}

fn number(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(_) | Value::Bool(_) => coerce::number(value).ok(),
        Value::Text(text) => {
            let text = text.trim();
            match text.strip_suffix('%') {
                Some(percent) if percent.trim().is_empty() => None,
                Some(percent) => coerce::number(&Value::text(percent)).ok()?.checked_div(Decimal::ONE_HUNDRED),
                None => coerce::number(value).ok(),
            }
        }
        _ => None,
    }
}

fn moment(value: &Value, zone: &TimeZone) -> Option<Moment> {
    match value {
        Value::Date(_) | Value::DateTime(_) | Value::Text(_) => coerce::moment(value, zone).ok().flatten(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::aggregate::format::TextFormat;

    #[test]
    fn what_was_an_option_once_stays_lost() {
        let [first, second] = [1, 2].map(|n| AttributeId(Uuid::from_u128(n)));
        let choice = |id: &str, name: &str| Choice { id: id.into(), name: name.into(), color: None };
        let of = |options| Definition::MultiSelect { options };
        // One option was renamed, the other taken away; then another type has an option by the name of its id.
        let former = of(vec![choice("a", "Alpha")]);
        let newest = of(vec![choice("b", "b"), choice("Alpha", "Alpha")]);
        let conversion = Conversion { types: vec![(first, former), (second, newest)] };
        let stored = |ids: &[&str]| Value::list(ids.iter().map(|id| Value::text(*id)));
        let shown = |value: Value| conversion.value(&|id| if id == first { value.clone() } else { Value::Blank });
        assert_eq!(shown(stored(&["a"])), stored(&["Alpha"]));
        assert!(shown(stored(&["a", "b"])).is_error(), "an id is no name");
    }

    #[test]
    fn json_is_what_it_says_and_nothing_says_nothing() {
        let options = || ["a", "b"].map(|name| Choice { id: name.into(), name: name.into(), color: None }).to_vec();
        let number = Definition::Number { scale: None, format: NumberFormat::default() };
        let text = Definition::Text { max_length: None, format: TextFormat::default() };
        let (one, many) = (Definition::SingleSelect { options: options() }, Definition::MultiSelect { options: options() });
        let json = |json: &str, to: &Definition| converted(&Value::text(json), &Definition::Json {}, to);
        assert_eq!(json("\"12.50\"", &number), Value::Number("12.50".parse().unwrap()));
        assert_eq!(json("12.5", &number), Value::Number("12.5".parse().unwrap()));
        assert_eq!(json("[7]", &number), Value::Number(7.into()));
        assert!(json("{\"n\": 7}", &number).is_error() && json("[7, 8]", &number).is_error());
        assert_eq!(json("\"a\"", &one), Value::text("a"));
        assert_eq!(json("[\"b\", \"a\"]", &many), Value::list(["b", "a"].map(Value::text)));
        assert!(json("[\"b\", [\"a\"]]", &many).is_error());
        assert_eq!(json("true", &Definition::Checkbox {}), Value::Bool(true));
        assert_eq!(json("\"2026-01-31\"", &Definition::Date {}), Value::Date(jiff::civil::date(2026, 1, 31)));
        assert_eq!(json("\"said\"", &text), Value::text("said"));
        assert_eq!(json("[1, 2]", &text), Value::text("[1, 2]"));
        assert_eq!(json("null", &text), Value::Blank);
        assert_eq!([json("[]", &text), json("[null]", &text)], ["[]", "[null]"].map(Value::text));
        for nothing in ["[]", "[null]", "[\"\"]", "[\" \"]", "\"\""] {
            assert_eq!(json(nothing, &number), Value::Blank, "{nothing}");
        }
        for empty in ["", "  "] {
            for to in [&number, &one, &many, &Definition::Checkbox {}, &Definition::Date {}, &Definition::Attachments {}] {
                assert_eq!(converted(&Value::text(empty), &text, to), Value::Blank, "{to:?}");
            }
            assert_eq!(converted(&Value::text(empty), &Definition::Json {}, &text), Value::text(empty));
        }
    }
}
