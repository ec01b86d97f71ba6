//! What an entity costs.

use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::value::Value;

use crate::workloads::{Harness, id, resident};

/// What entities of eight attributes cost each, in bytes.
pub(crate) struct Memory {
    pub(crate) what: String,
    /// Of the process, the dataflow's own state and what is arranged.
    pub(crate) all: f64,
    /// Of each arrangement that holds them.
    pub(crate) arrangements: Vec<(&'static str, f64)>,
}

pub(crate) fn run(smaller: usize, workers: usize) -> anyhow::Result<Memory> {
    let count = 1_000_000 / smaller;
    let mut harness = Harness::new(workers)?;
    let before = resident()?;
    let log = &mut harness.recorder;
    let collection = log.collection("people")?;
    let mut attributes = Vec::new();
    for (n, definition) in [DefinitionInput::number(), DefinitionInput::text(), DefinitionInput::Checkbox, DefinitionInput::Date]
        .into_iter()
        .cycle()
        .take(8)
        .enumerate()
    {
        attributes.push(log.attribute(collection, &format!("a{n}"), definition)?);
    }
    for start in (0..count).step_by(10_000) {
        for n in start..count.min(start + 10_000) {
            let values = attributes.iter().enumerate().map(|(place, attribute)| {
                let value = match place % 4 {
                    0 => Value::from((n * place) as i64),
                    1 => Value::text(format!("text {n}")),
                    2 => Value::from(n % 2 == 0),
                    _ => Value::Date(jiff::civil::date(2000 + (n % 30) as i16, 1, 1)),
                };
                (*attribute, value)
            });
            let values = values.collect();
            harness.recorder.create(id(1, n), collection, values);
        }
        harness.settle()?;
    }
    let all = resident()?.saturating_sub(before) as f64 / count as f64;
    let sizes = harness.arranged().sizes();
    let arrangements = sizes.map(|(name, size)| (name, size.bytes as f64 / count as f64)).to_vec();
    Ok(Memory { what: format!("{count} entities of 8 attributes, all set"), all, arrangements })
}
