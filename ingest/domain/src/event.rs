//! Events as they are recorded, and their stored form.
//!
//! Stored are the event's type, the version of its shape, and its data as JSON. Types are never renamed or reused. When a
//! shape changes, its version grows and [`UPCASTS`] gets a line that raises the old shape to the new one at read; nobody
//! else knows old shapes.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::aggregate::attribute::AttributeEvent;
use crate::aggregate::collection::CollectionEvent;
use crate::aggregate::entity::EntityEvent;
use crate::aggregate::space::SpaceEvent;
use crate::aggregate::tenant::TenantEvent;
use crate::aggregate::user::UserEvent;
use crate::id::{AggregateKind, CommandId, EventId, Position, StreamId, TenantId, Version};
use crate::stamp::Stamp;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is the event type of its aggregate")]
pub enum Event {
    Tenant(TenantEvent),
    User(UserEvent),
    Space(SpaceEvent),
    Collection(CollectionEvent),
    Attribute(AttributeEvent),
    Entity(EntityEvent),
}

/// An event in its place in the log. Immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its place in the whole log.
    pub position: Position,
    /// The stream that it is in.
    pub stream: StreamId,
    /// Its place in the stream: 1 for the first.
    pub version: Version,
    /// The tenant whose event it is.
    pub tenant: TenantId,
    /// What happened.
    pub event: Event,
    /// Under which circumstances.
    pub metadata: Metadata,
}

/// The circumstances of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The event's id.
    pub event_id: EventId,
    /// The command that it came from.
    pub command_id: CommandId,
    /// What caused it: the command, or the event that made somebody send the command.
    pub causation_id: Uuid,
    /// The conversation that it belongs to.
    pub correlation_id: Uuid,
    /// Who sent the command.
    pub actor: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

impl Metadata {
    /// When it was recorded, and who asked for it.
    pub fn stamp(&self) -> Stamp {
        Stamp { at: self.recorded_at, by: self.actor.as_str().into() }
    }
}

/// An event in its stored form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its type's name, as `EntityCreated`.
    pub event_type: Cow<'a, str>,
    /// The version of its shape.
    pub shape: u32,
    /// Its data, a JSON object.
    pub data: Cow<'a, str>,
}

/// What is wrong with a stored event.
#[derive(Debug, thiserror::Error)]
pub enum StoredEventError {
    /// The type or version is not one that this program knows.
    #[error("event type {event_type} in shape {shape} is unknown on a stream of kind {kind}; it was written by a newer program")]
    Unknown {
        /// The kind of stream.
        kind: &'static str,
        /// The type.
        event_type: String,
        /// The version of its shape.
        shape: u32,
    },
    /// The data does not fit the type.
    #[error("the data of event type {event_type} in shape {shape} cannot be read")]
    Data {
        /// The type.
        event_type: String,
        /// The version of its shape.
        shape: u32,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Raises the data of one event type from one shape to the next.
pub struct Upcast {
    /// The type.
    pub event_type: &'static str,
    /// The version of the shape that it starts from.
    pub from: u32,
    /// The data in the next shape.
    pub raise: fn(Json) -> Json,
}

/// Every old shape. The newest version of a type's shape is 1 plus the number of its lines here.
pub const UPCASTS: &[Upcast] = &[];

fn newest_shape(event_type: &str, upcasts: &[Upcast]) -> u32 {
    1 + upcasts.iter().filter(|upcast| upcast.event_type == event_type).count() as u32
}

impl Event {
    /// The kind of aggregate that it happened to.
    pub fn kind(&self) -> AggregateKind {
        match self {
            Event::Tenant(_) => AggregateKind::Tenant,
            Event::User(_) => AggregateKind::User,
            Event::Space(_) => AggregateKind::Space,
            Event::Collection(_) => AggregateKind::Collection,
            Event::Attribute(_) => AggregateKind::Attribute,
            Event::Entity(_) => AggregateKind::Entity,
        }
    }

    /// The stored form.
    pub fn to_stored(&self) -> Stored<'static> {
        let tagged = match self {
            Event::Tenant(event) => serde_json::to_string(event),
            Event::User(event) => serde_json::to_string(event),
            Event::Space(event) => serde_json::to_string(event),
            Event::Collection(event) => serde_json::to_string(event),
            Event::Attribute(event) => serde_json::to_string(event),
            Event::Entity(event) => serde_json::to_string(event),
        }
        .expect("events have only string keys and finite numbers");
        // Serde writes `{"Type":{…}}`; the type has a column of its own.
        let (event_type, data) = tagged[2..tagged.len() - 1].split_once("\":").expect("the tag is the first key");
        let shape = newest_shape(event_type, UPCASTS);
        Stored { event_type: Cow::Owned(event_type.to_owned()), shape, data: Cow::Owned(data.to_owned()) }
    }

    /// The event of a stored form, old shapes raised to the newest.
    pub fn from_stored(kind: AggregateKind, stored: &Stored<'_>) -> Result<Event, StoredEventError> {
        Self::from_stored_with(kind, stored, UPCASTS)
    }

    fn from_stored_with(kind: AggregateKind, stored: &Stored<'_>, upcasts: &[Upcast]) -> Result<Event, StoredEventError> {
        let Stored { event_type, shape, data } = stored;
        let bad_data = |source| StoredEventError::Data { event_type: event_type.to_string(), shape: *shape, source };
        let newest = newest_shape(event_type, upcasts);
        if *shape == 0 || *shape > newest {
            return Err(StoredEventError::Unknown { kind: kind.as_str(), event_type: event_type.to_string(), shape: *shape });
        }
        let mut data = Cow::Borrowed(&**data);
        if *shape < newest {
            let mut json: Json = serde_json::from_str(&data).map_err(bad_data)?;
            for from in *shape..newest {
                let upcast = upcasts.iter().find(|upcast| upcast.event_type == *event_type && upcast.from == from);
                json = upcast.map(|upcast| (upcast.raise)(json.clone())).unwrap_or(json);
            }
            data = Cow::Owned(json.to_string());
        }
        let tagged = format!("{{\"{event_type}\":{data}}}");
        let read = match kind {
            AggregateKind::Tenant => serde_json::from_str(&tagged).map(Event::Tenant),
            AggregateKind::User => serde_json::from_str(&tagged).map(Event::User),
            AggregateKind::Space => serde_json::from_str(&tagged).map(Event::Space),
            AggregateKind::Collection => serde_json::from_str(&tagged).map(Event::Collection),
            AggregateKind::Attribute => serde_json::from_str(&tagged).map(Event::Attribute),
            AggregateKind::Entity => serde_json::from_str(&tagged).map(Event::Entity),
        };
        read.map_err(|source| {
            if source.to_string().starts_with("unknown variant") {
                StoredEventError::Unknown { kind: kind.as_str(), event_type: event_type.to_string(), shape: *shape }
            } else {
                bad_data(source)
            }
        })
    }
}

/// The JSON form of values in events: numbers with every digit, and what JSON has no type for in an object that names it.
pub mod stored_value {
    use std::fmt;
    use std::str::FromStr;

    use jiff::Timestamp;
    use jiff::civil::Date;
    use rust_decimal::Decimal;
    use serde::de::{Error, MapAccess, SeqAccess, Visitor};
    use serde::ser::{SerializeMap, SerializeSeq};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::aggregate::entity::{Values, link_value};
    use crate::id::{AttributeId, EntityId};
    use crate::value::Value;

    /// Writes a value.
    pub fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
        let tagged = |serializer: S, tag, content: &dyn erased::Content| {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(tag, &erased::Ref(content))?;
            map.end()
        };
        match value {
            Value::Blank => serializer.serialize_unit(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Number(n) => match i64::try_from(*n).ok().filter(|_| n.scale() == 0) {
                Some(whole) => serializer.serialize_i64(whole),
                None => serde_json::Number::from_str(&n.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer),
            },
            Value::Text(text) => serializer.serialize_str(text),
            Value::Date(date) => tagged(serializer, "date", date),
            Value::DateTime(at) => tagged(serializer, "datetime", at),
            Value::Link(_) | Value::Links(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("link", value.targets())?;
                map.end()
            }
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items.iter() {
                    list.serialize_element(&Stored(item.clone()))?;
                }
                list.end()
            }
            Value::Error(_) => Err(serde::ser::Error::custom("errors are computed and never stored")),
        }
    }

    mod erased {
        use std::fmt::Display;

        use serde::{Serialize, Serializer};

        /// What is written as its text.
        pub(super) trait Content: Display {}
        impl<T: Display> Content for T {}

        pub(super) struct Ref<'a>(pub(super) &'a dyn Content);
        impl Serialize for Ref<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self.0)
            }
        }
    }

    struct Stored(Value);

    impl Serialize for Stored {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serialize(&self.0, serializer)
        }
    }

    impl<'de> Deserialize<'de> for Stored {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserialize(deserializer).map(Stored)
        }
    }

    /// Reads a value.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }

    struct ValueVisitor;

    impl<'de> Visitor<'de> for ValueVisitor {
        type Value = Value;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a stored value")
        }

        fn visit_unit<E: Error>(self) -> Result<Value, E> {
            Ok(Value::Blank)
        }

        fn visit_bool<E: Error>(self, b: bool) -> Result<Value, E> {
            Ok(Value::Bool(b))
        }

        fn visit_i64<E: Error>(self, n: i64) -> Result<Value, E> {
            Ok(Value::number(n.into()))
        }

        fn visit_u64<E: Error>(self, n: u64) -> Result<Value, E> {
            Ok(Value::number(n.into()))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
            Ok(Value::text(text))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
            let mut items = Vec::new();
            while let Some(Stored(item)) = seq.next_element()? {
                items.push(item);
            }
            Ok(Value::list(items))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
            let tag: std::borrow::Cow<'de, str> = map.next_key()?.ok_or_else(|| A::Error::custom("an empty object is not a value"))?;
            match &*tag {
                "date" => map.next_value::<Date>().map(Value::Date),
                "datetime" => map.next_value::<Timestamp>().map(Value::DateTime),
                "link" => map.next_value::<Vec<EntityId>>().map(|ids| link_value(&ids)),
                // Numbers come as an object of this one key, so that no digit is lost on the way through f64.
                NUMBER => {
                    let digits: String = map.next_value()?;
                    let number = Decimal::from_str(&digits).or_else(|_| Decimal::from_scientific(&digits));
                    number.map(Value::number).map_err(A::Error::custom)
                }
                other => Err(A::Error::custom(format!("`{other}` is not a kind of value"))),
            }
        }
    }

    /// The key under which serde_json hands over numbers of any precision.
    const NUMBER: &str = "$serde_json::private::Number";

    impl Serialize for Values {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            struct Ref<'a>(&'a Value);
            impl Serialize for Ref<'_> {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serialize(self.0, serializer)
                }
            }
            serializer.collect_map(self.iter().map(|(id, value)| (id, Ref(value))))
        }
    }

    impl<'de> Deserialize<'de> for Values {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct ValuesVisitor;
            impl<'de> Visitor<'de> for ValuesVisitor {
                type Value = Values;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("stored values by attribute id")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
                    let mut values = Vec::new();
                    while let Some((id, Stored(value))) = map.next_entry::<AttributeId, Stored>()? {
                        values.push((id, value));
                    }
                    Ok(values.into_iter().collect())
                }
            }
            deserializer.deserialize_map(ValuesVisitor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Key;

    #[test]
    fn old_shapes_are_raised_step_by_step() {
        // Shape 1 had no key, shape 2 called it `slug`.
        let upcasts = [
            Upcast { event_type: "TenantRegistered", from: 1, raise: |json| with(json, "slug", "acme".into()) },
            Upcast {
                event_type: "TenantRegistered",
                from: 2,
                raise: |mut json| {
                    let slug = json["slug"].take();
                    with(json, "key", slug)
                },
            },
        ];
        fn with(mut json: Json, key: &str, value: Json) -> Json {
            json[key] = value;
            json
        }
        let id = TenantId(Uuid::from_u128(1));
        let read = |shape, data: String| {
            let stored = Stored { event_type: "TenantRegistered".into(), shape, data: data.into() };
            Event::from_stored_with(AggregateKind::Tenant, &stored, &upcasts)
        };
        let newest = Event::Tenant(TenantEvent::TenantRegistered { id, key: Key::new("acme").unwrap(), name: "A".into() });
        for (shape, extra) in [(1, ""), (2, ",\"slug\":\"acme\""), (3, ",\"key\":\"acme\"")] {
            assert_eq!(read(shape, format!("{{\"id\":\"{id}\",\"name\":\"A\"{extra}}}")).unwrap(), newest, "{shape}");
        }
        assert!(matches!(read(4, "{}".into()), Err(StoredEventError::Unknown { shape: 4, .. })));
    }
}
