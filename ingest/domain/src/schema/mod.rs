//! The schema: all tenants, and of each its spaces, collections and attributes, with what follows from them.
//!
//! A [`Catalog`] is built by applying events in the order of the log; everybody who applies the same events has the same
//! catalog. It is copied on write: clones are cheap and keep what they saw.

mod analysis;
mod conversion;
mod crossing;
mod definition_analysis;
mod dependencies;
pub mod input;
pub mod resolve;
mod staging;

pub use analysis::{Analyzed, Component, Compute};
pub use conversion::Conversion;
pub use crossing::{
    Collect, Crossing, Direction, Finish, MatchKeys, REACH_MAX, SortColumn, SortPlace, Summary, cycle_error, depth_error, over_values,
    range_as_text,
};
pub use definition_analysis::takes_ranges;
pub use dependencies::CycleError;
pub use staging::{Shown, Staging};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ecow::EcoString;
use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use uuid::Uuid;

use crate::aggregate::attribute::{self, Attribute, AttributeEvent, Definition};
use crate::aggregate::collection::{self, Collection};
use crate::aggregate::space::{self, Space};
use crate::aggregate::tenant::{self, Tenant, TenantEvent};
use crate::aggregate::user::{self, User};
use crate::event::Event;
use crate::formula::did_you_mean;
use crate::id::{AttributeId, CollectionId, Key, SpaceId, StreamId, TenantId, UserId, Version};
use crate::rejection::Rejection;

/// Every tenant with its schema.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    tenants: FxHashMap<TenantId, Arc<TenantSchema>>,
    keys: FxHashMap<Key, TenantId>,
}

/// One tenant with its users, spaces, collections and attributes.
#[derive(Clone, Debug)]
pub struct TenantSchema {
    /// The tenant.
    pub tenant: Tenant,
    /// Its users; shared with whoever sorts by their names.
    pub users: Arc<BTreeMap<UserId, User>>,
    /// Its spaces, in the order of their creation.
    pub spaces: BTreeMap<SpaceId, Space>,
    collections: BTreeMap<CollectionId, Arc<CollectionSchema>>,
    /// The collection of every attribute that is not deleted.
    homes: FxHashMap<AttributeId, CollectionId>,
    deleted: FxHashSet<AttributeId>,
    versions: FxHashMap<Uuid, Version>,
    analysis: analysis::Analysis,
    cells: staging::CellIds,
    clock: Option<Timestamp>,
}

/// One collection with its attributes.
#[derive(Clone, Debug)]
pub struct CollectionSchema {
    collection: Collection,
    attributes: Vec<Arc<Attribute>>,
    by_key: HashMap<Key, usize>,
}

impl Catalog {
    /// The schema of a tenant.
    pub fn tenant(&self, id: TenantId) -> Option<&Arc<TenantSchema>> {
        self.tenants.get(&id)
    }

    /// The schema of the tenant of this key.
    pub fn tenant_by_key(&self, key: &Key) -> Option<&Arc<TenantSchema>> {
        self.keys.get(key).and_then(|id| self.tenants.get(id))
    }

    /// All tenants, in no order that means anything.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<TenantSchema>> {
        self.tenants.values()
    }

    /// How many events made this aggregate of the schema; 0 if there is none.
    pub fn version(&self, tenant: TenantId, stream: StreamId) -> Version {
        self.tenant(tenant).and_then(|schema| schema.versions.get(&stream.id)).copied().unwrap_or(0)
    }

    /// Applies one event; returns whether it changed the schema. Events of entities do not, and time does not.
    pub fn apply(&mut self, tenant: TenantId, event: &Event) -> bool {
        if let Event::Tenant(event @ TenantEvent::TenantRegistered { id, key, .. }) = event
            && let Some(state) = tenant::evolve(None, event)
        {
            self.keys.insert(key.clone(), *id);
            self.tenants.insert(*id, Arc::new(TenantSchema::new(state)));
        }
        if matches!(event, Event::Entity(_)) {
            return false;
        }
        if let Some(schema) = self.tenants.get_mut(&tenant) {
            Arc::make_mut(schema).apply(event);
        }
        !matches!(event, Event::Tenant(TenantEvent::ClockAdvanced { .. }))
    }
}

impl TenantSchema {
    fn new(tenant: Tenant) -> Self {
        Self {
            tenant,
            users: Arc::default(),
            spaces: BTreeMap::new(),
            collections: BTreeMap::new(),
            homes: FxHashMap::default(),
            deleted: FxHashSet::default(),
            versions: FxHashMap::default(),
            analysis: analysis::Analysis::default(),
            cells: staging::CellIds::default(),
            clock: None,
        }
    }

    /// The collections, in the order of their creation.
    pub fn collections(&self) -> impl Iterator<Item = &Arc<CollectionSchema>> {
        self.collections.values()
    }

    /// What time it is for its formulas; none if none was ever asked for.
    pub fn clock(&self) -> Option<Timestamp> {
        self.clock
    }

    /// A collection.
    pub fn collection(&self, id: CollectionId) -> Option<&Arc<CollectionSchema>> {
        self.collections.get(&id)
    }

    /// The collection of this key.
    pub fn collection_by_key(&self, key: &str) -> Option<&Arc<CollectionSchema>> {
        self.collections.values().find(|collection| collection.collection.key.as_str() == key)
    }

    /// An attribute that is not deleted.
    pub fn attribute(&self, id: AttributeId) -> Option<&Arc<Attribute>> {
        let collection = self.collections.get(self.homes.get(&id)?)?;
        collection.attributes.iter().find(|attribute| attribute.id == id)
    }

    /// Whether there was such an attribute and it was deleted.
    pub fn is_deleted(&self, id: AttributeId) -> bool {
        self.deleted.contains(&id)
    }

    /// What follows from an attribute's definition.
    pub fn analyzed(&self, id: AttributeId) -> Option<&Arc<Analyzed>> {
        self.analysis.get(id)
    }

    /// About how many steps it takes to compute all those cells of an entity, one of each attribute of the tenant, that take
    /// many steps each; 0 if none does.
    pub fn long_work(&self) -> u64 {
        self.analysis.long_work()
    }

    /// `collection.attribute`, for messages.
    pub fn path(&self, id: AttributeId) -> String {
        let attribute = self.attribute(id);
        let collection = attribute.and_then(|attribute| self.collection(attribute.collection_id));
        match (collection, attribute) {
            (Some(collection), Some(attribute)) => format!("{}.{}", collection.key(), attribute.key),
            _ => id.to_string(),
        }
    }

    /// An attribute, and if it is a lookup what it shows, and so on.
    pub fn looked_up<'a>(&'a self, attribute: &'a Attribute) -> impl Iterator<Item = &'a Attribute> {
        /// More lookups than this, one of the other, go round in a circle.
        const LOOKUPS_MAX: usize = 64;
        let next = |of: &&'a Attribute| match &of.definition {
            Definition::Lookup { attribute_id, .. } => self.attribute(*attribute_id).map(|shown| &**shown),
            _ => None,
        };
        std::iter::successors(Some(attribute), next).take(LOOKUPS_MAX)
    }

    /// Whether its cells are ids of users, its own or looked up.
    pub fn shows_users(&self, attribute: &Attribute) -> bool {
        self.looked_up(attribute).last().is_some_and(|shown| matches!(shown.definition, Definition::User { .. }))
    }

    /// What users call each attribute of a collection, for printing formulas.
    pub fn keys(&self, collection: CollectionId) -> HashMap<AttributeId, EcoString> {
        let attributes = self.collection(collection).into_iter().flat_map(|collection| &collection.attributes);
        attributes.map(|attribute| (attribute.id, attribute.key.as_str().into())).collect()
    }

    fn apply(&mut self, event: &Event) {
        let bump = |versions: &mut FxHashMap<Uuid, Version>, id: Uuid| *versions.entry(id).or_default() += 1;
        match event {
            Event::Entity(_) => {}
            Event::Tenant(event) => {
                bump(&mut self.versions, self.tenant.id.0);
                match event {
                    TenantEvent::ComputationCompleted { generation, .. } => self.cells.complete(*generation),
                    TenantEvent::ClockAdvanced { to, .. } => self.clock = Some(*to),
                    _ => {}
                }
                if let Some(tenant) = tenant::evolve(Some(self.tenant.clone()), event) {
                    self.tenant = tenant;
                }
            }
            Event::User(event) => {
                let id = match event {
                    user::UserEvent::UserRegistered { id, .. }
                    | user::UserEvent::UserUpdated { id, .. }
                    | user::UserEvent::UserDeactivated { id } => *id,
                };
                bump(&mut self.versions, id.0);
                let users = Arc::make_mut(&mut self.users);
                let state = user::evolve(users.remove(&id), event);
                users.extend(state.map(|state| (id, state)));
            }
            Event::Space(event) => {
                let id = match event {
                    space::SpaceEvent::SpaceCreated { id, .. } | space::SpaceEvent::SpaceUpdated { id, .. } => *id,
                };
                bump(&mut self.versions, id.0);
                let state = space::evolve(self.spaces.remove(&id), event);
                self.spaces.extend(state.map(|state| (id, state)));
            }
            Event::Collection(event) => {
                let id = match event {
                    collection::CollectionEvent::CollectionCreated { id, .. }
                    | collection::CollectionEvent::CollectionUpdated { id, .. } => *id,
                };
                bump(&mut self.versions, id.0);
                let state = collection::evolve(self.collections.get(&id).map(|c| c.collection.clone()), event);
                if let Some(state) = state {
                    match self.collections.get_mut(&id) {
                        Some(schema) => Arc::make_mut(schema).collection = state,
                        None => drop(self.collections.insert(id, Arc::new(CollectionSchema::new(state)))),
                    }
                }
            }
            Event::Attribute(event) => {
                bump(&mut self.versions, event.id().0);
                self.apply_to_attribute(event);
            }
        }
    }

    fn apply_to_attribute(&mut self, event: &AttributeEvent) {
        let id = event.id();
        let state = attribute::evolve(self.attribute(id).map(|attribute| (**attribute).clone()), event);
        let Some(collection) = self.collections.get_mut(&event.collection_id()).map(Arc::make_mut) else { return };
        let place = collection.attributes.iter().position(|attribute| attribute.id == id);
        match (state, place) {
            (Some(state), place) if state.deleted => {
                place.map(|place| collection.attributes.remove(place));
                self.homes.remove(&id);
                self.deleted.insert(id);
            }
            (Some(state), Some(place)) => collection.attributes[place] = Arc::new(state),
            (Some(state), None) => {
                self.homes.insert(id, state.collection_id);
                collection.attributes.push(Arc::new(state));
            }
            (None, _) => {}
        }
        collection.by_key = collection.attributes.iter().enumerate().map(|(i, a)| (a.key.clone(), i)).collect();
        if !matches!(event, AttributeEvent::AttributeRenamed { .. }) {
            let changed = analysis::refresh(self, id);
            staging::stage(self, changed, event.is_staged());
        }
    }
}

impl CollectionSchema {
    fn new(collection: Collection) -> Self {
        Self { collection, attributes: Vec::new(), by_key: HashMap::new() }
    }

    /// The collection itself.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Its id.
    pub fn id(&self) -> CollectionId {
        self.collection.id
    }

    /// Its key.
    pub fn key(&self) -> &Key {
        &self.collection.key
    }

    /// Its attributes, in the order of their creation.
    pub fn attributes(&self) -> &[Arc<Attribute>] {
        &self.attributes
    }

    /// The attribute of this key.
    pub fn by_key(&self, key: &str) -> Option<&Arc<Attribute>> {
        Key::new(key).ok().and_then(|key| self.by_key.get(&key)).map(|place| &self.attributes[*place])
    }

    /// The attribute of this key, or a refusal that suggests one.
    pub fn attribute_or_refuse(&self, key: &str) -> Result<&Arc<Attribute>, Rejection> {
        self.by_key(key).ok_or_else(|| Rejection::UnknownAttribute {
            key: key.chars().take(80).collect(),
            collection: self.key().to_string(),
            suggestion: did_you_mean(key, self.attributes.iter().map(|a| a.key.as_str())).map(str::to_owned),
        })
    }
}
