//! Values between our form and JSON's.

use std::str::FromStr;

use async_graphql::{InputValueError, InputValueResult, Name, Number, Scalar, ScalarType, Value as Json};
use decidr_domain::aggregate::attribute::{Attribute, Definition};
use decidr_domain::delta::Row;
use decidr_domain::formula::Cells as _;
use decidr_domain::schema::{Summary, TenantSchema};
use decidr_domain::value::Value;
use serde_json::Value as Input;

/// JSON object from attribute key to value. Text and single select: string. Number: JSON number with every digit.
/// Checkbox: boolean. Date: "YYYY-MM-DD". Datetime: RFC 3339 in UTC, as "2013-01-01T10:00:00Z". Multi select: list of
/// strings. Single link: the id of the linked entity. Multiple link: {"count": n}; `linked` gives the entities. A lookup
/// through a single link has the type of what it shows; through a multiple link it is a list. Blank: null. An error:
/// {"error": {"kind": "div0", "message": "…"}}. As an input: stored attributes only; null makes blank; links take an id or
/// a list of ids.
pub struct Values(pub Json);

#[Scalar]
impl ScalarType for Values {
    fn parse(value: Json) -> InputValueResult<Self> {
        match value {
            Json::Object(_) => Ok(Values(value)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Json {
        self.0.clone()
    }
}

impl Values {
    /// As the domain takes it.
    pub fn into_input(self) -> serde_json::Map<String, Input> {
        match input(self.0) {
            Input::Object(values) => values,
            _ => serde_json::Map::new(),
        }
    }
}

fn input(value: Json) -> Input {
    match value {
        Json::Null => Input::Null,
        Json::Number(number) => Input::Number(number),
        Json::String(text) => Input::String(text),
        Json::Boolean(b) => Input::Bool(b),
        Json::Binary(bytes) => Input::String(String::from_utf8_lossy(&bytes).into_owned()),
        Json::Enum(name) => Input::String(name.to_string()),
        Json::List(items) => Input::Array(items.into_iter().map(input).collect()),
        Json::Object(fields) => Input::Object(fields.into_iter().map(|(name, value)| (name.to_string(), input(value))).collect()),
    }
}

/// JSON as it came, in the form that the GraphQL library takes; numbers keep every digit.
pub fn from_json(value: Input) -> Json {
    match value {
        Input::Null => Json::Null,
        Input::Bool(b) => Json::Boolean(b),
        Input::Number(number) => Json::Number(number),
        Input::String(text) => Json::String(text),
        Input::Array(items) => Json::List(items.into_iter().map(from_json).collect()),
        Input::Object(fields) => Json::Object(fields.into_iter().map(|(name, value)| (Name::new(name), from_json(value))).collect()),
    }
}

/// Opaque place in the log. Hand it back as minPosition to read your own write.
#[derive(Clone)]
pub struct PositionToken(pub String);

#[Scalar(name = "Position")]
impl ScalarType for PositionToken {
    fn parse(value: Json) -> InputValueResult<Self> {
        match value {
            Json::String(sealed) => Ok(PositionToken(sealed)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Json {
        Json::String(self.0.clone())
    }
}

/// The cell of `attribute` in `row`, as clients see it: what is shown of it under this schema.
pub fn cell(schema: &TenantSchema, row: &Row, attribute: &Attribute) -> Json {
    let Some(shown) = schema.shown_cell(attribute.id) else {
        return Json::Object([(Name::new("computing"), Json::Boolean(true))].into_iter().collect());
    };
    match &attribute.definition {
        definition if definition.is_multiple_link() => {
            let count = match row.computed(shown) {
                Value::Blank => number("0"),
                // Not even how many it leads to is known.
                error @ Value::Error(_) => return json(error),
                count => json(count),
            };
            Json::Object([(Name::new("count"), count)].into_iter().collect())
        }
        definition if definition.is_computed() => {
            let (origin, is_single) = origin(schema, attribute);
            as_of(row.computed(shown), origin, is_single)
        }
        definition => as_of(&row.cell(shown), definition, true),
    }
}

/// The definition of what a lookup shows, through others, and whether that is one at most; of anything else its own.
fn origin<'a>(schema: &'a TenantSchema, attribute: &'a Attribute) -> (&'a Definition, bool) {
    let (mut origin, mut is_single) = (attribute, true);
    for shown in schema.looked_up(attribute) {
        if let Definition::Lookup { .. } = shown.definition {
            let crossing = schema.shown_analyzed(shown.id).and_then(|analyzed| analyzed.crossing());
            is_single &= crossing.is_some_and(|crossing| crossing.summary == Summary::Only);
        }
        origin = shown;
    }
    (&origin.definition, is_single)
}

/// A value as clients see it of an attribute with this definition, or a list of such values.
fn as_of(value: &Value, definition: &Definition, is_single: bool) -> Json {
    let range = |start, end| Json::Object([(Name::new("start"), json(start)), (Name::new("end"), json(end))].into_iter().collect());
    match (definition, value) {
        (Definition::DateRange {}, Value::List(days)) => match &days[..] {
            [start, end] if is_single => range(start, end),
            // Lists of them are lists of their days.
            days if days.len() % 2 == 0 => Json::List(days.chunks_exact(2).map(|days| range(&days[0], &days[1])).collect()),
            _ => json(value),
        },
        // What is shown of another type, until all is converted, is no JSON.
        (Definition::Json {} | Definition::Attachments {}, Value::Text(text)) => {
            serde_json::from_str(text).map_or_else(|_| Json::String(text.to_string()), from_json)
        }
        (Definition::Json {} | Definition::Attachments {}, Value::List(items)) => {
            Json::List(items.iter().map(|item| as_of(item, definition, true)).collect())
        }
        _ => json(value),
    }
}

fn number(digits: &str) -> Json {
    Number::from_str(digits).map_or(Json::Null, Json::Number)
}

/// A value as clients see it.
pub fn json(value: &Value) -> Json {
    match value {
        Value::Blank => Json::Null,
        Value::Bool(b) => Json::Boolean(*b),
        Value::Number(n) => number(&n.to_string()),
        Value::Text(text) => Json::String(text.to_string()),
        Value::Date(date) => Json::String(date.to_string()),
        Value::DateTime(at) => Json::String(at.to_string()),
        Value::Link(id) => Json::String(id.to_string()),
        Value::Links(ids) => Json::List(ids.iter().map(|id| Json::String(id.to_string())).collect()),
        Value::List(items) => Json::List(items.iter().map(json).collect()),
        Value::Error(error) => {
            let fields = [("kind", error.kind.to_string()), ("message", error.message.to_string())];
            let error = Json::Object(fields.map(|(name, text)| (Name::new(name), Json::String(text))).into_iter().collect());
            Json::Object([(Name::new("error"), error)].into_iter().collect())
        }
    }
}
