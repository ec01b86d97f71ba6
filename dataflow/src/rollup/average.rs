//! AVERAGE: an exact accumulator and how many numbers are in it.

use decidr_domain::exact::ExactSum;
use decidr_domain::rollup::average::shown;
use decidr_domain::value::Value;

use super::Kernel;

#[derive(Default)]
struct Average {
    sum: ExactSum,
    count: u64,
}

pub(super) fn kernel(_: &Value) -> Box<dyn Kernel> {
    Box::<Average>::default()
}

impl Kernel for Average {
    fn kept(&self) -> &'static str {
        super::SUMS
    }

    fn add(&mut self, value: &Value) {
        if let Value::Number(number) = value {
            self.sum.add(*number);
            self.count += 1;
        }
    }

    fn remove(&mut self, value: &Value) {
        if let Value::Number(number) = value {
            self.sum.subtract(*number);
            self.count -= 1;
        }
    }

    fn summary(&self) -> Value {
        shown(&self.sum, self.count)
    }
}
