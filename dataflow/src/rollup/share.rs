//! COUNTA and other counts, the shares, AND, OR, XOR: counters.

use decidr_domain::formula::coerce::truth;
use decidr_domain::rollup::share::{is_counted, share};
use decidr_domain::value::Value;

use super::Kernel;
use super::ordered::Ordered;

/// How many values there are, and how many of them count.
struct Counter {
    counts: fn(&Value) -> bool,
    shown: fn(usize, usize) -> Value,
    counted: usize,
    all: usize,
}

impl Counter {
    fn kernel(counts: fn(&Value) -> bool, shown: fn(usize, usize) -> Value) -> Box<dyn Kernel> {
        Box::new(Self { counts, shown, counted: 0, all: 0 })
    }
}

pub(super) fn counta(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(is_counted, |counted, _| Value::from(counted as i64))
}

pub(super) fn count_empty(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(is_counted, |counted, all| Value::from((all - counted) as i64))
}

pub(super) fn count_checked(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(truth, |counted, _| Value::from(counted as i64))
}

pub(super) fn count_unchecked(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(truth, |counted, all| Value::from((all - counted) as i64))
}

pub(super) fn percent_empty(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(is_counted, |counted, all| share(all - counted, all))
}

pub(super) fn percent_unchecked(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(truth, |counted, all| share(all - counted, all))
}

pub(super) fn percent_filled(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(is_counted, share)
}

pub(super) fn percent_checked(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(truth, share)
}

pub(super) fn and(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(truth, |counted, all| Value::Bool(counted == all))
}

pub(super) fn or(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(truth, |counted, _| Value::Bool(counted > 0))
}

pub(super) fn xor(_: &Value) -> Box<dyn Kernel> {
    Counter::kernel(truth, |counted, _| Value::Bool(counted % 2 == 1))
}

impl Kernel for Counter {
    fn kept(&self) -> &'static str {
        super::COUNTS
    }

    fn add(&mut self, value: &Value) {
        self.all += 1;
        self.counted += usize::from((self.counts)(value));
    }

    fn remove(&mut self, value: &Value) {
        self.all -= 1;
        self.counted -= usize::from((self.counts)(value));
    }

    fn summary(&self) -> Value {
        (self.shown)(self.counted, self.all)
    }
}

/// Each value that is there.
#[derive(Default)]
struct Different(Ordered);

pub(super) fn count_unique(_: &Value) -> Box<dyn Kernel> {
    Box::<Different>::default()
}

impl Kernel for Different {
    fn kept(&self) -> &'static str {
        super::ORDERED
    }

    fn add(&mut self, value: &Value) {
        self.0.add(value);
    }

    fn remove(&mut self, value: &Value) {
        self.0.remove(value);
    }

    fn summary(&self) -> Value {
        Value::from(self.0.len() as i64)
    }

    fn ordered(&mut self) -> Option<&mut Ordered> {
        Some(&mut self.0)
    }

    fn held(&self) -> usize {
        self.0.len()
    }
}

/// Each value that is there, and how many there are.
#[derive(Default)]
struct DifferentOfAll {
    different: Ordered,
    all: usize,
}

pub(super) fn percent_unique(_: &Value) -> Box<dyn Kernel> {
    Box::<DifferentOfAll>::default()
}

impl Kernel for DifferentOfAll {
    fn kept(&self) -> &'static str {
        super::ORDERED
    }

    fn add(&mut self, value: &Value) {
        self.different.add(value);
        self.all += 1;
    }

    fn remove(&mut self, value: &Value) {
        self.different.remove(value);
        self.all -= 1;
    }

    fn summary(&self) -> Value {
        share(self.different.len(), self.all)
    }

    fn held(&self) -> usize {
        self.different.len()
    }
}
