//! The one operator that computes: it folds events into entities, evaluates formulas, and carries values across links.
//!
//! # Rounds
//! A timestamp is computed in rounds, the inner coordinate of a loop. Round 0 folds the events. Each level has a round in
//! which its cells become final: it takes in what sources contribute at that level, evaluates the formulas of that level,
//! and sends what it exports at that level, to arrive with the next level. So no cell is computed from one that is not
//! final, each is computed once for each timestamp, and the number of operators does not depend on the schema (ADR 0003).
//!
//! Cells that depend on one another along a hierarchical link have rounds of their own before the others of their level: as
//! many as the data are deep (ADR 0009). There an entity may send several times; it knows what it sent last.
//!
//! # What is computed aside
//! A definition from which many cells follow is computed a slice of entities at a time, each slice at a timestamp of its
//! own: [`backfill`]. Rows hold these cells beside those that are shown.
//!
//! # State
//! The state has one version: the next timestamp must not enter before the last has left (the engine sees to that). It is
//! spread by entity, so that a row, its kernels and its links are all on one worker. Within a timestamp every touched
//! entity also has its row from before, which is what changed links and changed contributions are compared with.
//!
//! # A link and a cell that change together
//! A source knows, per crossing, to whom and what it contributed before, and to whom and what it contributes after; it
//! sends the difference. That is right whichever of the two changed, or both, and counts nothing twice.

mod backfill;
mod bucket;
mod clock;
mod closure;
mod graph;
mod record;
mod schema_change;
mod store;
mod topology;
mod visit;

use std::collections::BTreeMap;

use decidr_domain::id::{AttributeId, CollectionId, EntityId};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::order::Product;

use crate::message::Message;
use crate::plan::{Round, arrival};
use crate::types::{Diff, Time};

pub use backfill::Progress;
pub(crate) use backfill::{Backlog, SharedBacklog};
pub(crate) use clock::{Due, SharedDue};
pub(crate) use store::{RowRef, Store};

/// The time inside the loop.
pub(crate) type LoopTime = Product<Time, Round>;

/// Updates of an arrangement by key.
pub(crate) type Updates<K, V> = Vec<((K, V), Time, Diff)>;

/// What comes out of the operator.
pub(crate) struct Outputs<'scope> {
    /// News for other entities; goes round the loop.
    pub(crate) messages: Stream<'scope, LoopTime, Vec<Message>>,
    /// Rows by entity.
    pub(crate) rows: Stream<'scope, LoopTime, Updates<EntityId, RowRef>>,
    /// The entities in sight, by collection.
    pub(crate) members: Stream<'scope, LoopTime, Updates<(CollectionId, EntityId), ()>>,
    /// How many entities of a collection are in sight on this worker.
    pub(crate) counts: Stream<'scope, LoopTime, Updates<CollectionId, u64>>,
    /// Holders by link and target.
    pub(crate) links: Stream<'scope, LoopTime, Updates<(AttributeId, EntityId), EntityId>>,
}

/// What a round leaves behind for later rounds.
pub(crate) struct Outbox<'a> {
    /// Takes what arrives in the round that follows.
    send: &'a mut dyn FnMut(Message),
    /// Entities to be visited in a later round.
    marks: Vec<(Round, EntityId)>,
}

/// What a finished timestamp gives.
#[derive(Default)]
pub(crate) struct Finished {
    rows: Updates<EntityId, RowRef>,
    members: Updates<(CollectionId, EntityId), ()>,
    counts: Updates<CollectionId, u64>,
    links: Updates<(AttributeId, EntityId), EntityId>,
}

/// What waits for a round to begin.
struct Waiting {
    capability: Capability<LoopTime>,
    /// As they came: there may be hundreds of thousands, and they are read once.
    messages: Vec<Vec<Message>>,
    visits: Vec<EntityId>,
}

/// Builds the operator.
pub(crate) fn compute<'scope>(
    scope: Scope<'scope, LoopTime>,
    input: Stream<'scope, LoopTime, Vec<Message>>,
    mut store: Store,
) -> Outputs<'scope> {
    let mut builder = OperatorBuilder::new("Compute".to_owned(), scope);
    let mut input = builder.new_input(input, Exchange::new(Message::route));
    let (messages_out, messages) = builder.new_output();
    let (rows_out, rows) = builder.new_output();
    let (members_out, members) = builder.new_output();
    let (counts_out, counts) = builder.new_output();
    let (links_out, links) = builder.new_output();
    let mut messages_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Message>>>::from(messages_out);
    let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Updates<EntityId, RowRef>>>::from(rows_out);
    let mut members_out = OutputBuilder::<_, CapacityContainerBuilder<Updates<(CollectionId, EntityId), ()>>>::from(members_out);
    let mut counts_out = OutputBuilder::<_, CapacityContainerBuilder<Updates<CollectionId, u64>>>::from(counts_out);
    let mut links_out = OutputBuilder::<_, CapacityContainerBuilder<Updates<(AttributeId, EntityId), EntityId>>>::from(links_out);

    builder.build(move |_| {
        let mut waiting: BTreeMap<(Time, Round), Waiting> = BTreeMap::new();
        // Held until a timestamp is complete, one for each output but the first.
        let mut ends: BTreeMap<Time, Vec<Capability<LoopTime>>> = BTreeMap::new();
        move |frontiers| {
            let frontier = &frontiers[0];
            input.for_each(|capability, data| {
                for time in capability.stamp().iter() {
                    ends.entry(time.outer).or_insert_with(|| (1..5).map(|port| capability.delayed(time, port)).collect());
                }
                // The engine lets in one timestamp at a time, so that what comes together is of one round.
                if let Some(time) = capability.stamp().iter().next() {
                    let round = waiting.entry((time.outer, time.inner)).or_insert_with(|| Waiting {
                        capability: capability.delayed(time, 0),
                        messages: Vec::new(),
                        visits: Vec::new(),
                    });
                    round.messages.push(std::mem::take(data));
                }
            });
            while let Some((&(time, round), _)) = waiting.first_key_value() {
                if frontier.less_equal(&Product::new(time, round)) {
                    break;
                }
                let Some((_, Waiting { capability, messages, visits })) = waiting.pop_first() else { break };
                let marks = {
                    let mut output = messages_out.activate();
                    // The loop adds one round to what goes through it.
                    let departure = capability.delayed(&Product::new(time, arrival(round) - 1));
                    let mut session = output.session(&departure);
                    let mut outbox = Outbox { send: &mut |message| session.give(message), marks: Vec::new() };
                    store.round(round, messages.into_iter().flatten(), visits, &mut outbox);
                    outbox.marks
                };
                for (later, id) in marks {
                    let later = waiting.entry((time, later)).or_insert_with(|| Waiting {
                        capability: capability.delayed(&Product::new(time, later)),
                        messages: Vec::new(),
                        visits: Vec::new(),
                    });
                    later.visits.push(id);
                }
            }
            while let Some((&time, _)) = ends.first_key_value() {
                if frontier.less_equal(&Product::new(time, Round::MAX)) || waiting.keys().any(|(waiting, _)| *waiting == time) {
                    break;
                }
                let Some((_, end)) = ends.pop_first() else { break };
                let mut done = store.finish(time);
                if !done.rows.is_empty() {
                    rows_out.activate().session(&end[0]).give_iterator(done.rows.drain(..));
                }
                if !done.members.is_empty() {
                    members_out.activate().session(&end[1]).give_iterator(done.members.drain(..));
                }
                if !done.counts.is_empty() {
                    counts_out.activate().session(&end[2]).give_iterator(done.counts.drain(..));
                }
                if !done.links.is_empty() {
                    links_out.activate().session(&end[3]).give_iterator(done.links.drain(..));
                }
            }
        }
    });
    Outputs { messages, rows, members, counts, links }
}
