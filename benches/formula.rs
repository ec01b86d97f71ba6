//! Question: what does one evaluation of a formula cost, by what is in it? Unit: time per evaluation of one row.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use decidr_domain::formula::{Attributes, Expression, Resolved, Type};
use decidr_domain::id::AttributeId;
use decidr_domain::value::Value;
use uuid::Uuid;

struct Row;

const NUMBERS: [&str; 3] = ["distance", "air_time", "delay"];

impl Attributes for Row {
    fn resolve(&self, name: &str) -> Resolved {
        match NUMBERS.iter().position(|known| *known == name) {
            Some(i) => Resolved::Attribute(AttributeId(Uuid::from_u128(i as u128)), Type::Number),
            None => Resolved::Unknown,
        }
    }
    fn names(&self) -> Vec<String> {
        NUMBERS.map(str::to_owned).to_vec()
    }
}

fn evaluate(c: &mut Criterion) {
    let cells = |id: AttributeId| Value::from([1400, 227, 11][id.0.as_u128() as usize]);
    for (name, text) in [
        ("reference", "{distance}"),
        ("arithmetic", "{distance} * 60 + {delay} - 7"),
        ("division", "ROUND({distance} * 60 / {air_time}, 1)"),
        ("condition", "IF({air_time}, {delay} <= 15)"),
        ("text", "CONCATENATE('LGA', '-', {distance}, ' ', UPPER('miles'))"),
        ("date", "DATETIME_DIFF(DATEADD(BLANK(), 1, 'days'), BLANK(), 'days')"),
    ] {
        let (_, program) = Expression::from_user(text, &Row).expect("the formula is right");
        c.bench_function(name, |b| b.iter(|| black_box(&program).evaluate(&cells)));
    }
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
