//! Which entities depend on themselves, along the links of one [`Component`](decidr_domain::schema::Component).
//!
//! A cycle can only
//! come about by an edge that comes, and then consists of what lies both behind and before that edge; so a new edge is
//! searched from both ends, in turn, and the search ends with the smaller side. Where many edges come at once, the whole
//! graph is searched instead (Tarjan 1972). Edges that go are only looked at where there are cycles.

use decidr_domain::graph::strong_components;
use decidr_domain::id::EntityId;
use decidr_domain::schema::cycle_error;
use decidr_domain::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::Graph;

/// The graph of a component.
#[derive(Default)]
pub(super) struct Topology {
    pub(super) graph: Graph,
    /// The entities that depend on themselves, with the error that says so.
    cyclic: FxHashMap<EntityId, Value>,
}

/// Where more than one in so many entities has a new edge, the whole graph is searched.
const SEARCH_SHARE: usize = 16;

impl Topology {
    /// The entities of which it has changed whether they depend on themselves, or with which others; with the error that
    /// says so, if they do now.
    pub(super) fn changes(&mut self) -> Vec<(EntityId, Option<Value>)> {
        let come = std::mem::take(&mut self.graph.come);
        self.graph.gone.clear();
        let mut candidates: FxHashSet<EntityId> = self.cyclic.keys().copied().collect();
        if come.len() > self.graph.len() / SEARCH_SHARE {
            candidates = self.graph.hosts.keys().copied().collect();
        } else {
            for (source, host) in come {
                self.round_trip(source, host, &mut candidates);
            }
        }
        let mut nodes: Vec<EntityId> = candidates.into_iter().collect();
        nodes.sort_unstable();
        let hosts = |entity: EntityId| self.graph.hosts.get(&entity).map_or_else(Vec::new, Clone::clone);
        let mut now: FxHashMap<EntityId, Value> = FxHashMap::default();
        for mut members in strong_components(&nodes, hosts) {
            if members.len() > 1 || self.graph.hosts.get(&members[0]).is_some_and(|hosts| hosts.contains(&members[0])) {
                members.sort_unstable();
                let error = cycle_error(&members);
                now.extend(members.into_iter().map(|member| (member, error.clone())));
            }
        }
        let mut out: Vec<(EntityId, Option<Value>)> = now
            .iter()
            .filter(|(entity, error)| self.cyclic.get(entity) != Some(error))
            .map(|(entity, error)| (*entity, Some(error.clone())))
            .collect();
        out.extend(self.cyclic.keys().filter(|entity| !now.contains_key(entity)).map(|entity| (*entity, None)));
        out.sort_unstable_by_key(|(entity, _)| *entity);
        self.cyclic = now;
        out
    }

    /// Adds to `found` what lies on a way round through the edge from `source` to `host`, if there is one.
    fn round_trip(&self, source: EntityId, host: EntityId, found: &mut FxHashSet<EntityId>) {
        if source == host {
            found.insert(source);
            return;
        }
        let (mut before, mut behind) = (Search::from(source), Search::from(host));
        // One step on each side in turn: the smaller side decides.
        while behind.step(&self.graph.hosts).is_some_and(|at| at != source) && before.step(&self.graph.sources).is_some_and(|at| at != host)
        {
        }
        let met = behind.seen.contains(&source) || before.seen.contains(&host);
        if !met && (behind.open.is_empty() || before.open.is_empty()) {
            return;
        }
        while behind.step(&self.graph.hosts).is_some() {}
        while before.step(&self.graph.sources).is_some() {}
        found.extend(behind.seen.intersection(&before.seen));
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

    /// Looks at one more entity, and says which.
    fn step(&mut self, edges: &FxHashMap<EntityId, Vec<EntityId>>) -> Option<EntityId> {
        let at = self.open.pop()?;
        for next in edges.get(&at).into_iter().flatten() {
            if self.seen.insert(*next) {
                self.open.push(*next);
            }
        }
        Some(at)
    }
}
