//! The one operator that computes: it folds events into entities, evaluates formulas, and carries values across links.
//!
//! # Rounds
//! A timestamp is computed in rounds, the inner coordinate of a loop. Round 0 folds the events. Each level has a round in
//! which its cells become final: it takes in what sources contribute at that level, evaluates the formulas of that level,
//! and sends what it exports at that level, to arrive with the next level. So no cell is computed from one that is not
//! final, each is computed once for each timestamp, and the number of operators does not depend on the schema (ADR 0003).
//!
//! Cells that depend on one another along a hierarchical link have rounds of their own before the others of their level: as
//! many as the data are deep (ADR 0009). An entity has its turn after those that it depends on, by its rank in the graph of
//! the links; where ranks are out of date it may send several times, and knows what it sent last.
//!
//! # What is computed aside
//! A definition from which many cells follow is computed a slice of entities at a time, each slice at a timestamp of its
//! own: [`backfill`]. Rows hold these cells beside those that are shown.
//!
//! # Messages
//! What one entity tells another arrives in a later round. To another worker it goes round the loop; to the worker that it
//! comes from it goes by hand, which spares the trip. A lone worker, to which nobody else can send, goes through all rounds
//! of a timestamp at once, and needs no loop.
//!
//! Cells to which an entity contributes the same are a cohort: one message is for all of them, but where one of them has a
//! definition that just changed, or is not taken up by all yet.
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
mod finders;
mod fold;
mod graph;
#[cfg(feature = "test-util")]
pub mod kernels;
mod ranks;
mod record;
mod records;
mod restore;
mod schema_change;
mod store;
mod topology;
mod visit;

use std::collections::BTreeMap;

use decidr_domain::id::{AttributeId, CollectionId, EntityId};
use decidr_domain::value::Value;
use smallvec::{SmallVec, smallvec};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::order::Product;
use timely::progress::Timestamp;

use crate::message::{Contribution, Hosts, Message, Takers, route};
use crate::plan::{Rank, Round, arrival};
use crate::rows::RowId;
use crate::types::{Diff, Time};

pub use backfill::Progress;
pub(crate) use backfill::{Backlog, SharedBacklog};
pub(crate) use clock::{Due, SharedDue};
use records::Slot;
pub(crate) use store::{SharedEffort, Store};

/// The time inside the loop.
pub(crate) type LoopTime = Product<Time, Round>;

/// When the operator works.
pub(crate) trait Step: Timestamp {
    /// The timestamp and the round.
    fn parts(&self) -> (Time, Round);
    /// The time of a round.
    fn of(time: Time, round: Round) -> Self;
}

impl Step for LoopTime {
    fn parts(&self) -> (Time, Round) {
        (self.outer, self.inner)
    }
    fn of(time: Time, round: Round) -> Self {
        Product::new(time, round)
    }
}

/// Outside of a loop, where all rounds of a timestamp are one step.
impl Step for Time {
    fn parts(&self) -> (Time, Round) {
        (*self, 0)
    }
    fn of(time: Time, _: Round) -> Self {
        time
    }
}

/// Updates of an arrangement by key.
pub(crate) type Updates<K, V> = Vec<((K, V), Time, Diff)>;

/// What comes out of the operator.
pub(crate) struct Outputs<'scope, T: Step> {
    /// News for entities of other workers; goes round the loop.
    pub(crate) messages: Stream<'scope, T, Vec<Message>>,
    /// Rows by entity, as numbers in the worker's table.
    pub(crate) rows: Stream<'scope, T, Updates<EntityId, RowId>>,
    /// The entities in sight, by collection.
    pub(crate) members: Stream<'scope, T, Updates<(CollectionId, EntityId), ()>>,
    /// How many entities of a collection are in sight on this worker.
    pub(crate) counts: Stream<'scope, T, Updates<CollectionId, u64>>,
    /// Holders by link and target.
    pub(crate) links: Stream<'scope, T, Updates<(AttributeId, EntityId), EntityId>>,
}

/// What a round leaves behind for later rounds.
pub(crate) struct Outbox<'a> {
    /// Takes what arrives in the round that follows.
    send: &'a mut dyn FnMut(Message),
    /// Which worker this is, and how many there are.
    index: u64,
    peers: u64,
    /// Entities to be visited in a later round.
    marks: Vec<(Round, Slot)>,
}

impl Outbox<'_> {
    /// Whether an entity is one of this worker.
    fn is_here(&self, entity: EntityId) -> bool {
        self.peers == 1 || route(entity) % self.peers == self.index
    }

    /// Tells hosts what a source contributes to cells of theirs, if that is something else than before.
    fn contribute(
        &mut self,
        hosts: impl Iterator<Item = EntityId>,
        takers: Takers,
        source: EntityId,
        old: &Option<Value>,
        new: &Option<Value>,
    ) {
        /// How many hosts a message is to, at most.
        const TOGETHER: usize = 1 << 10;
        if old == new {
            return;
        }
        let mut send = |hosts: &mut Hosts| {
            let hosts = std::mem::take(hosts);
            (self.send)(Message::Contribution(Contribution { hosts, takers, source, old: old.clone(), new: new.clone() }));
        };
        if self.peers == 1 {
            // Nothing to sort them by, and mostly there is one.
            let mut hosts = hosts;
            while let Some(first) = hosts.next() {
                let mut some: Hosts = smallvec![first];
                hosts.by_ref().take(TOGETHER - 1).for_each(|host| some.push(host));
                send(&mut some);
            }
            return;
        }
        let mut by_worker: SmallVec<[Hosts; 2]> = smallvec![Hosts::new(); self.peers as usize];
        for host in hosts {
            let hosts = &mut by_worker[(route(host) % self.peers) as usize];
            hosts.push(host);
            if hosts.len() == TOGETHER {
                send(hosts);
            }
        }
        by_worker.iter_mut().filter(|hosts| !hosts.is_empty()).for_each(send);
    }
}

impl Outbox<'_> {
    /// Tells entities their ranks in a component.
    fn rank(&mut self, component: AttributeId, ranks: Vec<(EntityId, Rank)>) {
        /// How many entities a message is to, at most.
        const TOGETHER: usize = 1 << 12;
        let mut by_worker = vec![Vec::new(); self.peers as usize];
        for (entity, rank) in ranks {
            by_worker[(route(entity) % self.peers) as usize].push((entity, rank));
        }
        for (worker, ranks) in (0..).zip(by_worker) {
            for some in ranks.chunks(TOGETHER) {
                (self.send)(Message::Ranks { worker, component, ranks: some.to_vec() });
            }
        }
    }
}

/// What a finished timestamp gives.
#[derive(Default)]
pub(crate) struct Finished {
    rows: Updates<EntityId, RowId>,
    members: Updates<(CollectionId, EntityId), ()>,
    counts: Updates<CollectionId, u64>,
    links: Updates<(AttributeId, EntityId), EntityId>,
}

/// What waits for a round to begin.
struct Waiting<T: Step> {
    capability: Capability<T>,
    /// As they came: there may be hundreds of thousands, and they are read once.
    messages: Vec<Vec<Message>>,
    visits: Vec<Slot>,
}

impl<T: Step> Waiting<T> {
    fn new(capability: Capability<T>) -> Self {
        Self { capability, messages: Vec::new(), visits: Vec::new() }
    }
}

impl Finished {
    /// Lets go of memory that only an unusual timestamp needs.
    fn shrink(&mut self) {
        const KEPT: usize = 1 << 16;
        self.rows.shrink_to(KEPT);
        self.members.shrink_to(KEPT);
        self.counts.shrink_to(KEPT);
        self.links.shrink_to(KEPT);
    }
}

/// Memory for messages that need not go round the loop: what one round has read a later one fills again.
#[derive(Default)]
struct Spare(Vec<Vec<Message>>);

impl Spare {
    /// How many messages are together.
    const CHUNK: usize = 1 << 12;
    /// How many chunks are kept.
    const KEPT: usize = 32;

    fn push(&mut self, messages: &mut Vec<Vec<Message>>, message: Message) {
        match messages.last_mut() {
            Some(last) if last.len() < Self::CHUNK => last.push(message),
            _ => {
                let mut next = self.0.pop().unwrap_or_default();
                next.push(message);
                messages.push(next);
            }
        }
    }

    fn keep(&mut self, mut messages: Vec<Vec<Message>>) {
        messages.iter_mut().for_each(Vec::clear);
        let room = Self::KEPT.saturating_sub(self.0.len());
        self.0.extend(messages.into_iter().filter(|messages| messages.capacity() <= Self::CHUNK).take(room));
    }
}

/// Builds the operator.
pub(crate) fn compute<'scope, T: Step>(
    scope: Scope<'scope, T>,
    input: Stream<'scope, T, Vec<Message>>,
    mut store: Store,
) -> Outputs<'scope, T> {
    let (index, peers) = (scope.index() as u64, scope.peers() as u64);
    // Behind round 0 a lone worker waits for nobody.
    let last_awaited = if peers == 1 { 0 } else { Round::MAX };
    let mut builder = OperatorBuilder::new("Compute".to_owned(), scope);
    let mut input = builder.new_input(input, Exchange::new(Message::route));
    let (messages_out, messages) = builder.new_output();
    let (rows_out, rows) = builder.new_output();
    let (members_out, members) = builder.new_output();
    let (counts_out, counts) = builder.new_output();
    let (links_out, links) = builder.new_output();
    let mut messages_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Message>>>::from(messages_out);
    let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Updates<EntityId, RowId>>>::from(rows_out);
    let mut members_out = OutputBuilder::<_, CapacityContainerBuilder<Updates<(CollectionId, EntityId), ()>>>::from(members_out);
    let mut counts_out = OutputBuilder::<_, CapacityContainerBuilder<Updates<CollectionId, u64>>>::from(counts_out);
    let mut links_out = OutputBuilder::<_, CapacityContainerBuilder<Updates<(AttributeId, EntityId), EntityId>>>::from(links_out);

    let again = scope.activator_for(builder.operator_info().address);
    builder.build(move |_| {
        let mut waiting: BTreeMap<(Time, Round), Waiting<T>> = BTreeMap::new();
        // Held until a timestamp is complete, one for each output but the first.
        let (mut own, mut spare, mut done) = (Vec::new(), Spare::default(), Finished::default());
        let mut ends: BTreeMap<Time, Vec<Capability<T>>> = BTreeMap::new();
        move |frontiers| {
            let frontier = &frontiers[0];
            input.for_each(|capability, data| {
                for step in capability.stamp().iter() {
                    ends.entry(step.parts().0).or_insert_with(|| (1..5).map(|port| capability.delayed(step, port)).collect());
                }
                // The engine lets in one timestamp at a time, so that what comes together is of one round.
                if let Some(step) = capability.stamp().iter().next() {
                    let round = waiting.entry(step.parts()).or_insert_with(|| Waiting::new(capability.delayed(step, 0)));
                    match data.first() {
                        // Taken in at once, while more are read.
                        Some(Message::Restore { .. } | Message::Restored(_)) => store.restore(data.drain(..), peers as usize),
                        _ => round.messages.push(std::mem::take(data)),
                    }
                }
            });
            while let Some((&(time, round), _)) = waiting.first_key_value() {
                if frontier.less_equal(&T::of(time, round.min(last_awaited))) {
                    break;
                }
                let Some((_, Waiting { capability, mut messages, visits })) = waiting.pop_first() else { break };
                let arrival = arrival(round);
                let marks = {
                    let mut output = messages_out.activate();
                    // The loop adds one round to what goes through it.
                    let departure = capability.delayed(&T::of(time, arrival - 1));
                    let mut session = output.session(&departure);
                    let mut send = |message: Message| match peers == 1 || message.route() % peers == index {
                        true => spare.push(&mut own, message),
                        false => session.give(message),
                    };
                    let mut outbox = Outbox { send: &mut send, index, peers, marks: Vec::new() };
                    match (round, store.is_restoring()) {
                        (0, false) => store.begin(&messages, &mut outbox),
                        (_, false) => store.round(round, &mut messages, visits, &mut outbox),
                        (0, true) => store.begin_restored(&mut outbox),
                        (_, true) => store.restored_round(round, &mut messages, &visits, &mut outbox),
                    }
                    outbox.marks
                };
                spare.keep(messages);
                let waits = |later| Waiting::new(capability.delayed(&T::of(time, later)));
                if !own.is_empty() {
                    waiting.entry((time, arrival)).or_insert_with(|| waits(arrival)).messages.append(&mut own);
                }
                for (later, slot) in marks {
                    waiting.entry((time, later)).or_insert_with(|| waits(later)).visits.push(slot);
                }
            }
            while let Some((&time, _)) = ends.first_key_value() {
                if frontier.less_equal(&T::of(time, last_awaited)) || waiting.keys().any(|(waiting, _)| *waiting == time) {
                    break;
                }
                let Some((_, end)) = ends.pop_first() else { break };
                let is_more = store.finish(time, &mut done);
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
                done.shrink();
                if is_more {
                    // When what was given is taken in, and the memory that it was in is free again.
                    ends.insert(time, end);
                    again.activate();
                    break;
                }
            }
        }
    });
    Outputs { messages, rows, members, counts, links }
}
