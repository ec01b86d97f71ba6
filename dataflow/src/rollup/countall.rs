//! COUNTALL: one number.

use decidr_domain::value::Value;

use super::Kernel;

struct CountAll(i64);

pub(super) fn kernel(_: &Value) -> Box<dyn Kernel> {
    Box::new(CountAll(0))
}

impl Kernel for CountAll {
    fn kept(&self) -> &'static str {
        super::COUNTS
    }

    fn add(&mut self, _: &Value) {
        self.0 += 1;
    }

    fn remove(&mut self, _: &Value) {
        self.0 -= 1;
    }

    fn summary(&self) -> Value {
        Value::from(self.0)
    }
}
