//! An attribute: a column of a collection, stored or computed.
//!
//! What a user asks for names other attributes by key ([`DefinitionInput`]); what is recorded names them by id
//! ([`Definition`]). The step between, with all its checks, is [`crate::schema::resolve`].

use std::collections::BTreeSet;

use ecow::EcoString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Facts;
pub use super::definition::{Definition, DefinitionInput, MatchKey, SelectionInput, SortKey};
use crate::id::{AttributeId, CollectionId, Key, TenantId};
use crate::rejection::{Rejection, check_name};
use crate::schema::resolve;

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its id.
    pub id: AttributeId,
    /// The tenant that it belongs to.
    pub tenant_id: TenantId,
    /// The collection that it is a column of.
    pub collection_id: CollectionId,
    /// Its key, unique in the collection.
    pub key: Key,
    /// Its display name.
    pub name: EcoString,
    /// What it holds.
    pub definition: Definition,
    /// Whether it is gone.
    pub deleted: bool,
    /// The types that it had before, the oldest first, with the ids under which values of each are stored.
    pub former: Vec<(AttributeId, Definition)>,
    /// Whether what is shown may be something else than what is stored.
    pub converts: bool,
    /// Ids of options that it had before and that entities may hold.
    pub retired: Vec<EcoString>,
}

impl Attribute {
    /// The id under which its values are stored: its own, until it changes its type.
    pub fn stored_as(&self) -> AttributeId {
        match self.former.len() {
            0 => self.id,
            types => AttributeId(Uuid::new_v5(&self.id.0, format!("stored as {types}").as_bytes())),
        }
    }

    /// All ids under which values of it may be stored.
    pub fn all_stored_as(&self) -> impl Iterator<Item = AttributeId> {
        self.former.iter().map(|(id, _)| *id).chain([self.stored_as()])
    }

    /// The same with another definition.
    fn redefined(mut self, definition: &Definition) -> Self {
        if !(self.definition.is_computed() || definition.is_computed()) {
            self.converts |= !definition.shows_all_of(&self.definition);
            if !definition.is_stored_like(&self.definition) {
                self.former.push((self.stored_as(), self.definition.clone()));
            }
            let stays = |id: &EcoString| definition.options().iter().any(|choice| choice.id == *id);
            self.retired.retain(|id| !stays(id));
            self.retired.extend(self.definition.options().iter().map(|choice| choice.id.clone()).filter(|id| !stays(id)));
        }
        Self { definition: definition.clone(), ..self }
    }
}

/// What can be asked of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum AttributeCommand {
    /// Makes an attribute; a link also its backlink.
    CreateAttribute { id: AttributeId, collection_id: CollectionId, key: Key, name: Option<String>, definition: DefinitionInput },
    /// Changes what is given.
    UpdateAttribute { id: AttributeId, key: Option<Key>, name: Option<String>, definition: Option<DefinitionInput> },
    /// Deletes it; a link also its backlink, and the other way round.
    DeleteAttribute { id: AttributeId },
}

/// What happened to an attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the state")]
pub enum AttributeEvent {
    /// There is a new attribute.
    AttributeCreated {
        id: AttributeId,
        tenant_id: TenantId,
        collection_id: CollectionId,
        key: Key,
        name: EcoString,
        definition: Definition,
        /// Whether many cells follow from it, so that they are computed aside and shown when all are there.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        staged: bool,
    },
    /// It goes by another key or name.
    AttributeRenamed { id: AttributeId, collection_id: CollectionId, key: Key, name: EcoString },
    /// It holds something else.
    AttributeDefinitionChanged {
        id: AttributeId,
        collection_id: CollectionId,
        definition: Definition,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        staged: bool,
    },
    /// It is gone.
    AttributeDeleted {
        id: AttributeId,
        collection_id: CollectionId,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        staged: bool,
    },
}

impl AttributeCommand {
    /// The attribute that it is about.
    pub fn id(&self) -> AttributeId {
        match self {
            Self::CreateAttribute { id, .. } | Self::UpdateAttribute { id, .. } | Self::DeleteAttribute { id } => *id,
        }
    }
}

impl AttributeEvent {
    /// The attribute that it happened to.
    pub fn id(&self) -> AttributeId {
        match self {
            Self::AttributeCreated { id, .. }
            | Self::AttributeRenamed { id, .. }
            | Self::AttributeDefinitionChanged { id, .. }
            | Self::AttributeDeleted { id, .. } => *id,
        }
    }

    /// The collection that the attribute is a column of.
    pub fn collection_id(&self) -> CollectionId {
        match self {
            Self::AttributeCreated { collection_id, .. }
            | Self::AttributeRenamed { collection_id, .. }
            | Self::AttributeDefinitionChanged { collection_id, .. }
            | Self::AttributeDeleted { collection_id, .. } => *collection_id,
        }
    }

    /// Whether the cells that follow from it are computed aside, and shown when all are there.
    pub fn is_staged(&self) -> bool {
        match self {
            Self::AttributeCreated { staged, .. }
            | Self::AttributeDefinitionChanged { staged, .. }
            | Self::AttributeDeleted { staged, .. } => *staged,
            Self::AttributeRenamed { .. } => false,
        }
    }
}

/// The most attributes that a collection may have.
pub const ATTRIBUTES_MAX: usize = 10_000;

/// Events, those of a link's other direction included, or a refusal.
pub fn decide(
    state: Option<&Attribute>,
    command: &AttributeCommand,
    tenant: TenantId,
    facts: Facts<'_>,
) -> Result<Vec<AttributeEvent>, Rejection> {
    let schema = facts.tenant(tenant)?;
    let attribute = || state.filter(|attribute| !attribute.deleted).ok_or_else(|| Rejection::not_found("attribute", command.id()));
    match command {
        AttributeCommand::CreateAttribute { id, collection_id, key, name, definition } => {
            let collection = schema.collection(*collection_id).ok_or_else(|| Rejection::not_found("collection", collection_id))?;
            if state.is_some() || schema.attribute(*id).is_some() {
                return Err(Rejection::InvalidInput(format!("attribute `{id}` exists already")));
            }
            if collection.attributes().len() >= ATTRIBUTES_MAX {
                return Err(Rejection::TooLarge(format!("a collection has {ATTRIBUTES_MAX} attributes at most")));
            }
            check_key_is_free(collection, key)?;
            let name = checked_name(name.as_deref(), key)?;
            let resolved = resolve::definition(schema, collection, *id, definition)?;
            let mut events = vec![AttributeEvent::AttributeCreated {
                id: *id,
                tenant_id: tenant,
                collection_id: *collection_id,
                key: key.clone(),
                name,
                definition: resolved.clone(),
                staged: facts.is_large(schema, *collection_id, *id, Some(&resolved)),
            }];
            if let (
                Definition::Link { collection_id: target, backlink_id, .. },
                DefinitionInput::Link { backlink_key, backlink_name, .. },
            ) = (&resolved, definition)
            {
                let target = schema.collection(*target).ok_or_else(|| Rejection::not_found("collection", target))?;
                check_key_is_free(target, backlink_key)?;
                // To itself a link makes two attributes.
                if target.attributes().len() + usize::from(target.id() == *collection_id) >= ATTRIBUTES_MAX {
                    return Err(Rejection::TooLarge(format!("a collection has {ATTRIBUTES_MAX} attributes at most")));
                }
                if target.id() == *collection_id && backlink_key == key {
                    return Err(Rejection::KeyTaken { key: key.clone(), what: "a link and its backlink need a key each".into() });
                }
                events.push(AttributeEvent::AttributeCreated {
                    id: *backlink_id,
                    tenant_id: tenant,
                    collection_id: target.id(),
                    key: backlink_key.clone(),
                    name: checked_name(backlink_name.as_deref(), backlink_key)?,
                    definition: Definition::Backlink { collection_id: *collection_id, link_id: *id },
                    staged: false,
                });
            }
            Ok(events)
        }
        AttributeCommand::UpdateAttribute { id, key, name, definition } => {
            let attribute = attribute()?;
            let collection_id = attribute.collection_id;
            let collection = schema.collection(collection_id).ok_or_else(|| Rejection::not_found("collection", collection_id))?;
            let mut events = Vec::new();
            let new_key = key.as_ref().unwrap_or(&attribute.key);
            if *new_key != attribute.key {
                check_key_is_free(collection, new_key)?;
            }
            let new_name =
                name.as_deref().map(|name| checked_name(Some(name), new_key)).transpose()?.unwrap_or_else(|| attribute.name.clone());
            if *new_key != attribute.key || new_name != attribute.name {
                events.push(AttributeEvent::AttributeRenamed { id: *id, collection_id, key: new_key.clone(), name: new_name });
            }
            if let Some(input) = definition {
                let resolved = resolve::changed_definition(schema, collection, attribute, input)?;
                if resolved != attribute.definition {
                    let staged = facts.is_large(schema, collection_id, *id, Some(&resolved));
                    events.push(AttributeEvent::AttributeDefinitionChanged { id: *id, collection_id, definition: resolved, staged });
                }
            }
            Ok(events)
        }
        AttributeCommand::DeleteAttribute { id } => {
            let attribute = attribute()?;
            let mut gone = BTreeSet::from([(*id, attribute.collection_id)]);
            match &attribute.definition {
                Definition::Link { collection_id, backlink_id: other, .. } | Definition::Backlink { collection_id, link_id: other } => {
                    gone.insert((*other, *collection_id));
                }
                _ => {}
            }
            let staged = gone.iter().any(|(id, home)| facts.is_large(schema, *home, *id, None));
            Ok(gone.into_iter().map(|(id, collection_id)| AttributeEvent::AttributeDeleted { id, collection_id, staged }).collect())
        }
    }
}

fn check_key_is_free(collection: &crate::schema::CollectionSchema, key: &Key) -> Result<(), Rejection> {
    match collection.by_key(key.as_str()) {
        Some(_) => {
            let what = format!("collection `{}` has an attribute of that key", collection.key());
            Err(Rejection::KeyTaken { key: key.clone(), what })
        }
        None => Ok(()),
    }
}

/// The display name: the key if none is given. Braces would make it impossible to refer to.
fn checked_name(name: Option<&str>, key: &Key) -> Result<EcoString, Rejection> {
    let Some(name) = name else { return Ok(key.as_str().into()) };
    check_name(name)?;
    if name.contains(['{', '}']) {
        return Err(Rejection::InvalidInput("an attribute's name has no braces".into()));
    }
    Ok(name.into())
}

/// The next state.
pub fn evolve(state: Option<Attribute>, event: &AttributeEvent) -> Option<Attribute> {
    match event {
        AttributeEvent::AttributeCreated { id, tenant_id, collection_id, key, name, definition, .. } => Some(Attribute {
            id: *id,
            tenant_id: *tenant_id,
            collection_id: *collection_id,
            key: key.clone(),
            name: name.clone(),
            definition: definition.clone(),
            deleted: false,
            former: Vec::new(),
            converts: false,
            retired: Vec::new(),
        }),
        AttributeEvent::AttributeRenamed { key, name, .. } => state.map(|a| Attribute { key: key.clone(), name: name.clone(), ..a }),
        AttributeEvent::AttributeDefinitionChanged { definition, .. } => state.map(|a| a.redefined(definition)),
        AttributeEvent::AttributeDeleted { .. } => state.map(|a| Attribute { deleted: true, ..a }),
    }
}
