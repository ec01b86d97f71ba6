//! Typed ids, keys, and the names of event streams.

use std::fmt;
use std::str::FromStr;

use ecow::EcoString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.hyphenated().fmt(f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({})", stringify!($name), self.0) }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> { Uuid::parse_str(s).map(Self) }
        }
        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self { Self(id) }
        }
    )*};
}

typed_id! {
    /// A tenant: the unit of isolation.
    TenantId,
    /// A person or program that belongs to a tenant.
    UserId,
    /// A space: a named group of collections.
    SpaceId,
    /// A collection: a table that users defined.
    CollectionId,
    /// An attribute: a column of a collection.
    AttributeId,
    /// An entity: a row of a collection.
    EntityId,
    /// One recorded event.
    EventId,
    /// One command; the same id again means the same command.
    CommandId,
}

/// A place in the log: 1 for the first event, then without gaps. 0 is the place before the first.
pub type Position = u64;

/// The number of events in one stream; the version of the aggregate that they make.
pub type Version = u32;

/// A short name that people and programs use in place of an id: a letter, then letters, digits and underscores.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "EcoString", into = "EcoString")]
pub struct Key(EcoString);

/// The longest key, in bytes.
pub const KEY_LENGTH_MAX: usize = 64;

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a key: write a letter, then letters, digits or underscores, {KEY_LENGTH_MAX} at most")]
pub struct NotAKey {
    text: String,
}

impl Key {
    /// The key that `text` spells.
    pub fn new(text: &str) -> Result<Self, NotAKey> {
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(|b| b.is_ascii_alphabetic());
        if starts_well && text.len() <= KEY_LENGTH_MAX && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            Ok(Self(text.into()))
        } else {
            Err(NotAKey { text: text.chars().take(80).collect() })
        }
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl TryFrom<EcoString> for Key {
    type Error = NotAKey;
    fn try_from(text: EcoString) -> Result<Self, NotAKey> {
        Key::new(&text)
    }
}

impl From<Key> for EcoString {
    fn from(key: Key) -> EcoString {
        key.0
    }
}

/// Which aggregate a stream belongs to. The names are part of the log: never renamed, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AggregateKind {
    /// See [`crate::aggregate::tenant`].
    Tenant,
    /// See [`crate::aggregate::user`].
    User,
    /// See [`crate::aggregate::space`].
    Space,
    /// See [`crate::aggregate::collection`].
    Collection,
    /// See [`crate::aggregate::attribute`].
    Attribute,
    /// See [`crate::aggregate::entity`].
    Entity,
}

const KINDS: [(AggregateKind, &str); 6] = [
    (AggregateKind::Tenant, "tenant"),
    (AggregateKind::User, "user"),
    (AggregateKind::Space, "space"),
    (AggregateKind::Collection, "collection"),
    (AggregateKind::Attribute, "attribute"),
    (AggregateKind::Entity, "entity"),
];

impl AggregateKind {
    /// The first part of the stream's name.
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map(|(_, name)| *name).expect("every kind is in the table")
    }
}

/// One event stream: the history of one aggregate. Written `entity-550e8400-…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// The kind of aggregate.
    pub kind: AggregateKind,
    /// The aggregate's id.
    pub id: Uuid,
}

impl StreamId {
    /// The stream of the aggregate `id`.
    pub fn new(kind: AggregateKind, id: impl Into<Uuid>) -> Self {
        Self { kind, id: id.into() }
    }
}

macro_rules! stream_of {
    ($($id:ident => $kind:ident),* $(,)?) => {$(
        impl From<$id> for StreamId {
            fn from(id: $id) -> StreamId { StreamId { kind: AggregateKind::$kind, id: id.0 } }
        }
    )*};
}
stream_of! { TenantId => Tenant, UserId => User, SpaceId => Space, CollectionId => Collection, AttributeId => Attribute, EntityId => Entity }

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind.as_str(), self.id.hyphenated())
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a stream's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a stream")]
pub struct NotAStream(String);

impl FromStr for StreamId {
    type Err = NotAStream;
    fn from_str(s: &str) -> Result<Self, NotAStream> {
        let not = || NotAStream(s.to_owned());
        let (kind, id) = s.split_once('-').ok_or_else(not)?;
        let kind = KINDS.iter().find(|(_, name)| *name == kind).map(|(kind, _)| *kind).ok_or_else(not)?;
        Ok(StreamId { kind, id: Uuid::parse_str(id).map_err(|_| not())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_round_trip() {
        let id = Uuid::from_u128(7);
        for (kind, name) in KINDS {
            let stream = StreamId { kind, id };
            assert_eq!(stream.to_string(), format!("{name}-00000000-0000-0000-0000-000000000007"));
            assert_eq!(stream.to_string().parse(), Ok(stream));
        }
        for bad in ["", "entity", "entity-", "entity-x", "planet-00000000-0000-0000-0000-000000000007"] {
            assert!(bad.parse::<StreamId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_slugs() {
        for good in ["a", "dep_delay", "A1"] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "1a", "_a", "a b", "a-b", "é", &"a".repeat(65)] {
            assert!(Key::new(bad).is_err(), "{bad}");
        }
    }
}
