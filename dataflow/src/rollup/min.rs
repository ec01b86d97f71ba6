//! MIN: the smallest of an ordered multiset, so that taking the smallest out costs no more than any other.

use decidr_domain::value::Value;

use super::Kernel;
use super::ordered::Ordered;

#[derive(Default)]
struct Min(Ordered);

pub(super) fn kernel(_: &Value) -> Box<dyn Kernel> {
    Box::<Min>::default()
}

impl Kernel for Min {
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
        self.0.first().unwrap_or_default()
    }

    fn ordered(&mut self) -> Option<&mut Ordered> {
        Some(&mut self.0)
    }

    fn held(&self) -> usize {
        self.0.len()
    }
}
