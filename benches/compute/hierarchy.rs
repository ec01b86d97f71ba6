//! W3: chains of rollups; a tree with the sum and the largest of what lies below each node; circles in it.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Context as _, ensure};
use benches::recorder::{formula, rollup};
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::id::{AttributeId, CollectionId};
use decidr_domain::value::{ErrorKind, Value};

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
    let query = format!("SELECT n >> {depth}, CAST(SUM(amount) AS TEXT) FROM leaf GROUP BY n >> {depth}");
    let check = async |harness: &Harness, amounts: &[i64]| {
        let mut sql = Sql::new("CREATE TABLE leaf (n, amount)").await?;
        sql.fill("leaf", amounts.iter().enumerate().map(|(n, amount)| vec![n as i64, *amount])).await?;
        sql.compare(&harness.arranged(), kind(depth), &[("sum", sums[depth])], &query).await
    };
    check(&harness, &amounts).await?;
    let figures = harness.measure(&[1], &mut |harness| {
        let leaf = harness.random.below(leaf_count);
        amounts[leaf] = harness.random.below(1_000) as i64;
        harness.recorder.set(id(kind(0), leaf), amount, amounts[leaf]);
    })?;
    let compared = check(&harness, &amounts).await?;
    Ok((format!("{leaf_count} leaves below {depth} rollups one above the other; {compared} compared"), figures))
}

const NODES: u64 = 1;

/// A node of a tree: below which other it lies, its number, and whether it is in sight.
#[derive(Clone, Copy)]
struct Node {
    above: usize,
    value: i64,
    is_there: bool,
}

/// A tree in which ten nodes lie below each, down to a depth, with the sum and the largest of what lies below each node. Nodes
/// are numbered level by level: before anything changes, the parent of node i is (i - 1) / 10.
struct Tree {
    collection: CollectionId,
    n: AttributeId,
    parent: AttributeId,
    /// The cells at each node, and what they are called.
    shown: [(&'static str, AttributeId); 2],
    nodes: Vec<Node>,
}

/// The numbers of the nodes of a level.
fn level(depth: u32) -> Range<usize> {
    (10_usize.pow(depth) - 1) / 9..(10_usize.pow(depth + 1) - 1) / 9
}

impl Tree {
    fn grow(workers: usize, depth: u32) -> anyhow::Result<(Harness, Self)> {
        let mut harness = Harness::new(workers)?;
        let log = &mut harness.recorder;
        let collection = log.collection("nodes")?;
        let n = log.attribute(collection, "n", DefinitionInput::number())?;
        let link = log.link(collection, false, "children", true)?;
        let parent = log.attribute(collection, "parent", link)?;
        let total = log.attribute(collection, "total", formula("{n}"))?;
        log.attribute(collection, "below", rollup("children", "total", "SUM", None)?)?;
        log.redefine(total, formula("{n} + {below}"))?;
        let largest = log.attribute(collection, "largest", formula("{n}"))?;
        log.attribute(collection, "largest_below", rollup("children", "largest", "MAX", None)?)?;
        log.redefine(largest, formula("MAX({n}, {largest_below})"))?;
        let shown = [("total", total), ("largest", largest)];
        let mut tree = Self { collection, n, parent, shown, nodes: Vec::new() };
        for i in 0..level(depth).end {
            tree.add(&mut harness, if i == 0 { 0 } else { (i - 1) / 10 });
            if i % 50_000 == 0 {
                harness.settle()?;
            }
        }
        harness.settle()?;
        Ok((harness, tree))
    }

    /// A new node below another; the first is the root.
    fn add(&mut self, harness: &mut Harness, above: usize) {
        let (i, value) = (self.nodes.len(), harness.random.below(1_000) as i64);
        let mut values = vec![(self.n, Value::from(value))];
        values.extend((i > 0).then(|| (self.parent, to(id(NODES, above)))));
        harness.recorder.create(id(NODES, i), self.collection, values);
        self.nodes.push(Node { above, value, is_there: true });
    }

    fn set(&mut self, harness: &mut Harness, node: usize) {
        self.nodes[node].value = harness.random.below(1_000) as i64;
        harness.recorder.set(id(NODES, node), self.n, self.nodes[node].value);
    }

    fn move_below(&mut self, harness: &mut Harness, node: usize, above: usize) {
        harness.recorder.relink(id(NODES, node), self.parent, id(NODES, self.nodes[node].above), id(NODES, above));
        self.nodes[node].above = above;
    }

    /// Compares all but those that depend on themselves with what SQLite makes of them. Only leaves may be out of sight.
    async fn check(&self, harness: &Harness, cyclic: &BTreeSet<usize>) -> anyhow::Result<usize> {
        let mut sql = Sql::new("CREATE TABLE node (n INTEGER PRIMARY KEY, parent, value, is_there, is_cyclic)").await?;
        let row = |(i, node): (usize, &Node)| {
            vec![i as i64, node.above as i64, node.value, i64::from(node.is_there), i64::from(cyclic.contains(&i))]
        };
        sql.fill("node", self.nodes.iter().enumerate().map(row)).await?;
        let query = "WITH RECURSIVE above(n, value) AS (SELECT n, value FROM node WHERE is_there AND NOT is_cyclic \
                     UNION ALL SELECT up.n, above.value FROM above JOIN node ON node.n = above.n JOIN node up ON up.n = node.parent \
                     WHERE node.n > 0 AND NOT up.is_cyclic) \
                     SELECT n, CAST(SUM(value) AS TEXT), CAST(MAX(value) AS TEXT) FROM above GROUP BY n";
        let arranged = harness.arranged();
        let compared = sql.compare(&arranged, NODES, &self.shown, query).await?;
        ensure!(compared >= self.nodes.len() / 2, "all nodes are compared");
        for (node, (name, attribute)) in cyclic.iter().flat_map(|node| self.shown.map(|shown| (node, shown))) {
            let row = arranged.row(id(NODES, *node)).with_context(|| format!("node {node} is not arranged"))?;
            let shown = row.computed(attribute);
            let is_told = matches!(shown, Value::Error(error) if error.kind == ErrorKind::Cycle);
            ensure!(is_told, "{name} of node {node} is {shown:?}, and the node lies in a circle");
        }
        Ok(compared + cyclic.len())
    }
}

/// The edits of a tree, and subtrees that move.
pub(crate) async fn tree(smaller: usize, workers: usize) -> anyhow::Result<(String, Figures)> {
    let depth = if smaller < 10 { 6 } else { 5 };
    let (mut harness, mut tree) = Tree::grow(workers, depth)?;
    let (count, first_leaf, no_circle) = (tree.nodes.len(), level(depth).start, BTreeSet::new());
    tree.check(&harness, &no_circle).await?;
    let figures = harness.measure(&BATCHES[..3], &mut |harness| {
        let leaf = first_leaf + harness.random.below(count - first_leaf);
        match harness.random.below(100) {
            0..90 => tree.set(harness, leaf),
            90..95 if tree.nodes[leaf].is_there => {
                tree.nodes[leaf].is_there = false;
                harness.recorder.archive(id(NODES, leaf));
            }
            // Below a node of the level above the leaves.
            90..99 => tree.add(harness, (leaf - 1) / 10),
            // A subtree of a hundred or so goes to another node of the level above its own, so that none gets below itself.
            _ => {
                let (own, higher) = (level(depth - 2), level(depth - 3));
                let moved = own.start + harness.random.below(own.len());
                let above = higher.start + harness.random.below(higher.len());
                tree.move_below(harness, moved, above);
            }
        }
    })?;
    let compared = tree.check(&harness, &no_circle).await?;
    Ok((
        format!(
            "a tree of {count} nodes, {depth} deep; 90 % edits, 9 % leaves that come or go, 1 % subtrees that move; {compared} compared"
        ),
        figures,
    ))
}

/// Circles in a tree: a node goes below one that lies two steps below it, or back to where it was, among edits of leaves.
pub(crate) async fn circles(smaller: usize, workers: usize) -> anyhow::Result<(String, Figures)> {
    let depth = if smaller < 10 { 6 } else { 5 };
    let (mut harness, mut tree) = Tree::grow(workers, depth)?;
    let (count, leaves, own) = (tree.nodes.len(), level(depth), level(depth - 3));
    let mut circles = BTreeSet::new();
    let figures = harness.measure(&BATCHES[..3], &mut |harness| {
        if harness.random.below(2) == 0 {
            let leaf = leaves.start + harness.random.below(leaves.len());
            return tree.set(harness, leaf);
        }
        let node = own.start + harness.random.below(own.len());
        if circles.remove(&node) {
            return tree.move_below(harness, node, (node - 1) / 10);
        }
        circles.insert(node);
        let child = node * 10 + 1 + harness.random.below(10);
        let below = child * 10 + 1 + harness.random.below(10);
        tree.move_below(harness, node, below);
    })?;
    let cyclic = circles.iter().flat_map(|node| [*node, tree.nodes[*node].above, (tree.nodes[*node].above - 1) / 10]).collect();
    let compared = tree.check(&harness, &cyclic).await?;
    Ok((format!("a tree of {count} nodes, {depth} deep; 50 % edits, 50 % circles that close or open; {compared} compared"), figures))
}
