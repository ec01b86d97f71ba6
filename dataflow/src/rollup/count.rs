//! COUNT: one number.

use decidr_domain::value::Value;

use super::Kernel;

struct Count(i64);

pub(super) fn kernel(_: &Value) -> Box<dyn Kernel> {
    Box::new(Count(0))
}

impl Kernel for Count {
    fn kept(&self) -> &'static str {
        super::COUNTS
    }

    fn add(&mut self, value: &Value) {
        self.0 += i64::from(!value.is_blank());
    }

    fn remove(&mut self, value: &Value) {
        self.0 -= i64::from(!value.is_blank());
    }

    fn summary(&self) -> Value {
        Value::from(self.0)
    }
}
