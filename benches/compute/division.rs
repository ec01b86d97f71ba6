//! Divisions by zero below a rollup of a million: how long until it says so, until it is healed, and what others notice.

use std::time::Instant;

use anyhow::ensure;
use benches::{Bench, Times, formula, link, number, rollup};
use decidr_domain::value::{ErrorKind, Value};
use serde_json::json;

use crate::{Line, latency, once};

/// How often one divisor becomes zero and back.
const EDITS: usize = 500;

pub(crate) async fn run(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let count = 1_000_000 / smaller;
    let (parents, children) = (bench.collection("parents").await?, bench.collection("children").await?);
    bench.attribute(children, "n", number()).await?;
    bench.attribute(children, "parent", link(parents, false, "children", false)?).await?;
    let share = bench.attribute(children, "share", formula("100 / {n}")).await?;
    let sum = bench.attribute(parents, "sum", rollup("children", "share", "SUM")?).await?;
    let mean = bench.attribute(parents, "mean", rollup("children", "share", "AVERAGE")?).await?;
    let largest = bench.attribute(parents, "largest", rollup("children", "share", "MAX")?).await?;
    let others = bench.collection("others").await?;
    bench.attribute(others, "n", number()).await?;
    bench.attribute(others, "f", formula("{n} * 2")).await?;
    let parent = bench.entities(parents, [json!({})]).await?[0];
    let other = bench.entities(others, [json!({ "n": 0 })]).await?[0];
    let ids = bench.entities(children, (0..count).map(|n| json!({ "n": n % 1_000 + 1, "parent": parent.to_string() }))).await?;
    bench.settle().await;
    let shown = || [sum, mean, largest].map(|attribute| bench.value(parent, attribute));
    let right = shown();
    ensure!(right.iter().all(|value| matches!(value, Value::Number(_))), "{right:?}");

    let (mut subscription, mut elsewhere) = (bench.listen(parents), bench.listen(others));
    let (mut wrong, mut healed, mut edits) = (Times::new()?, Times::new()?, Times::new()?);
    let mut n_elsewhere = 0;
    for edit in 0..EDITS {
        let child = edit * 7 % count;
        for (n, times) in [(0, &mut wrong), (child % 1_000 + 1, &mut healed)] {
            let start = Instant::now();
            let position = bench.set(ids[child], json!({ "n": n })).await?;
            bench.heard(&mut subscription, position).await?;
            times.since(start);
            let start = Instant::now();
            n_elsewhere += 1;
            let position = bench.set(other, json!({ "n": n_elsewhere })).await?;
            bench.heard(&mut elsewhere, position).await?;
            edits.since(start);
            match n {
                0 => ensure_error(&shown())?,
                _ => ensure!(shown() == right, "healed, it is {:?}", shown()),
            }
        }
    }
    lines.push(latency("division", format!("one of {count} divides by zero: its sum, mean and largest say so"), &wrong));
    lines.push(latency("division", "it does not any more".to_owned(), &healed));

    // All of them, and back.
    for (what, expression) in [("all divide by zero", "100 / ({n} * 0)"), ("none does", "100 / {n}")] {
        let start = Instant::now();
        let redefined = bench.redefine(share, formula(expression)).await?;
        loop {
            n_elsewhere += 1;
            let sent = Instant::now();
            let position = bench.set(other, json!({ "n": n_elsewhere })).await?;
            bench.heard(&mut elsewhere, position).await?;
            edits.since(sent);
            if position >= redefined && bench.platform.arranged().staged_at(bench.tenant).is_none() {
                break;
            }
        }
        lines.push(once("division", format!("{what}, shown"), start));
        match what {
            "none does" => ensure!(shown() == right, "healed, it is {:?}", shown()),
            _ => ensure_error(&shown())?,
        }
    }
    lines.push(latency("division", "an edit elsewhere all the while".to_owned(), &edits));
    Ok(())
}

fn ensure_error(shown: &[Value; 3]) -> anyhow::Result<()> {
    let is_error = |value: &Value| matches!(value, Value::Error(error) if error.kind == ErrorKind::Div0);
    ensure!(shown.iter().all(is_error), "it is {shown:?}");
    Ok(())
}
