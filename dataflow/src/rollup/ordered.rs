//! An ordered multiset of values: a sorted list while there are few different ones, a tree when there are many.

use std::collections::BTreeMap;

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

/// An ordered multiset; blanks are left out.
pub(super) enum Ordered {
    Few(Vec<(Value, u32)>),
    Many(BTreeMap<Value, u32>),
}

impl Default for Ordered {
    fn default() -> Self {
        Ordered::Few(Vec::new())
    }
}

impl Ordered {
    pub(super) fn add(&mut self, value: &Value) {
        if value.is_blank() {
            return;
        }
        match self {
            Ordered::Few(list) => match search(list, value) {
                Ok(at) => list[at].1 += 1,
                Err(at) if list.len() < FEW => list.insert(at, (value.clone(), 1)),
                Err(_) => {
                    let mut tree: BTreeMap<_, _> = list.drain(..).collect();
                    tree.insert(value.clone(), 1);
                    *self = Ordered::Many(tree);
                }
            },
            Ordered::Many(tree) => match tree.get_mut(value) {
                Some(count) => *count += 1,
                None => drop(tree.insert(value.clone(), 1)),
            },
        }
    }

    pub(super) fn remove(&mut self, value: &Value) {
        if value.is_blank() {
            return;
        }
        match self {
            Ordered::Few(list) => {
                let found = search(list, value);
                debug_assert!(found.is_ok(), "only what was added is removed");
                if let Ok(at) = found {
                    list[at].1 -= 1;
                    if list[at].1 == 0 {
                        list.remove(at);
                    }
                }
            }
            Ordered::Many(tree) => {
                decrement(tree, value);
                // Half way down, so that a group at the limit does not go back and forth.
                if tree.len() < FEW / 2 {
                    *self = Ordered::Few(std::mem::take(tree).into_iter().collect());
                }
            }
        }
    }

    /// How many different values there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Ordered::Few(list) => list.len(),
            Ordered::Many(tree) => tree.len(),
        }
    }

    pub(super) fn first(&self) -> Option<&Value> {
        match self {
            Ordered::Few(list) => list.first().map(|(value, _)| value),
            Ordered::Many(tree) => tree.keys().next(),
        }
    }

    /// All values, each as often as it is there, the largest first.
    pub(super) fn largest_first(&self) -> Box<dyn Iterator<Item = &Value> + '_> {
        let times = |(value, count)| std::iter::repeat_n(value, count as usize);
        match self {
            Ordered::Few(list) => Box::new(list.iter().rev().map(|(value, count)| (value, *count)).flat_map(times)),
            Ordered::Many(tree) => Box::new(tree.iter().rev().map(|(value, count)| (value, *count)).flat_map(times)),
        }
    }

    pub(super) fn last(&self) -> Option<&Value> {
        match self {
            Ordered::Few(list) => list.last().map(|(value, _)| value),
            Ordered::Many(tree) => tree.keys().next_back(),
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
