//! One edit among ten thousand others' attributes and tenants, and alone: by turns, so that the disk and whatever else the
//! machine does are the same for both.

use std::time::Instant;

use anyhow::ensure;
use benches::{Bench, Times, formula, link, number, rollup};
use decidr_domain::id::{AttributeId, CollectionId, EntityId};
use decidr_domain::value::Value;
use serde_json::json;

use crate::{Line, latency, once};

/// How often the two take turns, and how many edits a turn has.
const TURNS: usize = 20;
const EDITS: usize = 25;

pub(crate) async fn run(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let alone = bench.another().await?;
    let (mut apart, mut among) = (Family::of(&alone).await?, Family::of(bench).await?);
    let (attributes, tenants) = (10_000 / smaller - 10, 10_000 / smaller);
    let start = Instant::now();
    for tables in 0..attributes / 100 {
        let other = bench.collection(&format!("other{tables}")).await?;
        for i in 0..100 {
            let definition = if i % 2 == 0 { number() } else { formula(&format!("{{a{}}} + 1", i - 1)) };
            bench.attribute(other, &format!("a{i}"), definition).await?;
        }
    }
    lines.push(once("crowd", format!("{attributes} attributes made, one command after the other"), start));
    let start = Instant::now();
    for i in 0..tenants {
        bench.tenant(&format!("t{i}")).await?;
    }
    lines.push(once("crowd", format!("{tenants} tenants made, one command after the other"), start));
    for _ in 0..TURNS {
        apart.edit(&alone).await?;
        among.edit(bench).await?;
    }
    lines.push(latency("crowd", "one edit, 4 attributes, 1 tenant".into(), &apart.times));
    lines.push(latency("crowd", format!("one edit, {attributes} more attributes, {tenants} more tenants, by turns"), &among.times));
    Ok(())
}

/// A parent, and its only child, which is edited.
struct Family {
    rows: CollectionId,
    sum: AttributeId,
    parent: EntityId,
    child: EntityId,
    edits: usize,
    times: Times,
}

impl Family {
    async fn of(bench: &Bench) -> anyhow::Result<Self> {
        let rows = bench.collection("rows").await?;
        bench.attribute(rows, "n", number()).await?;
        bench.attribute(rows, "parent", link(rows, false, "children", false)?).await?;
        bench.attribute(rows, "f", formula("{n} * 2")).await?;
        let sum = bench.attribute(rows, "sum", rollup("children", "f", "SUM")?).await?;
        let parent = bench.entities(rows, [json!({ "n": 1 })]).await?[0];
        let child = bench.entities(rows, [json!({ "n": 0, "parent": parent.to_string() })]).await?[0];
        Ok(Self { rows, sum, parent, child, edits: 0, times: Times::new()? })
    }

    /// Has one turn.
    async fn edit(&mut self, bench: &Bench) -> anyhow::Result<()> {
        bench.settle().await;
        let mut subscription = bench.listen(self.rows);
        for _ in 0..EDITS {
            self.edits += 1;
            let start = Instant::now();
            let position = bench.set(self.child, json!({ "n": self.edits })).await?;
            bench.heard(&mut subscription, position).await?;
            self.times.since(start);
        }
        let (got, expected) = (bench.value(self.parent, self.sum), Value::from(2 * self.edits as i64));
        ensure!(got == expected, "the sum is {got:?}, not {expected:?}");
        Ok(())
    }
}
