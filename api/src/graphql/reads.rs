//! What a query reads: whether it must wait for cells that are computed aside.

use async_graphql::{Context, SelectionField, Value};
use decidr_domain::schema::TenantSchema;

/// Whether a query may show, filter by or sort by an attribute whose cells are not shown yet. Says yes rather too often: it
/// goes by names alone, whatever the collection.
pub(crate) fn is_of_computing(ctx: &Context<'_>, schema: &TenantSchema) -> bool {
    let Some(staging) = schema.staging() else { return false };
    let attributes = staging.shown().filter_map(|(id, _)| schema.attribute(id));
    let names: Vec<&str> = attributes.flat_map(|attribute| [attribute.key.as_str(), attribute.name.as_str()]).collect();
    !names.is_empty() && reads(ctx.field(), &names)
}

fn reads(field: SelectionField<'_>, names: &[&str]) -> bool {
    // What cannot be read is refused when it is executed.
    let arguments = field.arguments().unwrap_or_default();
    let names_all = field.name() == "values" && arguments.iter().all(|(_, value)| *value == Value::Null);
    names_all || arguments.iter().any(|(_, value)| mentions(value, names)) || field.selection_set().any(|inner| reads(inner, names))
}

fn mentions(value: &Value, names: &[&str]) -> bool {
    match value {
        Value::String(text) => names.iter().any(|name| text.contains(name)),
        Value::List(items) => items.iter().any(|item| mentions(item, names)),
        Value::Object(fields) => fields.values().any(|item| mentions(item, names)),
        _ => false,
    }
}
