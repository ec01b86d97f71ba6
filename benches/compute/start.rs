//! A start with what is on disk: a million entities of eight attributes, four of them computed.

use anyhow::ensure;
use benches::{Bench, Start, formula, link, number, rollup};
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::value::Value;
use serde_json::json;

use crate::Line;

pub(crate) async fn run(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let count = 1_000_000 / smaller;
    let bench = bench.another().await?;
    let (customers, orders) = (bench.collection("customers").await?, bench.collection("orders").await?);
    bench.attribute(customers, "name", DefinitionInput::text()).await?;
    bench.attribute(orders, "title", DefinitionInput::text()).await?;
    bench.attribute(orders, "price", number()).await?;
    bench.attribute(orders, "count", number()).await?;
    bench.attribute(orders, "customer", link(customers, false, "orders", false)?).await?;
    let total = bench.attribute(orders, "total", formula("{price} * {count}")).await?;
    bench.attribute(orders, "label", formula("{title} & ': ' & {total}")).await?;
    bench.attribute(orders, "who", DefinitionInput::lookup("customer", "name")).await?;
    bench.attribute(orders, "is_large", formula("{total} > 1000")).await?;
    let sum = bench.attribute(customers, "sum", rollup("orders", "total", "SUM")?).await?;
    let ids = bench.entities(customers, (0..1_000).map(|n| json!({ "name": format!("customer {n}") }))).await?;
    let order = |n: usize| {
        let customer = ids[n % 1_000].to_string();
        json!({ "title": format!("order {n}"), "price": n % 500, "count": 1 + n % 7, "customer": customer })
    };
    let orders_ids = bench.entities(orders, (0..count).map(order)).await?;
    bench.settle().await;
    let before = (bench.value(ids[7], sum), bench.value(orders_ids[count - 1], total), bench.platform.arranged().position());
    let (events, mut bench) = (before.2, bench);
    for (start, from) in [(Start::Checkpoint, "a checkpoint"), (Start::Log, "the log")] {
        let took;
        (bench, took) = bench.restarted(start).await?;
        let after = (bench.value(ids[7], sum), bench.value(orders_ids[count - 1], total), bench.platform.arranged().position());
        ensure!(
            before == after && before.1 == Value::from(((count - 1) % 500 * (1 + (count - 1) % 7)) as i64),
            "{before:?} before, {after:?} after"
        );
        ensure!((bench.platform.began_at() > 0) == (start == Start::Checkpoint), "it began at {}", bench.platform.began_at());
        lines.push(Line {
            case: "start",
            what: format!("a start from {from} with {count} entities of 8 attributes, {events} events"),
            milliseconds: vec![("all", took.as_secs_f64() * 1000.0)],
            tail: Vec::new(),
        });
    }
    Ok(())
}
