//! Where hosts and sources of a match meet: for each key a bucket, on a worker that follows from the key.
//!
//! A source contributes to the bucket of its key as it would to a host; the bucket summarises, once for all its hosts, and
//! tells them when that changes. A host that comes is told what there is. So what is kept grows with hosts and sources, and
//! not with the pairs that they make.

use std::collections::BTreeSet;

use decidr_domain::id::{AttributeId, EntityId, TenantId};
use decidr_domain::schema::{Crossing, Summary};
use decidr_domain::value::Value;
use uuid::Uuid;

use super::Outbox;
use super::backfill::Taken;
use super::record::{Held, Record, Touched};
use super::store::Store;
use super::visit::{Visit, held};
use crate::message::{BucketChange, Message, Takers};
use crate::plan::CrossingPlan;

/// Hosts and sources with one key, for one lookup or rollup.
pub(super) struct Bucket {
    hosts: BTreeSet<EntityId>,
    held: Held,
    /// How many sources contribute.
    sources: u64,
    /// What the hosts were told last.
    told: Option<Value>,
    /// The hosts that came in this round.
    come: Vec<EntityId>,
    /// Whether something changed in this round.
    is_touched: bool,
}

impl Bucket {
    fn new(crossing: &Crossing) -> Self {
        Self { hosts: BTreeSet::new(), held: Held::new(crossing), sources: 0, told: None, come: Vec::new(), is_touched: false }
    }
}

impl Store {
    /// Takes in what changed in a bucket; returns whether that is the first in this round.
    pub(super) fn take_into_bucket(&mut self, tenant: TenantId, attribute: AttributeId, key: &Value, change: BucketChange) -> bool {
        let crossing = self.plans.get(&tenant).and_then(|plan| plan.crossing(attribute));
        let Some(crossing) = crossing else { return false };
        let buckets = self.buckets.entry(attribute).or_default();
        let bucket = match buckets.get_mut(key) {
            Some(bucket) => bucket,
            None => buckets.entry(key.clone()).or_insert_with(|| Bucket::new(&crossing.crossing)),
        };
        match change {
            BucketChange::Host(host, true) => {
                bucket.hosts.insert(host);
                bucket.come.push(host);
            }
            BucketChange::Host(host, false) => {
                bucket.hosts.remove(&host);
            }
            BucketChange::Source(source, old, new) => {
                bucket.sources = bucket.sources.saturating_add_signed(i64::from(new.is_some()) - i64::from(old.is_some()));
                bucket.held.take_in(source, &old, &new);
            }
        }
        !std::mem::replace(&mut bucket.is_touched, true)
    }

    /// After all changes of a round: tells the hosts of a bucket what is new to them.
    pub(super) fn tell_hosts(&mut self, tenant: TenantId, attribute: AttributeId, key: &Value, outbox: &mut Outbox<'_>) {
        let crossing = self.plans.get(&tenant).and_then(|plan| plan.crossing(attribute));
        let (Some(crossing), Some(buckets)) = (crossing, self.buckets.get_mut(&attribute)) else { return };
        let Some(bucket) = buckets.get_mut(key) else { return };
        bucket.is_touched = false;
        let come = std::mem::take(&mut bucket.come);
        if bucket.hosts.is_empty() {
            // Nobody wants to know. It is made anew for whoever comes.
            bucket.told = None;
            if bucket.sources == 0 {
                buckets.remove(key);
            }
            return;
        }
        let value = Some(bucket.held.of_bucket(crossing));
        let source = EntityId(Uuid::nil());
        if bucket.told == value {
            outbox.contribute(come.into_iter().filter(|host| bucket.hosts.contains(host)), Takers::One(attribute), source, &None, &value);
        } else {
            outbox.contribute(bucket.hosts.iter().copied(), Takers::One(attribute), source, &None, &value);
            bucket.told = value;
        }
    }
}

impl Held {
    /// What a bucket tells its hosts: the cell, or if that depends on the host all contributions.
    fn of_bucket(&mut self, crossing: &CrossingPlan) -> Value {
        match (self, &crossing.crossing.summary) {
            (Held::List(list), Summary::Collect(_)) if crossing.crossing.looks_at_host() => Value::List(list.values().cloned().collect()),
            (held, _) => held.in_order_of_sources(),
        }
    }
}

impl Visit<'_, '_> {
    /// Says to buckets which keys the host has now.
    pub(super) fn join(&mut self, record: &mut Record, touched: &Touched) {
        let (joins, phase) = (&self.plan.joins, self.phase);
        let start = joins.partition_point(|join| join.export_round < phase);
        for join in joins[start..].iter().take_while(|join| join.export_round == phase) {
            let Some(keys) = &join.crossing.keys else { continue };
            let taken = self.backfill.cells(join.attribute, self.place);
            if taken == Taken::NotYet {
                continue;
            }
            // Buckets were emptied when a definition changed.
            let is_dirty = taken == Taken::Now || self.dirty.contains(&join.attribute);
            let before = touched.row_before().filter(|_| !is_dirty).and_then(|row| keys.of_host(row));
            let now = keys.of_host(&self.view(touched));
            if before == now && !is_dirty {
                continue;
            }
            let mut send = |key, added| {
                let (tenant, attribute) = (self.entity.tenant_id, join.attribute);
                (self.outbox.send)(Message::Bucket { tenant, attribute, key, change: BucketChange::Host(self.id, added) });
            };
            if let Some(key) = before {
                send(key, false);
            }
            match now {
                Some(key) => send(key, true),
                // Nobody tells it anything any more.
                None => *held(record, join) = Held::Only(None),
            }
            self.outbox.marks.push((join.round, self.slot));
        }
    }

    /// Sends what this entity contributes to the bucket of its key.
    pub(super) fn export_to_bucket(&mut self, export: &CrossingPlan, old: Option<(Value, Value)>, new: Option<(Value, Value)>) {
        let mut send = |key, old, new| {
            let (tenant, attribute) = (self.entity.tenant_id, export.attribute);
            (self.outbox.send)(Message::Bucket { tenant, attribute, key, change: BucketChange::Source(self.id, old, new) });
        };
        match (old, new) {
            (old, new) if old == new => {}
            (Some((key, old)), Some((same, new))) if key == same => send(key, Some(old), Some(new)),
            (old, new) => {
                old.into_iter().for_each(|(key, old)| send(key, Some(old), None));
                new.into_iter().for_each(|(key, new)| send(key, None, Some(new)));
            }
        }
    }
}
