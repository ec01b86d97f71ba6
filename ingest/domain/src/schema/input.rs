//! From a value as the API takes it to a value of an attribute.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::aggregate::attribute::{Attribute, Definition};
use crate::aggregate::choice::Choice;
use crate::aggregate::entity::{TARGETS_MAX, link_value};
use crate::aggregate::format::{NumberFormat, TextFormat, seconds};
use crate::formula::dates;
use crate::formula::functions::rounding::half_up;
use crate::formula::outcome::excerpt;
use crate::id::{EntityId, UserId};
use crate::rejection::Rejection;
use crate::schema::TenantSchema;
use crate::value::Value;

/// The most users of one cell.
const USERS_MAX: usize = 1_000;

/// The longest text of a cell, in bytes.
pub const TEXT_LENGTH_MAX: usize = 100_000;

/// The value of `json` for this attribute. `null` is blank for every type.
pub fn value(schema: &TenantSchema, attribute: &Attribute, json: &Json) -> Result<Value, Rejection> {
    let mismatch = |expected: String| Rejection::ValueTypeMismatch { attribute: attribute.key.to_string(), expected, found: found(json) };
    if json.is_null() {
        return Ok(Value::Blank);
    }
    match &attribute.definition {
        Definition::Text { max_length, format } => {
            let text = json.as_str().ok_or_else(|| mismatch("text".into()))?;
            let characters_max = max_length.map_or(usize::MAX, |max| max as usize);
            if text.len() > TEXT_LENGTH_MAX || (text.len() > characters_max && text.chars().count() > characters_max) {
                let (most, has) = match text.len() > TEXT_LENGTH_MAX {
                    true => (format!("{TEXT_LENGTH_MAX} bytes"), text.len()),
                    false => (format!("{characters_max} characters"), text.chars().count()),
                };
                return Err(Rejection::TooLarge(format!("attribute `{}` takes {most} at most, and this text has {has}", attribute.key)));
            }
            format.check(text).map_err(|wanted| mismatch(wanted.into()))?;
            Ok(Value::text(text))
        }
        Definition::Number { scale, format } => {
            let number = match (json, format) {
                (Json::String(text), NumberFormat::Duration {}) => {
                    seconds(text).ok_or_else(|| mismatch("seconds, or a duration as \"1:30:00\"".into()))?
                }
                _ => {
                    let number = json.as_number().and_then(|number| decimal(number.as_str()));
                    number.ok_or_else(|| mismatch("a number of up to 28 digits".into()))?
                }
            };
            format.check(number).map_err(mismatch)?;
            Ok(scaled(number, *scale))
        }
        Definition::Checkbox {} => json.as_bool().map(Value::Bool).ok_or_else(|| mismatch("true or false".into())),
        Definition::Date {} => {
            let date = json.as_str().filter(|text| text.len() == 10).and_then(|text| Date::from_str(text).ok());
            date.map(Value::Date).ok_or_else(|| mismatch("a date as \"2013-01-31\"".into()))
        }
        Definition::Datetime { zone } => {
            let at = json.as_str().and_then(|text| Timestamp::from_str(text).ok().or_else(|| local(text, zone.as_deref()?)));
            let or_local = if zone.is_some() { ", or without Z as the clocks of its zone have it" } else { "" };
            at.map(Value::DateTime).ok_or_else(|| mismatch(format!("a datetime as \"2013-01-31T10:00:00Z\"{or_local}")))
        }
        Definition::DateRange {} => {
            let day = |name: &str| json[name].as_str().filter(|text| text.len() == 10).and_then(|text| Date::from_str(text).ok());
            match (day("start"), day("end")) {
                (Some(start), Some(end)) if start <= end && json.as_object().is_some_and(|range| range.len() == 2) => {
                    Ok(Value::list([Value::Date(start), Value::Date(end)]))
                }
                _ => Err(mismatch("two days in order, as {\"start\": \"2013-01-31\", \"end\": \"2013-02-02\"}".into())),
            }
        }
        Definition::Json {} => document(attribute, json),
        Definition::Attachments {} => {
            if !are_attachments(json) {
                return Err(mismatch(format!(
                    "a list of up to {ATTACHMENTS_MAX} files, as {{\"name\": \"a.pdf\", \"url\": \"https://…\", \"mediaType\", \"size\"}}"
                )));
            }
            // No files are nothing.
            if json.as_array().is_some_and(Vec::is_empty) { Ok(Value::Blank) } else { document(attribute, json) }
        }
        Definition::SingleSelect { options } => {
            let chosen = json.as_str().and_then(|name| options.iter().find(|choice| choice.name == name));
            chosen.map(|choice| Value::Text(choice.id.clone())).ok_or_else(|| mismatch(format!("one of {}", list(options))))
        }
        Definition::MultiSelect { options } => {
            let items = json.as_array().ok_or_else(|| mismatch(format!("a list of {}", list(options))))?;
            let mut chosen: Vec<Value> = Vec::new();
            for item in items {
                let choice = item.as_str().and_then(|name| options.iter().find(|choice| choice.name == name));
                let choice = choice
                    .ok_or_else(|| mismatch(format!("a list of {}; {} is none of them", list(options), excerpt(&item.to_string()))))?;
                let option = Value::Text(choice.id.clone());
                if !chosen.contains(&option) {
                    chosen.push(option);
                }
            }
            Ok(Value::list(chosen))
        }
        Definition::User { multiple } => {
            let wanted = if *multiple { "a list of ids of users of the tenant" } else { "the id of a user of the tenant" };
            let user = |json: &Json| {
                let id = json.as_str().and_then(|id| id.parse::<UserId>().ok());
                id.filter(|id| schema.users.get(id).is_some_and(|user| !user.deactivated)).map(|id| Value::text(id.to_string()))
            };
            let chosen = match (json, multiple) {
                (Json::Array(ids), true) if ids.len() <= USERS_MAX => ids.iter().map(user).collect::<Option<Vec<_>>>(),
                (one, false) => user(one).map(|user| vec![user]),
                _ => None,
            };
            let mut chosen = chosen.ok_or_else(|| mismatch(wanted.into()))?;
            let mut seen = std::collections::BTreeSet::new();
            chosen.retain(|user| seen.insert(user.clone()));
            Ok(if *multiple { Value::list(chosen) } else { chosen.pop().unwrap_or_default() })
        }
        Definition::Link { multiple, .. } => {
            let ids: Option<Vec<EntityId>> = match json {
                Json::String(id) => id.parse().ok().map(|id| vec![id]),
                Json::Array(ids) => ids.iter().map(|id| id.as_str().and_then(|id| id.parse().ok())).collect(),
                _ => None,
            };
            let mut ids = ids.ok_or_else(|| mismatch(if *multiple { "a list of entity ids" } else { "an entity's id" }.into()))?;
            let mut seen = std::collections::BTreeSet::new();
            ids.retain(|id| seen.insert(*id));
            if !multiple && ids.len() > 1 {
                return Err(mismatch("one entity's id".into()));
            }
            if ids.len() > TARGETS_MAX {
                return Err(Rejection::TooLarge(format!(
                    "a link leads to {TARGETS_MAX} entities at most, and this list has {}",
                    ids.len()
                )));
            }
            Ok(link_value(&ids))
        }
        computed => Err(Rejection::NotWritable { attribute: attribute.key.to_string(), kind: computed.kind() }),
    }
}

/// The most files of one cell.
const ATTACHMENTS_MAX: usize = 100;

/// A value that is kept as the text of its JSON.
fn document(attribute: &Attribute, json: &Json) -> Result<Value, Rejection> {
    let text = json.to_string();
    if text.len() > TEXT_LENGTH_MAX {
        let message = format!("attribute `{}` takes {TEXT_LENGTH_MAX} bytes at most, and this has {}", attribute.key, text.len());
        return Err(Rejection::TooLarge(message));
    }
    Ok(Value::text(text))
}

/// Whether it is what a cell of attachments takes.
pub(super) fn are_attachments(json: &Json) -> bool {
    json.as_array().is_some_and(|files| files.len() <= ATTACHMENTS_MAX && files.iter().all(is_attachment))
}

/// The instant at which the clocks of a zone show this; the first one, where they show it twice.
fn local(text: &str, zone: &str) -> Option<Timestamp> {
    let shown = text.parse::<jiff::civil::DateTime>().ok().filter(|_| text.len() >= "2013-01-31T10:00".len())?;
    dates::zone(zone).ok()?.to_timestamp(shown).ok()
}

/// A number with as many decimal places as are kept.
pub(super) fn scaled(number: Decimal, scale: Option<u32>) -> Value {
    Value::number(scale.map_or(number, |scale| half_up(number, scale)))
}

/// Whether it says of a file what must be said, and nothing else.
fn is_attachment(json: &Json) -> bool {
    let Some(file) = json.as_object() else { return false };
    let text = |name: &str| file.get(name).is_some_and(|value| value.as_str().is_some_and(|text| !text.is_empty()));
    file.keys().all(|key| matches!(key.as_str(), "name" | "url" | "mediaType" | "size"))
        && text("name")
        && file.get("url").and_then(Json::as_str).is_some_and(|url| !url.is_empty() && TextFormat::Url.check(url).is_ok())
        && file.get("mediaType").is_none_or(|_| text("mediaType"))
        && file.get("size").is_none_or(Json::is_u64)
}

/// The number with exactly these digits; `None` if a decimal has no room for all of them.
pub fn decimal(digits: &str) -> Option<Decimal> {
    if digits.contains(['e', 'E']) {
        let (mantissa, exponent) = digits.split_once(['e', 'E'])?;
        let (mantissa, exponent) = (Decimal::from_str_exact(mantissa).ok()?, exponent.parse::<i32>().ok()?);
        if mantissa.is_zero() {
            return Some(Decimal::ZERO);
        }
        let mantissa = mantissa.normalize();
        let scale = i64::from(mantissa.scale()) - i64::from(exponent);
        return match scale {
            0..=28 => Decimal::try_from_i128_with_scale(mantissa.mantissa(), scale as u32).ok(),
            -28..0 => 10i128
                .checked_pow(-scale as u32)
                .and_then(|p| mantissa.mantissa().checked_mul(p))
                .and_then(|m| Decimal::try_from_i128_with_scale(m, 0).ok()),
            _ => None,
        };
    }
    Decimal::from_str_exact(digits).ok()
}

fn list(options: &[Choice]) -> String {
    let mut names: Vec<_> = options.iter().take(5).map(|choice| format!("`{}`", choice.name)).collect();
    if options.len() > names.len() {
        names.push("…".into());
    }
    names.join(", ")
}

/// The value in a message: what it is, and what it says if that is short.
fn found(json: &Json) -> String {
    let short = |text: &str| {
        let mut short: String = text.chars().take(40).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        short
    };
    match json {
        Json::Null => "blank".into(),
        Json::Bool(b) => b.to_string(),
        Json::Number(n) => short(n.as_str()),
        Json::String(text) => format!("the text \"{}\"", short(text)),
        Json::Array(items) => format!("a list of {}", items.len()),
        Json::Object(_) => "an object".into(),
    }
}
