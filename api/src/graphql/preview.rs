//! What another definition of an attribute would change, before it is done.

use async_graphql::{ID, Name, SimpleObject, Value as Json};
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::delta::Row;
use decidr_domain::formula::Cells;
use decidr_domain::id::AttributeId;
use decidr_domain::schema::{Compute, Summary, resolve};
use decidr_domain::value::Value;

use super::explain::{Cell, sources};
use super::scalars::json;
use super::{Refusal, ScanBudget, TenantView};

/// What another definition would make of an attribute's cells. What depends on them is not looked at.
#[derive(SimpleObject)]
pub(crate) struct Preview {
    /// How many cells would be otherwise than they are.
    changed: i64,
    /// How many would be as they are.
    unchanged: i64,
    /// How many would hold an error and do not now.
    new_errors: i64,
    /// Some that would change.
    sample: Vec<PreviewedCell>,
}

/// One cell that would change.
#[derive(SimpleObject)]
pub(crate) struct PreviewedCell {
    entity_id: ID,
    before: Cell,
    after: Cell,
}

/// The most cells that a preview shows.
const SAMPLE_MAX: i32 = 100;

/// What a definition would change, without changing it.
pub(crate) fn preview(view: &TenantView, id: AttributeId, definition: &DefinitionInput, sample: i32) -> Result<Preview, Refusal> {
    if !(0..=SAMPLE_MAX).contains(&sample) {
        return Err(Refusal::new("INVALID_INPUT", format!("sample lies between 0 and {SAMPLE_MAX}, and this is {sample}")));
    }
    let not_found = || Refusal::new("NOT_FOUND", format!("no attribute `{id}`"));
    let attribute = view.schema.attribute(id).ok_or_else(not_found)?;
    let collection = view.schema.collection(attribute.collection_id).ok_or_else(not_found)?;
    let analyzed = view.schema.shown_over_cells(&resolve::preview(&view.schema, collection, attribute, definition)?);
    let (cell, stored_as) = (view.schema.shown_cell(id), attribute.stored_as());
    let mut out = Preview { changed: 0, unchanged: 0, new_errors: 0, sample: Vec::new() };
    let mut affordable = true;
    view.arranged.scan(collection.id(), None, |row| {
        affordable = view.budget.take();
        if !affordable {
            return false;
        }
        let after = match &analyzed.compute {
            Compute::Stored => row.entity.values.get(stored_as).clone(),
            compute => computed(view, row, compute),
        };
        let before = cell.map_or(Value::Blank, |cell| row.cell(cell));
        if before == after {
            out.unchanged += 1;
        } else {
            out.changed += 1;
            out.new_errors += i64::from(after.is_error() && !before.is_error());
            if out.sample.len() < sample as usize {
                let entity_id = row.entity.id.to_string().into();
                out.sample.push(PreviewedCell { entity_id, before: Cell(json(&before)), after: Cell(json(&after)) });
            }
        }
        true
    });
    if affordable { Ok(out) } else { Err(ScanBudget::exhausted()) }
}

/// Refuses another definition of a stored attribute if values that entities in sight hold do not fit it.
pub(crate) fn check_conversion(view: &TenantView, id: AttributeId, definition: &DefinitionInput) -> Result<(), Refusal> {
    // What the command path refuses it shall refuse.
    let Some(attribute) = view.schema.attribute(id).filter(|attribute| !attribute.definition.is_computed()) else { return Ok(()) };
    let Some(collection) = view.schema.collection(attribute.collection_id) else { return Ok(()) };
    let Ok(analyzed) = resolve::preview(&view.schema, collection, attribute, definition) else { return Ok(()) };
    if !analyzed.is_converted() {
        return Ok(());
    }
    let preview = preview(view, id, definition, SAMPLE_MAX)?;
    if preview.new_errors == 0 {
        return Ok(());
    }
    let message_of = |json: &Json| {
        let (Json::Object(cell), message) = (json, Name::new("message")) else { return None };
        match cell.get("error")? {
            Json::Object(error) => match error.get(&message)? {
                Json::String(message) => Some(message.clone()),
                _ => None,
            },
            _ => None,
        }
    };
    let first =
        preview.sample.iter().find_map(|cell| message_of(&cell.after.0)).map_or_else(String::new, |message| format!(", as {message}"));
    let (count, all) = (preview.new_errors, preview.changed + preview.unchanged);
    let message = format!(
        "{count} of {all} values of attribute `{}` do not fit{first}; previewAttribute shows them, and with `force` they become errors",
        attribute.key
    );
    Err(Refusal::new("VALUE_TYPE_MISMATCH", message))
}

/// A cell by its definition, from the cells that there are.
fn computed(view: &TenantView, row: &Row, compute: &Compute) -> Value {
    match compute {
        Compute::Stored => Value::Blank,
        Compute::Broken(error) => error.clone(),
        Compute::Formula(program) => program.evaluate(&view.at(row)),
        Compute::Crossing(crossing) => {
            let contributions: Vec<Value> =
                sources(view, row, crossing, usize::MAX).iter().filter_map(|source| crossing.contribution(&view.at(source))).collect();
            match &crossing.summary {
                Summary::Count => Value::from(contributions.len() as i64),
                Summary::Only => contributions.into_iter().next_back().unwrap_or_default(),
                Summary::List => decidr_domain::rollup::list_of(contributions.iter()),
                Summary::Rollup(rollup, argument) => rollup.summary(&contributions, argument),
                Summary::Collect(collect) => collect.summary(contributions.iter(), row),
            }
        }
    }
}
