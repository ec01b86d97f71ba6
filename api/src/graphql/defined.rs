//! The definition of an attribute, as clients read it: what they wrote, with the keys that attributes have today.

use std::collections::HashMap;

use async_graphql::resolver_utils::EnumType as _;
use async_graphql::{ID, SimpleObject};
use decidr_domain::aggregate::attribute::{Attribute, Definition, MatchKey, SortKey};
use decidr_domain::aggregate::format::NumberFormat;
use decidr_domain::formula::Expression;
use decidr_domain::id::{AttributeId, CollectionId};
use decidr_domain::rollup::order::count_of;
use decidr_domain::rollup::{Argument, Rollup};
use decidr_domain::schema::TenantSchema;
use decidr_domain::value::Value;

use super::definition::RollupFunction;
use super::page::Direction;

/// What an attribute was asked to be: the fields of the kind of definition that it has, the others null. `choices` of the
/// attribute has the options of a select.
#[derive(SimpleObject, Default)]
#[graphql(name = "Definition")]
pub(crate) struct Defined {
    max_length: Option<u32>,
    scale: Option<u32>,
    timezone: Option<String>,
    /// The currency.
    code: Option<String>,
    /// The most stars of a rating.
    max: Option<u32>,
    /// Whether a link leads to more than one entity, or there may be more than one user.
    multiple: Option<bool>,
    /// Where a link leads; that may be one that is computed.
    collection_id: Option<ID>,
    /// The key of a link's other side, in the collection that it leads to.
    backlink: Option<String>,
    hierarchical: Option<bool>,
    /// The key of the link that a lookup, rollup or closure goes through.
    link: Option<String>,
    /// The key of what is looked up or summarised there.
    attribute: Option<String>,
    /// Only writing to these counts for a modified time or user.
    attributes: Option<Vec<String>>,
    /// What a match compares.
    on: Option<Vec<Compared>>,
    /// The formula of a formula, or of a rollup by FORMULA.
    expression: Option<String>,
    function: Option<RollupFunction>,
    filter: Option<String>,
    sort: Option<Vec<SortedBy>>,
    limit: Option<u32>,
    share: Option<f64>,
    count: Option<i64>,
    separator: Option<String>,
    weight: Option<String>,
}

/// What a match compares.
#[derive(SimpleObject)]
struct Compared {
    attribute: String,
    equals: String,
}

/// By what linked entities are sorted.
#[derive(SimpleObject)]
struct SortedBy {
    attribute: String,
    direction: Direction,
}

/// The keys of attributes, as they are today.
struct Names<'a> {
    schema: &'a TenantSchema,
    own: CollectionId,
}

impl Names<'_> {
    /// What is gone has no key.
    fn key(&self, id: AttributeId) -> Option<String> {
        self.schema.attribute(id).map(|attribute| attribute.key.to_string())
    }

    fn keys(&self, ids: &[AttributeId]) -> Vec<String> {
        ids.iter().filter_map(|id| self.key(*id)).collect()
    }

    /// A formula over entities of the collection that a link leads to, and of the own one.
    fn expression(&self, expression: &Expression, link: Option<AttributeId>) -> String {
        let target = link.and_then(|link| self.schema.attribute(link)?.definition.leads_to());
        let mut names: HashMap<_, _> = target.map_or_else(HashMap::new, |target| self.schema.keys(target));
        names.extend(self.schema.keys(self.own));
        expression.to_user(&names).to_string()
    }

    fn sort(&self, sort: &[SortKey]) -> Option<Vec<SortedBy>> {
        let by = |key: &SortKey| {
            let direction = if key.descending { Direction::Desc } else { Direction::Asc };
            Some(SortedBy { attribute: self.key(key.attribute_id)?, direction })
        };
        (!sort.is_empty()).then(|| sort.iter().filter_map(by).collect())
    }

    fn on(&self, on: &[MatchKey]) -> Vec<Compared> {
        let compared = |key: &MatchKey| Some(Compared { attribute: self.key(key.own_id)?, equals: self.key(key.other_id)? });
        on.iter().filter_map(compared).collect()
    }
}

fn function(rollup: &Rollup) -> Option<RollupFunction> {
    RollupFunction::items().iter().find(|item| item.name == rollup.name).map(|item| item.value)
}

impl Defined {
    pub(crate) fn of(schema: &TenantSchema, attribute: &Attribute) -> Self {
        let names = Names { schema, own: attribute.collection_id };
        let mut out =
            Self { collection_id: attribute.definition.leads_to().map(|collection| collection.to_string().into()), ..Self::default() };
        match &attribute.definition {
            Definition::Text { max_length, .. } => out.max_length = *max_length,
            Definition::Number { scale, format } => {
                out.scale = *scale;
                match format {
                    NumberFormat::Currency { code } => out.code = Some(code.to_string()),
                    NumberFormat::Rating { max } => out.max = Some(*max),
                    NumberFormat::Plain | NumberFormat::Percent {} | NumberFormat::Duration {} => {}
                }
            }
            Definition::Datetime { zone } => out.timezone = zone.as_ref().map(ToString::to_string),
            Definition::User { multiple } => out.multiple = Some(*multiple),
            Definition::Link { multiple, backlink_id, hierarchical, .. } => {
                (out.multiple, out.hierarchical, out.backlink) = (Some(*multiple), Some(*hierarchical), names.key(*backlink_id));
            }
            Definition::Backlink { link_id, .. } => (out.multiple, out.backlink) = (Some(true), names.key(*link_id)),
            Definition::Closure { link_id, .. } => (out.multiple, out.link) = (Some(true), names.key(*link_id)),
            Definition::Match { on, .. } => (out.multiple, out.on) = (Some(true), Some(names.on(on))),
            Definition::Formula { expression } => out.expression = Some(names.expression(expression, None)),
            Definition::ModifiedTime { attribute_ids } | Definition::ModifiedBy { attribute_ids } => {
                // If all of them are gone none counts, and not any.
                out.attributes = (!attribute_ids.is_empty()).then(|| names.keys(attribute_ids));
            }
            Definition::Lookup { link_id, attribute_id, filter, sort, limit } => {
                (out.link, out.attribute) = (names.key(*link_id), names.key(*attribute_id));
                out.filter = filter.as_ref().map(|filter| names.expression(filter, Some(*link_id)));
                (out.sort, out.limit) = (names.sort(sort), *limit);
            }
            Definition::Rollup { link_id, attribute_id, function: rollup, filter, sort, limit, argument, weight_id, formula } => {
                (out.link, out.attribute) = (names.key(*link_id), attribute_id.and_then(|id| names.key(id)));
                out.function = function(rollup);
                out.filter = filter.as_ref().map(|filter| names.expression(filter, Some(*link_id)));
                (out.sort, out.limit) = (names.sort(sort), *limit);
                out.weight = weight_id.and_then(|id| names.key(id));
                out.expression = formula.as_ref().map(|formula| names.expression(formula, None));
                match (rollup.argument, argument) {
                    (Argument::Count, count) => out.count = Some(count_of(count) as i64),
                    (Argument::Share, Value::Number(share)) => out.share = share.to_string().parse().ok(),
                    (_, Value::Text(separator)) => out.separator = Some(separator.to_string()),
                    _ => {}
                }
            }
            Definition::Checkbox {}
            | Definition::Date {}
            | Definition::DateRange {}
            | Definition::Json {}
            | Definition::Attachments {}
            | Definition::SingleSelect { .. }
            | Definition::MultiSelect { .. }
            | Definition::Autonumber {}
            | Definition::CreatedTime {}
            | Definition::CreatedBy {} => {}
        }
        out
    }
}
