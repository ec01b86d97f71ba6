//! An ordered multiset of values: a sorted list while there are few different ones, of plain words if they are numbers, a
//! tree when there are many.

use std::collections::BTreeMap;
use std::sync::Arc;

use decidr_domain::exact::Decimal;
use decidr_domain::value::Value;

use super::decrement;

/// How many different values a sorted list holds before it becomes a tree.
const FEW: usize = 256;

/// The finest scale at which a list of numbers is one of plain words.
const SCALE_MAX: u32 = 9;

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

#[derive(Clone, PartialEq)]
enum Values {
    /// Few numbers.
    Numbers(Numbers),
    /// Few values of any kind, sorted, with how often each is there.
    Few(Vec<(Value, u32)>),
    Many(BTreeMap<Value, u32>),
}

impl Default for Values {
    fn default() -> Self {
        Values::Numbers(Numbers::default())
    }
}

/// Numbers, each as so many parts of one, all of the same size.
#[derive(Clone, Default, PartialEq)]
struct Numbers {
    /// How many digits behind the point a part has.
    scale: u32,
    /// Sorted.
    parts: Vec<i64>,
    /// How often each is there.
    counts: Vec<u32>,
}

impl Numbers {
    /// A number in parts of this scale, if it has room.
    fn parts_of(value: &Value, scale: u32) -> Option<i64> {
        let Value::Number(number) = value else { return None };
        let finer = 10_i128.pow(scale.checked_sub(number.scale())?);
        i64::try_from(number.mantissa().checked_mul(finer)?).ok()
    }

    fn number(&self, parts: i64) -> Value {
        Value::number(Decimal::from_i128_with_scale(parts.into(), self.scale))
    }

    /// Makes room for a number that is finer than those that are there; `false` if there is none.
    fn refine(&mut self, value: &Value) -> bool {
        let Value::Number(number) = value else { return false };
        if number.scale() > SCALE_MAX || number.scale() <= self.scale {
            return false;
        }
        let finer = 10_i64.pow(number.scale() - self.scale);
        let fits = |parts: Option<&i64>| parts.is_none_or(|parts| parts.checked_mul(finer).is_some());
        if !fits(self.parts.first()) || !fits(self.parts.last()) || Self::parts_of(value, number.scale()).is_none() {
            return false;
        }
        self.parts.iter_mut().for_each(|parts| *parts *= finer);
        self.scale = number.scale();
        true
    }

    /// Adds a number that has room; `false` if the list is full.
    fn add(&mut self, parts: i64) -> bool {
        match self.parts.binary_search(&parts) {
            Ok(place) => self.counts[place] += 1,
            Err(_) if self.parts.len() == FEW => return false,
            Err(place) => {
                self.parts.insert(place, parts);
                self.counts.insert(place, 1);
            }
        }
        true
    }

    fn remove(&mut self, parts: Option<i64>) {
        let found = parts.and_then(|parts| self.parts.binary_search(&parts).ok());
        debug_assert!(found.is_some(), "only what was added is removed");
        let Some(place) = found else { return };
        self.counts[place] -= 1;
        if self.counts[place] == 0 {
            self.parts.remove(place);
            self.counts.remove(place);
        }
        if self.parts.is_empty() {
            self.scale = 0;
        }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = (Value, u32)> {
        self.parts.iter().map(|parts| self.number(*parts)).zip(self.counts.iter().copied())
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Numbers(numbers) => numbers.parts.len(),
            Values::Few(list) => list.len(),
            Values::Many(tree) => tree.len(),
        }
    }

    fn add(&mut self, value: &Value) {
        match self {
            Values::Numbers(numbers) => {
                let parts = Numbers::parts_of(value, numbers.scale);
                let parts = parts.or_else(|| numbers.refine(value).then(|| Numbers::parts_of(value, numbers.scale)).flatten());
                match parts {
                    Some(parts) if numbers.add(parts) => return,
                    Some(_) => *self = Values::Many(numbers.iter().collect()),
                    None => *self = Values::Few(numbers.iter().collect()),
                }
                self.add(value);
            }
            Values::Few(list) => match list.binary_search_by(|(there, _)| there.cmp(value)) {
                Ok(at) => list[at].1 += 1,
                Err(at) if list.len() < FEW => list.insert(at, (value.clone(), 1)),
                Err(_) => {
                    *self = Values::Many(list.drain(..).collect());
                    self.add(value);
                }
            },
            Values::Many(tree) => match tree.get_mut(value) {
                Some(count) => *count += 1,
                None => drop(tree.insert(value.clone(), 1)),
            },
        }
    }

    fn remove(&mut self, value: &Value) {
        match self {
            Values::Numbers(numbers) => numbers.remove(Numbers::parts_of(value, numbers.scale)),
            Values::Few(list) => {
                let found = list.binary_search_by(|(there, _)| there.cmp(value));
                debug_assert!(found.is_ok(), "only what was added is removed");
                if let Ok(at) = found {
                    list[at].1 -= 1;
                    if list[at].1 == 0 {
                        list.remove(at);
                    }
                }
                if list.is_empty() {
                    *self = Values::default();
                }
            }
            Values::Many(tree) => {
                decrement(tree, value);
                // Half way down, so that a group at the limit does not go back and forth.
                if tree.len() < FEW / 2 {
                    let tree = std::mem::take(tree);
                    *self = Values::few(tree);
                }
            }
        }
    }

    /// As a list: of numbers if all are.
    fn few(values: BTreeMap<Value, u32>) -> Self {
        let mut numbers = Numbers::default();
        for (value, count) in &values {
            let parts = Numbers::parts_of(value, numbers.scale);
            match parts.or_else(|| numbers.refine(value).then(|| Numbers::parts_of(value, numbers.scale)).flatten()) {
                Some(parts) => {
                    numbers.parts.push(parts);
                    numbers.counts.push(*count);
                }
                None => return Values::Few(values.into_iter().collect()),
            }
        }
        Values::Numbers(numbers)
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
    pub(super) fn is_due_for_comparison(&mut self, changes: usize) -> bool {
        let Some(shared) = &mut self.0 else { return false };
        let shared = Arc::make_mut(shared);
        shared.changes += changes;
        let is_due = shared.changes > shared.values.len();
        if is_due {
            shared.changes = 0;
        }
        is_due
    }

    /// Whether it holds the same as the other, in the same form.
    pub(super) fn is_equal_to(&self, other: &Ordered) -> bool {
        self.len() == other.len() && self.values() == other.values()
    }

    fn values(&self) -> Option<&Values> {
        self.0.as_ref().map(|shared| &shared.values)
    }

    fn values_mut(&mut self) -> &mut Values {
        &mut Arc::make_mut(self.0.get_or_insert_default()).values
    }

    pub(super) fn add(&mut self, value: &Value) {
        if !value.is_blank() {
            self.values_mut().add(value);
        }
    }

    pub(super) fn remove(&mut self, value: &Value) {
        if !value.is_blank() {
            self.values_mut().remove(value);
        }
    }

    /// How many different values there are.
    pub(super) fn len(&self) -> usize {
        self.values().map_or(0, Values::len)
    }

    pub(super) fn first(&self) -> Option<Value> {
        match self.values()? {
            Values::Numbers(numbers) => numbers.parts.first().map(|parts| numbers.number(*parts)),
            Values::Few(list) => list.first().map(|(value, _)| value.clone()),
            Values::Many(tree) => tree.keys().next().cloned(),
        }
    }

    pub(super) fn last(&self) -> Option<Value> {
        match self.values()? {
            Values::Numbers(numbers) => numbers.parts.last().map(|parts| numbers.number(*parts)),
            Values::Few(list) => list.last().map(|(value, _)| value.clone()),
            Values::Many(tree) => tree.keys().next_back().cloned(),
        }
    }

    /// All values, each as often as it is there, the largest first.
    pub(super) fn largest_first(&self) -> Box<dyn Iterator<Item = Value> + '_> {
        let times = |(value, count): (Value, u32)| std::iter::repeat_n(value, count as usize);
        let of = |(value, count): (&Value, &u32)| (value.clone(), *count);
        match self.values() {
            None => Box::new(std::iter::empty()),
            Some(Values::Numbers(numbers)) => Box::new(numbers.iter().rev().flat_map(times)),
            Some(Values::Few(list)) => Box::new(list.iter().rev().cloned().flat_map(times)),
            Some(Values::Many(tree)) => Box::new(tree.iter().rev().map(of).flat_map(times)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_a_tree_and_a_list_again() {
        // Texts among the numbers, numbers alone, and some that have no room in plain words.
        for kind in 0..3 {
            a_list_becomes_a_tree_and_a_list_again_with(kind);
        }
    }

    fn a_list_becomes_a_tree_and_a_list_again_with(kind: u64) {
        let (mut ordered, mut expected): (Ordered, BTreeMap<Value, u32>) = Default::default();
        let mut state = 7_u64;
        for step in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // It grows beyond what a list holds, and shrinks to nothing, twice.
            let grows = step % 10_000 < 5_000;
            let random = state >> 33;
            if grows && !random.is_multiple_of(4) || expected.is_empty() {
                let value = match random % 7 {
                    0 if kind == 0 => Value::text(format!("text {}", random / 7 % 100)),
                    0 if kind == 2 && random.is_multiple_of(50) => Value::number(Decimal::from_i128_with_scale((random as i128) << 50, 3)),
                    0 if kind == 2 && random.is_multiple_of(51) => Value::number(Decimal::new(random as i64 * 10 + 1, 12)),
                    // Numbers that are the same with another scale are the same.
                    1 => Value::number(Decimal::new((random / 7 % 300 * 10) as i64, 2)),
                    2 => Value::number(Decimal::new(random as i64 / 7 % 300 - 150, 1)),
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
            let (first, last) = (expected.keys().next().cloned(), expected.keys().next_back().cloned());
            assert_eq!((ordered.first(), ordered.last()), (first, last));
            if step % 500 == 0 {
                let all = expected.iter().rev().flat_map(|(value, count)| std::iter::repeat_n(value.clone(), *count as usize));
                assert!(ordered.largest_first().eq(all));
            }
        }
    }
}
