//! Any rollup, by its naive definition over the multiset that is kept.

use std::collections::BTreeMap;

use decidr_domain::rollup::Rollup;
use decidr_domain::value::Value;

use super::{Kernel, decrement};

struct Basic {
    rollup: &'static Rollup,
    argument: Value,
    counts: BTreeMap<Value, u32>,
}

pub(super) fn kernel(rollup: &'static Rollup, argument: &Value) -> Box<dyn Kernel> {
    Box::new(Basic { rollup, argument: argument.clone(), counts: BTreeMap::new() })
}

impl Kernel for Basic {
    fn kept(&self) -> &'static str {
        "a multiset of the values, summarised anew"
    }

    fn add(&mut self, value: &Value) {
        *self.counts.entry(value.clone()).or_default() += 1;
    }

    fn remove(&mut self, value: &Value) {
        decrement(&mut self.counts, value);
    }

    fn summary(&self) -> Value {
        let values: Vec<_> = self.counts.iter().flat_map(|(value, count)| std::iter::repeat_n(value.clone(), *count as usize)).collect();
        (self.rollup.naive)(&values, &self.argument)
    }

    fn held(&self) -> usize {
        self.counts.len()
    }
}
