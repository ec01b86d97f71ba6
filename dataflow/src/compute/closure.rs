//! Who reaches whom along a self-link: the pairs of a closure, kept up to date.
//!
//! Of each entity the hosts are kept from which it is reached, sorted. An edge that comes or goes changes them for its
//! source and for what lies below that; for these, and no others, they are made anew from those of the hosts next to them,
//! the upper ones first. Entities that reach one another have theirs in common (the condensation, Purdom 1970).
//!
//! An entity that is reached from more than [`ABOVE_MAX`] is too deep, and so is all below it. Of such a one it is not kept
//! from where it is reached, but only who must hear that something below is too deep: the hosts next to it that are not too
//! deep themselves, and all that reach these.

use decidr_domain::id::EntityId;
use decidr_domain::schema::{ABOVE_MAX, depth_error};
use decidr_domain::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::Graph;

/// The graph of a closure, and its pairs.
#[derive(Default)]
pub(super) struct Closure {
    pub(super) graph: Graph,
    /// For each entity that is reached from others.
    above: FxHashMap<EntityId, Above>,
}

/// From where an entity is reached.
#[derive(Clone, Debug, Default, PartialEq)]
struct Above {
    /// The hosts; of what is too deep those that must hear of it. Sorted.
    hosts: Box<[EntityId]>,
    is_too_deep: bool,
}

/// What changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ClosureChanges {
    /// Sources and hosts that came together (`true`) or parted.
    pub(super) pairs: Vec<(EntityId, EntityId, bool)>,
    /// Entities that are too deep now, with the error that says so, or are not any more.
    pub(super) depths: Vec<(EntityId, Option<Value>)>,
}

impl Closure {
    /// What the edges change that came and went since the last look.
    pub(super) fn changes(&mut self) -> ClosureChanges {
        let changed = std::mem::take(&mut self.graph.come).into_iter().chain(std::mem::take(&mut self.graph.gone));
        let mut seen: FxHashSet<EntityId> = FxHashSet::default();
        let mut open: Vec<EntityId> = changed.map(|(source, _)| source).filter(|source| seen.insert(*source)).collect();
        let mut nodes = Vec::new();
        while let Some(node) = open.pop() {
            nodes.push(node);
            open.extend(self.graph.sources.get(&node).into_iter().flatten().copied().filter(|source| seen.insert(*source)));
        }
        nodes.sort_unstable();
        let mut changes = ClosureChanges::default();
        for members in self.graph.components(&nodes) {
            for (node, new) in self.above(members) {
                let old = if new == Above::default() { self.above.remove(&node) } else { self.above.insert(node, new.clone()) };
                note(node, &old.unwrap_or_default(), &new, &mut changes);
            }
        }
        changes
    }

    /// From where entities are reached that reach one another, or one that need not reach itself.
    fn above(&self, mut members: Vec<EntityId>) -> Vec<(EntityId, Above)> {
        members.sort_unstable();
        let hosts_of = |member: &EntityId| self.graph.hosts.get(member).map_or(&[][..], Vec::as_slice);
        let is_member = |host: &EntityId| members.binary_search(host).is_ok();
        let (mut all, mut is_too_deep) = (Vec::new(), false);
        for host in members.iter().flat_map(hosts_of) {
            all.push(*host);
            if let Some(above) = self.above.get(host).filter(|_| !is_member(host)) {
                is_too_deep |= above.is_too_deep;
                all.extend(&above.hosts);
            }
        }
        all.sort_unstable();
        all.dedup();
        // Nobody counts as reached from itself.
        is_too_deep |= all.len() - usize::from(all.binary_search(&members[0]).is_ok()) > ABOVE_MAX;
        if members.len() == 1 && !is_too_deep {
            all.retain(|host| *host != members[0]);
            return vec![(members[0], Above { hosts: all.into(), is_too_deep })];
        }
        let of = |member: EntityId| {
            let mut hosts = if is_too_deep { self.hear(hosts_of(&member), &is_member) } else { all.clone() };
            hosts.retain(|host| *host != member);
            (member, Above { hosts: hosts.into(), is_too_deep })
        };
        members.iter().copied().map(of).collect()
    }

    /// Who hears of an entity that is too deep, of the hosts next to it and what reaches them.
    fn hear(&self, next: &[EntityId], is_member: &dyn Fn(&EntityId) -> bool) -> Vec<EntityId> {
        let mut out = Vec::new();
        for host in next.iter().filter(|host| !is_member(host)) {
            match self.above.get(host) {
                Some(above) if above.is_too_deep => {}
                above => {
                    out.push(*host);
                    out.extend(above.into_iter().flat_map(|above| &above.hosts));
                }
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    }
}

/// Notes the difference for one entity.
fn note(node: EntityId, old: &Above, new: &Above, changes: &mut ClosureChanges) {
    let (mut old_hosts, mut new_hosts) = (old.hosts.iter().peekable(), new.hosts.iter().peekable());
    loop {
        match (old_hosts.peek(), new_hosts.peek()) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => {
                old_hosts.next();
                new_hosts.next();
            }
            (Some(a), b) if b.is_none_or(|b| a < b) => changes.pairs.extend(old_hosts.next().map(|host| (node, *host, false))),
            _ => changes.pairs.extend(new_hosts.next().map(|host| (node, *host, true))),
        }
    }
    if old.is_too_deep != new.is_too_deep {
        changes.depths.push((node, new.is_too_deep.then(depth_error)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use decidr_domain::id::AttributeId;
    use decidr_domain::schema::Direction;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn id(n: usize) -> EntityId {
        EntityId(Uuid::from_u128(n as u128))
    }

    /// The pairs of source and host, by walking from each.
    fn pairs(targets: &[Option<Vec<usize>>]) -> BTreeSet<(EntityId, EntityId)> {
        let mut out = BTreeSet::new();
        for source in 0..targets.len() {
            let (mut seen, mut open) = (BTreeSet::new(), vec![source]);
            while let Some(at) = open.pop() {
                open.extend(targets[at].iter().flatten().copied().filter(|host| seen.insert(*host)));
            }
            out.extend(seen.into_iter().filter(|host| *host != source).map(|host| (id(source), id(host))));
        }
        out
    }

    proptest! {
        #[test]
        fn pairs_are_those_of_walks(steps in prop::collection::vec((0usize..9, prop::option::of(prop::collection::vec(0usize..9, 0..4)), 1usize..4), 1..40)) {
            let directions = [Direction::Backward(AttributeId(Uuid::nil()))];
            let mut closure = Closure::default();
            let mut targets: Vec<Option<Vec<usize>>> = vec![None; 9];
            let mut known = BTreeSet::new();
            for (entity, to, pause) in steps {
                let said = to.iter().flatten().map(|n| id(*n)).collect();
                closure.graph.take_in(&directions, id(entity), to.is_some(), vec![said]);
                targets[entity] = to;
                if pause > 1 {
                    for (source, host, added) in closure.changes().pairs {
                        let is_news = if added { known.insert((source, host)) } else { known.remove(&(source, host)) };
                        prop_assert!(is_news);
                    }
                    prop_assert_eq!(&known, &pairs(&targets));
                }
            }
        }
    }

    #[test]
    fn what_is_too_deep_says_so_and_heals() {
        let directions = [Direction::Backward(AttributeId(Uuid::nil()))];
        let mut closure = Closure::default();
        let last = ABOVE_MAX + 2;
        for n in 1..=last {
            closure.graph.take_in(&directions, id(n), true, vec![vec![id(n - 1)]]);
        }
        let deep = closure.changes().depths;
        assert_eq!(deep, [(id(last - 1), Some(depth_error())), (id(last), Some(depth_error()))]);
        closure.graph.take_in(&directions, id(5), true, vec![vec![]]);
        let mut healed = closure.changes().depths;
        healed.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!(healed, [(id(last - 1), None), (id(last), None)]);
    }
}
