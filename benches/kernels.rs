//! Question: what does one change cost the kernel of a rollup, by how large the group is? Unit: time for one value that goes,
//! one that comes, and the summary.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use decidr_dataflow::RollupGroup;
use decidr_domain::rollup::{Argument, ROLLUPS};
use decidr_domain::value::Value;

/// How many values are in a group.
const SIZES: [i64; 3] = [10, 1_000, 100_000];

fn kernels(c: &mut Criterion) {
    // Where the order of the values matters they are listed and summarised anew.
    for rollup in ROLLUPS.iter().filter(|rollup| !rollup.order_matters) {
        let argument = match rollup.argument {
            Argument::None | Argument::Separator => Value::Blank,
            Argument::Share => Value::number("0.9".parse().expect("this is a number")),
            Argument::Count => Value::from(3),
        };
        let value = |n: i64| {
            let value = Value::from(n * 7_919 % 10_007);
            if rollup.is_weighted() { Value::List([value, Value::from(n % 5 + 1)].into()) } else { value }
        };
        let mut group = c.benchmark_group(rollup.name);
        for size in SIZES {
            let mut kept = RollupGroup::new(rollup, &argument);
            (0..size).for_each(|n| kept.add(&value(n)));
            let mut next = 0;
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter(|| {
                    kept.remove(&value(next));
                    kept.add(&value(next + size));
                    next += 1;
                    black_box(kept.summary())
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
