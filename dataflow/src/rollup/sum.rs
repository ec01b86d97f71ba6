//! SUM: an exact accumulator, from which a retraction takes out just what went in.

use decidr_domain::exact::ExactSum;
use decidr_domain::rollup::sum::shown;
use decidr_domain::value::Value;

use super::Kernel;

#[derive(Default)]
struct Sum(ExactSum);

pub(super) fn kernel(_: &Value) -> Box<dyn Kernel> {
    Box::<Sum>::default()
}

impl Kernel for Sum {
    fn kept(&self) -> &'static str {
        super::SUMS
    }

    fn add(&mut self, value: &Value) {
        if let Value::Number(number) = value {
            self.0.add(*number);
        }
    }

    fn remove(&mut self, value: &Value) {
        if let Value::Number(number) = value {
            self.0.subtract(*number);
        }
    }

    fn summary(&self) -> Value {
        shown(&self.0)
    }
}
