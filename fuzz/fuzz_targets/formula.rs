//! Any text as a formula: it is accepted or refused, at a place inside it; what is accepted is printed so that it reads as
//! the same, and has a value, whatever the cells hold.
//!
//! `cargo +nightly fuzz run formula -- -timeout=5 -rss_limit_mb=2048`

#![no_main]

use decidr_domain::formula::{Attributes, Expression, Resolved, Type, parse};
use decidr_domain::id::AttributeId;
use decidr_domain::value::{ErrorKind, Value};
use jiff::Timestamp;
use jiff::civil::date;
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

struct Row;

/// One attribute of each type.
fn cells() -> [(&'static str, Type, Value); 8] {
    let list = Value::list([Value::from(3), Value::text("x"), Value::from(-1)]);
    [
        ("n", Type::Number, Value::from(12)),
        ("t", Type::Text, Value::text("été, 7 👍")),
        ("b", Type::Bool, Value::from(true)),
        ("d", Type::Date, Value::Date(date(2024, 2, 29))),
        ("at", Type::DateTime, Value::DateTime(Timestamp::UNIX_EPOCH)),
        ("l", Type::List(Box::new(Type::Any)), list),
        ("e", Type::Number, Value::error(ErrorKind::Div0, "division by zero")),
        ("nothing", Type::Number, Value::Blank),
    ]
}

fn id(place: usize) -> AttributeId {
    AttributeId(Uuid::from_u128(place as u128 + 1))
}

impl Attributes for Row {
    fn resolve(&self, name: &str) -> Resolved {
        match cells().into_iter().position(|(known, ..)| known == name) {
            Some(place) => Resolved::Attribute(id(place), cells()[place].1.clone()),
            None => Resolved::Unknown,
        }
    }

    fn names(&self) -> Vec<String> {
        cells().map(|(name, ..)| name.to_owned()).to_vec()
    }
}

fuzz_target!(|text: &str| {
    if let Ok(tree) = parse::parse(text, &[]) {
        let printed = tree.to_string();
        let again = parse::parse(&printed, &[]).expect("what is printed can be read");
        assert!(again.means_the_same(&tree), "{text} is printed {printed}");
    }
    match Expression::from_user(text, &Row) {
        Ok((_, program)) => {
            let cell = |attribute: AttributeId| {
                let place = attribute.0.as_u128() as usize - 1;
                cells().into_iter().nth(place).map_or(Value::Blank, |(_, _, value)| value)
            };
            program.evaluate(&cell);
        }
        Err(error) => assert!(error.span.start <= error.span.end && error.span.end <= text.len(), "{error:?}"),
    }
});
