//! RANGE: the ends of an ordered multiset.

use decidr_domain::rollup::spread::range;
use decidr_domain::value::Value;

use super::Kernel;
use super::ordered::Ordered;

#[derive(Default)]
struct Range(Ordered);

pub(super) fn kernel(_: &Value) -> Box<dyn Kernel> {
    Box::<Range>::default()
}

impl Kernel for Range {
    fn add(&mut self, value: &Value) {
        self.0.add(value);
    }

    fn remove(&mut self, value: &Value) {
        self.0.remove(value);
    }

    fn summary(&self) -> Value {
        self.0.first().zip(self.0.last()).map_or(Value::Blank, |(least, most)| range(&least, &most))
    }

    fn ordered(&mut self) -> Option<&mut Ordered> {
        Some(&mut self.0)
    }

    fn held(&self) -> usize {
        self.0.len()
    }
}
