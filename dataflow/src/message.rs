//! What travels to an entity's worker: events from the log, and news from other entities.

use std::hash::BuildHasher as _;

use decidr_domain::aggregate::entity::{Entity, EntityEvent};
use decidr_domain::delta::Row;
use decidr_domain::event::{Event, Recorded, Stored};
use decidr_domain::id::{AggregateKind, AttributeId, CollectionId, EntityId, TenantId};
use decidr_domain::stamp::Stamp;
use decidr_domain::value::Value;
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::plan::Rank;

/// A message to one worker, for one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Round 0, to every worker: an event of the schema.
    Schema {
        /// Which worker.
        worker: u64,
        /// The tenant whose schema it is.
        tenant: TenantId,
        /// What happened.
        event: WireEvent,
    },
    /// Round 0, to the entity's worker: an event of an entity.
    Entity {
        /// What happened.
        #[serde(with = "stored_entity_event")]
        event: EntityEvent,
        /// When, and on whose word.
        stamp: Stamp,
        /// If the entity is made: which of its collection it is, counted from 1.
        number: u64,
    },
    /// Round 0, to every worker, before any entities: what comes in this timestamp was computed before.
    Restore {
        /// Which worker.
        worker: u64,
        /// How many entities there are, of all workers.
        entities: usize,
    },
    /// Round 0, to the entity's worker: an entity as it is at the timestamp's position, with all that was computed about it.
    Restored(Row),
    /// Round 0, to every worker: computes the next slice of what is computed aside, of so many entities.
    Slice {
        /// Which worker.
        worker: u64,
        /// How many entities.
        limit: usize,
    },
    /// Round 1, to the worker of a source: a host takes up a cell, and wants what this source contributes to it.
    Wanted {
        /// The source.
        source: EntityId,
        /// The host.
        host: EntityId,
        /// The lookup or rollup.
        attribute: AttributeId,
    },
    /// Round 1, to the worker of a link's target: the link came or went.
    Linked {
        /// The link's target.
        target: EntityId,
        /// The link.
        link: AttributeId,
        /// The entity that holds the link.
        holder: EntityId,
        /// Whether it came.
        added: bool,
    },
    /// Round 2, to the worker of an entity: a host of a closure reaches it now, or does not any more.
    Reached {
        /// The entity.
        source: EntityId,
        /// The closure.
        closure: AttributeId,
        /// The host.
        host: EntityId,
        /// Whether it came.
        added: bool,
    },
    /// A later round, to the worker of a bucket: what changed of one host or source of a match.
    Bucket {
        /// The tenant.
        tenant: TenantId,
        /// The lookup or rollup.
        attribute: AttributeId,
        /// The key by which hosts and sources match.
        key: Value,
        /// What changed.
        change: BucketChange,
    },
    /// Round 1, to the worker of a component's or closure's graph: what an entity's part in it is now.
    Hierarchy {
        /// The tenant.
        tenant: TenantId,
        /// The component or closure.
        component: AttributeId,
        /// The entity.
        entity: EntityId,
        /// Whether it contributes.
        in_sight: bool,
        /// For each of the graph's directions, where its link leads.
        targets: Vec<Vec<EntityId>>,
    },
    /// Round 2, to the entity's worker: whether it depends on itself now, or lies too deep in a closure, and the error that
    /// says so.
    Cycle {
        /// The entity.
        entity: EntityId,
        /// In which component or closure.
        component: AttributeId,
        /// The error; nothing if it does not any more.
        error: Option<Value>,
    },
    /// Round 2, to the worker of some entities: their ranks in a component, where they are others than before.
    Ranks {
        /// Which worker.
        worker: u64,
        /// The component.
        component: AttributeId,
        /// The entities.
        ranks: Vec<(EntityId, Rank)>,
    },
    /// A later round, to the worker of some hosts: what a source contributes to one of their lookups or rollups.
    Contribution(Contribution),
}

/// Hosts of one worker to which the same is told.
pub(crate) type Hosts = SmallVec<[EntityId; 1]>;

/// What changed in the bucket of a match.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum BucketChange {
    /// A host has the key now, or has it no more.
    Host(EntityId, bool),
    /// What a source contributed before, and what it does now.
    Source(EntityId, Option<Value>, Option<Value>),
}

/// The cells of a host that take what a source contributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Takers {
    /// The one of this lookup, rollup or counted link.
    One(AttributeId),
    /// Those of the cohort whose first one this is.
    Cohort(AttributeId),
}

/// What one source contributes to some hosts, before and after the timestamp.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Contribution {
    /// The hosts, all of one worker, at least one.
    pub(crate) hosts: Hosts,
    /// What takes it.
    pub(crate) takers: Takers,
    /// The source.
    pub(crate) source: EntityId,
    /// What it contributed before.
    pub(crate) old: Option<Value>,
    /// What it contributes after.
    pub(crate) new: Option<Value>,
}

impl Message {
    /// Where it goes: a number whose remainder by the count of workers is the worker.
    pub(crate) fn route(&self) -> u64 {
        match self {
            Message::Schema { worker, .. }
            | Message::Restore { worker, .. }
            | Message::Slice { worker, .. }
            | Message::Ranks { worker, .. } => *worker,
            Message::Restored(row) => route(row.entity.id),
            Message::Hierarchy { component, .. } => route(EntityId(component.0)),
            // The same in every process, for all run the same program.
            Message::Bucket { attribute, key, .. } => FxBuildHasher.hash_one((attribute, key)),
            Message::Wanted { source: id, .. }
            | Message::Reached { source: id, .. }
            | Message::Linked { target: id, .. }
            | Message::Cycle { entity: id, .. } => route(*id),
            Message::Entity { event, .. } => route(event.id()),
            Message::Contribution(contribution) => contribution.hosts.first().map_or(0, |host| route(*host)),
        }
    }

    /// The entity whose record is looked at as soon as it is read, if there is one.
    pub(crate) fn recipient(&self) -> Option<EntityId> {
        match self {
            Message::Schema { .. }
            | Message::Restore { .. }
            | Message::Restored(_)
            | Message::Slice { .. }
            | Message::Hierarchy { .. }
            | Message::Ranks { .. }
            | Message::Bucket { .. }
            | Message::Contribution(_) => None,
            Message::Wanted { source: id, .. }
            | Message::Reached { source: id, .. }
            | Message::Linked { target: id, .. }
            | Message::Cycle { entity: id, .. } => Some(*id),
            Message::Entity { event, .. } => Some(event.id()),
        }
    }
}

/// Makes messages of what was recorded.
#[derive(Default)]
pub(crate) struct Feed {
    /// How many entities were made, by collection.
    made: FxHashMap<CollectionId, u64>,
}

impl Feed {
    /// Takes note of an entity that was made before.
    pub(crate) fn restored(&mut self, entity: &Entity) {
        let made = self.made.entry(entity.collection_id).or_default();
        *made = (*made).max(entity.number);
    }

    /// The messages of one event: to the worker of its entity, or if it is of the schema to all.
    pub(crate) fn give(&mut self, recorded: Recorded, workers: usize, send: &mut impl FnMut(Message)) {
        let Recorded { tenant, event, metadata, .. } = recorded;
        match event {
            Event::Entity(event) => {
                let number = match &event {
                    EntityEvent::EntityCreated { collection_id, .. } => {
                        let made = self.made.entry(*collection_id).or_default();
                        *made += 1;
                        *made
                    }
                    _ => 0,
                };
                send(Message::Entity { event, stamp: metadata.stamp(), number });
            }
            event => {
                let event = WireEvent(Box::new(event));
                for worker in 0..workers as u64 {
                    send(Message::Schema { worker, tenant, event: event.clone() });
                }
            }
        }
    }
}

/// The route of everything about one entity. The same in every process; never stored.
pub(crate) fn route(id: EntityId) -> u64 {
    let bits = id.0.as_u128();
    // The finaliser of splitmix64 (Steele, Lea, Flood 2014): ids that differ in a few bits must still spread.
    let mut x = (bits >> 64) as u64 ^ bits as u64;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// An event that crosses between processes in its stored form, and between threads as it is.
#[derive(Clone, Debug)]
pub(crate) struct WireEvent(pub(crate) Box<Event>);

impl Serialize for WireEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = self.0.to_stored();
        (self.0.kind(), stored.event_type, stored.shape, stored.data).serialize(serializer)
    }
}

/// An event of an entity as it crosses between processes: as [`WireEvent`], but there are many of them, so that they travel
/// within their messages.
mod stored_entity_event {
    use super::*;

    pub(super) fn serialize<S: Serializer>(event: &EntityEvent, serializer: S) -> Result<S::Ok, S::Error> {
        WireEvent(Box::new(Event::Entity(event.clone()))).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EntityEvent, D::Error> {
        match *WireEvent::deserialize(deserializer)?.0 {
            Event::Entity(event) => Ok(event),
            event => Err(serde::de::Error::custom(format!("an event of {:?} is none of an entity", event.kind()))),
        }
    }
}

impl<'de> Deserialize<'de> for WireEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (kind, event_type, shape, data) = <(AggregateKind, String, u32, String)>::deserialize(deserializer)?;
        let stored = Stored { event_type: event_type.into(), shape, data: data.into() };
        Event::from_stored(kind, &stored).map(|event| WireEvent(Box::new(event))).map_err(serde::de::Error::custom)
    }
}
