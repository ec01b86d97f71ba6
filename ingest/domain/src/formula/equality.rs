//! What a condition requires of single cells: that one of them equals one of a few constants. By that the rows that may meet
//! it are found without looking at the others.

use std::hash::{Hash as _, Hasher as _};

use jiff::tz::TimeZone;
use rustc_hash::FxHasher;

use super::ast::Operator;
use super::coerce::text;
use super::dates;
use super::eval::{Expr, Program};
use crate::id::{AttributeId, EntityId};
use crate::value::Value;

/// Under what a value is found. Values that `=` one another have a key in common, for [`ValueKey::of`] of the one is among
/// [`ValueKey::of_constant`] of the other; others may have one in common by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueKey(u64);

impl ValueKey {
    fn new(kind: u8, write: impl FnOnce(&mut FxHasher)) -> Self {
        let mut hasher = FxHasher::default();
        kind.hash(&mut hasher);
        write(&mut hasher);
        Self(hasher.finish())
    }

    fn of_text(text: &str) -> Self {
        Self::new(0, |hasher| text.hash(hasher))
    }

    fn of_moment(at: jiff::civil::DateTime) -> Self {
        Self::new(2, |hasher| at.hash(hasher))
    }

    fn of_entity(id: EntityId) -> Self {
        Self::new(3, |hasher| id.hash(hasher))
    }

    /// The key of what a cell holds; nothing for what equals no constant that has keys.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Blank | Value::Links(_) | Value::Error(_) => None,
            Value::Text(text) => Some(Self::of_text(text)),
            Value::Number(number) => Some(Self::new(1, |hasher| number.hash(hasher))),
            // Equals the number that it counts as.
            Value::Bool(is_true) => Self::of(&Value::from(i64::from(*is_true))),
            Value::Date(date) => Some(Self::of_moment(date.at(0, 0, 0, 0))),
            Value::DateTime(at) => Some(Self::of_moment(TimeZone::UTC.to_datetime(*at))),
            Value::Link(id) => Some(Self::of_entity(*id)),
            Value::List(items) => match &**items {
                [] => None,
                [item] => Self::of(item),
                // Beside a text a list is the text that it shows.
                _ => Some(Self::of_text(&text(value))),
            },
        }
    }

    /// The keys of all that equals a constant; nothing if that is not known by keys.
    pub fn of_constant(constant: &Value) -> Option<Vec<Self>> {
        match constant {
            Value::Text(text) if !text.is_empty() => {
                let moment = dates::parse(text.trim(), &TimeZone::UTC).map(|moment| Self::of_moment(moment.civil(&TimeZone::UTC)));
                let entity = text.parse().ok().map(Self::of_entity);
                Some([Some(Self::of_text(text)), moment, entity].into_iter().flatten().collect())
            }
            Value::Number(_) | Value::Bool(_) => Self::of(constant).map(|key| vec![key]),
            // Blank and empty text, which are the same; days and instants, which many texts equal; lists.
            _ => None,
        }
    }
}

/// That a cell equals one of some constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equality {
    /// The cell.
    pub cell: AttributeId,
    /// The keys of the constants. A cell that equals none of them has none of these.
    pub keys: Vec<ValueKey>,
}

impl Program {
    /// What the program, as a condition, requires: it is true only where each of these holds.
    pub fn equalities(&self) -> Vec<Equality> {
        required(&self.expr)
    }
}

/// Of how many cells it is known what a condition requires.
const EQUALITIES_MAX: usize = 8;

/// How many keys there are for one cell; of one for which there would be more nothing is known.
const KEYS_MAX: usize = 64;

/// As deep as formulas may be nested.
fn required(condition: &Expr) -> Vec<Equality> {
    match condition {
        Expr::Exact(condition) => required(condition),
        Expr::Binary(Operator::Equal, sides, _) => match (&sides.0, &sides.1) {
            (Expr::Attribute(cell), other) | (other, Expr::Attribute(cell)) => equality(*cell, other).into_iter().collect(),
            _ => Vec::new(),
        },
        Expr::Binary(Operator::And, sides, _) => all_of([&sides.0, &sides.1].into_iter()),
        Expr::Binary(Operator::Or, sides, _) => any_of([&sides.0, &sides.1].into_iter()),
        Expr::Call(function, arguments, _) | Expr::Lazy(function, arguments, _) => match function.name {
            "AND" => all_of(arguments.iter()),
            "OR" => any_of(arguments.iter()),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn equality(cell: AttributeId, other: &Expr) -> Option<Equality> {
    let keys = match other {
        Expr::Constant(constant) => ValueKey::of_constant(constant)?,
        Expr::Negate(operand, _) => match &**operand {
            Expr::Constant(Value::Number(number)) => ValueKey::of_constant(&Value::number(-*number))?,
            _ => return None,
        },
        _ => return None,
    };
    Some(Equality { cell, keys })
}

/// Of each cell the first requirement, of a few cells: to know less of what is required is no error.
fn all_of<'a>(conditions: impl Iterator<Item = &'a Expr>) -> Vec<Equality> {
    let mut all: Vec<Equality> = Vec::new();
    for condition in conditions {
        for equality in required(condition) {
            if all.len() < EQUALITIES_MAX && all.iter().all(|other| other.cell != equality.cell) {
                all.push(equality);
            }
        }
    }
    all
}

/// Of a cell of which each alternative requires something, one of those is true.
fn any_of<'a>(mut alternatives: impl Iterator<Item = &'a Expr>) -> Vec<Equality> {
    let mut common = alternatives.next().map(required).unwrap_or_default();
    for alternative in alternatives {
        if common.is_empty() {
            break;
        }
        let required = required(alternative);
        common.retain_mut(|equality| {
            let Some(other) = required.iter().find(|other| other.cell == equality.cell) else { return false };
            for key in &other.keys {
                if !equality.keys.contains(key) {
                    equality.keys.push(*key);
                }
            }
            equality.keys.len() <= KEYS_MAX
        });
    }
    common
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rust_decimal::Decimal;
    use uuid::Uuid;

    use super::*;
    use crate::formula::coerce::{equal, truth};
    use crate::formula::{Attributes, Expression, Resolved, Type};

    /// Values of few texts, numbers and moments, so that many are equal.
    fn value() -> impl Strategy<Value = Value> {
        let id = |n: u128| EntityId(Uuid::from_u128(n));
        let single = prop_oneof![
            Just(Value::Blank),
            prop::sample::select(vec!["", "1", "a", "a, b", "true", "2024-05-01", " 2024-05-01T00:00:00Z", "May 1, 2024"])
                .prop_map(|text| Value::Text(text.into())),
            (0..3u128).prop_map(move |n| Value::Text(ecow::eco_format!("{}", id(n)))),
            (-2..3i64, 0..3u32).prop_map(|(n, scale)| Value::Number(Decimal::new(n * 10_i64.pow(scale), scale))),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Date("2024-05-01".parse().unwrap())),
            prop::sample::select(vec!["2024-05-01T00:00:00Z", "2024-05-01T00:00:01Z"]).prop_map(|at| Value::DateTime(at.parse().unwrap())),
            (0..3u128).prop_map(move |n| Value::Link(id(n))),
            prop::collection::vec((0..3u128).prop_map(id), 0..2).prop_map(|ids| Value::Links(ids.into())),
        ];
        single.prop_recursive(2, 4, 2, |item| prop::collection::vec(item, 0..3).prop_map(|items| Value::List(Arc::from(items))))
    }

    struct Two;

    const IDS: [AttributeId; 2] = [AttributeId(Uuid::from_u128(10)), AttributeId(Uuid::from_u128(11))];

    impl Attributes for Two {
        fn resolve(&self, name: &str) -> Resolved {
            match ["a", "b"].iter().position(|known| *known == name) {
                Some(place) => Resolved::Attribute(IDS[place], Type::Any),
                None => Resolved::Unknown,
            }
        }

        fn names(&self) -> Vec<String> {
            vec!["a".to_owned(), "b".to_owned()]
        }
    }

    fn equalities(filter: &str) -> (Program, Vec<Equality>) {
        let (_, program) = Expression::from_user(filter, &Two).unwrap();
        let equalities = program.equalities();
        (program, equalities)
    }

    /// Conditions over `a` and `b`, as text.
    fn condition() -> impl Strategy<Value = String> {
        let constant = prop::sample::select(vec!["1", "-2", "0", "\"a\"", "\"\"", "\"2024-05-01\"", "\"1\"", "{a}", "{b} + 1", "1 + 1"]);
        let comparison = (prop::sample::select(vec!["{a}", "{b}"]), prop::sample::select(vec!["=", "!=", "="]), constant, any::<bool>())
            .prop_map(|(cell, operator, other, is_turned)| match is_turned {
                true => format!("({other} {operator} {cell})"),
                false => format!("({cell} {operator} {other})"),
            });
        let leaf = prop_oneof![8 => comparison, 1 => Just("{b}".to_owned())];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let several = prop::collection::vec(inner.clone(), 1..4);
            prop_oneof![
                several.clone().prop_map(|all| format!("AND({})", all.join(", "))),
                several.clone().prop_map(|any| format!("OR({})", any.join(", "))),
                several.clone().prop_map(|all| format!("({})", all.join(" && "))),
                several.prop_map(|any| format!("({})", any.join(" || "))),
                inner.prop_map(|not| format!("NOT({not})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn what_equals_a_constant_has_a_key_of_it(value in value(), constant in value()) {
            if let Some(keys) = ValueKey::of_constant(&constant).filter(|_| equal(&value, &constant) || equal(&constant, &value)) {
                prop_assert!(ValueKey::of(&value).is_some_and(|key| keys.contains(&key)), "{value:?} = {constant:?}");
            }
        }

        #[test]
        fn what_is_required_holds_where_a_condition_is_true(text in condition(), a in value(), b in value()) {
            let (program, equalities) = equalities(&text);
            let cells = |id: AttributeId| if id == IDS[0] { a.clone() } else { b.clone() };
            let value = program.evaluate(&cells);
            if truth(&value) && !matches!(value, Value::Error(_)) {
                for Equality { cell, keys } in equalities {
                    prop_assert!(ValueKey::of(&cells(cell)).is_some_and(|key| keys.contains(&key)), "{text} with {a:?}, {b:?}");
                }
            }
        }
    }

    #[test]
    fn conjunctions_and_alternatives() {
        let cells = |filter| equalities(filter).1.iter().map(|equality| (equality.cell, equality.keys.len())).collect::<Vec<_>>();
        assert_eq!(cells("AND({a} = 1, {b} > 2, \"x\" = {b})"), [(IDS[0], 1), (IDS[1], 1)]);
        assert_eq!(cells("{a} = -1 && ({b} = 1 || {b} = 2)"), [(IDS[0], 1), (IDS[1], 2)]);
        assert_eq!(cells("OR({a} = 1, {b} = 2)"), []);
        assert_eq!(cells("OR({a} = 1, AND({b} = 2, {a} = 3))"), [(IDS[0], 2)]);
        assert_eq!(cells("NOT({a} = 1)"), []);
        assert_eq!(cells("{a} = \"\""), []);
        assert_eq!(cells("{a} = \"2024-05-01\""), [(IDS[0], 2)]);
    }

    #[test]
    fn long_conditions_require_little() {
        let alternatives = |count: usize| (0..count).map(|n| format!("{{a}} = {n}")).collect::<Vec<_>>().join(", ");
        assert_eq!(equalities(&format!("OR({})", alternatives(KEYS_MAX))).1[0].keys.len(), KEYS_MAX);
        assert_eq!(equalities(&format!("OR({})", alternatives(KEYS_MAX + 1))).1, []);
        let same = vec!["{a} = 1"; 1_500].join(", ");
        let (_, both) = equalities(&format!("OR(AND({same}), {})", alternatives(60)));
        assert_eq!((both.len(), both[0].keys.len()), (1, 60));
    }
}
