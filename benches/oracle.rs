//! Question: does what is computed incrementally ever differ from what is computed from scratch?
//!
//! Runs random histories until so many batches were compared, with one and with two workers in turn. Prints the extent; at
//! the first difference the seed of the history, which runs it again.

use std::panic::catch_unwind;
use std::time::Instant;

use clap::Parser;
use decidr_dataflow::oracle::histories::run;

/// Compares incremental with recomputed results over random histories.
#[derive(Parser)]
struct Options {
    /// The seed of the first history; each that follows has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many batches to compare, at least.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
}

/// A generator of words (splitmix64: Steele, Lea, Flood 2014).
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let started = Instant::now();
    let (mut seed, mut batches, mut events, mut histories, mut circular) = (options.seed, 0, 0, 0_u64, 0_u64);
    let (mut closures, mut matches, mut conversions) = (0, 0, 0);
    while batches < options.count {
        let mut words = Words(seed);
        let (length, pieces) = (100 + words.next() % 1_400, 1 + words.next() % 20);
        let splits = (0..pieces).map(|_| words.next() as u8).collect();
        let history = (0..length).map(|_| (words.next() >> 32) as u32).collect();
        let workers = 1 + (seed % 2) as usize;
        match catch_unwind(|| run(history, splits, workers)) {
            Ok(extent) => {
                (batches, events, histories) = (batches + extent.batches, events + extent.events, histories + 1);
                circular += u64::from(extent.cycles > 0);
                (closures, matches) = (closures + extent.closures, matches + extent.matches);
                conversions += extent.conversions;
            }
            Err(_) => anyhow::bail!("a difference: run again with --seed {seed} --count 1"),
        }
        seed += 1;
    }
    let report = serde_json::json!({
        "batches": batches, "histories": histories, "events": events, "with_circles": circular,
        "cells_through_closures": closures, "cells_through_matches": matches, "cells_converted": conversions, "differences": 0,
        "next_seed": seed, "seconds": started.elapsed().as_secs_f64(),
    });
    println!("{report}");
    Ok(())
}
