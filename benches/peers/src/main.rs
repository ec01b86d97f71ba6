//! Question: how fast is a schema that is known only at run time, beside engines whose program is known when they are built?
//!
//! The work is one of two. *Orders* have an amount and a quantity; an order's total is a formula of both, a customer's sum is
//! that of the totals of ten orders in the mean, the score is a formula of the sum, and each order looks up the score of its
//! customer. *Ledger* sums up a hundred lines by account in seven ways. Amounts are changed at random, and of the ledger's
//! one in ten that is the largest of its account becomes a small one, in batches of several sizes; after each batch every
//! peer has told its consumer all that changed, and the consumer has taken it in. In the end the consumers' tables must be
//! those of a computation from scratch.
//!
//! Batches are made before the clock starts; those for dbsp and PostgreSQL then have each row once, with its last amount.
//!
//! Each peer runs with one worker. Batches of all sizes go to each peer in turn, so that the machine's moods meet all.

mod differential;
mod engine;
mod feldera;
mod postgres;
mod recompute;
#[path = "../../recorder.rs"]
#[allow(dead_code, reason = "the harnesses use more of it")]
mod recorder;
mod workload;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};

use workload::{Peer, Tables, Told, Work, Workload};

#[global_allocator]
static ALLOCATOR: decidr_allocator::Allocator = decidr_allocator::Allocator;

/// The same work on several engines, side by side.
#[derive(Parser)]
struct Options {
    /// What is computed; both, one after the other, if it is left out.
    #[arg(long)]
    work: Option<Work>,
    /// How consumers of dbsp and of differential are told what changed; both, one after the other, if it is left out. decidr
    /// tells rows, PostgreSQL and the recomputation keep rows and tell columns.
    #[arg(long)]
    told: Option<Told>,
    /// How many orders or lines.
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// How long each peer works on each size of batch, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many updates are in a batch.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000,10000")]
    batches: Vec<usize>,
    /// Only peers whose name contains this.
    #[arg(default_value = "")]
    peer: String,
}

/// How often the peers take turns at one size of batch.
const TURNS: u32 = 5;

/// A peer's figures for one size of batch.
struct Figures {
    updates: usize,
    busy: Duration,
    times: Histogram<u64>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let works = options.work.map_or_else(|| vec![Work::Orders, Work::Ledger], |work| vec![work]);
    let ways = options.told.map_or_else(|| vec![Told::Rows, Told::Columns], |told| vec![told]);
    let all = works.into_iter().flat_map(|work| ways.iter().map(move |told| (work, *told)));
    let report = all.map(|(work, told)| run(work, told, &options)).collect::<anyhow::Result<Vec<Json>>>()?;
    println!("{}", Json::Array(report));
    Ok(())
}

/// One work on all peers.
fn run(work: Work, told: Told, options: &Options) -> anyhow::Result<Json> {
    let workload = Workload::new(work, told, options.rows);
    let what = format!("{work:?}, {told:?} told").to_lowercase();
    let all: [(&str, fn(&Workload) -> anyhow::Result<Box<dyn Peer>>); 5] = [
        ("decidr", engine::start),
        ("dbsp", feldera::start),
        ("differential", differential::start),
        ("postgres", postgres::start),
        ("recompute", recompute::start),
    ];
    let mut peers = Vec::new();
    for (name, start) in all.into_iter().filter(|(name, _)| name.contains(&options.peer)) {
        let started = Instant::now();
        let peer = start(&workload)?;
        println!("{name:<14} {what}: loaded {} rows in {:.2} s", options.rows, started.elapsed().as_secs_f64());
        peers.push((name, peer, workload.updates()));
    }
    println!("{:<14} {:>7} {:>12} {:>12} {:>12}", "peer", "batch", "updates/s", "p50 µs", "p99 µs");
    let mut report = Vec::new();
    for size in &options.batches {
        let mut figures: Vec<_> = peers.iter().map(|_| Figures::new()).collect::<Result<_, _>>()?;
        for _ in 0..TURNS {
            for ((_, peer, updates), figures) in peers.iter_mut().zip(&mut figures) {
                let until = Instant::now() + Duration::from_secs_f64(options.seconds / f64::from(TURNS));
                while Instant::now() < until {
                    let batch: Vec<_> = updates.by_ref().take(*size).collect();
                    let batch = peer.prepare(&batch);
                    let start = Instant::now();
                    peer.apply(batch)?;
                    let taken = start.elapsed();
                    figures.updates += size;
                    figures.busy += taken;
                    figures.times.saturating_record(taken.as_nanos() as u64);
                }
            }
        }
        let first = figures.first().map_or(0.0, Figures::rate);
        for ((name, ..), figures) in peers.iter().zip(&figures) {
            let at = |quantile| figures.times.value_at_quantile(quantile) as f64 / 1000.0;
            let (rate, p50, p99) = (figures.rate(), at(0.5), at(0.99));
            println!("{name:<14} {size:>7} {rate:>12.0} {p50:>12.1} {p99:>12.1}");
            report
                .push(json!({ "peer": name, "batch": size, "per_second": rate, "p50_us": p50, "p99_us": p99, "decidr_is": first / rate }));
        }
    }
    for (name, peer, updates) in &mut peers {
        let expected = Tables::from_scratch(&workload, updates.made());
        let told = peer.tables().with_context(|| format!("{name} told nothing"))?;
        let wrong =
            |(told, expected): (&Vec<i64>, &Vec<i64>)| told.iter().zip(expected).filter(|(told, expected)| told != expected).count();
        for (column, tables) in work.columns().iter().zip(told.0.iter().zip(&expected.0)) {
            let wrong = wrong(tables);
            ensure!(wrong == 0, "{name} told its consumer {wrong} times a wrong {}", column.name);
        }
        println!(
            "{name:<14} told {} columns of {} rows or {} owners what they must be",
            told.0.len(),
            workload.rows.len(),
            workload.owners
        );
    }
    Ok(json!({ "work": what, "rows": options.rows, "figures": report }))
}

impl Figures {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { updates: 0, busy: Duration::ZERO, times: Histogram::new_with_bounds(1, 100_000_000_000, 3)? })
    }

    fn rate(&self) -> f64 {
        self.updates as f64 / self.busy.as_secs_f64()
    }
}
