//! An order of the entities of a component in which sources come before hosts, so that each is computed once however deep
//! the data are, and whatever comes at once.
//!
//! Each entity has a rank, and a source a lower one than its hosts. An edge that does not keep to that raises its host and
//! what lies behind, or lowers its source and what lies before: both are tried in turn, and the one that is done with less
//! work counts (an order kept up as by Alpern, Hoover, Rosen, Sweeney and Zadeck 1990, with ranks for its priorities). Entities
//! that depend on themselves are computed from nothing, and may come before their sources.
//!
//! No cell depends on the ranks: where one is out of order, an entity is computed again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use decidr_domain::id::EntityId;
use rustc_hash::FxHashMap;

use super::graph::Graph;
use crate::plan::Rank;

/// Ranks that are further from 0 are made anew before they go on from there: no batch of edges takes them as far again.
const FURTHEST: Rank = 1 << 29;

/// The ranks of the entities of a graph.
#[derive(Default)]
pub(super) struct Ranks {
    /// Those that are not 0.
    of: FxHashMap<EntityId, Rank>,
    /// Whether some are far from 0.
    pub(super) are_far: bool,
}

impl Ranks {
    fn get(&self, entity: EntityId) -> Rank {
        self.of.get(&entity).copied().unwrap_or(0)
    }

    /// Whether a source comes before a host.
    pub(super) fn is_before(&self, source: EntityId, host: EntityId) -> bool {
        self.get(source) < self.get(host)
    }

    /// Puts the ends of these edges in order, where they are not, after `free` have become so: they do not depend on themselves
    /// any more, and come each after those that hold its hosts. Returns the new ranks, or nothing if it is less work to make
    /// all ranks anew.
    pub(super) fn put_in_order(
        &mut self,
        graph: &Graph,
        is_cyclic: &dyn Fn(EntityId) -> bool,
        free: &[EntityId],
        come: Vec<(EntityId, EntityId)>,
    ) -> Option<Vec<(EntityId, Rank)>> {
        let mut before: FxHashMap<EntityId, Rank> = FxHashMap::default();
        for entity in free {
            let own = self.get(*entity);
            if let Some(first) = self.first_of_hosts(graph, is_cyclic, *entity).filter(|first| *first <= own) {
                before.insert(*entity, own);
                self.set(*entity, first - 1);
            }
        }
        let sources = |host| graph.sources.get(&host).into_iter().flatten().map(move |source| (*source, host));
        let mut work = 0;
        for (source, host) in free.iter().copied().flat_map(sources).chain(come) {
            if is_cyclic(host) || self.is_before(source, host) || !graph.has(source, host) {
                continue;
            }
            let mut raised = Shift::new(graph, is_cyclic, Side::Hosts, host, self.get(source) + 1);
            let mut lowered = Shift::new(graph, is_cyclic, Side::Sources, source, 1 - self.get(host));
            let shift = loop {
                match (raised.cost(), lowered.cost()) {
                    (None, _) => break &raised,
                    (_, None) => break &lowered,
                    (Some(one), Some(other)) if one <= other => raised.step(self),
                    _ => lowered.step(self),
                }
                if work + raised.work + lowered.work > graph.size() {
                    before.into_iter().for_each(|(entity, rank)| self.set(entity, rank));
                    return None;
                }
            };
            for (entity, shifted) in &shift.entities {
                let rank = shift.side.rank(shifted.key);
                self.are_far |= rank.abs() > FURTHEST;
                before.entry(*entity).or_insert(self.get(*entity));
                self.set(*entity, rank);
            }
            work += raised.work + lowered.work;
        }
        let after = before.into_iter().map(|(entity, before)| (entity, before, self.get(entity)));
        Some(after.filter(|(_, before, after)| before != after).map(|(entity, _, after)| (entity, after)).collect())
    }

    fn set(&mut self, entity: EntityId, rank: Rank) {
        match rank {
            0 => drop(self.of.remove(&entity)),
            rank => drop(self.of.insert(entity, rank)),
        }
    }

    /// The lowest rank of the hosts that must come after an entity.
    fn first_of_hosts(&self, graph: &Graph, is_cyclic: &dyn Fn(EntityId) -> bool, entity: EntityId) -> Option<Rank> {
        let hosts = graph.hosts.get(&entity)?.iter().filter(|host| !is_cyclic(**host));
        hosts.map(|host| self.get(*host)).min()
    }

    /// Ranks all entities anew, from `components` of which each comes after those that hold its hosts; returns the ranks that
    /// are other than before.
    pub(super) fn renew(
        &mut self,
        graph: &Graph,
        is_cyclic: &dyn Fn(EntityId) -> bool,
        components: &[Vec<EntityId>],
    ) -> Vec<(EntityId, Rank)> {
        let before = std::mem::take(self).of;
        for entity in components.iter().flatten() {
            if let Some(first) = self.first_of_hosts(graph, is_cyclic, *entity) {
                self.of.insert(*entity, first - 1);
            }
        }
        let other = |(entity, rank): (&EntityId, &Rank)| (before.get(entity) != Some(rank)).then_some((*entity, *rank));
        let mut out: Vec<_> = self.of.iter().filter_map(other).collect();
        out.extend(before.keys().filter(|entity| !self.of.contains_key(entity)).map(|entity| (*entity, 0)));
        out
    }
}

/// In which direction ranks are moved, and so from where to where it goes on.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// Upwards, from sources to hosts.
    Hosts,
    /// Downwards, from hosts to sources.
    Sources,
}

impl Side {
    /// A rank as a key that grows in this direction, and back.
    fn rank(self, key: Rank) -> Rank {
        match self {
            Side::Hosts => key,
            Side::Sources => -key,
        }
    }
}

/// Ranks that would have to move.
struct Shift<'a> {
    graph: &'a Graph,
    is_cyclic: &'a dyn Fn(EntityId) -> bool,
    side: Side,
    /// Whose rank would have to.
    entities: FxHashMap<EntityId, Shifted>,
    /// Whose neighbours are not looked at yet, by the key before. Where all else is in order, nobody's are looked at twice.
    open: BinaryHeap<Reverse<(Rank, EntityId)>>,
    /// How many edges were looked at.
    work: usize,
}

/// An entity whose rank would have to move.
struct Shifted {
    /// The new key.
    key: Rank,
    /// Whether its neighbours are to be looked at.
    is_open: bool,
}

impl<'a> Shift<'a> {
    fn new(graph: &'a Graph, is_cyclic: &'a dyn Fn(EntityId) -> bool, side: Side, first: EntityId, key: Rank) -> Self {
        let entities = FxHashMap::from_iter([(first, Shifted { key, is_open: true })]);
        Self { graph, is_cyclic, side, entities, open: BinaryHeap::from_iter([Reverse((0, first))]), work: 0 }
    }

    /// Those that must come further in this direction than `entity`, and some that need not.
    fn next(&self, entity: EntityId) -> &'a [EntityId] {
        match self.side {
            Side::Hosts => self.graph.hosts.get(&entity).map_or(&[], Vec::as_slice),
            Side::Sources if (self.is_cyclic)(entity) => &[],
            Side::Sources => self.graph.sources.get(&entity).map_or(&[], Vec::as_slice),
        }
    }

    /// How many edges will have been looked at after the next step; nothing if there is no more to do.
    fn cost(&self) -> Option<usize> {
        let Reverse((_, entity)) = self.open.peek()?;
        Some(self.work + 1 + self.next(*entity).len())
    }

    /// Looks at the neighbours of one entity.
    fn step(&mut self, ranks: &Ranks) {
        let Some(Reverse((_, entity))) = self.open.pop() else { return };
        let next = self.next(entity);
        self.work += 1 + next.len();
        let Some(Shifted { key, is_open }) = self.entities.get_mut(&entity) else { return };
        *is_open = false;
        let key = *key + 1;
        for neighbour in next {
            let before = self.side.rank(ranks.get(*neighbour));
            if self.side == Side::Hosts && (self.is_cyclic)(*neighbour) {
                continue;
            }
            let shifted = self.entities.get(neighbour);
            if shifted.map_or(before, |shifted| shifted.key) < key {
                if !shifted.is_some_and(|shifted| shifted.is_open) {
                    self.open.push(Reverse((before, *neighbour)));
                }
                self.entities.insert(*neighbour, Shifted { key, is_open: true });
            }
        }
    }
}
