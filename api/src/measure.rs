//! How many rows and cells there are, and how much memory they take: by collection and by attribute, of all tenants. For
//! operators only.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use decidr_dataflow::Arranged;
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::formula::Cells as _;
use decidr_domain::id::AttributeId;
use decidr_domain::value::Value;
use serde::Serialize;

/// What one collection holds.
#[derive(Serialize)]
pub(crate) struct CollectionSize {
    /// The tenant's key.
    tenant: String,
    key: String,
    rows: u64,
    bytes: usize,
    attributes: Vec<AttributeSize>,
}

/// What one attribute holds, blank cells left out.
#[derive(Serialize)]
struct AttributeSize {
    key: String,
    kind: &'static str,
    cells: u64,
    bytes: usize,
}

/// Looks at every row that there is.
pub(crate) fn collections(arranged: &Arranged) -> Vec<CollectionSize> {
    let mut out = Vec::new();
    for schema in arranged.catalog().tenants() {
        for collection in schema.collections() {
            let shown: Vec<_> = collection.attributes().iter().filter_map(|a| Some((a, schema.shown_cell(a.id)?))).collect();
            let (mut cells, mut rows, mut bytes): (BTreeMap<AttributeId, (u64, usize)>, u64, usize) = Default::default();
            arranged.scan(collection.id(), None, |row| {
                (rows, bytes) = (rows + 1, bytes + row.bytes());
                for (attribute, cell) in &shown {
                    let value = row.cell(*cell);
                    if !value.is_blank() {
                        let (count, taken) = cells.entry(attribute.id).or_default();
                        (*count, *taken) = (*count + 1, *taken + size_of::<(AttributeId, Value)>() + value.heap_bytes());
                    }
                }
                true
            });
            let attributes = shown.iter().map(|(attribute, _)| {
                let (cells, bytes) = cells.get(&attribute.id).copied().unwrap_or_default();
                AttributeSize { key: attribute.key.to_string(), kind: attribute.definition.kind(), cells, bytes }
            });
            out.push(CollectionSize {
                tenant: schema.tenant.key.to_string(),
                key: collection.key().to_string(),
                rows,
                bytes,
                attributes: attributes.collect(),
            });
        }
    }
    out
}

/// The same in the text format of Prometheus. Keys need no escapes.
pub(crate) fn as_metrics(collections: &[CollectionSize]) -> String {
    let mut out = String::new();
    let mut family = |name: &str, each: &dyn Fn(&mut String, &CollectionSize)| {
        let _ = writeln!(out, "# TYPE {name} gauge");
        collections.iter().for_each(|collection| each(&mut out, collection));
    };
    let labels = |collection: &CollectionSize| format!("tenant=\"{}\",collection=\"{}\"", collection.tenant, collection.key);
    for (name, size) in
        [("decidr_collection_rows", (|c| c.rows as usize) as fn(&CollectionSize) -> usize), ("decidr_collection_bytes", |c| c.bytes)]
    {
        family(name, &|out, collection| {
            let _ = writeln!(out, "{name}{{{}}} {}", labels(collection), size(collection));
        });
    }
    for (name, size) in
        [("decidr_attribute_cells", (|a| a.cells as usize) as fn(&AttributeSize) -> usize), ("decidr_attribute_bytes", |a| a.bytes)]
    {
        family(name, &|out, collection| {
            for attribute in &collection.attributes {
                let _ = writeln!(out, "{name}{{{},attribute=\"{}\"}} {}", labels(collection), attribute.key, size(attribute));
            }
        });
    }
    out
}
