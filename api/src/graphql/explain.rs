//! Why a cell is what it is: what it was computed from, through links, down to stored values and the events that set them;
//! and what another definition would make of an attribute's cells.

use std::sync::Arc;

use async_graphql::{ID, Scalar, ScalarType, SimpleObject, Value as Json};
use decidr_domain::aggregate::attribute::{Attribute, Definition};
use decidr_domain::aggregate::entity::{Entity, EntityEvent};
use decidr_domain::delta::Row;
use decidr_domain::event::{Event, Recorded};
use decidr_domain::id::{AttributeId, EntityId, StreamId, Version};
use decidr_domain::schema::{Compute, Crossing, Direction};

use super::scalars::cell;
use super::traverse::joined;
use super::{Refusal, Request, ScanBudget, TenantView};

/// How far down an explanation goes, how many sources of a crossing it shows, and how much it says in all.
const DEPTH_MAX: i32 = 10;
const SOURCES_SHOWN: usize = 10;
const NODES_MAX: usize = 300;

/// How many events of an entity are looked through at a time for the one that set a value.
const EVENTS_PAGE: Version = 1_000;

/// The value of one cell, in the form that it has in Values.
pub(crate) struct Cell(pub(crate) Json);

impl Cell {
    pub(crate) fn of(value: Json) -> Self {
        Self(value)
    }
}

#[Scalar]
impl ScalarType for Cell {
    fn parse(value: Json) -> async_graphql::InputValueResult<Self> {
        Ok(Cell(value))
    }

    fn to_value(&self) -> Json {
        self.0.clone()
    }
}

/// Why a cell is what it is.
#[derive(SimpleObject)]
pub(crate) struct Explanation {
    /// Of which entity.
    entity_id: ID,
    /// `collection.attribute`
    path: String,
    value: Cell,
    /// What kind of attribute it is.
    kind: &'static str,
    /// The formula, if it is one.
    expression: Option<String>,
    /// How it is kept up to date, if it comes from other entities.
    strategy: Option<String>,
    /// How many entities contribute, if it comes from other entities; `inputs` shows some of them.
    source_count: Option<i64>,
    /// The cells that it was computed from.
    inputs: Vec<Explanation>,
    /// The link by which its entity contributes to the cell whose input this is, or through which others contribute to this
    /// one: on the side that holds the link.
    link: Option<Box<Explanation>>,
    /// Whether there are inputs that are not shown.
    more: bool,
    /// The event that set it last, if it is stored.
    set_by: Option<SetBy>,
    #[graphql(skip)]
    stored: Option<Stored>,
}

/// A stored value whose event is to be found.
struct Stored {
    entity: Arc<Entity>,
    attribute: AttributeId,
    /// Of a link, to whom it leads that is of interest.
    target: Option<EntityId>,
}

/// An event that set a value.
#[derive(SimpleObject)]
pub(crate) struct SetBy {
    event_id: ID,
    event_type: String,
    command_id: ID,
    actor: String,
    recorded_at: String,
    version: u32,
}

/// The explanation of one cell.
pub(crate) async fn explain(
    request: &Request<'_>,
    view: &TenantView,
    entity: EntityId,
    key: &str,
    depth: i32,
) -> Result<Explanation, Refusal> {
    if !(0..=DEPTH_MAX).contains(&depth) {
        return Err(Refusal::new("INVALID_INPUT", format!("depth lies between 0 and {DEPTH_MAX}, and this is {depth}")));
    }
    let row = own_row(view, entity)?;
    let collection = view.schema.collection(row.entity.collection_id).ok_or_else(|| Refusal::internal("the collection is gone"))?;
    let attribute = collection.attribute_or_refuse(key)?.clone();
    let mut walk = Walk { view, left: NODES_MAX };
    let mut explanation = tokio::task::block_in_place(|| walk.cell(&row, &attribute, depth));
    // Iteratively: what waits is as much as was said.
    let mut open = vec![&mut explanation];
    while let Some(node) = open.pop() {
        if let Some(stored) = node.stored.take() {
            let attributes = view.schema.attribute(stored.attribute);
            let stored_as: Vec<_> = attributes.iter().flat_map(|attribute| attribute.all_stored_as()).collect();
            node.set_by = set_by(request, &view.budget, &stored, &stored_as).await?;
        }
        open.extend(node.inputs.iter_mut().chain(node.link.as_deref_mut()));
    }
    Ok(explanation)
}

fn own_row(view: &TenantView, entity: EntityId) -> Result<Row, Refusal> {
    let row = view.arranged.row(entity).filter(|row| row.entity.tenant_id == view.schema.tenant.id);
    row.ok_or_else(|| Refusal::new("NOT_FOUND", format!("no entity `{entity}`")))
}

struct Walk<'a> {
    view: &'a TenantView,
    /// How many more cells may be explained.
    left: usize,
}

impl Walk<'_> {
    fn cell(&mut self, row: &Row, attribute: &Attribute, depth: i32) -> Explanation {
        self.left = self.left.saturating_sub(1);
        let schema = &self.view.schema;
        let mut out = Explanation {
            entity_id: row.entity.id.to_string().into(),
            path: schema.path(attribute.id),
            value: Cell(cell(schema, row, attribute)),
            kind: attribute.definition.kind(),
            expression: None,
            strategy: None,
            source_count: None,
            inputs: Vec::new(),
            link: None,
            more: false,
            set_by: None,
            stored: None,
        };
        let stored = || Some(Stored { entity: row.entity.clone(), attribute: attribute.id, target: None });
        if let Definition::Formula { expression } = &attribute.definition {
            out.expression = Some(expression.to_user(&schema.keys(attribute.collection_id)).to_string());
        }
        match schema.shown_analyzed(attribute.id).map(|analyzed| (&analyzed.compute, analyzed)) {
            Some((_, analyzed)) if analyzed.is_converted() => out.stored = stored(),
            Some((Compute::Formula(program), _)) => self.own(row, &program.references, depth, &mut out),
            Some((Compute::Crossing(crossing), analyzed)) => {
                out.strategy = Some(decidr_dataflow::strategy(crossing));
                if let Direction::Forward(link) = crossing.direction.step()
                    && link != attribute.id
                    && depth > 0
                {
                    out.link = self.link(row, link, None);
                }
                self.own(row, &analyzed.host_reads, depth, &mut out);
                let cells = schema.shown_over_cells(analyzed);
                let sources = cells.crossing().map_or_else(Vec::new, |crossing| sources(self.view, row, crossing, usize::MAX));
                out.source_count = Some(sources.len() as i64);
                for source in &sources {
                    let shown = out.inputs.iter().map(|input| &input.entity_id).collect::<std::collections::BTreeSet<_>>().len();
                    if depth == 0 || shown >= SOURCES_SHOWN || self.left == 0 {
                        out.more = true;
                        break;
                    }
                    let own = out.inputs.len();
                    self.own(source, &analyzed.reads, depth, &mut out);
                    if let Direction::Backward(link) = crossing.direction.step() {
                        let target = matches!(crossing.direction, Direction::Backward(_)).then_some(row.entity.id);
                        let link = self.link(source, link, target);
                        match out.inputs.get_mut(own) {
                            Some(first) => first.link = link,
                            // It contributes nothing but its presence.
                            None => out.inputs.extend(link.map(|link| *link)),
                        }
                    }
                }
            }
            // An error of the definition has no inputs.
            Some((Compute::Broken(_), _)) => {}
            Some((Compute::Stored, _)) | None => out.stored = stored(),
        }
        if attribute.definition.leads_to().is_some() && matches!(attribute.definition, Definition::Link { .. }) {
            out.stored = stored();
        }
        out
    }

    /// The cell of a link.
    fn link(&mut self, row: &Row, link: AttributeId, target: Option<EntityId>) -> Option<Box<Explanation>> {
        let attribute = self.view.schema.attribute(link).cloned()?;
        let mut out = self.cell(row, &attribute, 0);
        out.more = false;
        if let Some(stored) = &mut out.stored {
            stored.target = target;
        }
        Some(Box::new(out))
    }

    /// Adds cells of one entity to the inputs.
    fn own(&mut self, row: &Row, attributes: &[AttributeId], depth: i32, out: &mut Explanation) {
        for id in attributes {
            let Some(attribute) = self.view.schema.attribute(*id).cloned() else { continue };
            if depth == 0 || self.left == 0 {
                out.more = true;
                return;
            }
            out.inputs.push(self.cell(row, &attribute, depth - 1));
        }
    }
}

/// The entities that contribute to a cell of `host`, in the order of the link, at most so many.
pub(crate) fn sources(view: &TenantView, host: &Row, crossing: &Crossing, limit: usize) -> Vec<Row> {
    let ids = match crossing.direction {
        Direction::Forward(link) => host.entity.values.get(link).targets().to_vec(),
        Direction::Backward(link) => {
            let mut holders = view.arranged.holders(link, host.entity.id, None, usize::MAX);
            host.entity.put_in_order(link, &mut holders, |holder| *holder);
            holders
        }
        // As far as the budget goes.
        Direction::Reach { .. } | Direction::Match(_) => joined(view, host, crossing).unwrap_or_default(),
    };
    let contributes = |row: &Row| !row.entity.archived && crossing.contribution(&view.at(row)).is_some();
    ids.into_iter().take_while(|_| view.budget.take()).filter_map(|id| view.arranged.row(id)).filter(contributes).take(limit).collect()
}

/// The last event that set a stored value.
async fn set_by(request: &Request<'_>, budget: &ScanBudget, stored: &Stored, stored_as: &[AttributeId]) -> Result<Option<SetBy>, Refusal> {
    let mut end = stored.entity.version;
    while end > 0 {
        let start = end.saturating_sub(EVENTS_PAGE);
        let events = request.platform.stream(StreamId::from(stored.entity.id), start + 1, (end - start) as usize).await?;
        if events.iter().any(|_| !budget.take()) {
            return Err(ScanBudget::exhausted());
        }
        if let Some(recorded) = events.iter().rev().find(|recorded| sets(recorded, stored, stored_as)) {
            return Ok(Some(described(recorded)));
        }
        end = start;
    }
    Ok(None)
}

fn sets(recorded: &Recorded, stored: &Stored, stored_as: &[AttributeId]) -> bool {
    let Event::Entity(event) = &recorded.event else { return false };
    let leads_there = |targets: &[EntityId]| stored.target.is_none_or(|target| targets.contains(&target));
    match event {
        EntityEvent::EntityCreated { values, .. } => {
            stored_as.iter().map(|id| values.get(*id)).any(|value| !value.is_blank() && leads_there(value.targets()))
        }
        EntityEvent::EntitiesLinked { attribute_id, target_ids, .. } => *attribute_id == stored.attribute && leads_there(target_ids),
        EntityEvent::AttributeValueSet { attribute_id, .. } | EntityEvent::EntitiesUnlinked { attribute_id, .. } => {
            *attribute_id == stored.attribute && stored.target.is_none()
        }
        EntityEvent::BacklinkReordered { .. } | EntityEvent::EntityArchived { .. } | EntityEvent::EntityRestored { .. } => false,
    }
}

fn described(recorded: &Recorded) -> SetBy {
    let metadata = &recorded.metadata;
    SetBy {
        event_id: metadata.event_id.to_string().into(),
        event_type: recorded.event.to_stored().event_type.to_string(),
        command_id: metadata.command_id.to_string().into(),
        actor: metadata.actor.to_string(),
        recorded_at: metadata.recorded_at.to_string(),
        version: recorded.version,
    }
}
