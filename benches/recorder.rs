//! Events as they would be in a log, without one: schemas by the command path's own decisions, entities' events written down
//! directly. The harnesses and the peers feed dataflows with them.

use anyhow::Context as _;
use decidr_domain::aggregate::Facts;
use decidr_domain::aggregate::attribute::{AttributeCommand, DefinitionInput};
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::entity::EntityEvent;
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::command::{Authority, Command, Request, decide};
use decidr_domain::event::{Event, Metadata, Recorded};
use decidr_domain::id::{AttributeId, CollectionId, CommandId, EntityId, EventId, Key, Position, SpaceId, StreamId, TenantId};
use decidr_domain::rollup::Rollup;
use decidr_domain::schema::Catalog;
use decidr_domain::value::Value;
use jiff::Timestamp;
use uuid::Uuid;

/// Records events of one tenant at a time, in a space of its own.
pub struct Recorder {
    catalog: Catalog,
    /// The tenant whose events are recorded.
    pub tenant: TenantId,
    space: SpaceId,
    position: Position,
    ids: u128,
    /// What was recorded and not taken yet.
    pub events: Vec<Recorded>,
}

impl Recorder {
    /// With a tenant.
    pub fn new() -> anyhow::Result<Self> {
        let (tenant, space) = (TenantId(Uuid::nil()), SpaceId(Uuid::nil()));
        let mut recorder = Self { catalog: Catalog::default(), tenant, space, position: 0, ids: 0, events: Vec::new() };
        recorder.tenant("t0")?;
        Ok(recorder)
    }

    /// Another tenant; what follows is its.
    pub fn tenant(&mut self, key: &str) -> anyhow::Result<()> {
        (self.tenant, self.space) = (TenantId(self.id()), SpaceId(self.id()));
        let register = TenantCommand::RegisterTenant { id: self.tenant, key: Key::new(key)?, name: key.into() };
        self.execute(Authority::Operator, Command::Tenant(register))?;
        let create = SpaceCommand::CreateSpace { id: self.space, key: Key::new("space")?, name: "Space".into() };
        self.execute(Authority::Tenant(self.tenant), Command::Space(create))
    }

    /// The position of the newest event.
    pub fn position(&self) -> Position {
        self.position
    }

    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids << 80)
    }

    fn record(&mut self, stream: StreamId, event: Event) {
        self.position += 1;
        let id = Uuid::from_u128(u128::from(self.position));
        let metadata = Metadata {
            event_id: EventId(id),
            command_id: CommandId(id),
            causation_id: id,
            correlation_id: id,
            actor: "bench".into(),
            recorded_at: Timestamp::UNIX_EPOCH,
        };
        self.events.push(Recorded { position: self.position, stream, version: 1, tenant: self.tenant, event, metadata });
    }

    fn execute(&mut self, authority: Authority, command: Command) -> anyhow::Result<()> {
        let command_id = CommandId(self.id());
        let request = Request { command_id, authority, actor: "bench".into(), correlation_id: command_id.0, command };
        let facts = Facts { catalog: &self.catalog, entities: &|_| None, sizes: &|_| 0 };
        for (stream, event) in decide(&request, facts)?.events {
            self.catalog.apply(self.tenant, &event);
            self.record(stream, event);
        }
        Ok(())
    }

    /// A new collection.
    pub fn collection(&mut self, key: &str) -> anyhow::Result<CollectionId> {
        let (id, space_id) = (CollectionId(self.id()), self.space);
        let create = CollectionCommand::CreateCollection { id, space_id, key: Key::new(key)?, name: key.into() };
        self.execute(Authority::Tenant(self.tenant), Command::Collection(create))?;
        Ok(id)
    }

    /// A new attribute.
    pub fn attribute(&mut self, collection_id: CollectionId, key: &str, definition: DefinitionInput) -> anyhow::Result<AttributeId> {
        let id = AttributeId(self.id());
        let create = AttributeCommand::CreateAttribute { id, collection_id, key: Key::new(key)?, name: None, definition };
        self.execute(Authority::Tenant(self.tenant), Command::Attribute(create))?;
        Ok(id)
    }

    /// Another definition.
    pub fn redefine(&mut self, id: AttributeId, definition: DefinitionInput) -> anyhow::Result<()> {
        let update = AttributeCommand::UpdateAttribute { id, key: None, name: None, definition: Some(definition) };
        self.execute(Authority::Tenant(self.tenant), Command::Attribute(update))
    }

    /// A link to one or many entities of a collection.
    pub fn link(&mut self, to: CollectionId, multiple: bool, backlink: &str, hierarchical: bool) -> anyhow::Result<DefinitionInput> {
        let (backlink_id, backlink_key) = (AttributeId(self.id()), Key::new(backlink)?);
        Ok(DefinitionInput::Link { collection_id: to, multiple, backlink_id, backlink_key, backlink_name: None, hierarchical })
    }

    /// A new entity.
    pub fn create(&mut self, id: EntityId, collection_id: CollectionId, values: Vec<(AttributeId, Value)>) {
        let (tenant_id, values) = (self.tenant, values.into_iter().collect());
        self.record(id.into(), Event::Entity(EntityEvent::EntityCreated { id, tenant_id, collection_id, values }));
    }

    /// Another value.
    pub fn set(&mut self, id: EntityId, attribute_id: AttributeId, value: impl Into<Value>) {
        let set = EntityEvent::AttributeValueSet { id, attribute_id, stored_as: None, value: value.into() };
        self.record(id.into(), Event::Entity(set));
    }

    /// A single link leads elsewhere.
    pub fn relink(&mut self, id: EntityId, attribute_id: AttributeId, from: EntityId, to: EntityId) {
        if from != to {
            self.unlink(id, attribute_id, from);
            self.link_to(id, attribute_id, vec![to]);
        }
    }

    /// A link leads to these too.
    pub fn link_to(&mut self, id: EntityId, attribute_id: AttributeId, target_ids: Vec<EntityId>) {
        self.record(id.into(), Event::Entity(EntityEvent::EntitiesLinked { id, attribute_id, target_ids }));
    }

    /// A link does not lead there any more.
    pub fn unlink(&mut self, id: EntityId, attribute_id: AttributeId, from: EntityId) {
        self.record(id.into(), Event::Entity(EntityEvent::EntitiesUnlinked { id, attribute_id, target_ids: vec![from] }));
    }

    /// Takes an entity out of sight.
    pub fn archive(&mut self, id: EntityId) {
        self.record(id.into(), Event::Entity(EntityEvent::EntityArchived { id }));
    }
}

/// A formula.
pub fn formula(text: &str) -> DefinitionInput {
    DefinitionInput::Formula { expression: text.into() }
}

/// A rollup.
pub fn rollup(link: &str, attribute: &str, function: &str, filter: Option<&str>) -> anyhow::Result<DefinitionInput> {
    let function = Rollup::find(function).with_context(|| format!("there is no rollup {function}"))?;
    let attribute = function.of_attribute.then(|| attribute.to_owned());
    Ok(DefinitionInput::rollup(link, attribute, function, filter.map(str::to_owned)))
}

/// xorshift64* (Vigna 2016).
pub struct Random(pub u64);

impl Random {
    /// A number from 0 to below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to below `bound`, small ones more often: by Zipf's law with exponent 1, by inversion of the continuous
    /// one.
    pub fn zipf(&mut self, bound: usize) -> usize {
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        (((bound as f64 + 1.0).ln() * share).exp() as usize - 1).min(bound.saturating_sub(1))
    }
}
