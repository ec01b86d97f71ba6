//! Who reaches whom along a self-link: the pairs of a closure, kept up to date.
//!
//! Of each entity the hosts are kept from which it is reached, sorted. An edge that comes or goes changes them for its
//! source and for what lies below that; for these, and no others, they are made anew from those of the hosts next to them,
//! the upper ones first. Entities that reach one another have theirs in common (the condensation, Purdom 1970).
//!
//! Of an entity that is reached from more than [`REACH_MAX`] they are not kept, as of the root of a tree to which all below it
//! lead. As soon as there is such a one, what each entity reaches is kept in the same way, and its pairs are found there. A
//! host is too deep only if it reaches more than [`REACH_MAX`], and some of these are reached from more than that.

use decidr_domain::graph::strong_components;
use decidr_domain::id::EntityId;
use decidr_domain::schema::{REACH_MAX, depth_error};
use decidr_domain::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::Graph;

/// The graph of a closure, and its pairs.
#[derive(Default)]
pub(super) struct Closure {
    pub(super) graph: Graph,
    /// The hosts of each source.
    hosts: Side,
    /// The sources of each host; kept as soon as some source has too many hosts.
    sources: Side,
    /// Whether some source has, or had.
    was_crowded: bool,
}

/// For each entity what is at the other ends of its pairs.
#[derive(Default)]
struct Side(FxHashMap<EntityId, Others>);

/// The other ends of an entity's pairs.
#[derive(Clone, Debug, Default, PartialEq)]
struct Others {
    /// Sorted; none if there are too many.
    ids: Box<[EntityId]>,
    are_too_many: bool,
    /// Whether one of them has too many on its other side.
    is_one_crowded: bool,
}

static NONE: std::sync::LazyLock<Others> = std::sync::LazyLock::new(Others::default);

impl Others {
    fn has(&self, id: EntityId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// Whether there are more than can be told.
    fn is_too_deep(&self) -> bool {
        self.are_too_many && self.is_one_crowded
    }
}

/// What changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ClosureChanges {
    /// Sources and hosts that came together (`true`) or parted.
    pub(super) pairs: Vec<(EntityId, EntityId, bool)>,
    /// Hosts that are too deep now, with the error that says so, or are not any more.
    pub(super) depths: Vec<(EntityId, Option<Value>)>,
}

/// What entities had at the other ends of their pairs, of those for which that is something else now.
type Before = FxHashMap<EntityId, Others>;

type Edges = FxHashMap<EntityId, Vec<EntityId>>;

impl Closure {
    /// What the edges change that came and went since the last look.
    pub(super) fn changes(&mut self) -> ClosureChanges {
        let (come, gone) = (std::mem::take(&mut self.graph.come), std::mem::take(&mut self.graph.gone));
        let changed = || come.iter().chain(&gone).copied();
        let (to_hosts, to_sources) = (&self.graph.hosts, &self.graph.sources);
        let hosts_before = self.hosts.renew(changed().map(|(source, _)| source), to_hosts, to_sources, None);
        let is_crowded = |source| self.hosts.get(source).are_too_many;
        let has_turned = |(source, before): &(&EntityId, &Others)| before.are_too_many != is_crowded(**source);
        let turned: Vec<EntityId> = hosts_before.iter().filter(has_turned).map(|(source, _)| *source).collect();
        // From then on they are kept, for the next that is one too many is not far.
        let sources_before = match (self.was_crowded, turned.is_empty()) {
            (false, true) => Before::default(),
            (false, false) => self.sources.renew(to_sources.keys().copied(), to_sources, to_hosts, Some(&is_crowded)),
            (true, _) => {
                let next = turned.iter().filter_map(|source| to_hosts.get(source)).flatten().copied();
                self.sources.renew(changed().map(|(_, host)| host).chain(next), to_sources, to_hosts, Some(&is_crowded))
            }
        };
        self.was_crowded |= !turned.is_empty();
        let mut changes = ClosureChanges { pairs: self.changed_pairs(&hosts_before, &sources_before), depths: Vec::new() };
        for (host, before) in &sources_before {
            let is_too_deep = self.sources.get(*host).is_too_deep();
            if before.is_too_deep() != is_too_deep {
                changes.depths.push((*host, is_too_deep.then(depth_error)));
            }
        }
        changes.pairs.sort_unstable();
        changes.depths.sort_unstable_by_key(|(host, _)| *host);
        changes
    }

    /// The pairs that are there now and were not before, or the other way round.
    fn changed_pairs(&self, hosts_before: &Before, sources_before: &Before) -> Vec<(EntityId, EntityId, bool)> {
        let mut pairs = Vec::new();
        let mut compare = |source: EntityId, host: EntityId| {
            let (hosts, sources) = (self.hosts.get(source), self.sources.get(host));
            let was = hosts_before.get(&source).unwrap_or(hosts).has(host) || sources_before.get(&host).unwrap_or(sources).has(source);
            let is = hosts.has(host) || sources.has(source);
            if was != is {
                pairs.push((source, host, is));
            }
        };
        for (source, before) in hosts_before {
            differing(&before.ids, &self.hosts.get(*source).ids, &mut |host| compare(*source, host));
        }
        for (host, before) in sources_before {
            differing(&before.ids, &self.sources.get(*host).ids, &mut |source| {
                let (after, before) = (self.hosts.get(source), hosts_before.get(&source));
                // Where all hosts of a source were kept and are, they tell of all its pairs.
                let is_told = !after.are_too_many && !before.is_some_and(|before| before.are_too_many);
                let is_compared = before.is_some_and(|before| before.has(*host) != after.has(*host));
                if !(is_told || is_compared) {
                    compare(source, *host);
                }
            });
        }
        pairs
    }
}

impl Side {
    fn get(&self, id: EntityId) -> &Others {
        self.0.get(&id).unwrap_or(&NONE)
    }

    /// Makes anew what these entities have at the other ends of their pairs, and all that have them there: where edges lead to
    /// from each, and back. Gives what was otherwise.
    fn renew(
        &mut self,
        seeds: impl Iterator<Item = EntityId>,
        edges: &Edges,
        back: &Edges,
        is_crowded: Option<&dyn Fn(EntityId) -> bool>,
    ) -> Before {
        let mut seen: FxHashSet<EntityId> = FxHashSet::default();
        let mut open: Vec<EntityId> = seeds.filter(|seed| seen.insert(*seed)).collect();
        let mut nodes = Vec::new();
        while let Some(node) = open.pop() {
            nodes.push(node);
            open.extend(back.get(&node).into_iter().flatten().copied().filter(|next| seen.insert(*next)));
        }
        nodes.sort_unstable();
        let mut before = Before::default();
        for members in strong_components(&nodes, |node| edges.get(&node).into_iter().flatten().copied()) {
            for (node, new) in self.made(members, edges, is_crowded) {
                let old = if new == *NONE { self.0.remove(&node) } else { self.0.insert(node, new) };
                let old = old.unwrap_or_default();
                if old != *self.get(node) {
                    before.insert(node, old);
                }
            }
        }
        before
    }

    /// What entities have at the other ends of their pairs that reach one another, or one that need not reach itself.
    fn made(&self, mut members: Vec<EntityId>, edges: &Edges, is_crowded: Option<&dyn Fn(EntityId) -> bool>) -> Vec<(EntityId, Others)> {
        /// How many are gathered before those that are there twice are dropped.
        const GATHERED: usize = 8 * REACH_MAX;
        members.sort_unstable();
        let is_member = |other: &EntityId| members.binary_search(other).is_ok();
        let (mut all, mut are_too_many, mut is_one_crowded) = (Vec::new(), false, false);
        for other in members.iter().filter_map(|member| edges.get(member)).flatten() {
            is_one_crowded |= is_crowded.is_some_and(|is_crowded| is_crowded(*other));
            all.push(*other);
            if let Some(others) = self.0.get(other).filter(|_| !is_member(other)) {
                are_too_many |= others.are_too_many;
                is_one_crowded |= others.is_one_crowded;
                all.extend(&others.ids);
            }
            if all.len() > GATHERED {
                all.sort_unstable();
                all.dedup();
                are_too_many |= all.len() > REACH_MAX + 1;
            }
            if are_too_many {
                all.clear();
                if is_one_crowded || is_crowded.is_none() {
                    break;
                }
            }
        }
        all.sort_unstable();
        all.dedup();
        // Nobody counts as reached from itself.
        are_too_many |= all.len() - usize::from(all.binary_search(&members[0]).is_ok()) > REACH_MAX;
        if are_too_many {
            all.clear();
        }
        let of = |member: EntityId| {
            let ids = all.iter().copied().filter(|other| *other != member).collect();
            (member, Others { ids, are_too_many, is_one_crowded })
        };
        members.iter().copied().map(of).collect()
    }
}

/// Calls `visit` with what is in one of two sorted lists alone.
fn differing(one: &[EntityId], other: &[EntityId], visit: &mut dyn FnMut(EntityId)) {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    loop {
        match (one.peek(), other.peek()) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => {
                one.next();
                other.next();
            }
            (Some(a), b) if b.is_none_or(|b| a < b) => one.next().into_iter().for_each(|id| visit(*id)),
            _ => other.next().into_iter().for_each(|id| visit(*id)),
        }
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

    /// A closure of a few hundred entities more than are kept of one: chains and stars, cut and mended, either way round.
    #[test]
    fn pairs_are_found_from_either_end() {
        let directions = [Direction::Backward(AttributeId(Uuid::nil()))];
        let tell = |closure: &mut Closure, known: &mut BTreeSet<(EntityId, EntityId)>, deep: &mut BTreeSet<EntityId>| {
            let changes = closure.changes();
            for (source, host, added) in changes.pairs {
                assert!(if added { known.insert((source, host)) } else { known.remove(&(source, host)) });
            }
            for (host, error) in changes.depths {
                assert!(if error.is_some() { deep.insert(host) } else { deep.remove(&host) });
            }
        };
        let expected = |targets: &[Option<Vec<usize>>]| {
            let pairs = pairs(targets);
            let (mut hosts, mut sources): (FxHashMap<EntityId, usize>, FxHashMap<EntityId, usize>) = Default::default();
            for (source, host) in &pairs {
                *hosts.entry(*source).or_default() += 1;
                *sources.entry(*host).or_default() += 1;
            }
            let is_crowded = |source: &EntityId| hosts.get(source).is_some_and(|count| *count > REACH_MAX);
            let reaches_many = |host: &EntityId| sources.get(host).is_some_and(|count| *count > REACH_MAX);
            let is_untold = |(source, host): &&(EntityId, EntityId)| is_crowded(source) && reaches_many(host);
            let deep: BTreeSet<EntityId> = pairs.iter().filter(is_untold).map(|(_, host)| *host).collect();
            let told = pairs.iter().filter(|pair| !is_untold(pair)).copied().collect();
            (told, deep)
        };
        let last = REACH_MAX + 3;
        // All lead to the first; the first leads to all; each leads to the one before, in a chain.
        let shapes: [fn(usize) -> Vec<usize>; 3] = [
            |n| if n == 0 { vec![] } else { vec![0] },
            |n| if n == 0 { (1..REACH_MAX + 4).collect() } else { vec![] },
            |n| if n == 0 { vec![] } else { vec![n - 1] },
        ];
        for shape in shapes {
            let mut closure = Closure::default();
            let mut targets: Vec<Option<Vec<usize>>> = (0..=last).map(|n| Some(shape(n))).collect();
            let (mut known, mut deep) = (BTreeSet::new(), BTreeSet::new());
            let take_in = |closure: &mut Closure, n: usize, to: &Option<Vec<usize>>| {
                closure.graph.take_in(&directions, id(n), to.is_some(), vec![to.iter().flatten().map(|n| id(*n)).collect()]);
            };
            for (n, to) in targets.iter().enumerate() {
                take_in(&mut closure, n, to);
            }
            tell(&mut closure, &mut known, &mut deep);
            assert_eq!((known.clone(), deep.clone()), expected(&targets));
            for (n, to) in
                [(5, None), (last, Some(vec![])), (700, Some(vec![3])), (5, Some(vec![4])), (0, Some(vec![7])), (2, Some(vec![9]))]
            {
                targets[n] = to;
                take_in(&mut closure, n, &targets[n]);
                tell(&mut closure, &mut known, &mut deep);
                let (pairs, hosts) = expected(&targets);
                assert!(known == pairs, "after {n}: {} pairs, and not {}", known.len(), pairs.len());
                assert_eq!(deep, hosts);
            }
        }
    }
}
