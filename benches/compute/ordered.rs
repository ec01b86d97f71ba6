//! Cells over many linked entities that depend on their order, on how many there are, or on the host: one of the linked ones
//! is edited, and then the host.

use std::time::Instant;

use anyhow::{anyhow, ensure};
use benches::{Bench, Times, link, number};
use decidr_domain::aggregate::attribute::{DefinitionInput, SelectionInput};
use decidr_domain::rollup::Rollup;
use decidr_domain::value::Value;
use serde_json::json;

use crate::{Line, latency, once};

pub(crate) async fn run(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    const EDITS: usize = 200;
    let count = 1_000_000 / smaller;
    let (parents, children) = (bench.collection("parents").await?, bench.collection("children").await?);
    bench.attribute(parents, "floor", number()).await?;
    bench.attribute(children, "n", number()).await?;
    bench.attribute(children, "parent", link(parents, false, "children", false)?).await?;
    let parent = bench.entities(parents, [json!({ "floor": count / 2 })]).await?[0];
    let ids = bench.entities(children, (0..count).map(|n| json!({ "n": n, "parent": parent.to_string() }))).await?;
    bench.settle().await;
    let start = Instant::now();
    let rollup = |function: &str, filter: Option<&str>| -> anyhow::Result<DefinitionInput> {
        let function = Rollup::find(function).ok_or_else(|| anyhow!("no rollup {function}"))?;
        Ok(DefinitionInput::rollup("children", Some("n".into()), function, filter.map(Into::into)))
    };
    let first = bench.attribute(parents, "first", rollup("FIRST", None)?).await?;
    let last = bench.attribute(parents, "last", rollup("LAST", None)?).await?;
    let above = bench.attribute(parents, "above", rollup("SUM", Some("{n} >= HOST({floor})"))?).await?;
    let selection = SelectionInput { filter: None, sort: vec![("n".into(), true)], limit: Some(3) };
    let top = DefinitionInput::Lookup { link: "children".into(), attribute: "n".into(), selection };
    let top = bench.attribute(parents, "top", top).await?;
    bench.settle().await;
    lines.push(once("ordered", format!("first, last, the three largest and a sum by the host of {count}, added"), start));
    let mut numbers: Vec<i64> = (0..count as i64).collect();
    let mut subscription = bench.listen(parents);
    let mut times = Times::new()?;
    let check = |numbers: &[i64], floor: i64| {
        let mut largest = numbers.to_vec();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        let sum: i64 = numbers.iter().filter(|n| **n >= floor).sum();
        let expected = [
            Value::from(numbers[0]),
            Value::from(numbers[count - 1]),
            Value::from(sum),
            Value::list(largest[..3].iter().map(|n| Value::from(*n))),
        ];
        let got = [first, last, above, top].map(|attribute| bench.value(parent, attribute));
        ensure!(got == expected, "{got:?}, not {expected:?}");
        Ok(())
    };
    for edit in 0..EDITS {
        // All of them change: in turn one end and the other, and the largest.
        let child = if edit % 2 == 0 { 0 } else { count - 1 };
        numbers[child] = (count + edit) as i64;
        let start = Instant::now();
        let position = bench.set(ids[child], json!({ "n": numbers[child] })).await?;
        bench.heard(&mut subscription, position).await?;
        times.since(start);
    }
    check(&numbers, count as i64 / 2)?;
    lines.push(latency("ordered", format!("one of {count} edited, all of them change"), &times));
    let mut times = Times::new()?;
    for edit in 0..5 {
        let start = Instant::now();
        let position = bench.set(parent, json!({ "floor": edit })).await?;
        bench.heard(&mut subscription, position).await?;
        times.since(start);
    }
    check(&numbers, 4)?;
    lines.push(latency("ordered", format!("the host edited, by which its {count} are filtered"), &times));
    Ok(())
}
