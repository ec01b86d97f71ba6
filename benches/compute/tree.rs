//! Totals of trees: defined, edited, rearranged; and of a path that grows.

use std::time::Instant;

use anyhow::ensure;
use benches::{Bench, Times, formula, link, number, rollup};
use decidr_domain::aggregate::entity::EntityCommand;
use decidr_domain::command::Command;
use decidr_domain::id::EntityId;
use decidr_domain::value::Value;
use serde_json::json;
use uuid::Uuid;

use crate::elsewhere::Elsewhere;
use crate::{Line, latency, once};

/// The total of a tree: 100,000 nodes, fifty deep.
pub(crate) async fn run(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let (count, depth) = (100_000 / smaller, 50);
    let nodes = bench.collection("nodes").await?;
    bench.attribute(nodes, "n", number()).await?;
    bench.attribute(nodes, "parent", link(nodes, false, "children", true)?).await?;
    let total = bench.attribute(nodes, "total", formula("{n}")).await?;
    bench.attribute(nodes, "below", rollup("children", "total", "SUM")?).await?;
    // Under the root hang chains; the nodes of a chain hang under one another down to the depth.
    let root = bench.entities(nodes, [json!({ "n": 1 })]).await?[0];
    let chains = (count - 1) / (depth - 1);
    let mut ids = vec![vec![root; chains]];
    for level in 1..depth {
        let above = ids[level - 1].clone();
        ids.push(bench.entities(nodes, above.iter().map(|parent| json!({ "n": 1, "parent": parent.to_string() }))).await?);
    }
    bench.settle().await;
    let all = chains * (depth - 1) + 1;
    let mut elsewhere = Elsewhere::new(bench).await?;
    let start = Instant::now();
    bench.redefine(total, formula("{n} + {below}")).await?;
    elsewhere.until_shown(bench, start, "tree", format!("the total of {all} nodes, {depth} deep, defined"), lines).await?;
    let got = bench.value(root, total);
    ensure!(got == Value::from(all as i64), "the total is {got:?}, not {all}");
    let mut subscription = bench.listen(nodes);
    let mut times = Times::new()?;
    for edit in 0..200 {
        let leaf = ids[depth - 1][edit * 31 % chains];
        let start = Instant::now();
        let position = bench.set(leaf, json!({ "n": edit + 2 })).await?;
        bench.heard(&mut subscription, position).await?;
        times.since(start);
    }
    lines.push(latency("tree", format!("a leaf edited, {depth} totals above it change"), &times));
    let mut times = Times::new()?;
    for edit in 0..50 {
        let (moved, to) = (ids[depth / 2][edit], ids[depth / 4][chains - 1 - edit]);
        let start = Instant::now();
        let position = bench.set(moved, json!({ "parent": to.to_string() })).await?;
        bench.heard(&mut subscription, position).await?;
        times.since(start);
    }
    lines.push(latency("tree", "a subtree moved to another parent".into(), &times));
    let expected: i64 = all as i64 + (0..200).map(|edit| edit + 1).sum::<i64>() - repeated(200, chains);
    let got = bench.value(root, total);
    ensure!(got == Value::from(expected), "the total is {got:?}, not {expected}");
    Ok(())
}

/// What edits of leaves did that later edits of the same leaf undid.
fn repeated(edits: usize, chains: usize) -> i64 {
    let mut last = std::collections::HashMap::new();
    let mut undone = 0;
    for edit in 0..edits {
        if let Some(before) = last.insert(edit * 31 % chains, edit) {
            undone += before as i64 + 1;
        }
    }
    undone
}

/// A path of 20,000 nodes, each summing up those below, that grows at its lower end, 500 at a time; and then an edit there.
pub(crate) async fn path(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    const TOGETHER: usize = 500;
    let count = 20_000 / smaller;
    let nodes = bench.collection("nodes").await?;
    bench.attribute(nodes, "n", number()).await?;
    bench.attribute(nodes, "parent", link(nodes, false, "children", true)?).await?;
    let total = bench.attribute(nodes, "total", formula("{n}")).await?;
    bench.attribute(nodes, "below", rollup("children", "total", "SUM")?).await?;
    bench.redefine(total, formula("{n} + {below}")).await?;
    let ids: Vec<EntityId> = (0..count).map(|_| EntityId(Uuid::now_v7())).collect();
    let create = |place: usize| {
        let parent = place.checked_sub(1).map(|above| ids[above].to_string());
        let values = json!({ "n": 1, "parent": parent }).as_object().cloned().unwrap_or_default();
        Command::Entity(EntityCommand::CreateEntity { id: ids[place], collection_id: nodes, values })
    };
    let start = Instant::now();
    for from in (0..count).step_by(TOGETHER) {
        bench.execute((from..count.min(from + TOGETHER)).map(create).collect()).await?;
    }
    bench.settle().await;
    lines.push(once("path", format!("{count} nodes, each below the last, by {TOGETHER} commands at a time, and their totals"), start));
    let got = bench.value(ids[0], total);
    ensure!(got == Value::from(count as i64), "the total is {got:?}, not {count}");
    let mut subscription = bench.listen(nodes);
    let mut times = Times::new()?;
    for n in 2..22 {
        let start = Instant::now();
        let position = bench.set(ids[count - 1], json!({ "n": n })).await?;
        bench.heard(&mut subscription, position).await?;
        times.since(start);
    }
    lines.push(latency("path", format!("the lowest edited, {count} totals above it change"), &times));
    let (got, expected) = (bench.value(ids[0], total), Value::from(count as i64 + 20));
    ensure!(got == expected, "the total is {got:?}, not {expected:?}");
    Ok(())
}
