//! MEDIAN, PERCENTILE: numbers in order, found by rank.
//!
//! The numbers stand in sorted runs of bounded length, so that one that comes or goes moves no more than a run, and a rank
//! is found by walking over the runs' lengths: a few thousand steps for a million numbers.

use decidr_domain::exact::Decimal;
use decidr_domain::rollup::spread::share_of;
use decidr_domain::statistics::{at_share, middle};
use decidr_domain::value::Value;

use super::Kernel;

/// How long a run becomes before it is cut in two.
const RUN_MAX: usize = 512;

/// A sorted multiset of numbers.
#[derive(Default)]
struct Runs {
    runs: Vec<Vec<Decimal>>,
    count: usize,
}

impl Runs {
    /// The run that `number` belongs to.
    fn run_of(&self, number: Decimal) -> usize {
        let after = self.runs.partition_point(|run| run.last().is_some_and(|last| *last < number));
        after.min(self.runs.len().saturating_sub(1))
    }

    fn add(&mut self, number: Decimal) {
        self.count += 1;
        if self.runs.is_empty() {
            self.runs.push(Vec::new());
        }
        let place = self.run_of(number);
        let run = &mut self.runs[place];
        run.insert(run.partition_point(|there| *there < number), number);
        if run.len() > RUN_MAX {
            let rest = run.split_off(RUN_MAX / 2);
            self.runs.insert(place + 1, rest);
        }
    }

    fn remove(&mut self, number: Decimal) {
        let place = self.run_of(number);
        let Some(run) = self.runs.get_mut(place) else { return };
        let at = run.partition_point(|there| *there < number);
        let found = run.get(at) == Some(&number);
        debug_assert!(found, "only what was added is removed");
        if found {
            run.remove(at);
            self.count -= 1;
            if run.is_empty() {
                self.runs.remove(place);
            }
        }
    }

    fn at(&self, mut rank: usize) -> Option<Decimal> {
        for run in &self.runs {
            match run.get(rank) {
                Some(number) => return Some(*number),
                None => rank -= run.len(),
            }
        }
        None
    }
}

struct Ranked {
    numbers: Runs,
    /// The share below which the summary lies; the middle without one.
    share: Option<Decimal>,
}

pub(super) fn median(_: &Value) -> Box<dyn Kernel> {
    Box::new(Ranked { numbers: Runs::default(), share: None })
}

pub(super) fn percentile(argument: &Value) -> Box<dyn Kernel> {
    Box::new(Ranked { numbers: Runs::default(), share: Some(share_of(argument)) })
}

impl Kernel for Ranked {
    fn kept(&self) -> &'static str {
        "the numbers in sorted runs, in which one is found by its rank"
    }

    fn add(&mut self, value: &Value) {
        if let Value::Number(number) = value {
            self.numbers.add(*number);
        }
    }

    fn remove(&mut self, value: &Value) {
        if let Value::Number(number) = value {
            self.numbers.remove(*number);
        }
    }

    fn summary(&self) -> Value {
        let at = |rank| self.numbers.at(rank);
        let found = match self.share {
            None => middle(self.numbers.count, at),
            Some(share) => at_share(self.numbers.count, share, at),
        };
        found.map_or(Value::Blank, Value::number)
    }

    fn held(&self) -> usize {
        self.numbers.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_right_across_many_runs() {
        let (mut kernel, mut there) = (median(&Value::Blank), Vec::new());
        let mut state = 1_u64;
        for step in 0..6_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = Decimal::from(state >> 54);
            // It grows to thousands, and shrinks to nothing.
            if step < 3_500 && state >> 33 & 3 != 0 || there.is_empty() {
                kernel.add(&Value::number(number));
                there.push(number);
            } else {
                let number = there.swap_remove((state >> 20) as usize % there.len());
                kernel.remove(&Value::number(number));
            }
            if step % 97 == 0 {
                assert_eq!(kernel.summary(), decidr_domain::statistics::median(there.clone()).map_or(Value::Blank, Value::number));
            }
        }
    }
}
