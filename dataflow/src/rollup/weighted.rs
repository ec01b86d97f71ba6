//! WEIGHTED_AVERAGE: the exact sums of the weighted numbers and of the weights.

use decidr_domain::exact::ExactMean;
use decidr_domain::rollup::weighted::{pair, shown};
use decidr_domain::value::Value;

use super::Kernel;

#[derive(Default)]
struct Weighted(ExactMean);

pub(super) fn kernel(_: &Value) -> Box<dyn Kernel> {
    Box::<Weighted>::default()
}

impl Kernel for Weighted {
    fn kept(&self) -> &'static str {
        super::SUMS
    }

    fn add(&mut self, value: &Value) {
        if let Some((number, weight)) = pair(value) {
            self.0.add(number, weight);
        }
    }

    fn remove(&mut self, value: &Value) {
        if let Some((number, weight)) = pair(value) {
            self.0.subtract(number, weight);
        }
    }

    fn summary(&self) -> Value {
        shown(&self.0)
    }
}
