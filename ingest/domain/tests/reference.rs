//! The language reference: its examples hold, and the page in `docs` is the one that is made from the functions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use decidr_domain::aggregate::entity::{Entity, EntityEvent, Values, evolve};
use decidr_domain::formula::functions;
use decidr_domain::formula::reference::{self, CREATED, ENTITY, FIELDS, MODIFIED, NOW};
use decidr_domain::formula::{Attributes, Cells, Context, Resolved, Scope, Type, check, parse};
use decidr_domain::id::{AttributeId, CollectionId, EntityId, TenantId};
use decidr_domain::stamp::Stamp;
use decidr_domain::value::Value;
use jiff::Timestamp;
use uuid::Uuid;

/// The attributes of the reference's examples.
struct Fields(Vec<(&'static str, Type, Value)>, Entity);

impl Fields {
    fn new() -> Self {
        let numbers = Value::list([3, 1, 2].map(Value::from));
        let texts = Value::list(["red", "blue", "red"].map(Value::text));
        let fields = vec![
            ("a", Type::Number, Value::from(7)),
            ("nums", Type::List(Box::new(Type::Number)), numbers),
            ("tags", Type::List(Box::new(Type::Text)), texts),
            ("day", Type::Date, Value::Date("2024-01-31".parse().unwrap())),
            ("at", Type::DateTime, Value::DateTime("2024-01-31T10:30:15Z".parse().unwrap())),
        ];
        for ((name, shown), (there, _, value)) in FIELDS.iter().zip(&fields) {
            assert_eq!((*name, (*shown).to_owned()), (*there, reference::show(value)));
        }
        let (id, stamp) =
            (EntityId(Uuid::parse_str(ENTITY).unwrap()), |at: &str, by: &str| Stamp { at: at.parse().unwrap(), by: by.into() });
        let created = EntityEvent::EntityCreated {
            id,
            tenant_id: TenantId(Uuid::nil()),
            collection_id: CollectionId(Uuid::nil()),
            values: Values::default(),
        };
        let set = EntityEvent::AttributeValueSet { id, attribute_id: AttributeId(Uuid::nil()), stored_as: None, value: Value::from(7) };
        let entity = evolve(None, &created, &stamp(CREATED, "ada"));
        let entity = evolve(entity, &set, &stamp(MODIFIED, "bo"));
        Fields(fields, Entity { number: 5, ..entity.unwrap() })
    }
}

impl Cells for Fields {
    fn cell(&self, id: AttributeId) -> Value {
        self.0[id.0.as_u128() as usize].2.clone()
    }
    fn entity(&self) -> Option<&Entity> {
        Some(&self.1)
    }
    fn now(&self) -> Option<Timestamp> {
        Some(NOW.parse().unwrap())
    }
}

impl Attributes for Fields {
    fn resolve(&self, name: &str) -> Resolved {
        match self.0.iter().position(|(known, ..)| *known == name) {
            Some(i) => Resolved::Attribute(AttributeId(Uuid::from_u128(i as u128)), self.0[i].1.clone()),
            None => Resolved::Unknown,
        }
    }
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, ..)| (*name).to_owned()).collect()
    }
}

/// What the reference would show for a formula.
fn shown(formula: &str, fields: &Fields) -> String {
    let program = match parse::parse(formula, &[]).and_then(|tree| check(&tree, Scope::of(fields))) {
        Ok(program) => program,
        Err(_) => return "refused".into(),
    };
    match program.outcome(fields, Context::utc(), vec![]) {
        Ok(value) => reference::show(&value),
        Err((error, _)) => format!("#{}", error.kind),
    }
}

#[test]
fn every_example_holds() {
    let fields = Fields::new();
    let mut wrong = Vec::new();
    for function in functions::all() {
        for (formula, expected) in function.examples {
            let got = shown(formula, &fields);
            if got != *expected {
                wrong.push(format!("{formula} is said to be {expected} and is {got}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_function_is_explained() {
    let mut names = std::collections::BTreeSet::new();
    for function in functions::all() {
        assert!(names.insert(function.name), "{} is there twice", function.name);
        assert!(function.doc.ends_with('.'), "{}", function.name);
        assert!(!function.examples.is_empty(), "{} has no example", function.name);
    }
}

#[test]
fn the_page_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formulas.md");
    let there = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(there == reference::markdown(), "docs/formulas.md is not what `decidr formula reference` prints");
}
