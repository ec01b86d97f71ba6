//! Question: what does one change cost a kernel, by how much it holds? Unit: for rollups and lists the time for one value that
//! goes, one that comes, and the summary; for the graphs of self-links the time for one link that is moved and moved back, and
//! what follows from each.

use std::hint::black_box;

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use decidr_dataflow::RollupGroup;
use decidr_dataflow::kernels::{ClosureKernel, SequenceKernel, TopologyKernel};
use decidr_domain::formula::{Attributes, Expression, Program, Resolved, Type};
use decidr_domain::id::{AttributeId, EntityId};
use decidr_domain::rollup::{Argument, ROLLUPS, Rollup};
use decidr_domain::schema::{Collect, Finish, SortColumn};
use decidr_domain::value::Value;
use uuid::Uuid;

/// How many values are in a group.
const SIZES: [i64; 3] = [10, 1_000, 100_000];

fn kernels(c: &mut Criterion) {
    // Where the order of the values matters they are kept otherwise: below.
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

fn id(n: i64) -> EntityId {
    EntityId(Uuid::from_u128(n as u128))
}

/// The column by which contributions are sorted and filtered.
struct Column;

impl Attributes for Column {
    fn resolve(&self, _: &str) -> Resolved {
        Resolved::Attribute(AttributeId(Uuid::nil()), Type::Number)
    }
    fn names(&self) -> Vec<String> {
        vec!["n".to_owned()]
    }
}

/// Contributions in an order, of which all, a few or one end count; and those that wait for a filter that looks at the host.
fn sequences(c: &mut Criterion) {
    let column = vec![AttributeId(Uuid::nil())];
    let plain = |finish: Finish| Collect { columns: column.clone(), filter: None, sort: Vec::new(), limit: None, finish };
    let rollup = |name: &str| Finish::Rollup(Rollup::find(name).expect("there is such a rollup"), Value::Blank);
    let filter = || -> Program { Expression::from_user("{n} > 500", &Column).expect("the filter is right").1 };
    let first = vec![SortColumn { column: 0, descending: true, options: Vec::new() }];
    let cases = [
        ("list", plain(Finish::List)),
        ("ten newest", Collect { sort: first, limit: Some(10), ..plain(Finish::List) }),
        ("FIRST", plain(rollup("FIRST"))),
        ("UNIQUE", plain(rollup("UNIQUE"))),
        ("JOIN", plain(rollup("JOIN"))),
        ("filtered SUM", Collect { filter: Some(filter()), ..plain(rollup("SUM")) }),
    ];
    let row = |n: i64| Some(Value::List([Value::from(n * 7_919 % 10_007), Value::from(n * 31 % 1_009)].into()));
    let host = |_| Value::Blank;
    for (name, collect) in cases {
        let collect = Arc::new(collect);
        let mut group = c.benchmark_group(name);
        for size in SIZES {
            let mut kept = SequenceKernel::new(&collect);
            (0..size).for_each(|n| kept.take_in(id(n), &None, &row(n)));
            kept.summary(&host);
            let mut next = 0;
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter(|| {
                    kept.take_in(id(next), &row(next), &None);
                    kept.take_in(id(next + size), &None, &row(next + size));
                    next += 1;
                    black_box(kept.summary(&host))
                });
            });
            if collect.filter.is_some() {
                group.bench_function(BenchmarkId::new("the host changed", size), |b| {
                    b.iter(|| {
                        kept.host_changed();
                        black_box(kept.summary(&host))
                    });
                });
            }
        }
        group.finish();
    }
}

/// Trees in which ten lie below each: a leaf that goes elsewhere, and a circle that closes and opens.
fn graphs(c: &mut Criterion) {
    let parent = |n: i64| if n == 0 { vec![] } else { vec![id((n - 1) / 10)] };
    let mut group = c.benchmark_group("closure");
    for size in SIZES {
        let mut closure = ClosureKernel::default();
        (0..size).for_each(|n| closure.take_in(id(n), parent(n)));
        closure.changes();
        group.bench_function(BenchmarkId::new("a leaf moved", size), |b| {
            b.iter(|| {
                closure.take_in(id(size - 1), vec![id(0)]);
                let away = closure.changes();
                closure.take_in(id(size - 1), parent(size - 1));
                black_box(away + closure.changes())
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("topology");
    for size in SIZES {
        let mut topology = TopologyKernel::default();
        (0..size).for_each(|n| topology.take_in(id(n), parent(n)));
        topology.changes();
        group.bench_function(BenchmarkId::new("a leaf moved", size), |b| {
            b.iter(|| {
                topology.take_in(id(size - 1), vec![id(0)]);
                let away = topology.changes();
                topology.take_in(id(size - 1), parent(size - 1));
                black_box((away, topology.changes()))
            });
        });
        let mut topology = TopologyKernel::default();
        (0..size).for_each(|n| topology.take_in(id(n), parent(n)));
        topology.changes();
        // The root below a leaf: what lies between them is a circle.
        group.bench_function(BenchmarkId::new("a circle closed and opened", size), |b| {
            b.iter(|| {
                topology.take_in(id(0), vec![id(size - 1)]);
                let closed = topology.changes();
                topology.take_in(id(0), vec![]);
                black_box((closed, topology.changes()))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, kernels, sequences, graphs);
criterion_main!(benches);
