//! What attributes hold: as it is recorded, with other attributes by id, and as users ask for it, with these by key.

use ecow::EcoString;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::choice::{Choice, ChoiceInput};
use super::format::{NumberFormat, TextFormat};
use crate::formula::{Expression, dates, functions};
use crate::id::{AttributeId, CollectionId, Key};
use crate::rollup::Rollup;
use crate::value::Value;

/// What an attribute holds. Part of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Definition {
    /// Text.
    Text {
        /// The most characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_length: Option<u32>,
        /// What it stands for.
        #[serde(default, skip_serializing_if = "is_default")]
        format: TextFormat,
    },
    /// A decimal number.
    Number {
        /// How many decimal places are kept; all if unset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale: Option<u32>,
        /// What it stands for.
        #[serde(default, skip_serializing_if = "is_default")]
        format: NumberFormat,
    },
    /// Yes or no.
    Checkbox {},
    /// A day.
    Date {},
    /// An instant.
    Datetime {
        /// The zone in which formulas look at it; UTC if unset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<EcoString>,
    },
    /// Two days, the second not before the first.
    DateRange {},
    /// Anything that JSON can say.
    Json {},
    /// Names and addresses of files.
    Attachments {},
    /// One of these options.
    SingleSelect {
        /// The options, in order.
        options: Vec<Choice>,
    },
    /// Some of these options.
    MultiSelect {
        /// The options, in order.
        options: Vec<Choice>,
    },
    /// Users of the tenant, by id.
    User {
        /// Whether it may be more than one.
        multiple: bool,
    },
    /// Entities of one collection. The entity with the link holds it.
    Link {
        /// The collection that it leads to.
        collection_id: CollectionId,
        /// Whether it may lead to more than one entity.
        multiple: bool,
        /// The attribute there that shows the other direction.
        backlink_id: AttributeId,
        /// Whether attributes may depend on themselves through it: it leads to its own collection.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        hierarchical: bool,
    },
    /// The other direction of a link: the entities that link here.
    Backlink {
        /// The collection that the link is in.
        collection_id: CollectionId,
        /// The link.
        link_id: AttributeId,
    },
    /// Everything that a self-link leads to, directly or through others.
    Closure {
        /// The collection, its own.
        collection_id: CollectionId,
        /// A link or backlink of it that leads to itself.
        link_id: AttributeId,
    },
    /// The entities of a collection whose attributes equal the entity's own.
    Match {
        /// The collection.
        collection_id: CollectionId,
        /// What must equal what.
        on: Vec<MatchKey>,
    },
    /// Computed from the entity's own attributes.
    Formula {
        /// The formula.
        expression: Expression,
    },
    /// Which entity of its collection it is, in the order in which they were made.
    Autonumber {},
    /// When the entity was made.
    CreatedTime {},
    /// Who made it.
    CreatedBy {},
    /// When it was last written to.
    ModifiedTime {
        /// Only what is written to these counts; if there are none, everything.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attribute_ids: Vec<AttributeId>,
    },
    /// Who wrote to it last.
    ModifiedBy {
        /// Only what is written to these counts; if there are none, everything.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attribute_ids: Vec<AttributeId>,
    },
    /// Another entity's attribute, seen through a link.
    Lookup {
        /// A link or backlink of this collection.
        link_id: AttributeId,
        /// An attribute of the collection that it leads to.
        attribute_id: AttributeId,
        /// A formula over the linked entity, and over the host's `HOST({…})`: only those are shown for which it is true.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<Expression>,
        /// By what they are sorted, if not as the link has them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sort: Vec<SortKey>,
        /// How many are shown, at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// A summary over linked entities.
    Rollup {
        /// A link or backlink of this collection.
        link_id: AttributeId,
        /// An attribute of the collection that it leads to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attribute_id: Option<AttributeId>,
        /// Which summary.
        #[serde(with = "crate::rollup::by_name")]
        function: &'static Rollup,
        /// A formula over the linked entity, and over the host's `HOST({…})`: only those count for which it is true.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<Expression>,
        /// By what they are sorted, if not as the link has them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sort: Vec<SortKey>,
        /// How many count, at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// What the summary must be told beside the values.
        #[serde(default, with = "crate::event::stored_value", skip_serializing_if = "Value::is_blank")]
        argument: Value,
        /// How much each counts, if the summary is a weighted one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight_id: Option<AttributeId>,
        /// The summary itself as a formula, in which the values go by the name `values`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        formula: Option<Expression>,
    },
}

/// What a match compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchKey {
    /// An attribute of the collection that has the match.
    pub own_id: AttributeId,
    /// An attribute of the collection that it leads to.
    pub other_id: AttributeId,
}

/// By what linked entities are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SortKey {
    /// An attribute of theirs.
    pub attribute_id: AttributeId,
    /// Whether the largest comes first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub descending: bool,
}

impl Definition {
    /// The word for it in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Definition::Text { format, .. } => format.kind(),
            Definition::Number { format, .. } => format.kind(),
            Definition::Checkbox {} => "checkbox",
            Definition::Date {} => "date",
            Definition::Datetime { .. } => "datetime",
            Definition::DateRange {} => "date range",
            Definition::Json {} => "json",
            Definition::Attachments {} => "attachments",
            Definition::SingleSelect { .. } => "single select",
            Definition::MultiSelect { .. } => "multi select",
            Definition::Link { .. } => "link",
            Definition::Backlink { .. } => "backlink",
            Definition::Closure { .. } => "closure",
            Definition::Match { .. } => "match",
            Definition::Formula { .. } => "formula",
            Definition::Lookup { .. } => "lookup",
            Definition::Rollup { .. } => "rollup",
            Definition::Autonumber {} => "autonumber",
            Definition::CreatedTime {} => "created time",
            Definition::CreatedBy {} => "created by",
            Definition::ModifiedTime { .. } => "modified time",
            Definition::ModifiedBy { .. } => "modified by",
            Definition::User { .. } => "user",
        }
    }

    /// Whether its values are computed and never written.
    pub fn is_computed(&self) -> bool {
        match self {
            Definition::Formula { .. } | Definition::Lookup { .. } | Definition::Rollup { .. } => true,
            Definition::Closure { .. } | Definition::Match { .. } => true,
            _ => self.is_of_record(),
        }
    }

    /// Whether its values say when, or on whose word, the entity was made or written to, or as which.
    pub fn is_of_record(&self) -> bool {
        use Definition::{Autonumber, CreatedBy, CreatedTime, ModifiedBy, ModifiedTime};
        matches!(self, Autonumber {} | CreatedTime {} | CreatedBy {} | ModifiedTime { .. } | ModifiedBy { .. })
    }

    /// The options, if it is a select.
    pub fn options(&self) -> &[Choice] {
        match self {
            Definition::SingleSelect { options } | Definition::MultiSelect { options } => options,
            _ => &[],
        }
    }

    /// Whether values that were stored under the definition `before` are such as are stored under this one.
    pub(crate) fn is_stored_like(&self, before: &Definition) -> bool {
        match (before, self) {
            (Definition::Text { format: before, .. }, Definition::Text { format, .. }) => format.takes_all_of(*before),
            (Definition::Number { format: before, .. }, Definition::Number { format, .. }) => format.takes_all_of(before),
            (Definition::User { multiple: before }, Definition::User { multiple }) => before == multiple,
            (before, this) => std::mem::discriminant(before) == std::mem::discriminant(this),
        }
    }

    /// Whether all that was stored under the definition `before` is shown as it is stored.
    pub(crate) fn shows_all_of(&self, before: &Definition) -> bool {
        let is_plain = |choice: &Choice| choice.id == choice.name;
        let is_there = |old: &Choice| self.options().iter().any(|choice| choice.id == old.id);
        let is_as_wide = match (before, self) {
            (Definition::Text { max_length: before, .. }, Definition::Text { max_length: bound, .. })
            | (Definition::Number { scale: before, .. }, Definition::Number { scale: bound, .. }) => {
                bound.is_none_or(|bound| before.is_some_and(|before| before <= bound))
            }
            _ => true,
        };
        self.is_stored_like(before) && is_as_wide && before.options().iter().all(is_there) && self.options().iter().all(is_plain)
    }

    /// The zone of its instants, if it has one of its own.
    pub(crate) fn time_zone(&self) -> Option<TimeZone> {
        if let Definition::Datetime { zone: Some(zone) } = self { dates::zone(zone).ok() } else { None }
    }

    /// The collection that it leads to, if it is a link, stored or computed.
    pub fn leads_to(&self) -> Option<CollectionId> {
        match self {
            Definition::Link { collection_id, .. }
            | Definition::Backlink { collection_id, .. }
            | Definition::Closure { collection_id, .. }
            | Definition::Match { collection_id, .. } => Some(*collection_id),
            _ => None,
        }
    }

    /// Whether it is a link, stored or computed, that may lead to more than one entity.
    pub fn is_multiple_link(&self) -> bool {
        self.leads_to().is_some() && !matches!(self, Definition::Link { multiple: false, .. })
    }
}

/// What a user asks an attribute to hold.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the variants and fields are those of `Definition`")]
pub enum DefinitionInput {
    Text {
        max_length: Option<i64>,
        format: TextFormat,
    },
    Number {
        scale: Option<i64>,
        format: NumberFormat,
    },
    Checkbox,
    Date,
    Datetime {
        zone: Option<String>,
    },
    DateRange,
    Json,
    Attachments,
    SingleSelect {
        options: Vec<ChoiceInput>,
    },
    MultiSelect {
        options: Vec<ChoiceInput>,
    },
    /// `backlink_id` is the id that the backlink will have.
    Link {
        collection_id: CollectionId,
        multiple: bool,
        backlink_id: AttributeId,
        backlink_key: Key,
        backlink_name: Option<String>,
        hierarchical: bool,
    },
    Closure {
        link: String,
    },
    /// `on` has keys of attributes, each of the own collection with one of the other.
    Match {
        collection_id: CollectionId,
        on: Vec<(String, String)>,
    },
    Autonumber,
    CreatedTime,
    CreatedBy,
    ModifiedTime {
        attributes: Vec<String>,
    },
    ModifiedBy {
        attributes: Vec<String>,
    },
    User {
        multiple: bool,
    },
    Formula {
        expression: String,
    },
    Lookup {
        link: String,
        attribute: String,
        selection: SelectionInput,
    },
    Rollup {
        link: String,
        attribute: Option<String>,
        function: &'static Rollup,
        selection: SelectionInput,
        argument: Value,
        weight: Option<String>,
        formula: Option<String>,
    },
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl DefinitionInput {
    /// Text of any kind.
    pub fn text() -> Self {
        Self::Text { max_length: None, format: TextFormat::Plain }
    }

    /// Any number.
    pub fn number() -> Self {
        Self::Number { scale: None, format: NumberFormat::Plain }
    }

    /// A lookup of everything that is linked.
    pub fn lookup(link: impl Into<String>, attribute: impl Into<String>) -> Self {
        Self::Lookup { link: link.into(), attribute: attribute.into(), selection: SelectionInput::default() }
    }

    /// A rollup of what is linked and passes the filter.
    pub fn rollup(link: impl Into<String>, attribute: Option<String>, function: &'static Rollup, filter: Option<String>) -> Self {
        let selection = SelectionInput { filter, ..SelectionInput::default() };
        Self::Rollup { link: link.into(), attribute, function, selection, argument: Value::Blank, weight: None, formula: None }
    }

    /// Whether one of its formulas may ask what time it is: it has the name of a function in it that does.
    pub fn may_ask_time(&self) -> bool {
        let (one, other) = match self {
            Self::Formula { expression } => (Some(expression), None),
            Self::Lookup { selection, .. } => (None, selection.filter.as_ref()),
            Self::Rollup { selection, formula, .. } => (formula.as_ref(), selection.filter.as_ref()),
            _ => (None, None),
        };
        one.into_iter().chain(other).any(|text| {
            let text = text.to_ascii_uppercase();
            functions::TIMED.iter().any(|name| text.contains(name))
        })
    }
}

/// Which linked entities count, and in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SelectionInput {
    /// A formula over the linked entity.
    pub filter: Option<String>,
    /// Keys of attributes of theirs, and whether the largest comes first.
    pub sort: Vec<(String, bool)>,
    /// How many count, at most.
    pub limit: Option<i64>,
}
