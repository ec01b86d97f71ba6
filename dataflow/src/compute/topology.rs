//! Which entities depend on themselves, along the links of one [`Component`](decidr_domain::schema::Component), and in which
//! order the others are computed.
//!
//! A cycle can only come about by an edge that comes, and then consists of what lies both behind and before that edge; so a
//! new edge is searched from both ends, in turn, until the smaller side is through: a way round lies in that side. Where that
//! is more work, the whole graph is searched instead (Tarjan 1972). An edge that goes is only looked at if both its ends are
//! in a cycle, and then what that cycle held is searched again; other cycles cost nothing. Where nothing depends on itself, an
//! edge from one that is ranked before the other needs no search.

use std::rc::Rc;

use decidr_domain::id::EntityId;
use decidr_domain::schema::cycle_error;
use decidr_domain::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::Graph;
use super::ranks::Ranks;
use crate::plan::Rank;

/// The graph of a component.
#[derive(Default)]
pub(super) struct Topology {
    pub(super) graph: Graph,
    /// The entities that depend on themselves.
    cyclic: FxHashMap<EntityId, Rc<Cycle>>,
    ranks: Ranks,
}

/// What changed.
#[derive(Debug, Default)]
pub(super) struct TopologyChanges {
    /// The entities of which it has changed whether they depend on themselves, or with which others; with the error that
    /// says so, if they do now.
    pub(super) cycles: Vec<(EntityId, Option<Value>)>,
    /// Those that are ranked otherwise.
    pub(super) ranks: Vec<(EntityId, Rank)>,
}

/// Entities that depend on one another.
struct Cycle {
    /// Sorted.
    members: Vec<EntityId>,
    /// What says so.
    error: Value,
}

impl Topology {
    /// What the edges change that came and went since the last look.
    pub(super) fn changes(&mut self) -> TopologyChanges {
        let come = std::mem::take(&mut self.graph.come);
        let mut candidates: FxHashSet<EntityId> = FxHashSet::default();
        for (source, host) in self.graph.gone.drain(..) {
            if let (Some(one), Some(other)) = (self.cyclic.get(&source), self.cyclic.get(&host))
                && Rc::ptr_eq(one, other)
                && !candidates.contains(&source)
            {
                candidates.extend(&one.members);
            }
        }
        // Most of the graph is new, or ranks are to be made anew.
        let mut are_all_searched = come.len() > self.graph.len() / 2 || self.ranks.are_far;
        let mut work = 0;
        for (source, host) in &come {
            if are_all_searched {
                break;
            }
            // Else a way back would have to come to where it came from by edges that all lead on.
            if !self.cyclic.is_empty() || !self.ranks.is_before(*source, *host) {
                work += self.round_trip(*source, *host, &mut candidates);
                are_all_searched |= work > self.graph.len();
            }
        }
        if are_all_searched {
            candidates.extend(self.graph.hosts.keys());
        } else {
            // A way round that is new may be in what went round before, as that of an edge from one to itself.
            let cycles = candidates.iter().filter_map(|entity| self.cyclic.get(entity)).map(|cycle| (cycle.members[0], cycle));
            // Each of them once: most candidates may be of one.
            let cycles: FxHashMap<EntityId, &Rc<Cycle>> = cycles.collect();
            cycles.values().for_each(|cycle| candidates.extend(&cycle.members));
        }
        let mut nodes: Vec<EntityId> = candidates.into_iter().collect();
        nodes.sort_unstable();
        let components = self.graph.components(&nodes);
        let mut now: FxHashMap<EntityId, Rc<Cycle>> = FxHashMap::default();
        for members in &components {
            if members.len() > 1 || self.graph.has(members[0], members[0]) {
                let mut members = members.clone();
                members.sort_unstable();
                let cycle = Rc::new(Cycle { error: cycle_error(&members), members });
                now.extend(cycle.members.iter().map(|member| (*member, Rc::clone(&cycle))));
            }
        }
        let (mut cycles, mut free) = (Vec::new(), FxHashSet::default());
        for entity in nodes {
            let after = now.get(&entity).cloned();
            let before = match &after {
                Some(cycle) => self.cyclic.insert(entity, Rc::clone(cycle)),
                None => self.cyclic.remove(&entity),
            };
            if before.is_some() && after.is_none() {
                free.insert(entity);
            }
            let error = |cycle: &Option<Rc<Cycle>>| cycle.as_ref().map(|cycle| cycle.error.clone());
            if error(&before) != error(&after) {
                cycles.push((entity, error(&after)));
            }
        }
        let (graph, is_cyclic) = (&self.graph, |entity| self.cyclic.contains_key(&entity));
        let free: Vec<EntityId> = components.iter().flatten().filter(|entity| free.contains(entity)).copied().collect();
        let mended = if are_all_searched { None } else { self.ranks.put_in_order(graph, &is_cyclic, &free, come) };
        let ranks = mended.unwrap_or_else(|| {
            let all = || graph.components(&graph.hosts.keys().copied().collect::<Vec<_>>());
            let components = if are_all_searched { components } else { all() };
            self.ranks.renew(graph, &is_cyclic, &components)
        });
        TopologyChanges { cycles, ranks }
    }

    /// Adds to `found` what lies on a way round through the edge from `source` to `host`, if there is one; returns how many
    /// entities were looked at.
    fn round_trip(&self, source: EntityId, host: EntityId, found: &mut FxHashSet<EntityId>) -> usize {
        if source == host {
            found.insert(source);
            return 1;
        }
        let (mut before, mut behind) = (Search::from(source), Search::from(host));
        // One step on each side in turn, until one is through: the smaller one. Only in it can a way round be.
        while behind.step(&self.graph.hosts, None) && before.step(&self.graph.sources, None) {}
        if behind.open.is_empty() {
            if behind.seen.contains(&source) {
                found.extend(Search::all(source, &self.graph.sources, &behind.seen));
            }
        } else if before.seen.contains(&host) {
            found.extend(Search::all(host, &self.graph.hosts, &before.seen));
        }
        behind.seen.len() + before.seen.len()
    }
}

/// What can be reached from somewhere, as far as it was looked.
struct Search {
    seen: FxHashSet<EntityId>,
    open: Vec<EntityId>,
}

impl Search {
    fn from(start: EntityId) -> Self {
        Self { seen: FxHashSet::from_iter([start]), open: vec![start] }
    }

    /// What can be reached from somewhere within some entities.
    fn all(start: EntityId, edges: &FxHashMap<EntityId, Vec<EntityId>>, within: &FxHashSet<EntityId>) -> FxHashSet<EntityId> {
        let mut search = Self::from(start);
        while search.step(edges, Some(within)) {}
        search.seen
    }

    /// Looks at one more entity; says whether there was one.
    fn step(&mut self, edges: &FxHashMap<EntityId, Vec<EntityId>>, within: Option<&FxHashSet<EntityId>>) -> bool {
        let Some(at) = self.open.pop() else { return false };
        for next in edges.get(&at).into_iter().flatten() {
            if within.is_none_or(|within| within.contains(next)) && self.seen.insert(*next) {
                self.open.push(*next);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use decidr_domain::id::AttributeId;
    use decidr_domain::schema::Direction;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn id(n: usize) -> EntityId {
        EntityId(Uuid::from_u128(n as u128))
    }

    /// The error of each entity that depends on itself, by walking from each.
    fn errors(targets: &[Option<Vec<usize>>]) -> FxHashMap<EntityId, Value> {
        let reached = |from: usize| {
            let (mut seen, mut open) = (vec![false; targets.len()], vec![from]);
            while let Some(at) = open.pop() {
                open.extend(targets[at].iter().flatten().copied().filter(|to| !std::mem::replace(&mut seen[*to], true)));
            }
            seen
        };
        let reached: Vec<_> = (0..targets.len()).map(reached).collect();
        let with = |one: usize| (0..targets.len()).filter(|other| reached[one][*other] && reached[*other][one]).map(id).collect::<Vec<_>>();
        (0..targets.len()).filter(|one| reached[*one][*one]).map(|one| (id(one), cycle_error(&with(one)))).collect()
    }

    proptest! {
        /// Few changes at a time among many entities, and many at a time.
        #[test]
        fn cycles_are_those_of_walks_and_ranks_lead_up(
            steps in prop::collection::vec((0usize..40, prop::option::of(prop::collection::vec(0usize..40, 0..3)), 0usize..4), 1..150),
        ) {
            cycles_and_ranks(40, steps)?;
        }

        /// So few that most are in circles.
        #[test]
        fn cycles_within_cycles_are_those_of_walks(
            steps in prop::collection::vec((0usize..5, prop::option::of(prop::collection::vec(0usize..5, 0..3)), 0usize..4), 1..60),
        ) {
            cycles_and_ranks(5, steps)?;
        }
    }

    /// Entities that are in sight or not, with new targets of a link of theirs, and whether the graph is looked at then.
    type Steps = Vec<(usize, Option<Vec<usize>>, usize)>;

    fn cycles_and_ranks(count: usize, steps: Steps) -> Result<(), TestCaseError> {
        // One link leads to hosts and one to sources, so that edges between two come from either.
        let [one, other] = [1, 2].map(|link| AttributeId(Uuid::from_u128(link)));
        let directions = [Direction::Backward(one), Direction::Forward(other)];
        let mut topology = Topology::default();
        let mut said: Vec<(bool, [Vec<usize>; 2])> = vec![Default::default(); count];
        let mut known: FxHashMap<EntityId, Value> = FxHashMap::default();
        let mut ranks: FxHashMap<EntityId, Rank> = FxHashMap::default();
        for (entity, to, pause) in steps {
            let (is_in_sight, links) = &mut said[entity];
            *is_in_sight = to.is_some();
            links[pause % 2] = to.unwrap_or_default();
            let ids = links.iter().map(|targets| targets.iter().map(|n| id(*n)).collect()).collect();
            topology.graph.take_in(&directions, id(entity), *is_in_sight, ids);
            if pause == 0 {
                continue;
            }
            let to_hosts = |source: usize| {
                let hosts = (0..count).filter(|host| said[*host].1[1].contains(&source));
                said[source].0.then(|| said[source].1[0].iter().copied().chain(hosts).collect::<Vec<_>>())
            };
            let targets: Vec<_> = (0..count).map(to_hosts).collect();
            let changes = topology.changes();
            for (entity, error) in changes.cycles {
                match error {
                    Some(error) => prop_assert_ne!(known.insert(entity, error.clone()), Some(error), "that is no news"),
                    None => prop_assert!(known.remove(&entity).is_some()),
                }
            }
            prop_assert_eq!(&known, &errors(&targets));
            for (entity, rank) in changes.ranks {
                prop_assert_ne!(ranks.insert(entity, rank).unwrap_or(0), rank, "that is no news");
            }
            let rank = |entity| ranks.get(&entity).copied().unwrap_or(0);
            for (source, to) in targets.iter().enumerate() {
                for host in to.iter().flatten().map(|host| id(*host)).filter(|host| !known.contains_key(host)) {
                    prop_assert!(rank(id(source)) < rank(host), "{} comes before {:?}", source, host);
                }
            }
        }
        Ok(())
    }
}
