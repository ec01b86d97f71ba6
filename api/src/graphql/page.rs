//! Pages of entities: filtered, in order, from a cursor on.

use std::cmp::Ordering;

use async_graphql::{Enum, InputObject, SimpleObject};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decidr_domain::aggregate::attribute::{Attribute, Definition};
use decidr_domain::aggregate::link_order::{named, order_id};
use decidr_domain::delta::Row;
use decidr_domain::formula::Program;
use decidr_domain::id::{AttributeId, CollectionId, EntityId};
use decidr_domain::value::Value;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::entity::Entity;
use super::reading::Reading;
use super::scalars::PositionToken;
use super::traverse::joined;
use super::{Refusal, ScanBudget, TenantView};

/// `first` is at most 1000. Archived entities are not listed, and do not count in rollups.
#[derive(SimpleObject)]
pub(crate) struct EntityConnection {
    pub(crate) nodes: Vec<Entity>,
    edges: Vec<EntityEdge>,
    page_info: PageInfo,
    total_count: i64,
    position: PositionToken,
}

/// An entity in a page.
#[derive(SimpleObject)]
pub(crate) struct EntityEdge {
    cursor: String,
    node: Entity,
}

/// Where a page lies.
#[derive(SimpleObject)]
pub(crate) struct PageInfo {
    has_next_page: bool,
    has_previous_page: bool,
    start_cursor: Option<String>,
    end_cursor: Option<String>,
}

/// A key to sort by. In lists of entities blanks are less than anything else: first when ascending. What a lookup or rollup sorts
/// has them last, whichever way, so that a limit takes what has a value first. Options of a select come in the order in which it
/// has them; users by their names in lists of entities, and by their ids in what a lookup or rollup sorts.
#[derive(InputObject)]
pub(crate) struct OrderBy {
    pub(crate) attribute: String,
    #[graphql(default_with = "Direction::Asc")]
    pub(crate) direction: Direction,
}

/// Which way to sort.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) enum Direction {
    Asc,
    Desc,
}

/// The most entities of a page.
pub(crate) const FIRST_MAX: i32 = 1000;

/// The most keys to sort by.
const ORDER_MAX: usize = 8;

/// A page to be read: which entities, in what order, from where, how many.
pub(crate) struct Page {
    view: TenantView,
    collection: CollectionId,
    filter: Option<Program>,
    order: Vec<(Reading, Direction)>,
    /// Something that is the same for the same order, and another for others.
    order_name: String,
    first: usize,
    after: Option<Cursor>,
}

/// The place of an entity in an order: its values there, and its id for those that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    keys: Vec<Value>,
    id: EntityId,
    /// Of which order, as [`Page::order_name`] has it.
    order: String,
}

impl Cursor {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

/// What to sort the entities of a collection by.
pub(crate) fn checked_order(
    view: &TenantView,
    collection: CollectionId,
    order_by: &[OrderBy],
) -> Result<Vec<(Reading, Direction)>, Refusal> {
    let schema = view.schema.collection(collection).ok_or_else(|| Refusal::new("NOT_FOUND", format!("no collection `{collection}`")))?;
    if order_by.len() > ORDER_MAX {
        return Err(Refusal::new("TOO_LARGE", format!("orderBy takes {ORDER_MAX} attributes at most")));
    }
    order_by.iter().map(|order| Ok((view.reading(schema.attribute_or_refuse(&order.attribute)?.id)?, order.direction))).collect()
}

/// Something that is the same for the same order of the same collection, and another for others.
fn order_name(collection: CollectionId, order: &[(Reading, Direction)]) -> String {
    let mut name = Vec::new();
    for (reading, direction) in order {
        name.extend(reading.attribute().0.as_bytes());
        name.push(u8::from(*direction == Direction::Desc));
    }
    Uuid::new_v5(&collection.0, &name).simple().to_string()[..8].to_owned()
}

impl Page {
    pub(crate) fn new(
        view: &TenantView,
        collection: CollectionId,
        filter: Option<&str>,
        order_by: Option<&[OrderBy]>,
        first: i32,
        after: Option<&str>,
    ) -> Result<Self, Refusal> {
        if !(0..=FIRST_MAX).contains(&first) {
            return Err(Refusal::new("INVALID_INPUT", format!("first lies between 0 and {FIRST_MAX}, and this is {first}")));
        }
        let filter = filter.map(|filter| view.filter(collection, filter)).transpose()?;
        let order = checked_order(view, collection, order_by.unwrap_or_default())?;
        let order_name = order_name(collection, &order);
        let cursor = |text| Cursor::decode(text).filter(|cursor| cursor.keys.len() == order.len() && cursor.order == order_name);
        let after = match after {
            Some(text) => Some(cursor(text).ok_or_else(|| Refusal::new("INVALID_INPUT", "after is not a cursor of this order"))?),
            None => None,
        };
        Ok(Self {
            view: view.clone(),
            collection,
            filter: filter.map(|(_, program)| view.schema.shown_program(program)),
            order,
            order_name,
            first: first as usize,
            after,
        })
    }

    /// The page of all entities of the collection.
    pub(crate) fn of_collection(self) -> Result<EntityConnection, Refusal> {
        let after = self.after.as_ref().map(|cursor| cursor.id);
        if self.filter.is_none() && self.order.is_empty() {
            let (mut rows, mut more) = (Vec::with_capacity(self.first), false);
            self.view.arranged.scan(self.collection, after, |row| {
                more = rows.len() == self.first;
                if !more {
                    rows.push(row.clone());
                }
                !more
            });
            let total = self.view.arranged.count(self.collection);
            return Ok(self.connection(rows, more, total as usize));
        }
        let (mut rows, mut affordable) = (Vec::new(), true);
        let selection = self.view.select(self.collection, self.filter.as_ref());
        self.view.arranged.scan_selected(self.collection, &selection, None, |row| {
            affordable = self.view.budget.take();
            if affordable && self.view.matches(row, self.filter.as_ref()) {
                rows.push(row.clone());
            }
            affordable
        });
        if affordable { Ok(self.sorted(rows)) } else { Err(ScanBudget::exhausted()) }
    }

    /// The page of the entities that a link of `host` leads to.
    pub(crate) fn of_link(self, host: &Row, link: &Attribute) -> Result<EntityConnection, Refusal> {
        let arranged = &self.view.arranged;
        let mut affordable = true;
        let mut in_sight = |id: &EntityId| {
            affordable = affordable && self.view.budget.take();
            let row = if affordable { arranged.row(*id) } else { None };
            row.filter(|row| self.view.matches(row, self.filter.as_ref()))
        };
        let is_ordered = |link: AttributeId| !host.entity.values.get(order_id(link)).is_blank();
        let rows: Vec<_> = match link.definition {
            // In the order that the host gives it.
            Definition::Backlink { link_id, .. } if self.order.is_empty() && self.filter.is_some() && is_ordered(link_id) => {
                let mut holders = arranged.holders(link_id, host.entity.id, None, usize::MAX);
                host.entity.put_in_order(link_id, &mut holders, |holder| *holder);
                return self.in_order_of_link(&holders);
            }
            // Without a filter or an order a page of a backlink needs no more than the page, and those that have places of their own.
            Definition::Backlink { link_id, .. } if self.filter.is_none() && self.order.is_empty() => {
                let placed: Vec<EntityId> = named(host.entity.values.get(order_id(link_id))).collect();
                let is_placed: FxHashSet<EntityId> = placed.iter().copied().collect();
                let mut after = self.after.as_ref().map(|cursor| cursor.id);
                let next = match after.and_then(|after| placed.iter().position(|id| *id == after)) {
                    Some(at) => at + 1,
                    // Behind all of these, or before them.
                    None if after.is_some() => placed.len(),
                    None => 0,
                };
                after = after.filter(|after| !is_placed.contains(after));
                let links_here = |row: &Row| row.entity.values.get(link_id).targets().contains(&host.entity.id);
                let mut rows: Vec<Row> = Vec::new();
                for id in &placed[next..] {
                    if rows.len() > self.first {
                        break;
                    }
                    rows.extend(in_sight(id).filter(links_here));
                }
                while rows.len() <= self.first {
                    let holders = arranged.holders(link_id, host.entity.id, after, self.first + 1);
                    let Some(last) = holders.last() else { break };
                    after = Some(*last);
                    rows.extend(holders.iter().filter(|holder| !is_placed.contains(holder)).filter_map(&mut in_sight));
                }
                let more = rows.len() > self.first;
                rows.truncate(self.first);
                let total = match self.view.schema.shown_cell(link.id).map_or(&Value::Blank, |cell| host.computed(cell)) {
                    Value::Number(count) => usize::try_from(*count).unwrap_or(0),
                    _ => 0,
                };
                if !affordable {
                    return Err(ScanBudget::exhausted());
                }
                return Ok(self.connection(rows, more, total));
            }
            Definition::Backlink { link_id, .. } => {
                arranged.holders(link_id, host.entity.id, None, usize::MAX).iter().filter_map(in_sight).collect()
            }
            Definition::Closure { .. } | Definition::Match { .. } => {
                let analyzed = self.view.schema.shown_analyzed(link.id).map(|analyzed| self.view.schema.shown_over_cells(analyzed));
                let crossing = analyzed.as_ref().and_then(|analyzed| analyzed.crossing());
                let joined = crossing.map_or(Ok(Vec::new()), |crossing| joined(&self.view, host, crossing))?;
                joined.iter().filter_map(in_sight).collect()
            }
            _ if self.order.is_empty() => return self.in_order_of_link(host.entity.values.get(link.id).targets()),
            _ => host.entity.values.get(link.id).targets().iter().filter_map(in_sight).collect(),
        };
        if affordable { Ok(self.sorted(rows)) } else { Err(ScanBudget::exhausted()) }
    }

    /// The page of the entities that a link leads to, in the link's own order, in which the cursor's entity has a place whether it
    /// is in sight or not.
    fn in_order_of_link(&self, targets: &[EntityId]) -> Result<EntityConnection, Refusal> {
        let start = match &self.after {
            Some(cursor) => targets.iter().position(|target| *target == cursor.id).map(|at| at + 1),
            None => Some(0),
        };
        let start = start.ok_or_else(|| Refusal::new("INVALID_INPUT", "the link does not lead to the cursor's entity any more"))?;
        let (mut before, mut rows) = (0, Vec::new());
        for (place, id) in targets.iter().enumerate() {
            if !self.view.budget.take() {
                return Err(ScanBudget::exhausted());
            }
            match self.view.arranged.row(*id).filter(|row| self.view.matches(row, self.filter.as_ref())) {
                Some(_) if place < start => before += 1,
                Some(row) => rows.push(row),
                None => {}
            }
        }
        let (total, more) = (before + rows.len(), rows.len() > self.first);
        rows.truncate(self.first);
        Ok(self.connection(rows, more, total))
    }

    fn sorted(self, rows: Vec<Row>) -> EntityConnection {
        let total = rows.len();
        let mut rows: Vec<_> = rows.into_iter().map(|row| (self.cursor(&row), row)).collect();
        if let Some(after) = &self.after {
            rows.retain(|(cursor, _)| self.compare(cursor, after) == Ordering::Greater);
        }
        let more = rows.len() > self.first;
        if more {
            // Only the page need be in order.
            rows.select_nth_unstable_by(self.first, |(a, _), (b, _)| self.compare(a, b));
            rows.truncate(self.first);
        }
        rows.sort_unstable_by(|(a, _), (b, _)| self.compare(a, b));
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        self.connection(rows, more, total)
    }

    fn cursor(&self, row: &Row) -> Cursor {
        let keys = self.order.iter().map(|(reading, _)| reading.place(row)).collect();
        Cursor { keys, id: row.entity.id, order: self.order_name.clone() }
    }

    /// Blank comes first when ascending; those alike in all keys are ordered by id.
    fn compare(&self, a: &Cursor, b: &Cursor) -> Ordering {
        let keys = a.keys.iter().zip(&b.keys).zip(&self.order);
        let by_keys = keys.map(|((a, b), (_, direction))| match direction {
            Direction::Asc => a.cmp(b),
            Direction::Desc => b.cmp(a),
        });
        by_keys.fold(Ordering::Equal, Ordering::then).then(a.id.cmp(&b.id))
    }

    fn connection(&self, rows: Vec<Row>, has_next_page: bool, total: usize) -> EntityConnection {
        let cursors: Vec<String> = rows.iter().map(|row| self.cursor(row).encode()).collect();
        let node = |row: &Row| Entity { view: self.view.clone(), row: row.clone() };
        EntityConnection {
            nodes: rows.iter().map(node).collect(),
            page_info: PageInfo {
                has_next_page,
                has_previous_page: self.after.is_some(),
                start_cursor: cursors.first().cloned(),
                end_cursor: cursors.last().cloned(),
            },
            edges: rows.iter().zip(cursors).map(|(row, cursor)| EntityEdge { cursor, node: node(row) }).collect(),
            total_count: total as i64,
            position: self.view.position(),
        }
    }
}
