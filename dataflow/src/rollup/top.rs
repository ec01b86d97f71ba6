//! TOP: the largest of an ordered multiset, as many as are asked for.

use decidr_domain::rollup::order::count_of;
use decidr_domain::value::Value;

use super::Kernel;
use super::ordered::Ordered;

struct Top {
    count: usize,
    values: Ordered,
}

pub(super) fn kernel(argument: &Value) -> Box<dyn Kernel> {
    Box::new(Top { count: count_of(argument), values: Ordered::default() })
}

impl Kernel for Top {
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
        Value::list(self.values.largest_first().take(self.count))
    }

    fn ordered(&mut self) -> Option<&mut Ordered> {
        Some(&mut self.values)
    }

    fn held(&self) -> usize {
        self.values.len()
    }
}
