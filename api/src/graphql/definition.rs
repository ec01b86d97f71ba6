//! The definition of an attribute, as clients write it.

use async_graphql::resolver_utils::EnumType;
use async_graphql::{Enum, ID, InputObject, OneofObject};
use decidr_domain::aggregate::attribute::{DefinitionInput, SelectionInput};
use decidr_domain::aggregate::choice::ChoiceInput;
use decidr_domain::aggregate::format::{NumberFormat, TextFormat};
use decidr_domain::formula::power::approximate;
use decidr_domain::id::{AttributeId, Key};
use decidr_domain::rollup::Rollup;
use decidr_domain::value::Value;

use super::Refusal;
use super::page::{Direction, OrderBy};
use super::query::parse;

#[derive(OneofObject)]
pub(crate) enum AttributeDefinition {
    Text(TextOptions),
    Number(NumberOptions),
    Checkbox(NoOptions),
    Date(NoOptions),
    Datetime(NoOptions),
    /// A datetime of which formulas see the day and the hour of a zone.
    ZonedDatetime(ZonedDatetimeOptions),
    SingleSelect(SelectOptions),
    MultiSelect(SelectOptions),
    DateRange(NoOptions),
    LongText(TextOptions),
    Email(NoOptions),
    Url(NoOptions),
    Phone(NoOptions),
    Percent(NumberOptions),
    Currency(CurrencyOptions),
    Rating(RatingOptions),
    Duration(NoOptions),
    Json(NoOptions),
    Attachments(NoOptions),
    Autonumber(NoOptions),
    CreatedTime(NoOptions),
    CreatedBy(NoOptions),
    ModifiedTime(ModifiedOptions),
    ModifiedBy(ModifiedOptions),
    User(UserOptions),
    Link(LinkOptions),
    /// Everything that a link of the collection to itself leads to, directly or through others: a link that is computed.
    Closure(ClosureOptions),
    /// The entities of a collection whose attributes equal those of the entity: a link that is computed.
    Match(MatchOptions),
    Formula(FormulaOptions),
    Lookup(LookupOptions),
    Rollup(RollupOptions),
}

/// An object with no required field: write `{}`.
#[derive(InputObject)]
pub(crate) struct NoOptions {
    #[allow(dead_code, reason = "GraphQL has no empty input objects")]
    reserved: Option<bool>,
}

#[derive(InputObject)]
pub(crate) struct TextOptions {
    max_length: Option<i32>,
}

/// Number of decimal places kept and shown; unset keeps all.
#[derive(InputObject)]
pub(crate) struct NumberOptions {
    scale: Option<i32>,
}

/// `timezone` is a name as "Europe/Berlin". What is written without an offset is of that zone; it is shown in UTC, as every
/// datetime.
#[derive(InputObject)]
pub(crate) struct ZonedDatetimeOptions {
    timezone: String,
}

/// `code` has three capitals, as EUR.
#[derive(InputObject)]
pub(crate) struct CurrencyOptions {
    code: String,
    #[graphql(default = 2)]
    scale: i32,
}

/// From 0 to `max` stars.
#[derive(InputObject)]
pub(crate) struct RatingOptions {
    #[graphql(default = 5)]
    max: u32,
}

/// `attributes` are keys: only what is written to them counts. Everything does if they are left out.
#[derive(InputObject)]
pub(crate) struct ModifiedOptions {
    attributes: Option<Vec<String>>,
}

/// Values are ids of users of the tenant, or lists of them.
#[derive(InputObject)]
pub(crate) struct UserOptions {
    #[graphql(default)]
    multiple: bool,
}

/// Options by name, or as `choices` by name, id and colour: one of the two. An option keeps its id for good; entities hold the
/// id, so that an option that is given with its id and another name is renamed everywhere. Their order is that in which values
/// are sorted.
#[derive(InputObject)]
pub(crate) struct SelectOptions {
    #[graphql(default)]
    options: Vec<String>,
    choices: Option<Vec<SelectChoice>>,
}

/// Without an id it is the option of that name, or a new one. `color` is a word or as "#1a2b3c"; left out, it stays as it is.
#[derive(InputObject)]
pub(crate) struct SelectChoice {
    id: Option<ID>,
    name: String,
    color: Option<String>,
}

impl SelectOptions {
    fn into_input(self) -> Result<Vec<ChoiceInput>, Refusal> {
        match self.choices {
            None => Ok(self.options.iter().map(|name| name.as_str().into()).collect()),
            Some(choices) if self.options.is_empty() => {
                let choice = |SelectChoice { id, name, color }| ChoiceInput { id: id.map(|id| id.0), name, color };
                Ok(choices.into_iter().map(choice).collect())
            }
            Some(_) => Err(Refusal::new("INVALID_INPUT", "a select has `options` or `choices`, and not both")),
        }
    }
}

/// The backlink attribute is created in the target collection, always multiple.
#[derive(InputObject)]
pub(crate) struct LinkOptions {
    collection_id: ID,
    #[graphql(default = true)]
    multiple: bool,
    backlink_key: String,
    backlink_name: Option<String>,
    /// Whether attributes may depend on themselves through it, as the total of a tree does. Only for a link to its own
    /// collection.
    #[graphql(default)]
    hierarchical: bool,
}

/// `link` is the key of a link or backlink of this collection that leads to itself.
#[derive(InputObject)]
pub(crate) struct ClosureOptions {
    link: String,
}

/// The entities of a collection for which all of these hold.
#[derive(InputObject)]
pub(crate) struct MatchOptions {
    collection_id: ID,
    on: Vec<MatchKey>,
}

/// `attribute` is a key of this collection, `equals` one of the collection that the match leads to. Blanks equal nothing.
#[derive(InputObject)]
pub(crate) struct MatchKey {
    attribute: String,
    equals: String,
}

#[derive(InputObject)]
pub(crate) struct FormulaOptions {
    expression: String,
}

/// `link` is the key of a link or backlink of this collection, `attribute` a key in the collection it leads to.
#[derive(InputObject)]
pub(crate) struct LookupOptions {
    link: String,
    attribute: String,
    /// A formula over the linked entity; HOST({key}) is the attribute of the entity that has the lookup.
    filter: Option<String>,
    /// By what linked entities are sorted; in the link's order if it is left out.
    sort: Option<Vec<OrderBy>>,
    /// How many are shown, at most.
    limit: Option<i32>,
}

/// `filter` is a formula over the linked entity. COUNTALL counts linked entities and needs no attribute; COUNT counts
/// values that are not blank. No values: SUM 0, COUNT 0, the others blank, but for AND, which is true, OR and XOR, which are
/// false, and what else counts, which is 0. PERCENT_… are shares from 0 to 1; FILLED and EMPTY are about what each entity has,
/// a list included, the others about single values. RANGE of dates is in days, ATTACHMENTS_SIZE in bytes.
#[derive(InputObject)]
pub(crate) struct RollupOptions {
    link: String,
    attribute: Option<String>,
    function: RollupFunction,
    /// In it HOST({key}) is the attribute of the entity that has the rollup.
    filter: Option<String>,
    /// By what linked entities are sorted; in the link's order if it is left out. Matters for FIRST, LAST, JOIN, UNIQUE,
    /// COMPACT, FORMULA, and with a limit.
    sort: Option<Vec<OrderBy>>,
    /// How many count, at most.
    limit: Option<i32>,
    /// For PERCENTILE, from 0 to 1.
    share: Option<f64>,
    /// For TOP.
    count: Option<i32>,
    /// For JOIN; a comma and a space if it is left out.
    separator: Option<String>,
    /// For WEIGHTED_AVERAGE: the key of the attribute to weigh by.
    weight: Option<String>,
    /// For FORMULA: a formula in which the values go by the name `values`.
    expression: Option<String>,
}

#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(rename_items = "UPPERCASE")]
pub(crate) enum RollupFunction {
    CountAll,
    Count,
    CountA,
    #[graphql(name = "COUNT_UNIQUE")]
    CountUnique,
    #[graphql(name = "COUNT_EMPTY")]
    CountEmpty,
    #[graphql(name = "COUNT_CHECKED")]
    CountChecked,
    #[graphql(name = "COUNT_UNCHECKED")]
    CountUnchecked,
    #[graphql(name = "PERCENT_FILLED")]
    PercentFilled,
    #[graphql(name = "PERCENT_EMPTY")]
    PercentEmpty,
    #[graphql(name = "PERCENT_CHECKED")]
    PercentChecked,
    #[graphql(name = "PERCENT_UNCHECKED")]
    PercentUnchecked,
    #[graphql(name = "PERCENT_UNIQUE")]
    PercentUnique,
    And,
    Or,
    Xor,
    Sum,
    Average,
    #[graphql(name = "WEIGHTED_AVERAGE")]
    WeightedAverage,
    Min,
    Max,
    Earliest,
    Latest,
    Top,
    First,
    Last,
    Join,
    Unique,
    Compact,
    Formula,
    Median,
    Percentile,
    Var,
    VarP,
    StDev,
    StDevP,
    Range,
    #[graphql(name = "RANGE_MONTHS")]
    RangeMonths,
    #[graphql(name = "ATTACHMENTS_SIZE")]
    AttachmentsSize,
}

impl RollupFunction {
    pub(crate) fn rollup(self) -> Result<&'static Rollup, Refusal> {
        let item = Self::items().iter().find(|item| item.value == self);
        let rollup = item.and_then(|item| Rollup::find(item.name));
        rollup.ok_or_else(|| Refusal::internal("a rollup of the API is not in the list of rollups"))
    }
}

fn text(format: TextFormat, max_length: Option<i32>) -> DefinitionInput {
    DefinitionInput::Text { max_length: max_length.map(i64::from), format }
}

fn number(format: NumberFormat, scale: Option<i32>) -> DefinitionInput {
    DefinitionInput::Number { scale: scale.map(i64::from), format }
}

fn selection(filter: Option<String>, sort: Option<Vec<OrderBy>>, limit: Option<i32>) -> SelectionInput {
    let sort = sort.unwrap_or_default().into_iter().map(|key| (key.attribute, key.direction == Direction::Desc)).collect();
    SelectionInput { filter, sort, limit: limit.map(i64::from) }
}

impl AttributeDefinition {
    pub(crate) fn into_input(self) -> Result<DefinitionInput, Refusal> {
        Ok(match self {
            Self::Text(options) => text(TextFormat::Plain, options.max_length),
            Self::LongText(options) => text(TextFormat::Long, options.max_length),
            Self::Email(_) => text(TextFormat::Email, None),
            Self::Url(_) => text(TextFormat::Url, None),
            Self::Phone(_) => text(TextFormat::Phone, None),
            Self::Number(options) => number(NumberFormat::Plain, options.scale),
            Self::Percent(options) => number(NumberFormat::Percent {}, options.scale),
            Self::Currency(options) => number(NumberFormat::Currency { code: options.code.into() }, Some(options.scale)),
            Self::Rating(options) => number(NumberFormat::Rating { max: options.max }, Some(0)),
            Self::Duration(_) => number(NumberFormat::Duration {}, Some(3)),
            Self::DateRange(_) => DefinitionInput::DateRange,
            Self::Json(_) => DefinitionInput::Json,
            Self::Attachments(_) => DefinitionInput::Attachments,
            Self::Checkbox(_) => DefinitionInput::Checkbox,
            Self::Date(_) => DefinitionInput::Date,
            Self::Datetime(_) => DefinitionInput::Datetime { zone: None },
            Self::ZonedDatetime(options) => DefinitionInput::Datetime { zone: Some(options.timezone) },
            Self::SingleSelect(options) => DefinitionInput::SingleSelect { options: options.into_input()? },
            Self::MultiSelect(options) => DefinitionInput::MultiSelect { options: options.into_input()? },
            Self::Autonumber(_) => DefinitionInput::Autonumber,
            Self::CreatedTime(_) => DefinitionInput::CreatedTime,
            Self::CreatedBy(_) => DefinitionInput::CreatedBy,
            Self::ModifiedTime(options) => DefinitionInput::ModifiedTime { attributes: options.attributes.unwrap_or_default() },
            Self::ModifiedBy(options) => DefinitionInput::ModifiedBy { attributes: options.attributes.unwrap_or_default() },
            Self::User(options) => DefinitionInput::User { multiple: options.multiple },
            Self::Link(options) => DefinitionInput::Link {
                collection_id: parse("collection", &options.collection_id)?,
                multiple: options.multiple,
                backlink_id: AttributeId(uuid::Uuid::now_v7()),
                backlink_key: key(&options.backlink_key)?,
                backlink_name: options.backlink_name,
                hierarchical: options.hierarchical,
            },
            Self::Closure(options) => DefinitionInput::Closure { link: options.link },
            Self::Match(options) => DefinitionInput::Match {
                collection_id: parse("collection", &options.collection_id)?,
                on: options.on.into_iter().map(|key| (key.attribute, key.equals)).collect(),
            },
            Self::Formula(options) => DefinitionInput::Formula { expression: options.expression },
            Self::Lookup(options) => DefinitionInput::Lookup {
                link: options.link,
                attribute: options.attribute,
                selection: selection(options.filter, options.sort, options.limit),
            },
            Self::Rollup(options) => {
                let argument = argument(options.share, options.count, options.separator)?;
                DefinitionInput::Rollup {
                    link: options.link,
                    attribute: options.attribute,
                    function: options.function.rollup()?,
                    selection: selection(options.filter, options.sort, options.limit),
                    argument,
                    weight: options.weight,
                    formula: options.expression,
                }
            }
        })
    }
}

/// What a rollup must be told beside the values.
pub(crate) fn argument(share: Option<f64>, count: Option<i32>, separator: Option<String>) -> Result<Value, Refusal> {
    Ok(match (share, count, separator) {
        (None, None, None) => Value::Blank,
        (Some(share), None, None) => approximate(share).map_or(Value::Blank, Value::number),
        (None, Some(count), None) => Value::from(i64::from(count)),
        (None, None, Some(separator)) => Value::text(separator),
        _ => return Err(Refusal::new("INVALID_INPUT", "a rollup takes one of share, count and separator at most")),
    })
}

/// A key that a client gave.
pub(crate) fn key(text: &str) -> Result<Key, Refusal> {
    Key::new(text).map_err(|error| Refusal::new("INVALID_INPUT", error.to_string()))
}

#[cfg(test)]
mod tests {
    use decidr_domain::rollup::ROLLUPS;

    use super::*;

    #[test]
    fn every_rollup_can_be_asked_for() {
        let names: Vec<_> = RollupFunction::items().iter().map(|item| item.name).collect();
        assert_eq!(names, ROLLUPS.iter().map(|rollup| rollup.name).collect::<Vec<_>>());
    }
}
