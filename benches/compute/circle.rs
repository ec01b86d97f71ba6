//! A circle among the links of a hierarchy: what links that have nothing to do with it notice, and how long it takes to heal.

use std::time::Instant;

use anyhow::ensure;
use benches::{Bench, Times, formula, link, number, rollup};
use decidr_domain::id::{CollectionId, EntityId};
use decidr_domain::value::{ErrorKind, Value};
use serde_json::{Value as Json, json};

use crate::{Line, latency, once};

/// How often a link elsewhere is set to the other of two nodes.
const MOVES: usize = 200;

pub(crate) async fn run(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let count = 5_000 / smaller;
    let nodes = bench.collection("nodes").await?;
    bench.attribute(nodes, "n", number()).await?;
    bench.attribute(nodes, "parent", link(nodes, false, "children", true)?).await?;
    let ids = bench.entities(nodes, vec![json!({ "n": 1 }); count]).await?;
    let others = bench.entities(nodes, vec![json!({ "n": 1 }); 3]).await?;
    for (child, parent) in ids.iter().zip(ids.iter().cycle().skip(1)) {
        bench.set(*child, json!({ "parent": parent.to_string() })).await?;
    }
    let total = bench.attribute(nodes, "total", formula("{n}")).await?;
    bench.attribute(nodes, "below", rollup("children", "total", "SUM")?).await?;
    bench.redefine(total, formula("{n} + {below}")).await?;
    bench.settle().await;
    for id in &ids {
        let got = bench.value(*id, total);
        ensure!(matches!(&got, Value::Error(error) if error.kind == ErrorKind::Cycle), "in a circle the total is {got:?}");
    }
    moves(bench, nodes, &others, format!("a link set beside a circle of {count}"), lines).await?;
    let mut subscription = bench.listen(nodes);
    let start = Instant::now();
    let position = bench.set(ids[count - 1], json!({ "parent": Json::Null })).await?;
    bench.heard(&mut subscription, position).await?;
    lines.push(once("circle", format!("it is cut, and {count} totals along a path are right"), start));
    for (place, id) in ids.iter().enumerate() {
        let got = bench.value(*id, total);
        ensure!(got == Value::from(place as i64 + 1), "the total is {got:?}, not {}", place + 1);
    }
    moves(bench, nodes, &others, format!("a link set beside a path of {count}"), lines).await
}

/// The last of three nodes goes from below one of the others to below the other, and back.
async fn moves(bench: &Bench, nodes: CollectionId, others: &[EntityId], what: String, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let mut subscription = bench.listen(nodes);
    let mut times = Times::new()?;
    for step in 0..MOVES {
        let start = Instant::now();
        let position = bench.set(others[2], json!({ "parent": others[step % 2].to_string() })).await?;
        bench.heard(&mut subscription, position).await?;
        times.since(start);
    }
    lines.push(latency("circle", what, &times));
    Ok(())
}
