//! Spaces, collections and attributes.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, SimpleObject};
use decidr_domain::aggregate::attribute::{self, Definition};
use decidr_domain::aggregate::choice as domain;
use decidr_domain::aggregate::format::{NumberFormat, TextFormat};
use decidr_domain::aggregate::space;
use decidr_domain::schema::CollectionSchema;

use super::TenantView;
use super::defined::Defined;

/// A named group of collections.
pub(crate) struct Space {
    pub(crate) view: TenantView,
    pub(crate) space: space::Space,
}

#[Object]
impl Space {
    async fn id(&self) -> ID {
        self.space.id.to_string().into()
    }
    async fn key(&self) -> &str {
        self.space.key.as_str()
    }
    async fn name(&self) -> &str {
        &self.space.name
    }
    async fn collections(&self) -> Vec<Collection> {
        let of_space = |collection: &&Arc<CollectionSchema>| collection.collection().space_id == self.space.id;
        self.view.schema.collections().filter(of_space).map(|c| Collection { view: self.view.clone(), collection: c.clone() }).collect()
    }
}

/// A table that users defined.
pub(crate) struct Collection {
    pub(crate) view: TenantView,
    pub(crate) collection: Arc<CollectionSchema>,
}

#[Object]
impl Collection {
    async fn id(&self) -> ID {
        self.collection.id().to_string().into()
    }
    async fn key(&self) -> &str {
        self.collection.key().as_str()
    }
    async fn name(&self) -> &str {
        &self.collection.collection().name
    }
    async fn space_id(&self) -> ID {
        self.collection.collection().space_id.to_string().into()
    }
    async fn attributes(&self) -> Vec<Attribute> {
        let attributes = self.collection.attributes().iter();
        attributes.map(|attribute| Attribute { view: self.view.clone(), attribute: attribute.clone() }).collect()
    }
}

/// A column of a collection.
pub(crate) struct Attribute {
    view: TenantView,
    attribute: Arc<attribute::Attribute>,
}

/// What an attribute holds.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) enum AttributeType {
    Text,
    Number,
    Checkbox,
    Date,
    Datetime,
    DateRange,
    SingleSelect,
    MultiSelect,
    Link,
    Formula,
    Lookup,
    Rollup,
    LongText,
    Email,
    Url,
    Phone,
    Percent,
    Currency,
    Rating,
    Duration,
    Json,
    Attachments,
    Autonumber,
    CreatedTime,
    CreatedBy,
    ModifiedTime,
    ModifiedBy,
    User,
}

/// Whether cells are as the definition has them.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttributeState {
    /// They are.
    Ready,
    /// They are computed aside. What was shown before is shown on; of a new attribute nothing but that it is computed.
    Computing,
}

/// An option of a select.
#[derive(SimpleObject)]
pub(crate) struct Choice {
    /// What stays when it is renamed.
    id: ID,
    name: String,
    /// A word, or as "#1a2b3c".
    color: Option<String>,
}

#[Object]
impl Attribute {
    async fn id(&self) -> ID {
        self.attribute.id.to_string().into()
    }
    async fn key(&self) -> &str {
        self.attribute.key.as_str()
    }
    async fn name(&self) -> &str {
        &self.attribute.name
    }
    #[graphql(name = "type")]
    async fn attribute_type(&self) -> AttributeType {
        match self.attribute.definition {
            Definition::Text { format, .. } => match format {
                TextFormat::Plain => AttributeType::Text,
                TextFormat::Long => AttributeType::LongText,
                TextFormat::Email => AttributeType::Email,
                TextFormat::Url => AttributeType::Url,
                TextFormat::Phone => AttributeType::Phone,
            },
            Definition::Number { ref format, .. } => match format {
                NumberFormat::Plain => AttributeType::Number,
                NumberFormat::Percent {} => AttributeType::Percent,
                NumberFormat::Currency { .. } => AttributeType::Currency,
                NumberFormat::Rating { .. } => AttributeType::Rating,
                NumberFormat::Duration {} => AttributeType::Duration,
            },
            Definition::DateRange {} => AttributeType::DateRange,
            Definition::Json {} => AttributeType::Json,
            Definition::Attachments {} => AttributeType::Attachments,
            Definition::Autonumber {} => AttributeType::Autonumber,
            Definition::CreatedTime {} => AttributeType::CreatedTime,
            Definition::CreatedBy {} => AttributeType::CreatedBy,
            Definition::ModifiedTime { .. } => AttributeType::ModifiedTime,
            Definition::ModifiedBy { .. } => AttributeType::ModifiedBy,
            Definition::User { .. } => AttributeType::User,
            Definition::Checkbox {} => AttributeType::Checkbox,
            Definition::Date {} => AttributeType::Date,
            Definition::Datetime { .. } => AttributeType::Datetime,
            Definition::SingleSelect { .. } => AttributeType::SingleSelect,
            Definition::MultiSelect { .. } => AttributeType::MultiSelect,
            Definition::Link { .. } | Definition::Backlink { .. } => AttributeType::Link,
            Definition::Closure { .. } | Definition::Match { .. } => AttributeType::Link,
            Definition::Formula { .. } => AttributeType::Formula,
            Definition::Lookup { .. } => AttributeType::Lookup,
            Definition::Rollup { .. } => AttributeType::Rollup,
        }
    }
    /// Whether its cells are shown as its definition has them, or still computed aside.
    async fn state(&self) -> AttributeState {
        if self.view.schema.is_computing(self.attribute.id) { AttributeState::Computing } else { AttributeState::Ready }
    }
    /// How much of what the tenant has computed aside is done, from 0 to 1; null if it is ready.
    async fn progress(&self) -> Option<f64> {
        self.view
            .schema
            .is_computing(self.attribute.id)
            .then(|| self.view.arranged.progress(self.view.schema.tenant.id).map_or(1.0, |progress| progress.share()))
    }
    async fn computed(&self) -> bool {
        self.attribute.definition.is_computed()
    }
    /// What it was asked to be.
    async fn definition(&self) -> Defined {
        Defined::of(&self.view.schema, &self.attribute)
    }
    /// The options of a select, in their order; null if it is none.
    async fn choices(&self) -> Option<Vec<Choice>> {
        let is_select = matches!(self.attribute.definition, Definition::SingleSelect { .. } | Definition::MultiSelect { .. });
        let choice = |choice: &domain::Choice| Choice {
            id: choice.id.to_string().into(),
            name: choice.name.to_string(),
            color: choice.color.as_ref().map(ToString::to_string),
        };
        is_select.then(|| self.attribute.definition.options().iter().map(choice).collect())
    }
    /// The formula of a formula or of a rollup, or the filter of a rollup or lookup, as one would write it today.
    async fn expression(&self) -> Option<String> {
        let (expression, collection) = match &self.attribute.definition {
            Definition::Formula { expression } => (expression, self.attribute.collection_id),
            Definition::Rollup { formula: Some(formula), .. } => (formula, self.attribute.collection_id),
            Definition::Rollup { filter: Some(filter), link_id, .. } | Definition::Lookup { filter: Some(filter), link_id, .. } => {
                (filter, self.view.schema.attribute(*link_id)?.definition.leads_to()?)
            }
            _ => return None,
        };
        let mut names = self.view.schema.keys(collection);
        names.extend(self.view.schema.keys(self.attribute.collection_id));
        Some(expression.to_user(&names).to_string())
    }
}
