//! VAR, VARP, STDEV, STDEVP: the exact sums of the numbers and of their squares.

use decidr_domain::exact::ExactSquares;
use decidr_domain::rollup::spread::{deviation, variance};
use decidr_domain::value::Value;

use super::Kernel;

struct Spread {
    squares: ExactSquares,
    shown: fn(&ExactSquares) -> Value,
}

fn kernel(shown: fn(&ExactSquares) -> Value) -> Box<dyn Kernel> {
    Box::new(Spread { squares: ExactSquares::default(), shown })
}

pub(super) fn var(_: &Value) -> Box<dyn Kernel> {
    kernel(|squares| variance(squares, 1))
}

pub(super) fn varp(_: &Value) -> Box<dyn Kernel> {
    kernel(|squares| variance(squares, 0))
}

pub(super) fn stdev(_: &Value) -> Box<dyn Kernel> {
    kernel(|squares| deviation(squares, 1))
}

pub(super) fn stdevp(_: &Value) -> Box<dyn Kernel> {
    kernel(|squares| deviation(squares, 0))
}

impl Kernel for Spread {
    fn kept(&self) -> &'static str {
        super::SUMS
    }

    fn add(&mut self, value: &Value) {
        if let Value::Number(number) = value {
            self.squares.add(*number);
        }
    }

    fn remove(&mut self, value: &Value) {
        if let Value::Number(number) = value {
            self.squares.subtract(*number);
        }
    }

    fn summary(&self) -> Value {
        (self.shown)(&self.squares)
    }
}
