//! How cells of an attribute are read to sort, to group and to summarise by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use decidr_domain::aggregate::attribute::{Attribute, Definition};
use decidr_domain::aggregate::choice::{Choice, place_among};
use decidr_domain::aggregate::user::User;
use decidr_domain::delta::Row;
use decidr_domain::formula::{Cells, Type, coerce};
use decidr_domain::id::{AttributeId, UserId};
use decidr_domain::schema::{Summary, TenantSchema};
use decidr_domain::value::Value;

use super::Refusal;

/// How the cells that are shown of an attribute are read under one schema. Rows must be read in the same way when they come
/// and when they go, or else what was counted in is not what is counted out: who keeps something of rows compares readings.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// With the options, if it is a select.
    attribute: Arc<Attribute>,
    /// Nothing if none are shown yet.
    cell: Option<AttributeId>,
    /// Of a backlink and of what is computed it is how many it leads to.
    is_count: bool,
    /// Whether one cell may hold a text, and another a date.
    may_be_anything: bool,
    /// Whether it is true or false: a box that was never ticked is not ticked.
    is_condition: bool,
    /// All users, if it holds some: they come by their names.
    users: Option<Arc<BTreeMap<UserId, User>>>,
}

/// Whatever else is another about the attribute, as its name.
impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        let what_matters =
            |reading: &Self| (reading.attribute.id, reading.cell, reading.is_count, reading.may_be_anything, reading.is_condition);
        what_matters(self) == what_matters(other) && self.options() == other.options() && self.users == other.users
    }
}

impl Reading {
    /// Nothing if there is no such attribute.
    pub(crate) fn of(schema: &TenantSchema, id: AttributeId) -> Option<Self> {
        let attribute = schema.attribute(id)?;
        let analyzed = schema.shown_analyzed(id);
        let crossing = analyzed.and_then(|analyzed| analyzed.crossing());
        Some(Self {
            attribute: attribute.clone(),
            cell: schema.shown_cell(id),
            is_count: !matches!(attribute.definition, Definition::Link { .. })
                && crossing.is_some_and(|crossing| matches!(crossing.summary, Summary::Count)),
            may_be_anything: analyzed.is_some_and(|analyzed| *analyzed.ty.item() == Type::Any),
            is_condition: analyzed.is_some_and(|analyzed| analyzed.ty == Type::Bool),
            users: schema.shows_users(attribute).then(|| schema.users.clone()),
        })
    }

    /// The same under another schema; an error if the attribute is not there any more.
    pub(crate) fn renewed(&self, schema: &TenantSchema) -> Result<Self, Refusal> {
        let gone = || Refusal::new("NOT_FOUND", "an attribute is gone by which the query sorts, groups or summarises");
        Self::of(schema, self.attribute.id).ok_or_else(gone)
    }

    /// Of which attribute.
    pub(crate) fn attribute(&self) -> AttributeId {
        self.attribute.id
    }

    /// The type of what it reads, `analyzed` that of the cells.
    pub(crate) fn type_of(attribute: &Attribute, analyzed: &Type) -> Type {
        match attribute.definition {
            // What it leads to, and not how many.
            Definition::Link { .. } => Type::List(Box::new(Type::Text)),
            _ => analyzed.clone(),
        }
    }

    fn options(&self) -> &[Choice] {
        self.attribute.definition.options()
    }

    /// Whether its values have another order than what is stored of them.
    pub(crate) fn has_own_order(&self) -> bool {
        !self.options().is_empty() || self.users.is_some()
    }

    /// What a row holds, to summarise it.
    pub(crate) fn value(&self, row: &Row) -> Value {
        match self.cell.map_or(Value::Blank, |cell| row.cell(cell)) {
            Value::Blank if self.is_count => Value::from(0),
            value => value,
        }
    }

    /// The same to group by: what clients are shown alike is one, also where a formula gives a text here and a date there.
    pub(crate) fn group(&self, row: &Row) -> Value {
        match self.value(row) {
            Value::Blank if self.is_condition => Value::Bool(false),
            value if self.may_be_anything => as_shown(value),
            value => value,
        }
    }

    /// The same to sort by: options of a select come in the order in which it has them, users by their names.
    pub(crate) fn place(&self, row: &Row) -> Value {
        self.place_of(self.value(row))
    }

    /// By what such a value is sorted.
    pub(crate) fn place_of(&self, value: Value) -> Value {
        let value = if self.is_condition && value.is_blank() { Value::Bool(false) } else { value };
        match &self.users {
            Some(users) => named(value, users),
            None => place_among(self.options(), &value).into_owned(),
        }
    }
}

/// A value with names in place of the ids of users.
fn named(value: Value, users: &BTreeMap<UserId, User>) -> Value {
    match value {
        Value::Text(id) => {
            let user = id.parse().ok().and_then(|id: UserId| users.get(&id));
            user.map_or(Value::Text(id), |user| Value::text(user.name.as_str()))
        }
        Value::List(items) => Value::List(items.iter().cloned().map(|item| named(item, users)).collect()),
        other => other,
    }
}

/// A value with texts in place of all that is shown as text.
fn as_shown(value: Value) -> Value {
    match value {
        Value::Date(_) | Value::DateTime(_) | Value::Link(_) => Value::text(coerce::text(&value)),
        Value::Links(ids) => Value::List(ids.iter().map(|id| as_shown(Value::Link(*id))).collect()),
        Value::List(items) => Value::List(items.iter().cloned().map(as_shown).collect()),
        other => other,
    }
}
