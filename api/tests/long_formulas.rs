//! Formulas that take as long as a cell may: only their own tenant waits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::json;
use support::{Api, Tenant};

/// Takes some 240,000 of the 250,000 steps that a cell may take.
const LONG: &str = r#"LET(a, SPLIT(REPT("a,", 215), ","), COUNTALL(FILTER(a, COUNTALL(FILTER(a, value = {n} & "")) > 1)))"#;

async fn count(tenant: &Tenant<'_>, query: &str) -> u64 {
    tenant.ok(query, json!({})).await["entitiesConnection"]["totalCount"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_under_a_long_formula_hold_up_nobody_else() {
    let api = Api::start().await;
    let (slow, quick) = (api.tenant("slow").await, api.tenant("quick").await);
    let space = "mutation { createSpace(key: \"s\", name: \"S\") { id } }";
    let slow_rows = slow.collection(&slow.id(space, json!({})).await, "rows").await;
    let quick_rows = quick.collection(&quick.id(space, json!({})).await, "rows").await;
    for (tenant, rows, formula) in [(&slow, &slow_rows, LONG), (&quick, &quick_rows, "{n} + 1")] {
        tenant.attribute(rows, "n", json!({ "number": {} })).await;
        tenant.attribute(rows, "f", json!({ "formula": { "expression": formula } })).await;
    }
    let total = format!("{{ entitiesConnection(collectionId: \"{slow_rows}\", first: 1) {{ totalCount }} }}");
    // That there is such a formula is seen as soon as it is arranged.
    let first = "mutation($c: ID!) { createEntity(collectionId: $c, values: { n: 0 }) { position } }";
    let position = slow.ok(first, json!({ "c": slow_rows })).await["createEntity"]["position"].clone();
    let read = "query($c: ID!, $p: Position) { entities(collectionId: $c, first: 1, minPosition: $p) { values(keys: [\"f\"]) } }";
    assert_eq!(slow.ok(read, json!({ "c": slow_rows, "p": position })).await["entities"][0]["values"]["f"], 0);

    const ROWS: u64 = 24;
    let many: String =
        (1..=ROWS).map(|n| format!("m{n}: createEntity(collectionId: \"{slow_rows}\", values: {{ n: {n} }}) {{ id }} ")).collect();
    let many = format!("mutation {{ {many} }}");
    let all = slow.ok(&many, json!({}));
    let meanwhile = async {
        while count(&slow, &total).await < 2 {
            tokio::task::yield_now().await;
        }
        let made = quick.ok(first, json!({ "c": quick_rows })).await["createEntity"]["position"].clone();
        let page = quick.ok(read, json!({ "c": quick_rows, "p": made })).await;
        assert_eq!(page["entities"][0]["values"]["f"], 1);
        count(&slow, &total).await
    };
    let (_, then) = tokio::join!(all, meanwhile);
    assert!(then < ROWS, "{then} of the other tenant's rows were computed before");
    while count(&slow, &total).await < 1 + ROWS {
        tokio::task::yield_now().await;
    }
}
