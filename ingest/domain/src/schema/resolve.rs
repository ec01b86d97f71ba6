//! From the definition that a user asks for, which names attributes by key, to the one that is recorded, which names them
//! by id; with everything that can be wrong on the way.

use super::analysis::{Analyzed, Compute};
use super::definition_analysis::{CollectionScope, analyze_definition, stored_otherwise};
use super::dependencies::{all_dependents, forbidden_cycle};
use super::{CollectionSchema, TenantSchema};
use crate::aggregate::attribute::{self, Attribute, AttributeEvent, Definition, DefinitionInput, MatchKey, SelectionInput, SortKey};
use crate::aggregate::choice::{self, Choice, ChoiceInput};
use crate::aggregate::format::{NumberFormat, RATING_MAX};
use crate::formula::outcome::article;
use crate::formula::{Attributes, Expression, FormulaError, FormulaErrorKind, Program, Resolved, Scope, Span, Type, dates, functions};
use crate::id::{AttributeId, CollectionId};
use crate::rejection::Rejection;
use crate::rollup::Rollup;
use crate::value::Value;

/// The definition of the new attribute `id` of `collection`.
pub fn definition(
    schema: &TenantSchema,
    collection: &CollectionSchema,
    id: AttributeId,
    input: &DefinitionInput,
) -> Result<Definition, Rejection> {
    let resolved = match input {
        DefinitionInput::Text { max_length, format } => {
            Definition::Text { max_length: bounded(*max_length, "maxLength", 1, 100_000)?, format: *format }
        }
        DefinitionInput::Number { scale, format } => {
            match format {
                NumberFormat::Currency { code } if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) => {
                    return Err(Rejection::InvalidInput("a currency has a code of three capitals, as EUR".into()));
                }
                NumberFormat::Rating { max } => drop(bounded(Some(i64::from(*max)), "max", 1, RATING_MAX)?),
                _ => {}
            }
            Definition::Number { scale: bounded(*scale, "scale", 0, 28)?, format: format.clone() }
        }
        DefinitionInput::Checkbox => Definition::Checkbox {},
        DefinitionInput::Date => Definition::Date {},
        DefinitionInput::Datetime { zone: None } => Definition::Datetime { zone: None },
        DefinitionInput::Datetime { zone: Some(zone) } => {
            if zone.is_empty() {
                return Err(Rejection::InvalidInput("a time zone has a name, as Europe/Berlin".into()));
            }
            dates::zone(zone).map_err(|error| Rejection::InvalidInput(error.message.to_string()))?;
            Definition::Datetime { zone: Some(zone.as_str().into()) }
        }
        DefinitionInput::DateRange => Definition::DateRange {},
        DefinitionInput::Json => Definition::Json {},
        DefinitionInput::Attachments => Definition::Attachments {},
        DefinitionInput::SingleSelect { options } => Definition::SingleSelect { options: choices(schema, id, options)? },
        DefinitionInput::MultiSelect { options } => Definition::MultiSelect { options: choices(schema, id, options)? },
        DefinitionInput::Link { collection_id, multiple, backlink_id, hierarchical, .. } => {
            schema.collection(*collection_id).ok_or_else(|| Rejection::not_found("collection", collection_id))?;
            if *hierarchical && *collection_id != collection.id() {
                return Err(Rejection::InvalidInput("only a link to its own collection can be hierarchical".into()));
            }
            let (multiple, hierarchical) = (*multiple, *hierarchical);
            Definition::Link { collection_id: *collection_id, multiple, backlink_id: *backlink_id, hierarchical }
        }
        DefinitionInput::Closure { link } => {
            let (link_id, target) = link_of(schema, collection, link)?;
            let is_closure = schema.attribute(link_id).is_some_and(|link| matches!(link.definition, Definition::Closure { .. }));
            if target.id() != collection.id() || is_closure {
                return Err(Rejection::InvalidInput("a closure is of a link or backlink that leads to its own collection".into()));
            }
            Definition::Closure { collection_id: collection.id(), link_id }
        }
        DefinitionInput::Match { collection_id, on } => {
            let target = schema.collection(*collection_id).ok_or_else(|| Rejection::not_found("collection", collection_id))?;
            if on.is_empty() || on.len() > MATCH_KEYS_MAX {
                return Err(Rejection::InvalidInput(format!("a match is on 1 to {MATCH_KEYS_MAX} attributes")));
            }
            let key = |(own, other): &(String, String)| {
                let (own, other) = (target_attribute(collection, own)?, target_attribute(target, other)?);
                if own.definition.leads_to() != other.definition.leads_to() {
                    let message =
                        format!("`{}` and `{}` do not hold the same: a link equals a link to the same collection", own.key, other.key);
                    return Err(Rejection::InvalidInput(message));
                }
                Ok(MatchKey { own_id: own.id, other_id: other.id })
            };
            Definition::Match { collection_id: *collection_id, on: on.iter().map(key).collect::<Result<_, Rejection>>()? }
        }
        DefinitionInput::Autonumber => Definition::Autonumber {},
        DefinitionInput::CreatedTime => Definition::CreatedTime {},
        DefinitionInput::CreatedBy => Definition::CreatedBy {},
        DefinitionInput::ModifiedTime { attributes } => Definition::ModifiedTime { attribute_ids: written(collection, attributes)? },
        DefinitionInput::ModifiedBy { attributes } => Definition::ModifiedBy { attribute_ids: written(collection, attributes)? },
        DefinitionInput::User { multiple } => Definition::User { multiple: *multiple },
        DefinitionInput::Formula { expression } => {
            let attributes = CollectionScope { schema, collection_id: collection.id() };
            Definition::Formula { expression: checked(expression, Scope::of(&attributes), "the formula")?.0 }
        }
        DefinitionInput::Lookup { link, attribute, selection } => {
            let (link_id, target) = link_of(schema, collection, link)?;
            let attribute_id = target_attribute(target, attribute)?.id;
            let (filter, sort, limit) = self::selection(schema, collection, target, selection)?;
            Definition::Lookup { link_id, attribute_id, filter, sort, limit }
        }
        DefinitionInput::Rollup { link, attribute, function, selection, argument, weight, formula } => {
            let (link_id, target) = link_of(schema, collection, link)?;
            let attribute_id = match (attribute, function.of_attribute) {
                (Some(key), true) => Some(target_attribute(target, key)?.id),
                (None, true) => return Err(Rejection::InvalidInput(format!("{function:?} needs an attribute to summarise"))),
                (Some(key), false) => {
                    target_attribute(target, key)?;
                    None
                }
                (None, false) => None,
            };
            function.argument.check(argument).map_err(|wants| Rejection::InvalidInput(format!("{function:?} {wants}")))?;
            summary_parts(function, weight.is_some(), formula.is_some())?;
            let weight_id = weight.as_ref().map(|key| target_attribute(target, key)).transpose()?.map(|weight| weight.id);
            if let Some(weights) = weight_id.and_then(|id| schema.analyzed(id)) {
                let by = |wanted| mistaken_rollup(format!("{function:?} weighs by {wanted}, and this is {}", weights.ty));
                (function.result)(&weights.ty).map_err(by)?;
            }
            attribute_id.map_or(Ok(()), |id| summarises(schema, function, id))?;
            let values = attribute_id.and_then(|id| schema.analyzed(id)).map_or(Type::Any, |analyzed| analyzed.ty.item().clone());
            let formula = formula.as_ref().map(|text| over_values(schema, collection.id(), text, values)).transpose()?;
            let (filter, sort, limit) = self::selection(schema, collection, target, selection)?;
            let argument = argument.clone();
            Definition::Rollup { link_id, attribute_id, function, filter, sort, limit, argument, weight_id, formula }
        }
    };
    check(schema, collection.id(), id, &resolved)?;
    Ok(resolved)
}

/// Attributes that can be written to, by their keys.
fn written(collection: &CollectionSchema, keys: &[String]) -> Result<Vec<AttributeId>, Rejection> {
    let mut ids = Vec::new();
    for key in keys {
        let attribute = collection.attribute_or_refuse(key)?;
        if attribute.definition.is_computed() || matches!(attribute.definition, Definition::Backlink { .. }) {
            let message = format!("attribute `{key}` is a {}, which is never written to", attribute.definition.kind());
            return Err(Rejection::InvalidInput(message));
        }
        ids.push(attribute.id);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The options of a select, in place of those that it has.
fn choices(schema: &TenantSchema, id: AttributeId, inputs: &[ChoiceInput]) -> Result<Vec<Choice>, Rejection> {
    match schema.attribute(id) {
        Some(attribute) => choice::checked(inputs, attribute.definition.options(), &attribute.retired),
        None => choice::checked(inputs, &[], &[]),
    }
}

/// Refuses a summary that nothing in this attribute's cells can be for, though their type could.
pub fn summarises(schema: &TenantSchema, function: &Rollup, attribute: AttributeId) -> Result<(), Rejection> {
    let shown = schema.attribute(attribute).and_then(|attribute| schema.looked_up(attribute).last());
    let is_of_files = shown.is_none_or(|shown| shown.definition.is_computed() || matches!(shown.definition, Definition::Attachments {}));
    if function.name == "ATTACHMENTS_SIZE" && !is_of_files {
        return Err(mistaken_rollup(format!("{function:?} wants attachments")));
    }
    Ok(())
}

/// How often an attribute may change the type of what is stored.
const FORMER_MAX: usize = 16;

/// The new definition of an attribute that is there. What is stored may change its type, as may what is computed; but
/// neither becomes the other.
pub fn changed_definition(
    schema: &TenantSchema,
    collection: &CollectionSchema,
    attribute: &Attribute,
    input: &DefinitionInput,
) -> Result<Definition, Rejection> {
    let resolved = match (&attribute.definition, input) {
        (Definition::Link { .. } | Definition::Backlink { .. } | Definition::Closure { .. } | Definition::Match { .. }, _)
        | (_, DefinitionInput::Link { .. } | DefinitionInput::Closure { .. } | DefinitionInput::Match { .. }) => {
            let message = format!("attribute `{}`: a link's definition cannot be changed; delete it and make another", attribute.key);
            return Err(Rejection::InvalidInput(message));
        }
        _ => definition(schema, collection, attribute.id, input)?,
    };
    let (before, is_user) = (&attribute.definition, |definition: &Definition| matches!(definition, Definition::User { .. }));
    // Whether a text is the id of a user is not for its cell to say.
    let becomes_user = is_user(&resolved) && !is_user(before);
    if before.is_computed() != resolved.is_computed() || becomes_user {
        let message = format!("attribute `{}` is {} and cannot become {}", attribute.key, article(before.kind()), article(resolved.kind()));
        return Err(Rejection::InvalidInput(message));
    }
    if attribute.former.len() >= FORMER_MAX && !resolved.is_stored_like(before) {
        let message = format!("attribute `{}` changed its type {FORMER_MAX} times; make another and delete this one", attribute.key);
        return Err(Rejection::TooLarge(message));
    }
    Ok(resolved)
}

/// What would follow from another definition: of a computed attribute, or of a stored one what would be shown of values that
/// are stored.
pub fn preview(
    schema: &TenantSchema,
    collection: &CollectionSchema,
    attribute: &Attribute,
    input: &DefinitionInput,
) -> Result<Analyzed, Rejection> {
    let definition = changed_definition(schema, collection, attribute, input)?;
    let analyzed = analyze_definition(schema, collection.id(), attribute.id, &definition).map_err(|error| match error {
        Value::Error(error) => Rejection::InvalidInput(error.message.to_string()),
        _ => Rejection::InvalidInput("the definition does not work".into()),
    })?;
    let dependents = all_dependents(schema.analysis.dependents(), [attribute.id]);
    if analyzed.all_reads().any(|read| read == attribute.id || dependents.contains(&read)) {
        let message = "an attribute that depends on itself along a hierarchy has no preview: make another attribute to see what comes out";
        return Err(Rejection::InvalidInput(message.into()));
    }
    let (id, collection_id) = (attribute.id, attribute.collection_id);
    let changed = AttributeEvent::AttributeDefinitionChanged { id, collection_id, definition, staged: false };
    Ok(match attribute::evolve(Some(attribute.clone()), &changed) {
        Some(attribute) => stored_otherwise(&attribute, analyzed),
        None => analyzed,
    })
}

/// Refuses a definition that depends on itself or on values it cannot work with.
fn check(schema: &TenantSchema, collection: CollectionId, id: AttributeId, definition: &Definition) -> Result<(), Rejection> {
    let refuse = |value: &Value| match value {
        Value::Error(error) => Rejection::InvalidInput(error.message.to_string()),
        _ => Rejection::InvalidInput("the definition does not work".into()),
    };
    let analyzed = match analyze_definition(schema, collection, id, definition) {
        Ok(analyzed) => analyzed,
        Err(error) => {
            // A rollup of values that it cannot summarise is a mistake of types, though no formula was written.
            if let (Definition::Rollup { .. }, Value::Error(error)) = (definition, &error) {
                return Err(mistaken_rollup(error.message.to_string()));
            }
            return Err(refuse(&error));
        }
    };
    if let Compute::Broken(error) = &analyzed.compute {
        return Err(refuse(error));
    }
    match forbidden_cycle(schema, collection, id, definition) {
        Some(cycle) => Err(Rejection::FormulaCycle { path: cycle.path.into_iter().map(|id| schema.path(id)).collect() }),
        None => Ok(()),
    }
}

/// A mistake of types, though no formula was written.
fn mistaken_rollup(message: String) -> Rejection {
    let error = FormulaError { kind: FormulaErrorKind::Type, message, span: Span { start: 0, end: 0 } };
    Rejection::Formula { what: "the rollup".into(), error }
}

/// A formula over the values of linked entities, and over the attributes of the entity that they are linked to.
fn over_values(schema: &TenantSchema, collection: CollectionId, text: &str, item: Type) -> Result<Expression, Rejection> {
    let attributes = CollectionScope { schema, collection_id: collection };
    Ok(checked_over_values(text, &attributes, item)?.0)
}

/// Refuses a weight or a formula where a summary takes none, and their lack where it needs one.
pub fn summary_parts(function: &Rollup, has_weight: bool, has_formula: bool) -> Result<(), Rejection> {
    let is_formula = function.name == "FORMULA";
    Err(Rejection::InvalidInput(match () {
        () if function.is_weighted() && !has_weight => format!("{function:?} needs an attribute to weigh by"),
        () if has_weight && !function.is_weighted() => format!("{function:?} weighs nothing"),
        () if is_formula && !has_formula => "FORMULA needs a formula over `values`".into(),
        () if has_formula && !is_formula => format!("{function:?} takes no formula; FORMULA does"),
        () => return Ok(()),
    }))
}

/// The program of a formula over nothing but values of this type, which go by the name `values` in it.
pub fn summary_formula(text: &str, item: Type) -> Result<Program, Rejection> {
    /// No attribute is in sight.
    struct Nothing;
    impl Attributes for Nothing {
        fn resolve(&self, _: &str) -> Resolved {
            Resolved::Unusable("a summary of a group looks at nothing but `values`".into())
        }

        fn names(&self) -> Vec<String> {
            Vec::new()
        }
    }
    Ok(checked_over_values(text, &Nothing, item)?.1)
}

fn checked_over_values(text: &str, attributes: &dyn Attributes, item: Type) -> Result<(Expression, Program), Rejection> {
    let variables = [("values", Type::List(Box::new(item)))];
    let (expression, program) = checked(text, Scope { attributes, host: None, variables: &variables }, "the formula")?;
    if program.is_timed {
        let message = "a formula over `values` cannot ask what time it is: make an attribute that does, and refer to that";
        return Err(Rejection::InvalidInput(message.into()));
    }
    Ok((expression, program))
}

/// The most attributes to sort linked entities by, and the most of them that may be asked for.
const SORT_MAX: usize = 4;
const LIMIT_MAX: i64 = 10_000;

/// The most attributes that a match compares.
const MATCH_KEYS_MAX: usize = 4;

/// What is recorded of which linked entities count: the filter, the order and the limit.
type Selection = (Option<Expression>, Vec<SortKey>, Option<u32>);

/// The filter, the order and the limit of a lookup or rollup of `collection` over `target`.
fn selection(
    schema: &TenantSchema,
    collection: &CollectionSchema,
    target: &CollectionSchema,
    input: &SelectionInput,
) -> Result<Selection, Rejection> {
    let host = CollectionScope { schema, collection_id: collection.id() };
    let attributes = CollectionScope { schema, collection_id: target.id() };
    let scope = Scope { attributes: &attributes, host: Some(&host), variables: &[] };
    let filter = input.filter.as_ref().map(|text| checked(text, scope, "the filter")).transpose()?;
    if filter.as_ref().is_some_and(|(_, program)| !program.host_references.is_empty() && program.expr.calls(&functions::is_of_entity)) {
        // The host has the cells of its sources at hand, and not the sources.
        let message = "a filter with HOST cannot ask when or on whose word the linked entity was made or written to, or as which: \
                       make that an attribute of it, and refer to this";
        return Err(Rejection::InvalidInput(message.into()));
    }
    if filter.as_ref().is_some_and(|(_, program)| !program.host_references.is_empty() && program.is_timed) {
        // When it would come out otherwise is known for an entity, and not for each pair of two.
        let message = "a filter with HOST cannot ask what time it is: make an attribute that does, and refer to that";
        return Err(Rejection::InvalidInput(message.into()));
    }
    let filter = filter.map(|(expression, _)| expression);
    if input.sort.len() > SORT_MAX {
        return Err(Rejection::TooLarge(format!("linked entities are sorted by {SORT_MAX} attributes at most")));
    }
    let key = |(key, descending): &(String, bool)| Ok(SortKey { attribute_id: target_attribute(target, key)?.id, descending: *descending });
    let sort = input.sort.iter().map(key).collect::<Result<_, Rejection>>()?;
    Ok((filter, sort, bounded(input.limit, "limit", 1, LIMIT_MAX)?))
}

fn checked(text: &str, scope: Scope<'_>, what: &str) -> Result<(Expression, Program), Rejection> {
    let checked = Expression::from_user_in(text, scope).map_err(|error| Rejection::Formula { what: what.into(), error })?;
    if checked.1.expr.calls(&|function| function.name == functions::CALLER) {
        return Err(Rejection::InvalidInput("ME is for filters of queries: what is stored is the same for everybody".into()));
    }
    Ok(checked)
}

/// The filter of a query over `collection`, and who asks.
pub fn filter(schema: &TenantSchema, collection: CollectionId, text: &str, caller: &str) -> Result<(Expression, Program), Rejection> {
    let attributes = CollectionScope { schema, collection_id: collection };
    Expression::from_caller(text, &attributes, caller).map_err(|error| Rejection::Formula { what: "the filter".into(), error })
}

/// The program of what a user wrote as a formula over `collection`.
pub fn checked_formula(schema: &TenantSchema, collection: CollectionId, text: &str) -> Result<Program, FormulaError> {
    Expression::from_user(text, &CollectionScope { schema, collection_id: collection }).map(|(_, program)| program)
}

/// The program of a formula over `collection` in its stored form.
pub fn stored_formula(schema: &TenantSchema, collection: CollectionId, formula: &Expression) -> Result<Program, FormulaError> {
    formula.program(&CollectionScope { schema, collection_id: collection })
}

fn link_of<'a>(
    schema: &'a TenantSchema,
    collection: &CollectionSchema,
    key: &str,
) -> Result<(AttributeId, &'a CollectionSchema), Rejection> {
    let attribute = collection.attribute_or_refuse(key)?;
    let target = attribute.definition.leads_to().and_then(|id| schema.collection(id));
    let target =
        target.ok_or_else(|| Rejection::InvalidInput(format!("attribute `{key}` is not a link but a {}", attribute.definition.kind())))?;
    Ok((attribute.id, target))
}

fn target_attribute<'a>(target: &'a CollectionSchema, key: &str) -> Result<&'a Attribute, Rejection> {
    let attribute = target.attribute_or_refuse(key)?;
    if attribute.definition.is_multiple_link() {
        let message = format!("`{}.{key}` leads to many entities; make a lookup or rollup there and show that", target.key());
        return Err(Rejection::InvalidInput(message));
    }
    Ok(attribute)
}

fn bounded(given: Option<i64>, what: &str, least: i64, most: i64) -> Result<Option<u32>, Rejection> {
    match given {
        Some(n) if !(least..=most).contains(&n) => {
            Err(Rejection::InvalidInput(format!("{what} lies between {least} and {most}, and this is {n}")))
        }
        given => Ok(given.map(|n| n as u32)),
    }
}
