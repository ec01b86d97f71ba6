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
mod share;
mod spread;
mod sum;
mod top;
mod weighted;

use std::collections::BTreeMap;

use decidr_domain::rollup::Rollup;
use decidr_domain::schema::Summary;
use decidr_domain::value::Value;

/// Makes a kernel for a group without values, given the rollup's argument.
type NewKernel = fn(&Value) -> Box<dyn Kernel>;

/// The incremental strategies, by the rollup's name.
const KERNELS: &[(&str, NewKernel)] = &[
    ("COUNTALL", countall::kernel),
    ("COUNT", count::kernel),
    ("COUNTA", share::counta),
    ("COUNT_UNIQUE", share::count_unique),
    ("PERCENT_FILLED", share::percent_filled),
    ("PERCENT_CHECKED", share::percent_checked),
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
    ("MEDIAN", ranked::median),
    ("PERCENTILE", ranked::percentile),
    ("VAR", spread::var),
    ("VARP", spread::varp),
    ("STDEV", spread::stdev),
    ("STDEVP", spread::stdevp),
];

/// How a cell that comes from other entities is kept up to date, in words.
pub fn strategy(summary: &Summary) -> &'static str {
    match summary {
        Summary::Only => "the one value there is",
        Summary::Count => "a count",
        Summary::List => "the values by source, listed anew",
        Summary::Collect(_) => "the values by source, filtered, ordered and summarised anew",
        Summary::Rollup(rollup, _) if KERNELS.iter().any(|(name, _)| *name == rollup.name) => "a kernel that takes each value in and out",
        Summary::Rollup(..) => "a multiset of the values, summarised anew",
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
    /// How many values it keeps, where it keeps more than what it makes of them.
    fn held(&self) -> usize {
        0
    }
}

/// A rollup over the contributions of one host's sources, errors among them included.
pub struct Group {
    rollup: &'static Rollup,
    kernel: Box<dyn Kernel>,
    errors: BTreeMap<Value, u32>,
}

impl Group {
    /// Nothing is contributed yet. A rollup for which order matters is kept otherwise.
    pub fn new(rollup: &'static Rollup, argument: &Value) -> Self {
        let known = KERNELS.iter().find(|(name, _)| *name == rollup.name);
        let kernel = known.map_or_else(|| basic::kernel(rollup, argument), |(_, kernel)| kernel(argument));
        Self { rollup, kernel, errors: BTreeMap::new() }
    }

    /// How many different errors are in it.
    pub(crate) fn errors(&self) -> usize {
        self.errors.len()
    }

    /// How many values it keeps: none if a few sums and counts say all.
    pub fn held(&self) -> usize {
        self.errors.len() + self.kernel.held()
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

    /// The summary; the smallest error if there is one.
    pub fn summary(&self) -> Value {
        self.errors.keys().next().cloned().unwrap_or_else(|| self.kernel.summary())
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
                            value if rollup.is_weighted => {
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
    }
}
