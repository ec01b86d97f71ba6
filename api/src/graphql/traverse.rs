//! Walks along links: what can be reached from an entity, and on which way.
//!
//! Breadth first, so that a depth is the fewest links that lead there. Archived entities are not walked through. What one
//! request may look at is bounded, all its fields together ([`ScanBudget`]).

use std::collections::{BTreeSet, VecDeque};

use async_graphql::SimpleObject;
use decidr_domain::aggregate::attribute::Definition;
use decidr_domain::delta::Row;
use decidr_domain::formula::Program;
use decidr_domain::id::{AttributeId, CollectionId, EntityId};
use decidr_domain::schema::{Crossing, Direction};
use rustc_hash::{FxHashMap, FxHashSet};

use super::changes::Reached;
use super::entity::Entity;
use super::scalars::PositionToken;
use super::{Refusal, ScanBudget, TenantView};

/// The most links that a walk may choose from, the longest path of links, and the most entities that are shown.
const LINKS_MAX: usize = 20;
const FIRST_MAX: i32 = 1000;

/// What can be reached from an entity. It is not among it itself.
#[derive(SimpleObject)]
pub(crate) struct Traversal {
    /// How many entities are reached that pass the filter.
    count: i64,
    /// How many links away the farthest of them is.
    depth: i64,
    /// The nearest of them; those equally far by id.
    nodes: Vec<Reached>,
    position: PositionToken,
}

/// The links that a walk may take, by the collection that they start from.
pub(super) type Links = FxHashMap<CollectionId, Vec<Direction>>;

/// Everything that can be reached from an entity by these links, at most `depth_max` links away. The filter is over the
/// collection of the start, and lets nothing else pass.
pub(crate) fn traverse(
    view: &TenantView,
    start: EntityId,
    links: &[String],
    filter: Option<&str>,
    depth_max: Option<i32>,
    first: i32,
) -> Result<Traversal, Refusal> {
    if !(0..=FIRST_MAX).contains(&first) {
        return Err(Refusal::new("INVALID_INPUT", format!("first lies between 0 and {FIRST_MAX}, and this is {first}")));
    }
    let depth_max = depth_max.map_or(Ok(usize::MAX), usize::try_from);
    let depth_max = depth_max.map_err(|_| Refusal::new("INVALID_INPUT", "depthMax is not below 0"))?;
    let start = own_row(view, start)?;
    let collection = start.entity.collection_id;
    let links = links_of(view, collection, links)?;
    let filter = filter.map(|filter| filter_of(view, collection, filter)).transpose()?;
    let mut out = Traversal { count: 0, depth: 0, nodes: Vec::new(), position: view.position() };
    let mut seen = FxHashSet::from_iter([start.entity.id]);
    let mut level = vec![start];
    for depth in 1..=depth_max {
        let mut next = Vec::new();
        for row in &level {
            for neighbour in neighbours(view, row, &links)? {
                if seen.insert(neighbour)
                    && let Some(row) = in_sight(view, neighbour)
                {
                    next.push(row);
                }
            }
        }
        if next.is_empty() {
            break;
        }
        next.sort_unstable_by_key(|row| row.entity.id);
        let passes = |row: &&Row| {
            let is_own = row.entity.collection_id == collection;
            filter.is_none() || is_own && view.matches(row, filter.as_ref())
        };
        for row in next.iter().filter(passes) {
            out.count += 1;
            out.depth = depth as i64;
            if out.nodes.len() < first as usize {
                out.nodes.push(Reached { depth: depth as i64, node: Entity { view: view.clone(), row: row.clone() } });
            }
        }
        level = next;
    }
    Ok(out)
}

/// The entities on a shortest way from one entity to another by these links, both ends included; nothing if there is no way.
/// Of several shortest ways, the one whose entities have the smallest ids, seen from the start.
pub(crate) fn shortest_path(view: &TenantView, from: EntityId, to: EntityId, links: &[String]) -> Result<Option<Vec<Entity>>, Refusal> {
    let (start, end) = (own_row(view, from)?, own_row(view, to)?);
    let links = links_of(view, start.entity.collection_id, links)?;
    let mut came_from: FxHashMap<EntityId, EntityId> = FxHashMap::default();
    let mut open = VecDeque::from([start]);
    while let Some(row) = open.pop_front() {
        let at = row.entity.id;
        if at == end.entity.id {
            let mut way = vec![at];
            while let Some(before) = way.last().filter(|at| **at != from).and_then(|at| came_from.get(at)) {
                way.push(*before);
            }
            let node = |id| Ok(Entity { view: view.clone(), row: own_row(view, id)? });
            return way.into_iter().rev().map(node).collect::<Result<_, _>>().map(Some);
        }
        let mut next = neighbours(view, &row, &links)?;
        next.sort_unstable();
        for neighbour in next {
            if neighbour != from
                && !came_from.contains_key(&neighbour)
                && let Some(row) = in_sight(view, neighbour)
            {
                came_from.insert(neighbour, at);
                open.push_back(row);
            }
        }
    }
    Ok(None)
}

/// The entities at the end of a path of links, one link after the other, each once.
pub(crate) fn follow(view: &TenantView, start: EntityId, path: &[String], filter: Option<&str>, first: i32) -> Result<Traversal, Refusal> {
    if !(0..=FIRST_MAX).contains(&first) {
        return Err(Refusal::new("INVALID_INPUT", format!("first lies between 0 and {FIRST_MAX}, and this is {first}")));
    }
    let (found, _) = ends(view, start, path, filter)?;
    let depth = path.len() as i64;
    let node = |row: &Row| Reached { depth, node: Entity { view: view.clone(), row: row.clone() } };
    let nodes = found.iter().take(first as usize).map(node).collect();
    Ok(Traversal { count: found.len() as i64, depth: if found.is_empty() { 0 } else { depth }, nodes, position: view.position() })
}

/// What is at the end of a path and passes the filter, in the order of ids; and the collection there.
pub(super) fn ends(view: &TenantView, start: EntityId, path: &[String], filter: Option<&str>) -> Result<(Vec<Row>, CollectionId), Refusal> {
    let start = own_row(view, start)?;
    let (steps, collection) = steps_of(view, start.entity.collection_id, path)?;
    let mut level = vec![start];
    for links in &steps {
        let mut seen = FxHashSet::default();
        let mut next = Vec::new();
        for row in &level {
            next.extend(neighbours(view, row, links)?.into_iter().filter(|id| seen.insert(*id)));
        }
        next.sort_unstable();
        level = next.into_iter().filter_map(|id| in_sight(view, id)).collect();
    }
    let filter = filter.map(|filter| filter_of(view, collection, filter)).transpose()?;
    level.retain(|row| view.matches(row, filter.as_ref()));
    Ok((level, collection))
}

/// The links of each step of a path from a collection, and the collection at its end.
pub(super) fn steps_of(view: &TenantView, start: CollectionId, path: &[String]) -> Result<(Vec<Links>, CollectionId), Refusal> {
    if path.is_empty() || path.len() > LINKS_MAX {
        return Err(Refusal::new("INVALID_INPUT", format!("path has 1 to {LINKS_MAX} links")));
    }
    let (mut steps, mut collection) = (Vec::new(), start);
    for key in path {
        steps.push(links_of(view, collection, std::slice::from_ref(key))?);
        let schema = view.schema.collection(collection).ok_or_else(|| Refusal::internal("the collection is gone"))?;
        collection = schema.attribute_or_refuse(key)?.definition.leads_to().unwrap_or(collection);
    }
    Ok((steps, collection))
}

/// By each of these keys, the link or backlink of every collection that can be got to. Refused if the first has none of it
/// and no other has.
pub(super) fn links_of(view: &TenantView, start: CollectionId, keys: &[String]) -> Result<Links, Refusal> {
    if keys.is_empty() || keys.len() > LINKS_MAX {
        return Err(Refusal::new("INVALID_INPUT", format!("links has 1 to {LINKS_MAX} keys")));
    }
    let mut links = Links::default();
    let mut used: FxHashSet<&str> = FxHashSet::default();
    let mut open = vec![start];
    while let Some(id) = open.pop() {
        if links.contains_key(&id) {
            continue;
        }
        let Some(collection) = view.schema.collection(id) else { continue };
        let mut own = Vec::new();
        for key in keys {
            let Some(attribute) = collection.by_key(key) else { continue };
            let (direction, target) = match &attribute.definition {
                Definition::Link { collection_id, .. } => (Direction::Forward(attribute.id), *collection_id),
                Definition::Backlink { collection_id, link_id } => (Direction::Backward(*link_id), *collection_id),
                // What steps of its link lead to is walked to anyway; a path takes it in one step.
                Definition::Closure { collection_id, .. } => {
                    let crossing = view.schema.shown_analyzed(attribute.id).and_then(|analyzed| analyzed.crossing());
                    let Some(crossing) = crossing else { continue };
                    (crossing.direction, *collection_id)
                }
                other => {
                    return Err(Refusal::new("INVALID_INPUT", format!("attribute `{key}` is not a link but a {}", other.kind())));
                }
            };
            used.insert(key);
            own.push(direction);
            open.push(target);
        }
        links.insert(id, own);
    }
    match keys.iter().find(|key| !used.contains(key.as_str())) {
        None => Ok(links),
        Some(key) => {
            let collection = view.schema.collection(start).ok_or_else(|| Refusal::internal("the collection is gone"))?;
            // Says which collection, and what may have been meant.
            Err(collection
                .attribute_or_refuse(key)
                .map(|_| Refusal::internal("the link was found after all"))
                .unwrap_or_else(Refusal::from))
        }
    }
}

/// Where an entity's links lead, in sight or not. Each link that is looked at counts.
pub(super) fn neighbours(view: &TenantView, row: &Row, links: &Links) -> Result<Vec<EntityId>, Refusal> {
    let mut out = Vec::new();
    for direction in links.get(&row.entity.collection_id).into_iter().flatten() {
        step(view, row, *direction, &mut out)?;
    }
    Ok(out)
}

/// Where an entity's link leads.
fn step(view: &TenantView, row: &Row, direction: Direction, out: &mut Vec<EntityId>) -> Result<(), Refusal> {
    match direction {
        Direction::Forward(link) => take(view, row.entity.values.get(link).targets(), out),
        Direction::Backward(link) => holders(view, link, row.entity.id, out),
        Direction::Reach { .. } => {
            out.extend(reached(view, row, direction.step())?);
            Ok(())
        }
        // A walk takes none.
        Direction::Match(_) => Ok(()),
    }
}

/// The entities that a closure or match joins with a host, sorted by id.
pub(crate) fn joined(view: &TenantView, host: &Row, crossing: &Crossing) -> Result<Vec<EntityId>, Refusal> {
    let Some(keys) = &crossing.keys else { return reached(view, host, crossing.direction.step()) };
    let Some(key) = keys.of_host(host) else { return Ok(Vec::new()) };
    let (mut out, mut affordable) = (Vec::new(), true);
    let selection = view.select_equal(crossing.source, &keys.required_by(host));
    view.arranged.scan_selected(crossing.source, &selection, None, |row| {
        affordable = view.budget.take();
        if affordable && keys.of_source(row).as_ref() == Some(&key) {
            out.push(row.entity.id);
        }
        affordable
    });
    if affordable { Ok(out) } else { Err(ScanBudget::exhausted()) }
}

/// What steps in this direction reach, sorted; the start is not among it.
fn reached(view: &TenantView, start: &Row, direction: Direction) -> Result<Vec<EntityId>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut next = Vec::new();
    step(view, start, direction, &mut next)?;
    while let Some(id) = next.pop() {
        if !seen.contains(&id)
            && let Some(row) = in_sight(view, id)
        {
            seen.insert(id);
            step(view, &row, direction, &mut next)?;
        }
    }
    seen.remove(&start.entity.id);
    Ok(seen.into_iter().collect())
}

fn holders(view: &TenantView, link: AttributeId, target: EntityId, out: &mut Vec<EntityId>) -> Result<(), Refusal> {
    const PAGE: usize = 1_000;
    let mut after = None;
    loop {
        let page = view.arranged.holders(link, target, after, PAGE);
        take(view, &page, out)?;
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(*last),
            _ => return Ok(()),
        }
    }
}

fn take(view: &TenantView, ids: &[EntityId], out: &mut Vec<EntityId>) -> Result<(), Refusal> {
    for id in ids {
        if !view.budget.take() {
            return Err(ScanBudget::exhausted());
        }
        out.push(*id);
    }
    Ok(())
}

pub(super) fn in_sight(view: &TenantView, id: EntityId) -> Option<Row> {
    view.arranged.row(id).filter(|row| !row.entity.archived)
}

pub(super) fn own_row(view: &TenantView, id: EntityId) -> Result<Row, Refusal> {
    let row = view.arranged.row(id).filter(|row| row.entity.tenant_id == view.schema.tenant.id);
    row.ok_or_else(|| Refusal::new("NOT_FOUND", format!("no entity `{id}`")))
}

fn filter_of(view: &TenantView, collection: CollectionId, filter: &str) -> Result<Program, Refusal> {
    let (_, program) = view.filter(collection, filter)?;
    Ok(view.schema.shown_program(program))
}
