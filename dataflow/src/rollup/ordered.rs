//! An ordered multiset of values: a sorted list while there are few different ones, a tree when there are many.

use std::collections::BTreeMap;
use std::sync::Arc;

use decidr_domain::value::Value;

use super::decrement;

/// How many different values a sorted list holds before it becomes a tree.
const FEW: usize = 256;

/// Where a value is in a sorted list, or would be.
fn search(list: &[(Value, u32)], value: &Value) -> Result<usize, usize> {
    let Value::Number(wanted) = value else { return list.binary_search_by(|(there, _)| there.cmp(value)) };
    let (scale, mantissa) = (wanted.scale(), wanted.mantissa());
    list.binary_search_by(|(there, _)| match there {
        // Most columns have one scale, at which numbers need not be brought to a common one.
        Value::Number(number) if number.scale() == scale => number.mantissa().cmp(&mantissa),
        there => there.cmp(value),
    })
}

/// An ordered multiset; blanks are left out. Copies are one until one of them is changed alone, so that rollups to which the
/// same is contributed need keep it but once.
#[derive(Clone, Default)]
pub(crate) struct Ordered(Option<Arc<Shared>>);

#[derive(Clone, Default)]
struct Shared {
    values: Values,
    /// How often it was changed since it was compared with others.
    changes: usize,
}

#[derive(Clone)]
enum Values {
    Few(Vec<(Value, u32)>),
    Many(BTreeMap<Value, u32>),
}

impl Default for Values {
    fn default() -> Self {
        Values::Few(Vec::new())
    }
}

impl Ordered {
    /// Whether both are one; all that never held anything are.
    pub(super) fn is_one_with(&self, other: &Ordered) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Whether it is time to see if others, which are not one with it, hold the same; now and then, so that it does not matter
    /// how long that takes.
    pub(super) fn is_due_for_comparison(&mut self) -> bool {
        let Some(shared) = &mut self.0 else { return false };
        let shared = Arc::make_mut(shared);
        shared.changes += 1;
        let is_due = shared.changes > shared.values.len();
        if is_due {
            shared.changes = 0;
        }
        is_due
    }

    /// Whether it holds the same as the other.
    pub(super) fn is_equal_to(&self, other: &Ordered) -> bool {
        self.len() == other.len()
            && match (self.values(), other.values()) {
                (Some(Values::Few(one)), Some(Values::Few(other))) => one == other,
                (Some(Values::Many(one)), Some(Values::Many(other))) => one == other,
                _ => false,
            }
    }

    fn values(&self) -> Option<&Values> {
        self.0.as_ref().map(|shared| &shared.values)
    }

    fn values_mut(&mut self) -> &mut Values {
        &mut Arc::make_mut(self.0.get_or_insert_default()).values
    }

    pub(super) fn add(&mut self, value: &Value) {
        if value.is_blank() {
            return;
        }
        let values = self.values_mut();
        match values {
            Values::Few(list) => match search(list, value) {
                Ok(at) => list[at].1 += 1,
                Err(at) if list.len() < FEW => list.insert(at, (value.clone(), 1)),
                Err(_) => {
                    let mut tree: BTreeMap<_, _> = list.drain(..).collect();
                    tree.insert(value.clone(), 1);
                    *values = Values::Many(tree);
                }
            },
            Values::Many(tree) => match tree.get_mut(value) {
                Some(count) => *count += 1,
                None => drop(tree.insert(value.clone(), 1)),
            },
        }
    }

    pub(super) fn remove(&mut self, value: &Value) {
        if value.is_blank() {
            return;
        }
        let values = self.values_mut();
        match values {
            Values::Few(list) => {
                let found = search(list, value);
                debug_assert!(found.is_ok(), "only what was added is removed");
                if let Ok(at) = found {
                    list[at].1 -= 1;
                    if list[at].1 == 0 {
                        list.remove(at);
                    }
                }
            }
            Values::Many(tree) => {
                decrement(tree, value);
                // Half way down, so that a group at the limit does not go back and forth.
                if tree.len() < FEW / 2 {
                    *values = Values::Few(std::mem::take(tree).into_iter().collect());
                }
            }
        }
    }

    /// How many different values there are.
    pub(super) fn len(&self) -> usize {
        self.values().map_or(0, Values::len)
    }

    pub(super) fn first(&self) -> Option<&Value> {
        match self.values()? {
            Values::Few(list) => list.first().map(|(value, _)| value),
            Values::Many(tree) => tree.keys().next(),
        }
    }

    /// All values, each as often as it is there, the largest first.
    pub(super) fn largest_first(&self) -> Box<dyn Iterator<Item = &Value> + '_> {
        let times = |(value, count)| std::iter::repeat_n(value, count as usize);
        match self.values() {
            None => Box::new(std::iter::empty()),
            Some(Values::Few(list)) => Box::new(list.iter().rev().map(|(value, count)| (value, *count)).flat_map(times)),
            Some(Values::Many(tree)) => Box::new(tree.iter().rev().map(|(value, count)| (value, *count)).flat_map(times)),
        }
    }

    pub(super) fn last(&self) -> Option<&Value> {
        match self.values()? {
            Values::Few(list) => list.last().map(|(value, _)| value),
            Values::Many(tree) => tree.keys().next_back(),
        }
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Few(list) => list.len(),
            Values::Many(tree) => tree.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_a_tree_and_a_list_again() {
        let (mut ordered, mut expected): (Ordered, BTreeMap<Value, u32>) = Default::default();
        let mut state = 7_u64;
        for step in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // It grows beyond what a list holds, and shrinks to nothing, twice.
            let grows = step % 10_000 < 5_000;
            let random = state >> 33;
            if grows && !random.is_multiple_of(4) || expected.is_empty() {
                let value = match random % 7 {
                    0 => Value::text(format!("text {}", random / 7 % 100)),
                    // Numbers that are the same with another scale are the same.
                    1 => Value::number(decidr_domain::exact::Decimal::new((random / 7 % 300 * 10) as i64, 2)),
                    2 => Value::number(decidr_domain::exact::Decimal::new(random as i64 / 7 % 300 - 150, 1)),
                    _ => Value::from(random as i64 / 7 % 300 - 150),
                };
                ordered.add(&value);
                *expected.entry(value).or_default() += 1;
            } else {
                let value = expected.keys().nth(random as usize / 4 % expected.len()).cloned().unwrap();
                ordered.remove(&value);
                decrement(&mut expected, &value);
            }
            assert_eq!(ordered.len(), expected.len());
            assert_eq!((ordered.first(), ordered.last()), (expected.keys().next(), expected.keys().next_back()));
            if step % 500 == 0 {
                let all = expected.iter().rev().flat_map(|(value, count)| std::iter::repeat_n(value, *count as usize));
                assert!(ordered.largest_first().eq(all));
            }
        }
    }
}
