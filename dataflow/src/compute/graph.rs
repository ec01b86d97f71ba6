//! The graph that self-links make of the entities of a collection, as one worker has it: an edge leads from each source in
//! sight to its hosts.

use decidr_domain::graph::strong_components;
use decidr_domain::id::EntityId;
use decidr_domain::schema::Direction;
use rustc_hash::FxHashMap;

/// What one entity says about itself.
#[derive(Default)]
struct Said {
    in_sight: bool,
    /// For each of the graph's directions, where its link leads.
    targets: Vec<Vec<EntityId>>,
}

/// The graph.
#[derive(Default)]
pub(super) struct Graph {
    said: FxHashMap<EntityId, Said>,
    /// From sources to hosts, and back; each as often as it is said.
    pub(super) hosts: FxHashMap<EntityId, Vec<EntityId>>,
    pub(super) sources: FxHashMap<EntityId, Vec<EntityId>>,
    /// For forward directions: who has links to an entity, whose being in sight decides about edges to them.
    holders: FxHashMap<EntityId, Vec<(usize, EntityId)>>,
    edges: usize,
    /// Edges that came since the last look, and those that went.
    pub(super) come: Vec<(EntityId, EntityId)>,
    pub(super) gone: Vec<(EntityId, EntityId)>,
}

impl Graph {
    /// How much work it is to look at all of it: how many entities have spoken, and how many edges there are.
    pub(super) fn size(&self) -> usize {
        self.len() + self.edges
    }

    /// How many entities have spoken.
    pub(super) fn len(&self) -> usize {
        self.said.len()
    }

    /// The strongly connected components of these entities, each after those that hold its hosts.
    pub(super) fn components(&self, entities: &[EntityId]) -> Vec<Vec<EntityId>> {
        strong_components(entities, |entity| self.hosts.get(&entity).into_iter().flatten().copied())
    }

    /// Whether there is this edge.
    pub(super) fn has(&self, source: EntityId, host: EntityId) -> bool {
        let (hosts, sources) =
            (self.hosts.get(&source).map_or(&[][..], Vec::as_slice), self.sources.get(&host).map_or(&[][..], Vec::as_slice));
        if hosts.len() <= sources.len() { hosts.contains(&host) } else { sources.contains(&source) }
    }

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
                // A graph is made of steps.
                Direction::Reach { .. } | Direction::Match(_) => {}
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
        self.edges += 1;
    }

    fn cut(&mut self, source: EntityId, host: EntityId) {
        remove_one(&mut self.hosts, source, &host);
        remove_one(&mut self.sources, host, &source);
        self.gone.push((source, host));
        self.edges -= 1;
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
