//! The definition of an attribute, as clients write it.

use async_graphql::{Enum, ID, InputObject, OneofObject};
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::id::{AttributeId, Key};
use decidr_domain::rollup::Rollup;

use super::Refusal;
use super::query::parse;

#[derive(OneofObject)]
pub(crate) enum AttributeDefinition {
    Text(TextOptions),
    Number(NumberOptions),
    Checkbox(NoOptions),
    Date(NoOptions),
    Datetime(NoOptions),
    SingleSelect(SelectOptions),
    MultiSelect(SelectOptions),
    Link(LinkOptions),
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

#[derive(InputObject)]
pub(crate) struct SelectOptions {
    options: Vec<String>,
}

/// The backlink attribute is created in the target collection, always multiple.
#[derive(InputObject)]
pub(crate) struct LinkOptions {
    collection_id: ID,
    #[graphql(default = true)]
    multiple: bool,
    backlink_key: String,
    backlink_name: Option<String>,
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
}

/// `filter` is a formula over the linked entity. COUNTALL counts linked entities and needs no attribute; COUNT counts
/// values that are not blank. No values: SUM 0, COUNT 0, the others blank.
#[derive(InputObject)]
pub(crate) struct RollupOptions {
    link: String,
    attribute: Option<String>,
    function: RollupFunction,
    filter: Option<String>,
}

#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(rename_items = "UPPERCASE")]
pub(crate) enum RollupFunction {
    CountAll,
    Count,
    Sum,
    Average,
    Min,
    Max,
}

impl RollupFunction {
    fn rollup(self) -> Result<&'static Rollup, Refusal> {
        let name = format!("{self:?}").to_uppercase();
        Rollup::find(&name).ok_or_else(|| Refusal::internal("a rollup of the API is not in the list of rollups"))
    }
}

impl AttributeDefinition {
    pub(crate) fn into_input(self) -> Result<DefinitionInput, Refusal> {
        Ok(match self {
            Self::Text(options) => DefinitionInput::Text { max_length: options.max_length.map(i64::from) },
            Self::Number(options) => DefinitionInput::Number { scale: options.scale.map(i64::from) },
            Self::Checkbox(_) => DefinitionInput::Checkbox,
            Self::Date(_) => DefinitionInput::Date,
            Self::Datetime(_) => DefinitionInput::Datetime,
            Self::SingleSelect(options) => DefinitionInput::SingleSelect { options: options.options },
            Self::MultiSelect(options) => DefinitionInput::MultiSelect { options: options.options },
            Self::Link(options) => DefinitionInput::Link {
                collection_id: parse("collection", &options.collection_id)?,
                multiple: options.multiple,
                backlink_id: AttributeId(uuid::Uuid::now_v7()),
                backlink_key: key(&options.backlink_key)?,
                backlink_name: options.backlink_name,
            },
            Self::Formula(options) => DefinitionInput::Formula { expression: options.expression },
            Self::Lookup(options) => DefinitionInput::Lookup { link: options.link, attribute: options.attribute },
            Self::Rollup(options) => {
                let function = options.function.rollup()?;
                DefinitionInput::Rollup { link: options.link, attribute: options.attribute, function, filter: options.filter }
            }
        })
    }
}

/// A key that a client gave.
pub(crate) fn key(text: &str) -> Result<Key, Refusal> {
    Key::new(text).map_err(|error| Refusal::new("INVALID_INPUT", error.to_string()))
}
