//! Question: what does it cost to write messages between processes and to read them again, by codec?
//!
//! What is written are contributions as they go from a source to a host. Each codec writes a thousand into a buffer that is
//! used again, and reads all of them; reading ends with a sum over what was read, so that nothing is left undone.

use std::hint::black_box;

use abomonation_derive::Abomonation;
use columnar::bytes::indexed;
use columnar::{Borrow as _, BorrowedOf, Clear as _, Columnar, FromBytes as _, Index as _, Len as _, Push as _};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};

/// A contribution in plain parts.
#[derive(Clone, Serialize, Deserialize, Columnar, Abomonation)]
struct Contribution {
    host: (u64, u64),
    attribute: (u64, u64),
    source: (u64, u64),
    old: Option<i64>,
    new: Option<i64>,
    text: String,
}

const COUNT: u64 = 1_000;

fn contributions() -> Vec<Contribution> {
    let one = |n: u64| Contribution {
        host: (n, n * 7),
        attribute: (1, 2),
        source: (n * 3, n),
        old: (n % 3 > 0).then_some(n as i64),
        new: Some(n as i64 + 1),
        text: if n.is_multiple_of(4) { format!("flight {n}") } else { String::new() },
    };
    (0..COUNT).map(one).collect()
}

/// What is made of what was read.
fn sum<'a>(all: impl Iterator<Item = &'a Contribution>) -> u64 {
    all.map(|one| one.host.1 ^ one.new.unwrap_or(0) as u64 ^ one.text.len() as u64).fold(0, u64::wrapping_add)
}

fn codecs(criterion: &mut Criterion) {
    let all = contributions();
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(COUNT));

    let mut bytes = Vec::new();
    group.bench_function("bincode/write", |bench| {
        bench.iter(|| {
            bytes.clear();
            bincode::serialize_into(&mut bytes, &all).expect("a vector takes what is written");
        });
    });
    println!("bincode: {} bytes each", bytes.len() as u64 / COUNT);
    group.bench_function("bincode/read", |bench| {
        bench.iter(|| {
            let read: Vec<Contribution> = bincode::deserialize(&bytes).expect("it was written above");
            black_box(sum(read.iter()))
        });
    });

    let mut words = Vec::new();
    let mut container = <Contribution as Columnar>::Container::default();
    group.bench_function("columnar/write", |bench| {
        bench.iter(|| {
            container.clear();
            all.iter().for_each(|one| container.push(one));
            words.clear();
            indexed::encode(&mut words, &container.borrow());
        });
    });
    println!("columnar: {} bytes each", words.len() as u64 * 8 / COUNT);
    group.bench_function("columnar/read", |bench| {
        bench.iter(|| {
            let read = BorrowedOf::<'_, Contribution>::from_bytes(&mut indexed::decode(&words));
            let one = |n: usize| {
                let one = read.get(n);
                *one.host.1 ^ one.new.copied().unwrap_or(0) as u64 ^ one.text.len() as u64
            };
            black_box((0..read.len()).map(one).fold(0, u64::wrapping_add))
        });
    });

    let mut bytes = Vec::new();
    group.bench_function("abomonation/write", |bench| {
        bench.iter(|| {
            bytes.clear();
            // SAFETY: its contract cannot be met by any type with padding, which is why nothing but this bench uses it; the
            // bytes are read by this program, and only below.
            unsafe { abomonation::encode(&all, &mut bytes) }.expect("a vector takes what is written");
        });
    });
    println!("abomonation: {} bytes each", bytes.len() as u64 / COUNT);
    group.bench_function("abomonation/read", |bench| {
        // Reading changes the bytes: pointers are put where they lead to.
        bench.iter_batched_ref(
            || bytes.clone(),
            |bytes| {
                // SAFETY: written above, by the same program.
                let read = unsafe { abomonation::decode::<Vec<Contribution>>(bytes) };
                black_box(read.map(|(read, _)| sum(read.iter())))
            },
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, codecs);
criterion_main!(benches);
