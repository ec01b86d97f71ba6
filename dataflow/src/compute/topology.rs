//! Which entities depend on themselves, along the links of one [`Component`](decidr_domain::schema::Component).
//!
//! One worker has the whole graph of a component: an edge leads from each source in sight to its hosts. A cycle can only
//! come about by an edge that comes, and then consists of what lies both behind and before that edge; so a new edge is
//! searched from both ends, in turn, and the search ends with the smaller side. Where many edges come at once, the whole
//! graph is searched instead (Tarjan 1972). Edges that go are only looked at where there are cycles.

use decidr_domain::graph::strong_components;
use decidr_domain::id::EntityId;
use decidr_domain::schema::{Direction, cycle_error};
use decidr_domain::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};

/// What one entity says about itself.
#[derive(Default)]
struct Said {
    in_sight: bool,
    /// For each of the component's directions, where its link leads.
    targets: Vec<Vec<EntityId>>,
}

/// The graph of a component.
#[derive(Default)]
pub(super) struct Topology {
    said: FxHashMap<EntityId, Said>,
    /// From sources to hosts, and back; each as often as it is said.
    hosts: FxHashMap<EntityId, Vec<EntityId>>,
    sources: FxHashMap<EntityId, Vec<EntityId>>,
    /// For forward directions: who has links to an entity, whose being in sight decides about edges to them.
    holders: FxHashMap<EntityId, Vec<(usize, EntityId)>>,
    /// The entities that depend on themselves, with the error that says so.
    cyclic: FxHashMap<EntityId, Value>,
    /// Edges that came since the last look.
    come: Vec<(EntityId, EntityId)>,
}

/// Where more than one in so many entities has a new edge, the whole graph is searched.
const SEARCH_SHARE: usize = 16;

impl Topology {
    /// Takes in what an entity says about itself, in place of what it said before.
    pub(super) fn take_in(&mut self, directions: &[Direction], entity: EntityId, in_sight: bool, targets: Vec<Vec<EntityId>>) {
        let before = self.said.remove(&entity).unwrap_or_default();
        for (place, direction) in directions.iter().enumerate() {
            let (old, new) = (before.targets.get(place).map_or(&[][..], Vec::as_slice), targets.get(place).map_or(&[][..], Vec::as_slice));
            match direction {
                // The entity is the source, its targets are the hosts.
                Direction::Backward(_) => {
                    for host in old.iter().filter(|_| before.in_sight) {
                        self.cut(entity, *host);
                    }
                    for host in new.iter().filter(|_| in_sight) {
                        self.join(entity, *host);
                    }
                }
                // Its targets are the sources, as far as they are in sight.
                Direction::Forward(_) => {
                    for source in old {
                        remove_one(&mut self.holders, *source, &(place, entity));
                        if self.is_in_sight(*source, entity, before.in_sight) {
                            self.cut(*source, entity);
                        }
                    }
                    for source in new {
                        self.holders.entry(*source).or_default().push((place, entity));
                        if self.is_in_sight(*source, entity, in_sight) {
                            self.join(*source, entity);
                        }
                    }
                }
            }
        }
        if before.in_sight != in_sight {
            // Those who have links to it, itself seen to above.
            let holders: Vec<_> =
                self.holders.get(&entity).into_iter().flatten().map(|(_, holder)| *holder).filter(|h| *h != entity).collect();
            for holder in holders {
                if in_sight { self.join(entity, holder) } else { self.cut(entity, holder) }
            }
        }
        self.said.insert(entity, Said { in_sight, targets });
    }

    /// Whether `source` is in sight, which for the entity that is speaking is as it says.
    fn is_in_sight(&self, source: EntityId, speaker: EntityId, as_said: bool) -> bool {
        if source == speaker { as_said } else { self.said.get(&source).is_some_and(|said| said.in_sight) }
    }

    fn join(&mut self, source: EntityId, host: EntityId) {
        self.hosts.entry(source).or_default().push(host);
        self.sources.entry(host).or_default().push(source);
        self.come.push((source, host));
    }

    fn cut(&mut self, source: EntityId, host: EntityId) {
        remove_one(&mut self.hosts, source, &host);
        remove_one(&mut self.sources, host, &source);
    }

    /// The entities of which it has changed whether they depend on themselves, or with which others; with the error that
    /// says so, if they do now.
    pub(super) fn changes(&mut self) -> Vec<(EntityId, Option<Value>)> {
        let come = std::mem::take(&mut self.come);
        let mut candidates: FxHashSet<EntityId> = self.cyclic.keys().copied().collect();
        if come.len() > self.said.len() / SEARCH_SHARE {
            candidates = self.hosts.keys().copied().collect();
        } else {
            for (source, host) in come {
                self.round_trip(source, host, &mut candidates);
            }
        }
        let mut nodes: Vec<EntityId> = candidates.into_iter().collect();
        nodes.sort_unstable();
        let hosts = |entity: EntityId| self.hosts.get(&entity).map_or_else(Vec::new, Clone::clone);
        let mut now: FxHashMap<EntityId, Value> = FxHashMap::default();
        for mut members in strong_components(&nodes, hosts) {
            if members.len() > 1 || self.hosts.get(&members[0]).is_some_and(|hosts| hosts.contains(&members[0])) {
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
        while behind.step(&self.hosts).is_some_and(|at| at != source) && before.step(&self.sources).is_some_and(|at| at != host) {}
        let met = behind.seen.contains(&source) || before.seen.contains(&host);
        if !met && (behind.open.is_empty() || before.open.is_empty()) {
            return;
        }
        while behind.step(&self.hosts).is_some() {}
        while before.step(&self.sources).is_some() {}
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

fn remove_one<K: std::hash::Hash + Eq, V: PartialEq>(map: &mut FxHashMap<K, Vec<V>>, key: K, value: &V) {
    if let std::collections::hash_map::Entry::Occupied(mut entry) = map.entry(key) {
        if let Some(place) = entry.get().iter().position(|there| there == value) {
            entry.get_mut().swap_remove(place);
        }
        if entry.get().is_empty() {
            entry.remove();
        }
    }
}
