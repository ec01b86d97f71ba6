//! How the summaries of linked entities are kept up to date: a [`Kernel`] for each rollup, one for each host.
//!
//! A rollup without a line in [`KERNELS`] works all the same: [`basic`] keeps the multiset of contributions and asks the
//! naive definition, at a cost that grows with the group.

mod average;
mod basic;
mod count;
mod countall;
mod max;
mod min;
mod ordered;
mod range;
mod ranked;
mod sequence;
mod share;
mod spread;
mod sum;
mod top;
mod weighted;

use std::collections::BTreeMap;

use decidr_domain::rollup::{Rollup, each_item};
use decidr_domain::schema::{Crossing, Direction, Summary};
use decidr_domain::value::Value;
use ordered::Ordered;
pub(crate) use sequence::Sequence;
use smallvec::SmallVec;

/// Makes a kernel for a group without values, given the rollup's argument.
type NewKernel = fn(&Value) -> Box<dyn Kernel>;

/// The incremental strategies, by the rollup's name.
const KERNELS: &[(&str, NewKernel)] = &[
    ("COUNTALL", countall::kernel),
    ("COUNT", count::kernel),
    ("COUNTA", share::counta),
    ("COUNT_UNIQUE", share::count_unique),
    ("COUNT_EMPTY", share::count_empty),
    ("COUNT_CHECKED", share::count_checked),
    ("COUNT_UNCHECKED", share::count_unchecked),
    ("PERCENT_FILLED", share::percent_filled),
    ("PERCENT_EMPTY", share::percent_empty),
    ("PERCENT_CHECKED", share::percent_checked),
    ("PERCENT_UNCHECKED", share::percent_unchecked),
    ("PERCENT_UNIQUE", share::percent_unique),
    ("AND", share::and),
    ("OR", share::or),
    ("XOR", share::xor),
    ("SUM", sum::kernel),
    ("AVERAGE", average::kernel),
    ("WEIGHTED_AVERAGE", weighted::kernel),
    ("MIN", min::kernel),
    ("MAX", max::kernel),
    ("EARLIEST", min::kernel),
    ("LATEST", max::kernel),
    ("TOP", top::kernel),
    ("RANGE", range::kernel),
    ("RANGE_MONTHS", range::months),
    ("ATTACHMENTS_SIZE", sum::kernel),
    ("MEDIAN", ranked::median),
    ("PERCENTILE", ranked::percentile),
    ("VAR", spread::var),
    ("VARP", spread::varp),
    ("STDEV", spread::stdev),
    ("STDEVP", spread::stdevp),
];

/// How counters keep values.
const COUNTS: &str = "counts, to which each value is added and from which it is taken";

/// How sums keep values.
const SUMS: &str = "exact sums, to which each value is added and from which it is taken";

/// How [`Ordered`] keeps values.
const ORDERED: &str = "an ordered multiset of the values, which is a sorted list while few differ and a tree from then on";

/// How a cell that comes from other entities is kept up to date, in words.
pub fn strategy(crossing: &Crossing) -> String {
    match &crossing.summary {
        Summary::Only => "the one value there is".into(),
        Summary::Count => COUNTS.into(),
        Summary::List => "the values by source, listed anew".into(),
        Summary::Collect(_) if !is_sequence(crossing) => "the values by source, filtered, ordered and summarised anew".into(),
        Summary::Collect(collect) => sequence::strategy(collect),
        Summary::Rollup(rollup, argument) => Group::new(rollup, argument).kept().into(),
    }
}

/// Whether what is collected can be kept in order: where the host's own link gives the order, it stands elsewhere after each
/// change of the link; of a match, buckets tell all contributions to hosts that look at them one by one.
pub(crate) fn is_sequence(crossing: &Crossing) -> bool {
    match crossing.direction {
        Direction::Forward(_) => false,
        Direction::Backward(_) | Direction::Reach { .. } => true,
        Direction::Match(_) => !crossing.looks_at_host(),
    }
}

/// The state of one rollup over one group of values.
///
/// # Contract
/// The caller admits values first, takes lists apart, keeps errors away, and removes only what it added.
/// The implementor: `summary` depends on the multiset of values alone, never on the order in which they came and went, and
/// equals the rollup's naive definition.
pub(crate) trait Kernel: Send {
    /// One more value.
    fn add(&mut self, value: &Value);
    /// One value less.
    fn remove(&mut self, value: &Value);
    /// The summary of what is there.
    fn summary(&self) -> Value;
    /// How it keeps the values, in words for users.
    fn kept(&self) -> &'static str;
    /// How many values it keeps, where it keeps more than what it makes of them.
    fn held(&self) -> usize {
        0
    }
    /// The multiset of all values that were added, if it keeps nothing but that. Only for rollups that admit any value as it
    /// is.
    fn ordered(&mut self) -> Option<&mut Ordered> {
        None
    }
}

/// A rollup over the contributions of one host's sources, errors among them included.
pub struct Group {
    rollup: &'static Rollup,
    kernel: Box<dyn Kernel>,
    is_ordered: bool,
    errors: BTreeMap<Value, u32>,
}

impl Group {
    /// Nothing is contributed yet. A rollup for which order matters is kept otherwise.
    pub fn new(rollup: &'static Rollup, argument: &Value) -> Self {
        let known = KERNELS.iter().find(|(name, _)| *name == rollup.name);
        let mut kernel = known.map_or_else(|| basic::kernel(rollup, argument), |(_, kernel)| kernel(argument));
        let is_ordered = kernel.ordered().is_some();
        Self { rollup, kernel, is_ordered, errors: BTreeMap::new() }
    }

    /// How it keeps the values, in words for users.
    fn kept(&self) -> &'static str {
        self.kernel.kept()
    }

    /// How many different errors are in it.
    pub(crate) fn errors(&self) -> usize {
        self.errors.len()
    }

    /// How many values it keeps: none if a few sums and counts say all.
    pub fn held(&self) -> usize {
        self.errors.len() + self.kernel.held()
    }

    /// Takes in what a source contributes now, in place of what it did.
    pub(crate) fn take_in(&mut self, old: &Option<Value>, new: &Option<Value>) {
        old.iter().for_each(|old| self.remove(old));
        new.iter().for_each(|new| self.add(new));
    }

    /// Takes a contribution in.
    pub fn add(&mut self, contribution: &Value) {
        self.rollup.each_item(contribution, &mut |item| match (self.rollup.admit)(item) {
            error @ Value::Error(_) => *self.errors.entry(error).or_default() += 1,
            value => self.kernel.add(&value),
        });
    }

    /// Takes out one that was taken in.
    pub fn remove(&mut self, contribution: &Value) {
        self.rollup.each_item(contribution, &mut |item| match (self.rollup.admit)(item) {
            error @ Value::Error(_) => decrement(&mut self.errors, &error),
            value => self.kernel.remove(&value),
        });
    }

    /// Whether the multiset of its values may be kept together with that of others.
    pub(crate) fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    /// Notes the errors alone of a contribution that came or went.
    fn note_errors(&mut self, old: &Option<Value>, new: &Option<Value>) {
        let errors = &mut self.errors;
        old.iter().for_each(|old| {
            each_item(old, &mut |item| {
                if item.is_error() {
                    decrement(errors, item)
                }
            })
        });
        new.iter().for_each(|new| {
            each_item(new, &mut |item| {
                if item.is_error() {
                    *errors.entry(item.clone()).or_default() += 1;
                }
            });
        });
    }

    /// The summary; the smallest error if there is one.
    pub fn summary(&self) -> Value {
        self.errors.keys().next().cloned().unwrap_or_else(|| self.kernel.summary())
    }
}

/// Takes in and out what is contributed to several groups that are ordered, `first` and the others, each time what was and
/// what is; the multiset is changed once for all that have it in common.
pub(crate) fn take_in_together<'a, 'c>(
    first: &mut Group,
    others: impl Iterator<Item = &'a mut Group>,
    contributions: impl Iterator<Item = (&'c Option<Value>, &'c Option<Value>)> + Clone,
) {
    let mut alike: SmallVec<[&mut Group; 4]> = SmallVec::new();
    let mut unlike: SmallVec<[&mut Group; 4]> = SmallVec::new();
    for other in others {
        let (Some(one), Some(another)) = (first.kernel.ordered(), other.kernel.ordered()) else { continue };
        if one.is_one_with(another) {
            // It gets the changed one below, of which there must be no other copy now.
            *another = Ordered::default();
            contributions.clone().for_each(|(old, new)| other.note_errors(old, new));
            alike.push(other);
        } else {
            contributions.clone().for_each(|(old, new)| other.take_in(old, new));
            unlike.push(other);
        }
    }
    let changes = contributions.map(|(old, new)| first.take_in(old, new)).count();
    let Some(ordered) = first.kernel.ordered() else { return };
    if !unlike.is_empty() && ordered.is_due_for_comparison(changes) {
        for other in unlike {
            if other.kernel.ordered().is_some_and(|other| other.is_equal_to(ordered)) {
                alike.push(other);
            }
        }
    }
    for other in alike {
        if let Some(other) = other.kernel.ordered() {
            *other = ordered.clone();
        }
    }
}

/// Takes one occurrence of `value` out of a multiset.
fn decrement(counts: &mut BTreeMap<Value, u32>, value: &Value) {
    let left = counts.get_mut(value).map(|count| {
        *count -= 1;
        *count
    });
    debug_assert!(left.is_some(), "only what was added is removed");
    if left == Some(0) {
        counts.remove(value);
    }
}

#[cfg(test)]
mod tests {
    use decidr_domain::rollup::{Argument, ROLLUPS};
    use decidr_domain::value::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            2 => Just(Value::Blank),
            6 => (-50i64..50).prop_map(Value::from),
            1 => Just(Value::number(rust_decimal_of("0.1"))),
            1 => Just(Value::error(ErrorKind::Div0, "x")),
            1 => any::<bool>().prop_map(Value::from),
            1 => prop::sample::select(vec!["", "a", "7", "b"]).prop_map(Value::text),
            1 => prop::collection::vec((-3i64..3).prop_map(Value::from), 0..4).prop_map(Value::list),
        ]
    }

    fn rust_decimal_of(text: &str) -> decidr_domain::exact::Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_is_kept_once() {
        let group = |name| Group::new(Rollup::find(name).unwrap(), &Value::Blank);
        let (mut least, mut most) = (group("MIN"), group("MAX"));
        let is_one = |least: &mut Group, most: &mut Group| least.kernel.ordered().unwrap().is_one_with(most.kernel.ordered().unwrap());
        let add = |least: &mut Group, most: &mut Group, n| {
            take_in_together(least, [most].into_iter(), [(&None, &Some(Value::from(n)))].into_iter())
        };
        add(&mut least, &mut most, 1);
        add(&mut least, &mut most, 2);
        assert!(is_one(&mut least, &mut most));
        most.add(&Value::from(3));
        assert!(!is_one(&mut least, &mut most), "one of them changed alone");
        assert_eq!((least.kernel.ordered().unwrap().len(), most.summary()), (2, Value::from(3)));
        least.add(&Value::from(3));
        (0..12).for_each(|n| add(&mut least, &mut most, n % 4));
        assert!(is_one(&mut least, &mut most), "they hold the same again");
    }

    proptest! {
        /// Every kernel equals the naive definition after every change, whatever came and went before.
        #[test]
        fn oracle_kernels_equal_the_naive_definition(values in prop::collection::vec((value(), any::<prop::sample::Index>(), any::<bool>()), 1..120)) {
            for rollup in ROLLUPS.iter().filter(|rollup| !rollup.order_matters) {
                let argument = match rollup.argument {
                    Argument::None | Argument::Separator => Value::Blank,
                    Argument::Share => Value::number(rust_decimal_of("0.3")),
                    Argument::Count => Value::from(3),
                };
                let (mut group, mut there): (Group, Vec<Value>) = (Group::new(rollup, &argument), Vec::new());
                for (i, (value, index, remove)) in values.iter().enumerate() {
                    if *remove && !there.is_empty() {
                        let value = there.swap_remove(index.index(there.len()));
                        group.remove(&value);
                    } else {
                        let value = match value {
                            // The weight of one in five is missing.
                            value if rollup.is_weighted() => {
                                let weight = if i % 5 == 0 { Value::Blank } else { Value::from(i as i64 % 7 - 2) };
                                Value::List([value.clone(), weight].into())
                            }
                            value => value.clone(),
                        };
                        group.add(&value);
                        there.push(value);
                    }
                    prop_assert_eq!(group.summary(), rollup.summary(&there, &argument), "{:?} of {:?}", rollup, there);
                }
            }
        }

        /// Groups that keep one multiset are each right, also when one of them changes alone, and when they meet again.
        #[test]
        fn what_is_kept_together_is_right(steps in prop::collection::vec((value(), any::<prop::sample::Index>(), 0..12_usize), 1..150)) {
            let rollups = ["MIN", "MAX", "COUNT_UNIQUE", "RANGE", "TOP", "MIN"].map(|name| Rollup::find(name).unwrap());
            let argument = Value::from(2);
            let mut groups: Vec<(Group, Vec<Value>)> = rollups.iter().map(|rollup| (Group::new(rollup, &argument), Vec::new())).collect();
            for (value, index, kind) in steps {
                let common: Vec<Value> = groups[0].1.iter().filter(|value| groups.iter().all(|(_, there)| there.contains(value))).cloned().collect();
                match kind {
                    // One of them alone.
                    0 => {
                        let count = groups.len();
                        let (group, there) = &mut groups[index.index(count)];
                        if there.len() % 2 == 1 {
                            group.remove(&there.swap_remove(0));
                        } else {
                            group.add(&value);
                            there.push(value);
                        }
                    }
                    _ => {
                        let old = common.get(index.index(common.len() + 1)).cloned();
                        let new = Some(value).filter(|_| kind > 2);
                        for (_, there) in &mut groups {
                            let place = old.as_ref().and_then(|old| there.iter().position(|value| value == old));
                            place.into_iter().for_each(|place| drop(there.swap_remove(place)));
                            there.extend(new.clone());
                        }
                        let (first, others) = groups.split_first_mut().unwrap();
                        let change = std::iter::once((&old, &new));
                        take_in_together(&mut first.0, others.iter_mut().map(|(group, _)| group), change);
                    }
                }
                for (group, there) in &groups {
                    prop_assert_eq!(group.summary(), group.rollup.summary(there, &argument), "{:?} of {:?}", group.rollup, there);
                }
            }
        }
    }
}
