//! RANGE, RANGE_MONTHS: the ends of an ordered multiset.

use decidr_domain::rollup::spread;
use decidr_domain::value::Value;

use super::Kernel;
use super::ordered::Ordered;

/// What lies between the least and the most.
struct Range {
    values: Ordered,
    shown: fn(&Value, &Value) -> Value,
}

pub(super) fn kernel(_: &Value) -> Box<dyn Kernel> {
    Box::new(Range { values: Ordered::default(), shown: spread::range })
}

pub(super) fn months(_: &Value) -> Box<dyn Kernel> {
    Box::new(Range { values: Ordered::default(), shown: spread::months })
}

impl Kernel for Range {
    fn kept(&self) -> &'static str {
        super::ORDERED
    }

    fn add(&mut self, value: &Value) {
        self.values.add(value);
    }

    fn remove(&mut self, value: &Value) {
        self.values.remove(value);
    }

    fn summary(&self) -> Value {
        self.values.first().zip(self.values.last()).map_or(Value::Blank, |(least, most)| (self.shown)(&least, &most))
    }

    fn ordered(&mut self) -> Option<&mut Ordered> {
        Some(&mut self.values)
    }

    fn held(&self) -> usize {
        self.values.len()
    }
}
