//! Graphs whose nodes are small and whose edges are asked for.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// The strongly connected components of the graph on `nodes`: edges that lead elsewhere are passed over. A component comes
/// after those that it has edges to. In time and memory proportional to nodes and edges, without recursion (Tarjan 1972).
pub fn strong_components<N, E>(nodes: &[N], mut edges: impl FnMut(N) -> E) -> Vec<Vec<N>>
where
    N: Copy + Eq + Hash,
    E: IntoIterator<Item = N>,
{
    /// A node whose edges are being followed.
    struct Open {
        node: usize,
        /// Its edges, and how many were followed.
        edges: Vec<usize>,
        next: usize,
    }
    const UNSEEN: usize = usize::MAX;
    let places: FxHashMap<N, usize> = nodes.iter().enumerate().map(|(place, node)| (*node, place)).collect();
    let (mut index, mut low) = (vec![UNSEEN; nodes.len()], vec![0; nodes.len()]);
    let (mut on_stack, mut stack) = (vec![false; nodes.len()], Vec::new());
    let (mut count, mut out) = (0, Vec::new());
    for start in 0..nodes.len() {
        if index[start] != UNSEEN {
            continue;
        }
        let mut open: Vec<Open> = Vec::new();
        let mut entering = Some(start);
        loop {
            if let Some(node) = entering.take() {
                (index[node], low[node], on_stack[node]) = (count, count, true);
                count += 1;
                stack.push(node);
                let edges = edges(nodes[node]).into_iter().filter_map(|to| places.get(&to).copied()).collect();
                open.push(Open { node, edges, next: 0 });
            }
            let Some(top) = open.last_mut() else { break };
            let node = top.node;
            match top.edges.get(top.next) {
                Some(&to) => {
                    top.next += 1;
                    if index[to] == UNSEEN {
                        entering = Some(to);
                    } else if on_stack[to] {
                        low[node] = low[node].min(index[to]);
                    }
                }
                None => {
                    open.pop();
                    if let Some(parent) = open.last() {
                        low[parent.node] = low[parent.node].min(low[node]);
                    }
                    if low[node] == index[node] {
                        let mut component = Vec::new();
                        while let Some(member) = stack.pop() {
                            on_stack[member] = false;
                            component.push(nodes[member]);
                            if member == node {
                                break;
                            }
                        }
                        out.push(component);
                    }
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Two nodes are in one component if and only if each can be reached from the other; edges lead to earlier ones.
        #[test]
        fn components_are_what_reaches_both_ways(edges in prop::collection::vec((0usize..12, 0usize..14), 0..30)) {
            let nodes: Vec<usize> = (0..12).collect();
            let reaches = |from: usize, to: usize| {
                let (mut open, mut seen) = (vec![from], vec![false; 14]);
                while let Some(at) = open.pop() {
                    if at == to {
                        return true;
                    }
                    if !std::mem::replace(&mut seen[at], true) {
                        open.extend(edges.iter().filter(|(a, _)| *a == at).map(|(_, b)| *b));
                    }
                }
                false
            };
            let components = strong_components(&nodes, |node| edges.iter().filter(move |(a, _)| *a == node).map(|(_, b)| *b).collect::<Vec<_>>());
            let place = |node: usize| components.iter().position(|component| component.contains(&node)).unwrap();
            prop_assert_eq!(components.iter().map(Vec::len).sum::<usize>(), nodes.len());
            for a in 0..12 {
                for b in 0..12 {
                    prop_assert_eq!(place(a) == place(b), reaches(a, b) && reaches(b, a), "{} and {}", a, b);
                }
            }
            for (a, b) in edges.iter().filter(|(_, b)| *b < 12) {
                prop_assert!(place(*b) <= place(*a));
            }
        }
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let nodes: Vec<u32> = (0..200_000).collect();
        assert_eq!(strong_components(&nodes, |node| [node + 1]).len(), nodes.len());
    }
}
