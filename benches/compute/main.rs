//! Question: how long does it take until what follows from a change has been computed, and a subscriber has it?
//!
//! Each product case fills a platform of its own (a log on disk, every commit synced), changes something, and waits for the
//! delta. Times are from sending the command, the commit included. What comes out is compared with what must.
//!
//! W1 to W6 are the workloads by which such engines are compared; they are in [`workloads`]. W5 is about the API.

mod circle;
mod crm;
mod crowd;
mod division;
mod elsewhere;
mod hierarchy;
mod ledger;
mod live;
mod memory;
mod ordered;
mod plots;
mod social;
mod start;
mod tenants;
mod tree;
mod walks;
mod workloads;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;
use benches::{Bench, Times, formula, link, number, rollup, set};
use clap::Parser;
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::value::Value;
use elsewhere::Elsewhere;
use ledger::Spread;
use plots::Curve;
use serde_json::{Value as Json, json};
use workloads::Figures;

#[global_allocator]
static ALLOCATOR: decidr_allocator::Allocator = decidr_allocator::Allocator;

/// How long until what follows from a change is computed and delivered.
#[derive(Parser)]
struct Options {
    /// Dataflow workers.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Only cases whose name contains this.
    #[arg(default_value = "")]
    case: String,
    /// So many times smaller.
    #[arg(long, default_value_t = 1)]
    smaller: usize,
    /// A folder to draw the figures into.
    #[arg(long)]
    plots: Option<PathBuf>,
}

/// What is drawn.
#[derive(Default)]
struct Drawn {
    rates: Vec<Curve>,
    tails: Vec<Curve>,
}

/// A line of the table.
struct Line {
    case: &'static str,
    what: String,
    milliseconds: Vec<(&'static str, f64)>,
    /// How long the slowest took, if there were several.
    tail: Vec<(f64, f64)>,
}

fn latency(case: &'static str, what: String, times: &Times) -> Line {
    Line { case, what, milliseconds: vec![("p50", times.at(0.5)), ("p99", times.at(0.99)), ("max", times.at(1.0))], tail: times.tail() }
}

fn once(case: &'static str, what: String, start: Instant) -> Line {
    Line { case, what, milliseconds: vec![("all", start.elapsed().as_secs_f64() * 1000.0)], tail: Vec::new() }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut lines = Vec::new();
    for (name, run) in CASES {
        if name.contains(&options.case) {
            let bench = Bench::start(options.workers).await?;
            let before = lines.len();
            run(&bench, options.smaller, &mut lines).await?;
            for line in &lines[before..] {
                let times: Vec<_> = line.milliseconds.iter().map(|(name, ms)| format!("{name} {ms:>9.2}")).collect();
                println!("{:<10} {:<72} {} ms", line.case, line.what, times.join("  "));
            }
        }
    }
    let mut drawn = Drawn::default();
    for line in lines.iter().filter(|line| line.tail.len() > 1) {
        drawn.tails.push(Curve { name: format!("{} {}", line.case, line.what), points: line.tail.clone() });
    }
    let workloads = run_workloads(&options, &mut drawn).await?;
    if let Some(folder) = &options.plots {
        plots::draw(folder, &drawn.rates, &drawn.tails)?;
    }
    let cases: Vec<Json> = lines
        .iter()
        .map(|line| {
            let times: serde_json::Map<String, Json> = line.milliseconds.iter().map(|(name, ms)| ((*name).to_owned(), json!(ms))).collect();
            json!({ "case": line.case, "what": line.what, "ms": times })
        })
        .collect();
    println!("{}", json!({ "workers": options.workers, "smaller": options.smaller, "cases": cases, "workloads": workloads }));
    Ok(())
}

/// The workloads that are asked for, one after the other.
async fn run_workloads(options: &Options, drawn: &mut Drawn) -> anyhow::Result<Vec<Json>> {
    let (mut out, smaller, workers) = (Vec::new(), options.smaller, options.workers);
    let mut told = |name: &str, (what, figures): (String, Figures)| {
        let rates: Vec<_> = figures.rates.iter().map(|(size, rate)| format!("{size}: {rate:.0}")).collect();
        let (p50, p99) = figures.times.as_ref().map(|times| times.due.middle_and_end()).unwrap_or_default();
        let (sent_p50, sent_p99) = figures.times.as_ref().map(|times| times.sent.middle_and_end()).unwrap_or_default();
        println!("{name:<10} {what}");
        println!("           updates/s in batches of {}; {:.1} rows each", rates.join(", "), figures.rows);
        println!("           on a schedule p50 {p50:.2}  p99 {p99:.2} ms; from when it was sent p50 {sent_p50:.2}  p99 {sent_p99:.2} ms");
        let tail = figures.times.as_ref().map(|times| times.due.tail()).unwrap_or_default();
        drawn.tails.push(Curve { name: format!("{name} {what}"), points: tail });
        drawn.rates.push(Curve { name: name.to_owned(), points: figures.rates.iter().map(|(size, rate)| (*size as f64, *rate)).collect() });
        let rates: serde_json::Map<String, Json> = figures.rates.iter().map(|(size, rate)| (size.to_string(), json!(rate))).collect();
        out.push(json!({
            "workload": name, "what": what, "updates_per_second": rates, "rows_per_update": figures.rows,
            "ms": { "p50": p50, "p99": p99 }, "ms_from_sent": { "p50": sent_p50, "p99": sent_p99 },
        }));
    };
    let wanted = |name: &str| name.contains(&options.case);
    if wanted("W1") {
        told("W1", crm::run(smaller, workers).await?);
    }
    for (name, spread) in [("W2a", Spread::Even), ("W2b", Spread::One), ("W2c", Spread::Zipf)] {
        if wanted(name) {
            told(name, ledger::run(smaller, workers, spread).await?);
        }
    }
    for depth in [1, 2, 4, 8, 16] {
        if wanted("W3i") {
            told("W3i", hierarchy::chain(smaller, workers, depth).await?);
        }
    }
    if wanted("W3ii") {
        told("W3ii", hierarchy::tree(smaller, workers).await?);
    }
    if wanted("W3iii") {
        told("W3iii", hierarchy::circles(smaller, workers).await?);
    }
    if wanted("W4") {
        told("W4", social::run(smaller, workers).await?);
    }
    if wanted("W6") {
        let cost = tenants::run(smaller, workers)?;
        let (p50, p99) = cost.times.due.middle_and_end();
        drawn.tails.push(Curve { name: format!("W6 {}", cost.what), points: cost.times.due.tail() });
        println!("{:<10} {}", "W6", cost.what);
        println!("           {:.0} bytes each, {:.2} % of a processor idle; p50 {p50:.2}  p99 {p99:.2} ms", cost.bytes, cost.idle * 100.0);
        out.push(
            json!({ "workload": "W6", "what": cost.what, "bytes_per_tenant": cost.bytes, "idle": cost.idle, "ms": { "p50": p50, "p99": p99 } }),
        );
    }
    if wanted("memory") {
        let memory::Memory { what, all, arrangements } = memory::run(smaller, workers)?;
        let each: Vec<_> = arrangements.iter().map(|(name, bytes)| format!("{name} {bytes:.0}")).collect();
        println!("{:<10} {what}", "memory");
        println!("           {all:.0} bytes each in all; by arrangement {}", each.join(", "));
        let each: serde_json::Map<String, Json> = arrangements.iter().map(|(name, bytes)| ((*name).to_owned(), json!(bytes))).collect();
        out.push(json!({ "workload": "memory", "what": what, "bytes_per_entity": all, "bytes_per_entity_by_arrangement": each }));
    }
    Ok(out)
}

type Run = for<'a> fn(&'a Bench, usize, &'a mut Vec<Line>) -> std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

const CASES: &[(&str, Run)] = &[
    ("chain", |bench, smaller, lines| Box::pin(chain(bench, smaller, lines))),
    ("fanout", |bench, smaller, lines| Box::pin(fanout(bench, smaller, lines))),
    ("matching", |bench, smaller, lines| Box::pin(matching(bench, smaller, lines))),
    ("linking", |bench, smaller, lines| Box::pin(linking(bench, smaller, lines))),
    ("formula", |bench, smaller, lines| Box::pin(new_formula(bench, smaller, lines))),
    ("tree", |bench, smaller, lines| Box::pin(tree::run(bench, smaller, lines))),
    ("path", |bench, smaller, lines| Box::pin(tree::path(bench, smaller, lines))),
    ("circle", |bench, smaller, lines| Box::pin(circle::run(bench, smaller, lines))),
    ("group", |bench, smaller, lines| Box::pin(group(bench, smaller, lines))),
    ("ordered", |bench, smaller, lines| Box::pin(ordered::run(bench, smaller, lines))),
    ("deep", |bench, _, lines| Box::pin(deep(bench, lines))),
    ("rollup", |bench, smaller, lines| Box::pin(new_rollup(bench, smaller, lines))),
    ("division", |bench, smaller, lines| Box::pin(division::run(bench, smaller, lines))),
    ("crowd", |bench, smaller, lines| Box::pin(crowd::run(bench, smaller, lines))),
    ("walks", |bench, smaller, lines| Box::pin(walks::run(bench, smaller, lines))),
    ("start", |bench, smaller, lines| Box::pin(start::run(bench, smaller, lines))),
    ("live", |bench, smaller, lines| Box::pin(live::run(bench, smaller, lines))),
];

/// One price that 500 orders show, each through five levels of formulas, and an account that sums them up in ten ways.
async fn chain(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let orders_count = 500 / smaller;
    let (products, orders, accounts) =
        (bench.collection("products").await?, bench.collection("orders").await?, bench.collection("accounts").await?);
    bench.attribute(products, "price", number()).await?;
    bench.attribute(orders, "product", link(products, false, "orders", false)?).await?;
    bench.attribute(orders, "account", link(accounts, false, "orders", false)?).await?;
    bench.attribute(orders, "price", DefinitionInput::lookup("product", "price")).await?;
    for level in 1..=5 {
        let before = if level == 1 { "price".to_owned() } else { format!("f{}", level - 1) };
        bench.attribute(orders, &format!("f{level}"), formula(&format!("{{{before}}} * 2 + 1"))).await?;
    }
    let functions = ["SUM", "AVERAGE", "MIN", "MAX", "COUNT", "MEDIAN", "STDEV", "RANGE", "COUNT_UNIQUE", "TOP"];
    let mut sum = None;
    for function in functions {
        let definition = match rollup("orders", "f5", function)? {
            DefinitionInput::Rollup { link, attribute, function, selection, weight, formula, .. } if function.name == "TOP" => {
                DefinitionInput::Rollup { link, attribute, function, selection, argument: Value::from(3), weight, formula }
            }
            definition => definition,
        };
        let id = bench.attribute(accounts, &function.to_lowercase(), definition).await?;
        sum = sum.or(Some(id));
    }
    let product = bench.entities(products, [json!({ "price": 1 })]).await?[0];
    let account = bench.entities(accounts, [json!({})]).await?[0];
    let order = json!({ "product": product.to_string(), "account": account.to_string() });
    bench.entities(orders, vec![order; orders_count]).await?;
    bench.settle().await;
    let mut subscription = bench.listen(accounts);
    let mut times = Times::new()?;
    let edits = 200_i64;
    for price in 2..2 + edits {
        let start = Instant::now();
        let position = bench.set(product, json!({ "price": price })).await?;
        bench.heard(&mut subscription, position).await?;
        times.since(start);
    }
    let expected = Value::from((32 * (edits + 1) + 31) * orders_count as i64);
    let got = sum.map(|sum| bench.value(account, sum));
    ensure!(got.as_ref() == Some(&expected), "the sum is {got:?}, not {expected:?}");
    lines.push(latency("chain", format!("one edit, {orders_count} orders, 5 levels, 10 rollups ({edits} edits)"), &times));
    Ok(())
}

/// A thousand sources change at once, each of which a hundred hosts sum up.
async fn fanout(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let (sources_count, hosts_count) = (1_000 / smaller, 30_000 / smaller);
    let per_host = 100 * sources_count / hosts_count;
    let (sources, hosts) = (bench.collection("sources").await?, bench.collection("hosts").await?);
    bench.attribute(sources, "n", number()).await?;
    bench.attribute(hosts, "sources", link(sources, true, "hosts", false)?).await?;
    let sum = bench.attribute(hosts, "sum", rollup("sources", "n", "SUM")?).await?;
    bench.attribute(hosts, "largest", rollup("sources", "n", "MAX")?).await?;
    let ids = bench.entities(sources, (0..sources_count).map(|n| json!({ "n": n }))).await?;
    let targets =
        |host: usize| -> Vec<String> { (0..per_host.max(1)).map(|i| ids[(host * 7 + i * 331) % sources_count].to_string()).collect() };
    let host_ids = bench.entities(hosts, (0..hosts_count).map(|host| json!({ "sources": targets(host) }))).await?;
    bench.settle().await;
    let start = Instant::now();
    bench.execute(ids.iter().enumerate().map(|(n, id)| set(*id, json!({ "n": n + 1 }))).collect()).await?;
    bench.settle().await;
    lines.push(once("fanout", format!("{sources_count} sources change, {hosts_count} hosts of {} each", per_host.max(1)), start));
    let expected: usize = (0..per_host.max(1)).map(|i| (7 + i * 331) % sources_count + 1).sum();
    let got = bench.value(host_ids[1], sum);
    ensure!(got == Value::from(expected as i64), "the sum is {got:?}, not {expected}");
    Ok(())
}

/// A thousand sources change at once that no link leads to: each is found by a key that thirty hosts have.
async fn matching(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let (sources_count, hosts_count, keys) = (100_000 / smaller, 30_000 / smaller, 1_000 / smaller);
    let (sources, hosts) = (bench.collection("sources").await?, bench.collection("hosts").await?);
    bench.attribute(sources, "key", number()).await?;
    bench.attribute(sources, "n", number()).await?;
    bench.attribute(hosts, "key", number()).await?;
    let all = DefinitionInput::Match { collection_id: sources, on: vec![("key".into(), "key".into())] };
    bench.attribute(hosts, "sources", all).await?;
    let sum = bench.attribute(hosts, "sum", rollup("sources", "n", "SUM")?).await?;
    bench.attribute(hosts, "largest", rollup("sources", "n", "MAX")?).await?;
    let ids = bench.entities(sources, (0..sources_count).map(|n| json!({ "key": n % keys, "n": 1 }))).await?;
    let host_ids = bench.entities(hosts, (0..hosts_count).map(|host| json!({ "key": host % keys }))).await?;
    bench.settle().await;
    let start = Instant::now();
    bench.execute(ids[..keys].iter().map(|id| set(*id, json!({ "n": 3 }))).collect()).await?;
    bench.settle().await;
    let per_host = sources_count / keys;
    lines.push(once("matching", format!("{keys} sources change, {hosts_count} hosts match {per_host} each"), start));
    let got = bench.value(host_ids[1], sum);
    ensure!(got == Value::from(per_host as i64 + 2), "the sum is {got:?}, not {}", per_host + 2);
    let mut subscription = bench.listen(hosts);
    let mut times = Times::new()?;
    for edit in 0..200 {
        let start = Instant::now();
        let position = bench.set(ids[edit % keys], json!({ "n": edit + 4 })).await?;
        bench.heard(&mut subscription, position).await?;
        times.since(start);
    }
    lines.push(latency("matching", format!("one source changes, {} hosts match it", hosts_count / keys), &times));
    Ok(())
}

/// Ten thousand rows get their first link, with its backlink, a lookup and a count.
async fn linking(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let count = 10_000 / smaller;
    let (left, right) = (bench.collection("left").await?, bench.collection("right").await?);
    bench.attribute(left, "n", number()).await?;
    bench.attribute(right, "n", number()).await?;
    let lefts = bench.entities(left, (0..count).map(|n| json!({ "n": n }))).await?;
    let rights = bench.entities(right, (0..count).map(|n| json!({ "n": n }))).await?;
    bench.settle().await;
    let start = Instant::now();
    bench.attribute(left, "to", link(right, true, "from", false)?).await?;
    let shown = bench.attribute(left, "shown", DefinitionInput::lookup("to", "n")).await?;
    bench.attribute(right, "total", rollup("from", "n", "SUM")?).await?;
    let link_all = lefts.iter().zip(&rights).map(|(left, right)| set(*left, json!({ "to": [right.to_string()] })));
    bench.execute(link_all.collect()).await?;
    bench.settle().await;
    lines.push(once("linking", format!("{count} first links, with backlink, lookup and rollup, as {count} commands"), start));
    let got = bench.value(lefts[count - 1], shown);
    ensure!(got == Value::list([Value::from(count as i64 - 1)]), "the lookup shows {got:?}");
    Ok(())
}

/// A formula is added to a collection, and changed.
async fn new_formula(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let count = 50_000 / smaller;
    let rows = bench.collection("rows").await?;
    bench.attribute(rows, "n", number()).await?;
    let ids = bench.entities(rows, (0..count).map(|n| json!({ "n": n }))).await?;
    bench.settle().await;
    let start = Instant::now();
    let id = bench.attribute(rows, "f", formula("IF({n} > 100, ROUND({n} / 7, 2), {n} & '!')")).await?;
    bench.settle().await;
    lines.push(once("formula", format!("a formula added to {count} rows"), start));
    let start = Instant::now();
    bench.redefine(id, formula("{n} * 2")).await?;
    bench.settle().await;
    lines.push(once("formula", format!("a formula changed on {count} rows"), start));
    let got = bench.value(ids[7], id);
    ensure!(got == Value::from(14), "the formula gives {got:?}");
    Ok(())
}

/// One child of many is edited: sums and extremes of a hundred children and of a million.
async fn group(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let (parents, children) = (bench.collection("parents").await?, bench.collection("children").await?);
    bench.attribute(children, "n", number()).await?;
    bench.attribute(children, "parent", link(parents, false, "children", false)?).await?;
    let sum = bench.attribute(parents, "sum", rollup("children", "n", "SUM")?).await?;
    let largest = bench.attribute(parents, "largest", rollup("children", "n", "MAX")?).await?;
    for count in [100, 1_000_000 / smaller] {
        let parent = bench.entities(parents, [json!({})]).await?[0];
        let ids = bench.entities(children, (0..count).map(|n| json!({ "n": n, "parent": parent.to_string() }))).await?;
        bench.settle().await;
        let mut subscription = bench.listen(parents);
        let (mut times, mut extremes) = (Times::new()?, Times::new()?);
        for edit in 0..500_usize {
            let start = Instant::now();
            let position = bench.set(ids[edit * 7 % (count - 1)], json!({ "n": -(edit as i64) - 2 })).await?;
            bench.heard(&mut subscription, position).await?;
            times.since(start);
            // The largest goes, and comes back.
            let start = Instant::now();
            let position = bench.set(ids[count - 1], json!({ "n": if edit % 2 == 0 { -1 } else { count as i64 } })).await?;
            bench.heard(&mut subscription, position).await?;
            extremes.since(start);
        }
        lines.push(latency("group", format!("one of {count} children edited, their SUM and MAX"), &times));
        lines.push(latency("group", format!("the largest of {count} children goes and comes"), &extremes));
        let got = (bench.value(parent, largest), bench.value(parent, sum).is_error());
        ensure!(got == (Value::from(count as i64), false), "the largest is {got:?}");
    }
    Ok(())
}

/// Sixteen collections, each summing up the one below.
async fn deep(bench: &Bench, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    const DEPTH: usize = 16;
    let mut below = bench.collection("c0").await?;
    let mut of = bench.attribute(below, "total", number()).await?;
    let mut collections = vec![below];
    for level in 1..=DEPTH {
        let above = bench.collection(&format!("c{level}")).await?;
        bench.attribute(below, "up", link(above, false, "down", false)?).await?;
        of = bench.attribute(above, "total", rollup("down", "total", "SUM")?).await?;
        collections.push(above);
        below = above;
    }
    let top = bench.entities(below, [json!({})]).await?[0];
    let (mut up, mut leaf) = (top, top);
    for (level, collection) in collections.iter().enumerate().rev().skip(1) {
        leaf = bench
            .entities(*collection, [if level == 0 { json!({ "total": 1, "up": up.to_string() }) } else { json!({ "up": up.to_string() }) }])
            .await?[0];
        up = leaf;
    }
    bench.settle().await;
    let mut subscription = bench.listen(below);
    let mut times = Times::new()?;
    for n in 2..502 {
        let start = Instant::now();
        let position = bench.set(leaf, json!({ "total": n })).await?;
        bench.heard(&mut subscription, position).await?;
        times.since(start);
    }
    lines.push(latency("deep", format!("one edit through {DEPTH} rollups"), &times));
    ensure!(bench.value(top, of) == Value::from(501), "the total is {:?}", bench.value(top, of));
    Ok(())
}

/// A rollup is added over a million entities, while others are edited.
async fn new_rollup(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let count = 1_000_000 / smaller;
    let (parents, children) = (bench.collection("parents").await?, bench.collection("children").await?);
    bench.attribute(children, "n", number()).await?;
    bench.attribute(children, "parent", link(parents, false, "children", false)?).await?;
    let ids = bench.entities(parents, (0..1_000).map(|_| json!({}))).await?;
    let mut elsewhere = Elsewhere::new(bench).await?;
    bench.entities(children, (0..count).map(|n| json!({ "n": n % 100, "parent": ids[n % 1_000].to_string() }))).await?;
    bench.settle().await;
    let start = Instant::now();
    let sum = bench.attribute(parents, "sum", rollup("children", "n", "SUM")?).await?;
    elsewhere.until_shown(bench, start, "rollup", format!("a rollup over {count} entities added, shown"), lines).await?;
    let expected: usize = (0..count).step_by(1_000).map(|n| n % 100).sum();
    let got = bench.value(ids[0], sum);
    ensure!(got == Value::from(expected as i64), "the sum is {got:?}, not {expected}");
    Ok(())
}
