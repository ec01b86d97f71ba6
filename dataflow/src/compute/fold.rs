//! Round 0: the events of a timestamp are folded into entities, the schema changes, and who must hear of it is told.

use std::sync::Arc;

use decidr_domain::aggregate::entity::{self, Entity, EntityEvent};
use decidr_domain::formula::MODIFIED;
use decidr_domain::id::EntityId;
use decidr_domain::schema::Component;
use decidr_domain::stamp::Stamp;

use super::Outbox;
use super::finders::{Members, collection_plan};
use super::record::differences;
use super::records::Slot;
use super::store::{Store, together};
use crate::message::Message;

/// An event, with where its entity is and its own place among all.
type Placed<'a> = (Slot, u32, Told<'a>);

/// An event and when it happened, and which of its collection its entity is, if it makes it.
type Told<'a> = (&'a EntityEvent, &'a Stamp, u64);

impl Store {
    /// Takes in what a timestamp brings.
    pub(super) fn begin(&mut self, messages: &[Vec<Message>], outbox: &mut Outbox<'_>) {
        let (mut schema, mut slice) = (Vec::new(), None);
        let mut events: Vec<Placed<'_>> = Vec::with_capacity(messages.iter().map(Vec::len).sum());
        for message in messages.iter().flatten() {
            match message {
                Message::Schema { tenant, event, .. } => schema.push((*tenant, event)),
                Message::Slice { limit, .. } => slice = Some(*limit),
                Message::Entity { event, stamp, number } => {
                    let order = u32::try_from(events.len()).expect("memory ends before there are so many");
                    events.push((self.records.find_or_insert(event.id()), order, (event, stamp, *number)));
                }
                other => debug_assert!(false, "of a later round: {other:?}"),
            }
        }
        // Entity by entity, so that what is about one is done while it is near.
        events.sort_unstable_by_key(|(slot, order, _)| (*slot, *order));
        let is_same = |one: &Placed<'_>, next: &Placed<'_>| one.0 == next.0;
        let has_schema_events = !schema.is_empty();
        for some in together(events.chunk_by(is_same)) {
            self.warm(some.iter().map(|events| events[0].0));
            for events in some {
                let slot = events[0].0;
                events.iter().for_each(|(_, _, told)| self.fold(slot, told));
                if !has_schema_events {
                    self.announce(slot, outbox);
                }
            }
        }
        if has_schema_events {
            // It changes what all entities are that there are by now, and what must be announced of them.
            self.change_schema(&schema, outbox);
            self.visit_due(outbox);
            for some in together(events.chunk_by(is_same)) {
                self.warm(some.iter().map(|events| events[0].0));
                some.iter().for_each(|events| self.announce(events[0].0, outbox));
            }
        }
        if let Some(limit) = slice {
            self.slice(limit, outbox);
        }
    }

    /// Applies one event to its entity, as the write side does.
    fn fold(&mut self, slot: Slot, (event, stamp, number): &Told<'_>) {
        let record = &mut self.records[slot];
        self.touched.touch(slot, record).folded = true;
        let is_new = record.entity.is_none();
        let state = record.entity.take().map(Arc::unwrap_or_clone);
        record.entity = entity::evolve(state, event, stamp).map(|mut entity| {
            if is_new {
                entity.number = *number;
            }
            Arc::new(entity)
        });
        if let (true, Some(entity)) = (is_new, &record.entity) {
            let members = self.members.entry(entity.collection_id).or_default();
            record.place = members.len();
            members.push(slot);
        }
    }

    /// After all events of a timestamp: what changed about this entity, and who must hear of it.
    fn announce(&mut self, slot: Slot, outbox: &mut Outbox<'_>) {
        let record = &mut self.records[slot];
        let touched = self.touched.touch(slot, record);
        let Some(entity) = &record.entity else { return };
        let (id, before) = (record.id, touched.before.as_ref().map(|row| &*row.entity));
        for (attribute, old, new) in differences(before, entity) {
            touched.changed.push(attribute);
            let (old, new) = (old.targets(), new.targets());
            let mut linked = |target: &EntityId, added| {
                (outbox.send)(Message::Linked { target: *target, link: attribute, holder: id, added });
            };
            let (is_old, is_new) = (Members::of(old), Members::of(new));
            old.iter().filter(|target| !is_new.has(target)).for_each(|target| linked(target, false));
            new.iter().filter(|target| !is_old.has(target)).for_each(|target| linked(target, true));
        }
        let Some(plan) = collection_plan(&self.plans, entity) else { return };
        // What was set to what it was is no other value, and yet was set.
        let old_changes = before.map_or(&[][..], |before| &before.changes);
        for (attribute, _) in entity.changes.iter().rev().take_while(|change| !old_changes.contains(change)) {
            if !touched.changed.contains(attribute) {
                touched.changed.push(*attribute);
            }
        }
        if !touched.changed.is_empty() {
            touched.changed.push(MODIFIED);
        }
        let in_sight_changed = before.is_none_or(|before| before.archived != entity.archived);
        if in_sight_changed {
            outbox.marks.extend(plan.rounds.iter().map(|round| (*round, slot)));
        } else {
            for attribute in &touched.changed {
                let rounds = plan.readers(*attribute).iter().chain(plan.through(*attribute));
                outbox.marks.extend(rounds.map(|round| (*round, slot)));
            }
        }
        for component in &plan.components {
            if in_sight_changed || component.directions.iter().any(|direction| touched.changed.contains(&direction.link())) {
                Self::speak(entity, component, outbox);
            }
        }
    }

    /// Tells the graph of a component or closure what an entity's part in it is.
    pub(super) fn speak(entity: &Entity, component: &Component, outbox: &mut Outbox<'_>) {
        (outbox.send)(Message::Hierarchy {
            tenant: entity.tenant_id,
            component: component.id,
            entity: entity.id,
            in_sight: !entity.archived,
            targets: component.directions.iter().map(|direction| entity.values.get(direction.link()).targets().to_vec()).collect(),
        });
    }
}
