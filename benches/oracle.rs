//! Question: does what is computed incrementally ever differ from what is computed from scratch?
//!
//! Runs random histories until so many batches were compared, with one and with two workers in turn, or in several
//! processes. Prints the extent; at the first difference the seed of the history, which runs it again.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _, stdin, stdout};
use std::net::TcpListener;
use std::panic::catch_unwind;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, anyhow, ensure};
use clap::Parser;
use decidr_dataflow::oracle::cluster::{self, Barrier, Member, Next};
use decidr_dataflow::oracle::histories::{Extent, run};
use decidr_domain::rollup::{ROLLUPS, Rollup};

/// Compares incremental with recomputed results over random histories.
#[derive(Parser)]
struct Options {
    /// The seed of the first history; each that follows has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many batches to compare, at least.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// How many processes compute each history together.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    processes: u16,
    /// Which of them this is; the first starts the others.
    #[arg(long, default_value_t = 0, hide = true)]
    process: usize,
    /// Where they listen.
    #[arg(long, value_delimiter = ',', hide = true)]
    addresses: Vec<String>,
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

    /// What the history of a seed is made from, and how it is cut into batches.
    fn of_history(seed: u64) -> (Vec<u32>, Vec<u8>) {
        let mut words = Words(seed);
        let (length, pieces) = (100 + words.next() % 1_400, 1 + words.next() % 20);
        let splits = (0..pieces).map(|_| words.next() as u8).collect();
        ((0..length).map(|_| (words.next() >> 32) as u32).collect(), splits)
    }
}

/// In how many batches each rollup must have been compared at least once.
const BATCHES_OF_EACH: u64 = 20_000;

/// What another process says when it is through with a timestamp. The communication between them may say something else, of
/// connections that are not there yet.
const THROUGH: &str = "through";

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let started = Instant::now();
    let extents = match (options.processes, options.process) {
        (1, _) => alone(&options)?,
        (_, 0) => first(&options)?,
        _ => {
            // The first holds the other end until it ends, however it does.
            std::thread::spawn(|| {
                _ = stdin().read_to_end(&mut Vec::new());
                std::process::exit(1);
            });
            cluster(&options, Box::new(|| _ = writeln!(stdout(), "{THROUGH}").and_then(|()| stdout().flush())))?;
            return Ok(());
        }
    };
    let sum = |of: fn(&Extent) -> u64| extents.iter().map(of).sum::<u64>();
    let by_rollup = total(extents.iter().map(|extent| &extent.cells_by_rollup));
    let by_collections = |n| extents.iter().filter(|extent| extent.collections == n).count();
    let report = serde_json::json!({
        "processes": options.processes,
        "batches": sum(|extent| extent.batches),
        "histories": extents.len(),
        "histories_by_collections": (2..=6).map(|n| (n.to_string(), by_collections(n).into())).collect::<serde_json::Map<_, _>>(),
        "deepest": extents.iter().map(|extent| extent.depth).max(),
        "at_least_8_deep": extents.iter().filter(|extent| extent.depth >= 8).count(),
        "events": sum(|extent| extent.events),
        "events_by_type": total(extents.iter().map(|extent| &extent.events_by_type)),
        "commands_refused": sum(|extent| extent.refused),
        "attributes_by_kind": total(extents.iter().map(|extent| &extent.attributes_by_kind)),
        "cells_by_rollup": &by_rollup,
        "with_circles": sum(|extent| u64::from(extent.cycles > 0)),
        "cells_through_closures": sum(|extent| extent.closures),
        "cells_through_matches": sum(|extent| extent.matches),
        "cells_converted": sum(|extent| extent.conversions),
        "differences": 0,
        "next_seed": options.seed + extents.len() as u64,
        "seconds": started.elapsed().as_secs_f64(),
    });
    println!("{report}");
    let is_missing = |rollup: &&&Rollup| by_rollup.get(rollup.name).is_none_or(|cells| *cells == 0);
    let missing: Vec<_> = ROLLUPS.iter().filter(is_missing).map(|rollup| rollup.name).collect();
    ensure!(missing.is_empty() || sum(|extent| extent.batches) < BATCHES_OF_EACH, "these rollups were never compared: {missing:?}");
    Ok(())
}

/// The counts of all, added up.
fn total<'a, K: Ord + Clone + 'a>(counts: impl Iterator<Item = &'a BTreeMap<K, u64>>) -> BTreeMap<K, u64> {
    let mut out = BTreeMap::new();
    for (kind, count) in counts.flatten() {
        *out.entry(kind.clone()).or_default() += count;
    }
    out
}

/// In this process, with one and with two workers.
fn alone(options: &Options) -> anyhow::Result<Vec<Extent>> {
    let (mut extents, mut batches) = (Vec::new(), 0);
    while batches < options.count {
        let seed = options.seed + extents.len() as u64;
        let (words, splits) = Words::of_history(seed);
        let extent = catch_unwind(|| run(words, splits, 1 + (seed % 2) as usize))
            .map_err(|_| anyhow!("a difference: run again with --seed {seed} --count 1"))?;
        batches += extent.batches;
        extents.push(extent);
    }
    Ok(extents)
}

/// As the first of several processes: starts the others.
fn first(options: &Options) -> anyhow::Result<Vec<Extent>> {
    // Each is asked for while the others are held, so that they differ.
    let listeners: Vec<_> = (0..options.processes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let addresses: Vec<_> = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect::<std::io::Result<_>>()?;
    drop(listeners);
    let mut others = Vec::new();
    for process in 1..options.processes {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--addresses", &addresses.join(",")]);
        let numbers = [("--seed", options.seed), ("--count", options.count)];
        let places = [("--processes", options.processes.into()), ("--process", process.into())];
        for (name, value) in numbers.into_iter().chain(places) {
            command.args([name.to_owned(), value.to_string()]);
        }
        others.push(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("another process cannot be started")?);
    }
    let mut lines: Vec<_> = others.iter_mut().filter_map(|other| Some(BufReader::new(other.stdout.take()?))).collect();
    let barrier = move || {
        for (line, process) in lines.iter_mut().zip(1..) {
            let mut word = String::new();
            while word.trim_end() != THROUGH {
                word.clear();
                let read = line.read_line(&mut word);
                assert!(read.is_ok_and(|read| read > 0), "process {process} ended before it was through with a timestamp");
            }
        }
    };
    let options = Options { addresses, ..*options };
    let extents = cluster(&options, Box::new(barrier))?;
    for mut other in others {
        // The wait would close it first.
        let _held = other.stdin.take();
        let status = other.wait()?;
        ensure!(status.success(), "another process ended with {status}");
    }
    Ok(extents)
}

fn cluster(options: &Options, barrier: Barrier) -> anyhow::Result<Vec<Extent>> {
    let (seed, count) = (options.seed, options.count);
    let next: Next = Box::new(move |extents| {
        let is_enough = extents.iter().map(|extent| extent.batches).sum::<u64>() >= count;
        (!is_enough).then(|| Words::of_history(seed + extents.len() as u64))
    });
    let member = Member { process: options.process, addresses: options.addresses.clone() };
    cluster::run(member, next, barrier).map_err(|message| anyhow!("{message}; run again with --seed {seed} --count {count}"))
}
