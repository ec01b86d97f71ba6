//! An ordered multiset of values: a sorted list while there are few different ones, a tree when there are many.

use std::collections::BTreeMap;

use decidr_domain::value::Value;

use super::decrement;

/// How many different values a sorted list holds before it becomes a tree.
const FEW: usize = 32;

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
            Ordered::Few(list) => match list.binary_search_by(|(there, _)| there.cmp(value)) {
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
                let found = list.binary_search_by(|(there, _)| there.cmp(value));
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
