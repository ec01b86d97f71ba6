//! What a walk reaches, kept up to date as edges come and go.
//!
//! [`Distances`] are the fewest steps to each node, maintained as Ramalingam and Reps do for edges of equal length ("An
//! incremental algorithm for a generalization of the shortest-path problem", 1996): nodes that lost what they were reached by
//! are found level by level, and only these, and what came nearer, are looked at again. [`Levels`] are the ends of a path of
//! given steps. Both take what may have changed as *heads*: nodes to which edges may have come or from which they may have gone,
//! or that may have come in sight or gone.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use decidr_domain::id::EntityId;
use rustc_hash::{FxHashMap, FxHashSet};

/// A directed graph as it is now.
pub(crate) trait Graph {
    /// Why it cannot be read any further.
    type Error;

    /// Where edges from a node lead, in sight or not.
    fn heads(&self, of: EntityId) -> Result<Vec<EntityId>, Self::Error>;

    /// Where edges to a node come from, in sight or not.
    fn tails(&self, of: EntityId) -> Result<Vec<EntityId>, Self::Error>;

    /// Whether a node is there. The edges of one that is not count for nothing.
    fn is_in_sight(&self, node: EntityId) -> bool;

    /// What to say if so many nodes are too many to keep.
    fn check_size(&self, nodes: usize) -> Result<(), Self::Error>;
}

/// How many steps away nodes are from a start, those at most so many.
pub(crate) struct Distances {
    start: EntityId,
    depth_max: u32,
    depths: FxHashMap<EntityId, u32>,
    /// Nodes that would be looked at if they were in sight.
    hidden: FxHashSet<EntityId>,
}

impl Distances {
    /// Of nothing but the start.
    pub(crate) fn new(start: EntityId, depth_max: u32) -> Self {
        Self { start, depth_max, depths: FxHashMap::from_iter([(start, 0)]), hidden: FxHashSet::default() }
    }

    /// Where it starts.
    pub(crate) fn start(&self) -> EntityId {
        self.start
    }

    /// How far a node is; nothing if it is not reached.
    pub(crate) fn depth(&self, node: EntityId) -> Option<u32> {
        self.depths.get(&node).copied()
    }

    /// Whether a node is reached, or may be as soon as it is in sight.
    pub(crate) fn knows(&self, node: EntityId) -> bool {
        self.depths.contains_key(&node) || self.hidden.contains(&node)
    }

    /// The nodes that are reached, the start among them.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (EntityId, u32)> {
        self.depths.iter().map(|(node, depth)| (*node, *depth))
    }

    /// Looks at everything again. Gives the nodes that were reached before or are now.
    pub(crate) fn begin<G: Graph>(&mut self, graph: &G) -> Result<FxHashSet<EntityId>, G::Error> {
        let mut touched: FxHashSet<EntityId> = self.depths.keys().copied().chain(std::mem::take(&mut self.hidden)).collect();
        self.depths = FxHashMap::from_iter([(self.start, 0)]);
        let mut open = VecDeque::from([(self.start, 0)]);
        while let Some((node, depth)) = open.pop_front().filter(|(_, depth)| *depth < self.depth_max) {
            for head in graph.heads(node)? {
                if self.depths.contains_key(&head) {
                    continue;
                }
                if graph.is_in_sight(head) {
                    self.depths.insert(head, depth + 1);
                    open.push_back((head, depth + 1));
                } else {
                    self.hidden.insert(head);
                }
            }
            self.check_size(graph)?;
        }
        touched.extend(self.depths.keys().chain(&self.hidden));
        Ok(touched)
    }

    fn check_size<G: Graph>(&self, graph: &G) -> Result<(), G::Error> {
        graph.check_size(self.depths.len())?;
        graph.check_size(self.hidden.len())
    }

    /// Takes in that these heads may be reached otherwise. Gives the nodes whose distance is another, and those that would be
    /// looked at if they were in sight and would not before, or the other way round.
    pub(crate) fn repair<G: Graph>(
        &mut self,
        graph: &G,
        heads: impl IntoIterator<Item = EntityId>,
    ) -> Result<FxHashSet<EntityId>, G::Error> {
        let heads: BTreeSet<EntityId> = heads.into_iter().filter(|head| *head != self.start).collect();
        let mut changed = FxHashSet::default();
        // Those that nothing leads to any more from one step nearer, the nearest first.
        let mut suspects: BTreeSet<(u32, EntityId)> = heads.iter().filter_map(|head| Some((self.depth(*head)?, *head))).collect();
        let (mut open, mut unseen) = (heads, FxHashSet::default());
        while let Some((depth, node)) = suspects.pop_first() {
            if graph.is_in_sight(node) && graph.tails(node)?.into_iter().any(|tail| self.leads_on(graph, tail, depth - 1)) {
                continue;
            }
            self.depths.remove(&node);
            changed.insert(node);
            open.insert(node);
            for head in graph.heads(node)? {
                if self.depth(head) == Some(depth + 1) {
                    suspects.insert((depth + 1, head));
                } else if self.hidden.contains(&head) {
                    unseen.insert(head);
                }
            }
        }
        // Those that come nearer or back, by what is known for certain.
        let mut nearest = BinaryHeap::new();
        for node in open {
            if !graph.is_in_sight(node) {
                unseen.insert(node);
                continue;
            }
            if self.hidden.remove(&node) {
                changed.insert(node);
            }
            let before =
                graph.tails(node)?.into_iter().filter_map(|tail| self.depth(tail).filter(|depth| self.leads_on(graph, tail, *depth)));
            nearest.extend(before.min().map(|depth| Reverse((depth + 1, node))));
        }
        while let Some(Reverse((depth, node))) = nearest.pop() {
            if depth > self.depth_max || self.depth(node).is_some_and(|known| known <= depth) {
                continue;
            }
            self.depths.insert(node, depth);
            changed.insert(node);
            self.check_size(graph)?;
            if depth < self.depth_max {
                for head in graph.heads(node)?.into_iter().filter(|head| *head != self.start) {
                    if !graph.is_in_sight(head) {
                        unseen.insert(head);
                    } else if self.depth(head).is_none_or(|known| known > depth + 1) {
                        nearest.push(Reverse((depth + 1, head)));
                    }
                }
            }
        }
        for node in unseen {
            let leads_there =
                |tail: EntityId| self.depth(tail).is_some_and(|depth| depth < self.depth_max && self.leads_on(graph, tail, depth));
            let is_met = !graph.is_in_sight(node) && graph.tails(node)?.into_iter().any(leads_there);
            if put(&mut self.hidden, node, is_met) {
                changed.insert(node);
            }
        }
        self.check_size(graph)?;
        Ok(changed)
    }

    /// Whether a node is so many steps away, and edges from it count.
    fn leads_on(&self, graph: &impl Graph, node: EntityId, depth: u32) -> bool {
        self.depth(node) == Some(depth) && (node == self.start || graph.is_in_sight(node))
    }
}

/// What is at the ends of a path, step by step: each node at the end of an edge of a step from one at the end of the step before.
pub(crate) struct Levels {
    start: EntityId,
    levels: Vec<FxHashSet<EntityId>>,
    /// Nodes that would be at the end of a step if they were in sight.
    hidden: Vec<FxHashSet<EntityId>>,
}

impl Levels {
    /// Of so many steps, of which nothing is known.
    pub(crate) fn new(start: EntityId, steps: usize) -> Self {
        Self { start, levels: vec![FxHashSet::default(); steps], hidden: vec![FxHashSet::default(); steps] }
    }

    /// Whether a node is at the end of some step, may be as soon as it is in sight, or is the start.
    pub(crate) fn knows(&self, node: EntityId) -> bool {
        node == self.start || self.levels.iter().chain(&self.hidden).any(|level| level.contains(&node))
    }

    /// Whether a node is at the end of the last step.
    pub(crate) fn is_end(&self, node: EntityId) -> bool {
        self.levels.last().is_some_and(|ends| ends.contains(&node))
    }

    /// Looks at everything again. Gives the nodes that were known before or are now.
    pub(crate) fn begin<G: Graph>(&mut self, steps: &[G]) -> Result<FxHashSet<EntityId>, G::Error> {
        let mut touched: FxHashSet<EntityId> = self.levels.iter_mut().chain(&mut self.hidden).flat_map(std::mem::take).collect();
        let mut tails = FxHashSet::from_iter([self.start]);
        for (n, step) in steps.iter().enumerate() {
            let mut level = FxHashSet::default();
            for tail in &tails {
                for head in step.heads(*tail)? {
                    if step.is_in_sight(head) {
                        level.insert(head)
                    } else {
                        self.hidden[n].insert(head)
                    };
                }
            }
            self.levels[n].clone_from(&level);
            tails = level;
            self.check_size(step)?;
        }
        touched.extend(self.levels.iter().chain(&self.hidden).flatten());
        touched.insert(self.start);
        Ok(touched)
    }

    fn check_size<G: Graph>(&self, step: &G) -> Result<(), G::Error> {
        step.check_size(self.levels.iter().map(FxHashSet::len).sum())?;
        step.check_size(self.hidden.iter().map(FxHashSet::len).sum())
    }

    /// Takes in that these heads may be reached otherwise. Gives the nodes that came to the end of a step or went from it, in sight
    /// or not.
    pub(crate) fn repair<G: Graph>(&mut self, steps: &[G], heads: &FxHashSet<EntityId>) -> Result<FxHashSet<EntityId>, G::Error> {
        let (mut changed, mut moved) = (FxHashSet::default(), Vec::new());
        for (n, step) in steps.iter().enumerate() {
            let mut suspects: BTreeSet<EntityId> = heads.iter().copied().collect();
            for node in std::mem::take(&mut moved) {
                suspects.extend(step.heads(node)?);
            }
            for node in suspects {
                let comes_from = |tail| match n.checked_sub(1) {
                    None => tail == self.start,
                    Some(before) => self.levels[before].contains(&tail),
                };
                let is_met = step.tails(node)?.into_iter().any(comes_from);
                let (is_there, is_hidden) = if step.is_in_sight(node) { (is_met, false) } else { (false, is_met) };
                if put(&mut self.levels[n], node, is_there) {
                    moved.push(node);
                    changed.insert(node);
                }
                if put(&mut self.hidden[n], node, is_hidden) {
                    changed.insert(node);
                }
            }
            self.check_size(step)?;
        }
        Ok(changed)
    }
}

/// Puts a node into a set, or takes it out; says whether that changes it.
fn put(set: &mut FxHashSet<EntityId>, node: EntityId, is_in: bool) -> bool {
    if is_in { set.insert(node) } else { set.remove(&node) }
}

/// A shortest way from one node to another, of those whose lengths are at most the sum of both balls' radii: the nodes on it, both
/// ends included. Of several the one whose nodes have the smallest ids, seen from the start.
pub(crate) fn shortest<G: Graph>(graph: &G, from: &Distances, to: &Distances) -> Result<Option<Vec<EntityId>>, G::Error> {
    let (near, far) = if from.depths.len() <= to.depths.len() { (from, to) } else { (to, from) };
    let length = near.nodes().filter_map(|(node, depth)| Some(depth + far.depth(node)?)).min();
    let Some(length) = length else { return Ok(None) };
    // Where the ball around the end begins, its own depths say what leads on; nearer the start, what leads to it does.
    let meeting = length.saturating_sub(to.depth_max);
    let mut leading: Vec<FxHashSet<EntityId>> = vec![FxHashSet::default(); meeting as usize + 1];
    let meets = |(node, depth): (EntityId, u32)| (depth == meeting && to.depth(node) == Some(length - meeting)).then_some(node);
    leading[meeting as usize] = from.nodes().filter_map(meets).collect();
    for depth in (0..meeting as usize).rev() {
        let mut before = FxHashSet::default();
        for node in &leading[depth + 1] {
            before.extend(graph.tails(*node)?.into_iter().filter(|tail| from.leads_on(graph, *tail, depth as u32)));
        }
        leading[depth] = before;
    }
    let mut way = vec![from.start];
    for depth in 1..=length {
        let is_on = |node: &EntityId| match leading.get(depth as usize) {
            Some(leading) => leading.contains(node),
            None => to.depth(*node) == Some(length - depth) && (*node == to.start || graph.is_in_sight(*node)),
        };
        let next = graph.heads(way[way.len() - 1])?.into_iter().filter(is_on).min();
        let Some(next) = next else { return Ok(None) };
        way.push(next);
    }
    Ok(Some(way))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    /// Edges between a few nodes, of which some are in sight.
    #[derive(Clone, Default)]
    struct Small {
        edges: BTreeSet<(u8, u8)>,
        hidden: BTreeSet<u8>,
    }

    fn id(node: u8) -> EntityId {
        EntityId(Uuid::from_u128(node.into()))
    }

    fn node(id: EntityId) -> u8 {
        id.0.as_u128() as u8
    }

    impl Graph for Small {
        type Error = Infallible;

        fn heads(&self, of: EntityId) -> Result<Vec<EntityId>, Infallible> {
            Ok(self.edges.iter().filter(|(tail, _)| id(*tail) == of).map(|(_, head)| id(*head)).collect())
        }

        fn tails(&self, of: EntityId) -> Result<Vec<EntityId>, Infallible> {
            Ok(self.edges.iter().filter(|(_, head)| id(*head) == of).map(|(tail, _)| id(*tail)).collect())
        }

        fn is_in_sight(&self, of: EntityId) -> bool {
            !self.hidden.contains(&node(of))
        }

        fn check_size(&self, _: usize) -> Result<(), Infallible> {
            Ok(())
        }
    }

    /// Against the edges, from the end to the start.
    struct Reversed<'a>(&'a Small);

    impl Graph for Reversed<'_> {
        type Error = Infallible;

        fn heads(&self, of: EntityId) -> Result<Vec<EntityId>, Infallible> {
            self.0.tails(of)
        }

        fn tails(&self, of: EntityId) -> Result<Vec<EntityId>, Infallible> {
            self.0.heads(of)
        }

        fn is_in_sight(&self, of: EntityId) -> bool {
            self.0.is_in_sight(of)
        }

        fn check_size(&self, _: usize) -> Result<(), Infallible> {
            Ok(())
        }
    }

    /// Breadth first, from scratch, with the nodes that each was reached from first.
    fn naive(graph: &Small, start: u8) -> FxHashMap<EntityId, (u32, EntityId)> {
        let mut found = FxHashMap::from_iter([(id(start), (0, id(start)))]);
        let mut open = VecDeque::from([id(start)]);
        while let Some(at) = open.pop_front() {
            let depth = found[&at].0 + 1;
            for head in graph.heads(at).unwrap() {
                if graph.is_in_sight(head) && !found.contains_key(&head) {
                    found.insert(head, (depth, at));
                    open.push_back(head);
                }
            }
        }
        found
    }

    fn naive_way(graph: &Small, start: u8, end: u8, longest: u32) -> Option<Vec<EntityId>> {
        let found = naive(graph, start);
        found.get(&id(end)).filter(|(depth, _)| *depth <= longest)?;
        let mut way = vec![id(end)];
        while way[way.len() - 1] != id(start) {
            way.push(found[&way[way.len() - 1]].1);
        }
        way.reverse();
        Some(way)
    }

    /// Flips edges and what is in sight; gives the heads.
    fn change(graph: &mut Small, edges: &[(u8, u8)], nodes: &[u8]) -> FxHashSet<EntityId> {
        let mut heads = FxHashSet::default();
        for edge in edges {
            if !graph.edges.remove(edge) {
                graph.edges.insert(*edge);
            }
            heads.insert(id(edge.1));
        }
        for node in nodes {
            if !graph.hidden.remove(node) {
                graph.hidden.insert(*node);
            }
            heads.insert(id(*node));
            heads.extend(graph.heads(id(*node)).unwrap());
        }
        heads
    }

    type Step = (Vec<(u8, u8)>, Vec<u8>);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let edge = (0..9u8, 0..9u8);
        // The end of ways is in sight; what they start from counts whether it is or not.
        let node = prop_oneof![1 => Just(0u8), 8 => 2..9u8];
        prop::collection::vec((prop::collection::vec(edge, 0..6), prop::collection::vec(node, 0..2)), 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn distances_are_those_of_a_search(steps in steps(), most in 0..5u32) {
            let (mut graph, mut unlimited, mut limited) = (Small::default(), Distances::new(id(0), u32::MAX), Distances::new(id(0), most));
            for (edges, nodes) in &steps {
                let heads = change(&mut graph, edges, nodes);
                let before: BTreeSet<_> = unlimited.nodes().collect();
                let changed = unlimited.repair(&graph, heads.iter().copied()).unwrap();
                limited.repair(&graph, heads).unwrap();
                let expected = naive(&graph, 0);
                let all: BTreeSet<(EntityId, u32)> = expected.iter().map(|(node, (depth, _))| (*node, *depth)).collect();
                prop_assert_eq!(unlimited.nodes().collect::<BTreeSet<_>>(), all.clone());
                let near: BTreeSet<_> = all.iter().copied().filter(|(_, depth)| *depth <= most).collect();
                prop_assert_eq!(limited.nodes().collect::<BTreeSet<_>>(), near);
                for (node, _) in before.symmetric_difference(&all) {
                    prop_assert!(changed.contains(node));
                }
                let mut anew = Distances::new(id(0), u32::MAX);
                anew.begin(&graph).unwrap();
                prop_assert_eq!(anew.nodes().collect::<BTreeSet<_>>(), all);
                prop_assert_eq!(anew.hidden, unlimited.hidden.clone());
                let mut anew = Distances::new(id(0), most);
                anew.begin(&graph).unwrap();
                prop_assert_eq!(anew.hidden, limited.hidden.clone());
            }
        }

        #[test]
        fn ways_are_those_of_a_search(steps in steps(), radii in (1..4u32, 0..4u32)) {
            let mut graph = Small::default();
            let (mut from, mut to) = (Distances::new(id(0), radii.0), Distances::new(id(1), radii.1));
            for (edges, nodes) in &steps {
                let heads = change(&mut graph, edges, nodes);
                from.repair(&graph, heads.iter().copied()).unwrap();
                // Seen from the end, an edge's head is its tail.
                let mut tails: FxHashSet<EntityId> = edges.iter().map(|(tail, _)| id(*tail)).collect();
                for node in nodes {
                    tails.insert(id(*node));
                    tails.extend(graph.tails(id(*node)).unwrap());
                }
                to.repair(&Reversed(&graph), tails).unwrap();
                prop_assert_eq!(shortest(&graph, &from, &to).unwrap(), naive_way(&graph, 0, 1, radii.0 + radii.1));
            }
        }

        #[test]
        fn ends_are_those_of_a_walk(steps in steps(), other in steps(), length in 1..4usize) {
            // The steps of a path go along one kind of edges and another by turns.
            let mut graphs = [Small::default(), Small::default()];
            let mut levels = Levels::new(id(0), length);
            for (n, (edges, nodes)) in steps.iter().enumerate() {
                let mut heads = change(&mut graphs[0], edges, nodes);
                if let Some((edges, _)) = other.get(n) {
                    heads.extend(change(&mut graphs[1], edges, &[]));
                }
                graphs[1].hidden = graphs[0].hidden.clone();
                for node in nodes {
                    heads.extend(graphs[1].heads(id(*node)).unwrap());
                }
                let path: Vec<Small> = (0..length).map(|step| graphs[step % 2].clone()).collect();
                levels.repair(&path, &heads).unwrap();
                let mut ends = BTreeSet::from([id(0)]);
                for step in &path {
                    let heads = ends.iter().flat_map(|end| step.heads(*end).unwrap());
                    ends = heads.filter(|head| step.is_in_sight(*head)).collect();
                }
                prop_assert_eq!((0..9).map(id).filter(|node| levels.is_end(*node)).collect::<BTreeSet<_>>(), ends);
                let mut anew = Levels::new(id(0), length);
                anew.begin(&path).unwrap();
                prop_assert_eq!(anew.levels, levels.levels.clone());
                prop_assert_eq!(anew.hidden, levels.hidden.clone());
            }
        }
    }
}
