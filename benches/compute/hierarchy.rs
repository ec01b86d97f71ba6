//! W3: chains of rollups, and a tree with the sum and the largest of what lies below each node.

use anyhow::ensure;
use benches::recorder::{formula, rollup};
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::value::Value;

use crate::workloads::{BATCHES, Figures, Harness, Sql, id, to};

/// A chain of so many rollups, two parts each.
pub(crate) async fn chain(smaller: usize, workers: usize, depth: usize) -> anyhow::Result<(String, Figures)> {
    // So many that each level has at least a few.
    let leaf_count = (1_000_000 / smaller).next_power_of_two() / 2;
    let mut harness = Harness::new(workers)?;
    let log = &mut harness.recorder;
    let mut levels = vec![log.collection("c0")?];
    let amount = log.attribute(levels[0], "sum", DefinitionInput::number())?;
    let (mut links, mut sums) = (Vec::new(), vec![amount]);
    for level in 1..=depth {
        let collection = log.collection(&format!("c{level}"))?;
        let link = log.link(collection, false, "parts", false)?;
        links.push(log.attribute(levels[level - 1], "whole", link)?);
        sums.push(log.attribute(collection, "sum", rollup("parts", "sum", "SUM", None)?)?);
        levels.push(collection);
    }
    let kind = |level: usize| level as u64 + 1;
    for level in (0..=depth).rev() {
        for n in 0..(leaf_count >> level).max(1) {
            let mut values = Vec::new();
            if level < depth {
                values.push((links[level], to(id(kind(level + 1), n >> 1))));
            }
            if level == 0 {
                values.push((amount, Value::from(1)));
            }
            harness.recorder.create(id(kind(level), n), levels[level], values);
        }
        harness.settle()?;
    }
    let mut amounts = vec![1_i64; leaf_count];
    let figures = harness.measure(&[1], &mut |harness| {
        let leaf = harness.random.below(leaf_count);
        amounts[leaf] = harness.random.below(1_000) as i64;
        harness.recorder.set(id(kind(0), leaf), amount, amounts[leaf]);
    })?;
    let mut sql = Sql::new("CREATE TABLE leaf (n, amount)").await?;
    sql.fill("leaf", amounts.iter().enumerate().map(|(n, amount)| vec![n as i64, *amount])).await?;
    let query = format!("SELECT n >> {depth}, CAST(SUM(amount) AS TEXT) FROM leaf GROUP BY n >> {depth}");
    let compared = sql.compare(&harness.arranged(), kind(depth), &[("sum", sums[depth])], &query).await?;
    Ok((format!("{leaf_count} leaves below {depth} rollups one above the other; {compared} compared"), figures))
}

const NODES: u64 = 1;

/// A tree in which ten nodes lie below each; its edits, and subtrees that move.
pub(crate) async fn tree(smaller: usize, workers: usize) -> anyhow::Result<(String, Figures)> {
    // Levels of 1, 10, 100, … nodes.
    let depth = if smaller < 10 { 6 } else { 5 };
    let count = (10_usize.pow(depth + 1) - 1) / 9;
    let mut harness = Harness::new(workers)?;
    let log = &mut harness.recorder;
    let nodes = log.collection("nodes")?;
    let n = log.attribute(nodes, "n", DefinitionInput::number())?;
    let link = log.link(nodes, false, "children", true)?;
    let parent = log.attribute(nodes, "parent", link)?;
    let total = log.attribute(nodes, "total", formula("{n}"))?;
    log.attribute(nodes, "below", rollup("children", "total", "SUM", None)?)?;
    log.redefine(total, formula("{n} + {below}"))?;
    let largest = log.attribute(nodes, "largest", formula("{n}"))?;
    log.attribute(nodes, "largest_below", rollup("children", "largest", "MAX", None)?)?;
    log.redefine(largest, formula("MAX({n}, {largest_below})"))?;
    // Nodes are numbered level by level: the parent of node i is (i - 1) / 10.
    let mut of: Vec<(usize, i64, bool)> = Vec::with_capacity(count);
    for i in 0..count {
        let (above, value) = (if i == 0 { 0 } else { (i - 1) / 10 }, harness.random.below(1_000) as i64);
        let mut values = vec![(n, Value::from(value))];
        values.extend((i > 0).then(|| (parent, to(id(NODES, above)))));
        harness.recorder.create(id(NODES, i), nodes, values);
        of.push((above, value, true));
        if i % 50_000 == 0 {
            harness.settle()?;
        }
    }
    harness.settle()?;
    let first_leaf = count - 10_usize.pow(depth);
    let figures = harness.measure(&BATCHES[..3], &mut |harness| {
        let leaf = first_leaf + harness.random.below(count - first_leaf);
        match harness.random.below(100) {
            0..90 => {
                of[leaf].1 = harness.random.below(1_000) as i64;
                harness.recorder.set(id(NODES, leaf), n, of[leaf].1);
            }
            90..95 if of[leaf].2 => {
                of[leaf].2 = false;
                harness.recorder.archive(id(NODES, leaf));
            }
            90..99 => {
                // A new leaf, below a node of the level above the leaves.
                let above = (leaf - 1) / 10;
                let value = harness.random.below(1_000) as i64;
                harness.recorder.create(id(NODES, of.len()), nodes, vec![(n, Value::from(value)), (parent, to(id(NODES, above)))]);
                of.push((above, value, true));
            }
            // A subtree of a hundred or so goes to another node of the level above its own, so that none gets below itself.
            _ => {
                let level = |depth: u32| (10_usize.pow(depth) - 1) / 9..(10_usize.pow(depth + 1) - 1) / 9;
                let (own, higher) = (level(depth - 2), level(depth - 3));
                let moved = own.start + harness.random.below(own.len());
                let new = higher.start + harness.random.below(higher.len());
                harness.recorder.relink(id(NODES, moved), parent, id(NODES, of[moved].0), id(NODES, new));
                of[moved].0 = new;
            }
        }
    })?;
    let mut sql = Sql::new("CREATE TABLE node (n INTEGER PRIMARY KEY, parent, value, there)").await?;
    let row = |(i, (above, value, there)): (usize, &(usize, i64, bool))| vec![i as i64, *above as i64, *value, i64::from(*there)];
    sql.fill("node", of.iter().enumerate().map(row)).await?;
    // Only leaves were taken away.
    let query = "WITH RECURSIVE above(n, value) AS (SELECT n, value FROM node WHERE there \
                 UNION ALL SELECT node.parent, above.value FROM above JOIN node ON node.n = above.n WHERE node.n > 0) \
                 SELECT n, CAST(SUM(value) AS TEXT), CAST(MAX(value) AS TEXT) FROM above GROUP BY n";
    let compared = sql.compare(&harness.arranged(), NODES, &[("total", total), ("largest", largest)], query).await?;
    ensure!(compared >= count / 2, "all nodes are compared");
    Ok((
        format!(
            "a tree of {count} nodes, {depth} deep; 90 % edits, 9 % leaves that come or go, 1 % subtrees that move; {compared} compared"
        ),
        figures,
    ))
}
