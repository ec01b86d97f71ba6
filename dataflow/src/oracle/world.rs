//! Random commands, made from words: what happens in a random history.

use std::sync::Arc;

use decidr_domain::aggregate::Facts;
use decidr_domain::aggregate::attribute::{AttributeCommand, Definition, DefinitionInput};
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::entity::{Entity, EntityCommand};
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::aggregate::user::UserCommand;
use decidr_domain::command::{Authority, Command, Request, decide};
use decidr_domain::event::{Metadata, Recorded};
use decidr_domain::id::{AttributeId, CollectionId, CommandId, EntityId, EventId, Key, SpaceId, TenantId, UserId};
use jiff::Timestamp;
use serde_json::{Map, json};
use uuid::Uuid;

use super::Oracle;

/// From how many attributes for each collection on a schema is large.
const ATTRIBUTES_OF_EACH: usize = 12;

/// Makes commands from words and decides them, so that only events come out which the write side would accept.
pub(super) struct World {
    pub(super) oracle: Oracle,
    position: u64,
    ids: u128,
    pub(super) tenant: TenantId,
    pub(super) users: [UserId; 2],
    pub(super) collections: Vec<CollectionId>,
    pub(super) words: std::vec::IntoIter<u32>,
    pub(super) refused: u64,
}

impl World {
    pub(super) fn new(words: Vec<u32>) -> (Self, Vec<Recorded>) {
        let mut world = World {
            oracle: Oracle::default(),
            position: 0,
            ids: 0,
            tenant: TenantId(Uuid::nil()),
            users: [UserId(Uuid::nil()); 2],
            collections: vec![],
            words: words.into_iter(),
            refused: 0,
        };
        let mut events = Vec::new();
        world.tenant = TenantId(world.id());
        world.users = [UserId(world.id()), UserId(world.id())];
        let register = TenantCommand::RegisterTenant {
            id: world.tenant,
            key: Key::new("t").expect("it is made of letters and digits"),
            name: "T".into(),
        };
        events.extend(world.execute(Authority::Operator, Command::Tenant(register)));
        for (id, name) in world.users.into_iter().zip(["ada", "bo"]) {
            let user = UserCommand::RegisterUser { id, email: format!("{name}@example.com"), name: name.into() };
            events.extend(world.execute(Authority::Tenant(world.tenant), Command::User(user)));
        }
        let space_id = SpaceId(world.id());
        let space =
            SpaceCommand::CreateSpace { id: space_id, key: Key::new("s").expect("it is made of letters and digits"), name: "S".into() };
        events.extend(world.execute(Authority::Tenant(world.tenant), Command::Space(space)));
        let choice = |place| world.words.as_slice().get(place).map_or(0, |word| *word as usize);
        let (collections, has_hierarchy, has_chain) = (2 + choice(2) % 5, choice(0) % 2 == 0, choice(3) % 3 == 0);
        for key in &["a", "b", "c", "d", "e", "f"][..collections] {
            let id = CollectionId(world.id());
            let collection = CollectionCommand::CreateCollection {
                id,
                space_id,
                key: Key::new(key).expect("it is made of letters and digits"),
                name: (*key).into(),
            };
            events.extend(world.execute(Authority::Tenant(world.tenant), Command::Collection(collection)));
            world.collections.push(id);
        }
        if has_hierarchy {
            events.extend(world.hierarchy());
        }
        if has_chain {
            events.extend(world.chain());
        }
        (world, events)
    }

    pub(super) fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    pub(super) fn word(&mut self) -> Option<usize> {
        self.words.next().map(|word| word as usize)
    }

    pub(super) fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        let word = self.word()?;
        if items.is_empty() { None } else { Some(items[word % items.len()].clone()) }
    }

    pub(super) fn execute(&mut self, authority: Authority, command: Command) -> Vec<Recorded> {
        let command_id = CommandId(self.id());
        // Now one acts and now the other.
        let actor = ["ada", "bo"][self.ids as usize / 7 % 2];
        let request = Request { command_id, authority, actor: actor.into(), correlation_id: command_id.0, command };
        let oracle = &self.oracle;
        let entities = |id: EntityId| oracle.entities.get(&id).cloned().map(Arc::new);
        // Some changes of the schema are computed aside, whatever the size.
        let sizes = |_| if self.ids.is_multiple_of(5) { 0 } else { 1_000_000 };
        let decision = match decide(&request, Facts { catalog: &oracle.catalog, entities: &entities, sizes: &sizes }) {
            Ok(decision) => decision,
            Err(_) => {
                self.refused += 1;
                return vec![];
            }
        };
        let mut recorded = Vec::new();
        for (stream, event) in decision.events {
            self.position += 1;
            let metadata = Metadata {
                event_id: EventId(self.id()),
                command_id,
                causation_id: command_id.0,
                correlation_id: command_id.0,
                actor: actor.into(),
                recorded_at: Timestamp::from_second(self.position as i64 / 3).expect("it is early in the history of time"),
            };
            let recorded_event = Recorded { position: self.position, stream, version: 1, tenant: decision.tenant, event, metadata };
            self.oracle.apply(&recorded_event);
            recorded.push(recorded_event);
        }
        recorded
    }

    /// The events of the next command; `None` when the words are used up.
    pub(super) fn step(&mut self) -> Option<Vec<Recorded>> {
        // Beyond these kinds words are about what is stored, and so are most about the schema when it is large: there is more
        // to compute where there are few attributes and many values and links.
        let is_large = self.attributes().len() > ATTRIBUTES_OF_EACH * self.collections.len();
        let kind = match self.word()? % 70 {
            kind @ 0..10 if is_large && self.word()? % 4 > 0 => 12 + kind,
            kind @ 0..33 => kind,
            33..40 => 12,
            40..49 => 16,
            49..59 => 19,
            59..66 => 20,
            _ => return self.create_rollups(),
        };
        let command = match kind {
            0..2 => self.create_stored()?,
            2..4 => self.create_link()?,
            4..10 => self.create_computed()?,
            10 => AttributeCommand::DeleteAttribute { id: self.attribute()? }.into_command(),
            11 => {
                let id = self.attribute()?;
                let home = self.oracle.catalog.tenant(self.tenant)?.attribute(id)?.collection_id;
                let (key, definition) = match self.word()? % 4 {
                    0 => (Some(self.key()), None),
                    _ => (None, Some(self.computed(home)?)),
                };
                AttributeCommand::UpdateAttribute { id, key, name: None, definition }.into_command()
            }
            12..16 => {
                let collection_id = self.pick(&self.collections.clone())?;
                let values = self.values(collection_id, 10)?;
                let id = EntityId(self.id());
                Command::Entity(EntityCommand::CreateEntity { id, collection_id, values })
            }
            16..19 => {
                let (id, collection) = self.entity()?;
                let values = self.values(collection, 4)?;
                Command::Entity(EntityCommand::SetValues { id, values, expected_version: None })
            }
            kind @ 19..22 => {
                let (id, collection) = self.entity()?;
                let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
                let links: Vec<_> =
                    schema.collection(collection)?.attributes().iter().filter(|a| a.definition.leads_to().is_some()).cloned().collect();
                // Mostly one that something is computed through.
                let crossed: Vec<_> = links.iter().filter(|link| self.is_crossed(link.id)).cloned().collect();
                let link = if crossed.is_empty() || self.word()? % 3 == 0 { self.pick(&links)? } else { self.pick(&crossed)? };
                let mut targets: Vec<_> =
                    self.oracle.entities.values().filter(|e| Some(e.collection_id) == link.definition.leads_to()).map(|e| e.id).collect();
                let held = match link.definition {
                    Definition::Backlink { link_id, .. } => {
                        let holds = |e: &&Entity| e.values.get(link_id).targets().contains(&id);
                        self.oracle.entities.values().filter(holds).map(|e| e.id).collect()
                    }
                    _ => self.oracle.entities[&id].values.get(link.id).targets().to_vec(),
                };
                let word = if held.len() > 1 { self.word()? % 4 } else { 0 };
                if word == 1 {
                    let target_ids = vec![self.pick(&held)?, self.pick(&held)?];
                    let command = EntityCommand::ReorderLinks { id, attribute: link.key.to_string(), target_ids };
                    return Some(self.execute(Authority::Tenant(self.tenant), Command::Entity(command)));
                }
                if word == 2 && !matches!(link.definition, Definition::Backlink { .. }) {
                    let reordered: Vec<_> = held.iter().rev().map(ToString::to_string).collect();
                    let values = Map::from_iter([(link.key.to_string(), json!(reordered))]);
                    let set = EntityCommand::SetValues { id, values, expected_version: None };
                    return Some(self.execute(Authority::Tenant(self.tenant), Command::Entity(set)));
                }
                if kind == 21 {
                    targets = held;
                }
                let mut target_ids = vec![self.pick(&targets)?];
                if kind == 20 {
                    target_ids.push(self.pick(&targets)?);
                }
                let attribute = link.key.to_string();
                Command::Entity(match kind {
                    21 => EntityCommand::UnlinkEntities { id, attribute, target_ids },
                    _ => EntityCommand::LinkEntities { id, attribute, target_ids },
                })
            }
            23..=25 => self.make_recursive()?,
            26 | 27 => return self.complete(),
            29 | 30 => {
                // Sometimes to just when something is due, sometimes by as much as it takes for years to change.
                let pause = [1, 400, 60_000, 3_600_000, 86_400_000, 40_000_000_000][self.word()? % 6];
                let clock = self.oracle.catalog.tenant(self.tenant)?.clock().unwrap_or(Timestamp::UNIX_EPOCH);
                let to = Timestamp::from_millisecond(
                    clock.as_millisecond() + pause + i64::try_from(self.word()? % 1_000).expect("it is less than a thousand"),
                )
                .expect("it is early in the history of time");
                let advance = TenantCommand::AdvanceClock { id: self.tenant, to };
                return Some(self.execute(Authority::Operator, Command::Tenant(advance)));
            }
            31 | 32 => self.retype()?,
            22 => Command::Entity(EntityCommand::ArchiveEntity { id: self.entity()?.0 }),
            _ => {
                let archived: Vec<_> = self.oracle.entities.values().filter(|e| e.archived).map(|e| e.id).collect();
                Command::Entity(EntityCommand::RestoreEntity { id: self.pick(&archived)? })
            }
        };
        Some(self.execute(Authority::Tenant(self.tenant), command))
    }

    /// Shows what is computed aside.
    pub(super) fn complete(&mut self) -> Option<Vec<Recorded>> {
        let generation = self.oracle.catalog.tenant(self.tenant)?.staging()?.generation();
        let complete = TenantCommand::CompleteComputation { id: self.tenant, generation };
        Some(self.execute(Authority::Operator, Command::Tenant(complete)))
    }

    pub(super) fn key(&mut self) -> Key {
        self.ids += 1;
        Key::new(&format!("k{}", self.ids)).expect("it is made of letters and digits")
    }

    pub(super) fn create(&mut self, collection_id: CollectionId, definition: DefinitionInput) -> Command {
        let (id, key) = (AttributeId(self.id()), self.key());
        AttributeCommand::CreateAttribute { id, collection_id, key, name: None, definition }.into_command()
    }

    pub(super) fn attribute(&mut self) -> Option<AttributeId> {
        self.pick(&self.attributes())
    }

    /// All attributes that there are.
    fn attributes(&self) -> Vec<AttributeId> {
        let collections = self.oracle.catalog.tenant(self.tenant).into_iter().flat_map(|schema| schema.collections());
        collections.flat_map(|collection| collection.attributes().iter().map(|attribute| attribute.id)).collect()
    }

    /// Whether a lookup or rollup goes through this link.
    fn is_crossed(&self, link: AttributeId) -> bool {
        let collections = self.oracle.catalog.tenant(self.tenant).into_iter().flat_map(|schema| schema.collections());
        let goes_through = |definition: &Definition| matches!(definition, Definition::Lookup { link_id, .. } | Definition::Rollup { link_id, .. } if *link_id == link);
        collections.flat_map(|collection| collection.attributes()).any(|attribute| goes_through(&attribute.definition))
    }

    fn entity(&mut self) -> Option<(EntityId, CollectionId)> {
        let all: Vec<_> = self.oracle.entities.values().map(|e| (e.id, e.collection_id)).collect();
        self.pick(&all)
    }
}

pub(super) trait IntoCommand {
    fn into_command(self) -> Command;
}

impl IntoCommand for AttributeCommand {
    fn into_command(self) -> Command {
        Command::Attribute(self)
    }
}
