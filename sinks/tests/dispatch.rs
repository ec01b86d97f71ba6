//! Each query hears of what concerns it, and of nothing else, however it is found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use decidr_domain::aggregate::entity::{Entity, Values};
use decidr_domain::aggregate::tenant::TenantEvent;
use decidr_domain::delta::{Change, Delta, Row};
use decidr_domain::event::Event;
use decidr_domain::formula::{Attributes, Expression, Program, Resolved, Type};
use decidr_domain::id::{AttributeId, CollectionId, EntityId, Key, TenantId};
use decidr_domain::layout::Layout;
use decidr_domain::schema::Catalog;
use decidr_domain::stamp::Stamp;
use decidr_domain::value::Value;
use decidr_sinks::live::{Hears, Next, Unscheduled};
use decidr_sinks::{Live, LiveQuery, OpKind, Sink, Subscription};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use uuid::Uuid;

const IDS: [AttributeId; 2] = [AttributeId(Uuid::from_u128(10)), AttributeId(Uuid::from_u128(11))];

/// The attributes `a`, a stored one, and `b`, a computed one.
struct Two;

impl Attributes for Two {
    fn resolve(&self, name: &str) -> Resolved {
        match ["a", "b"].iter().position(|known| *known == name) {
            Some(place) => Resolved::Attribute(IDS[place], Type::Any),
            None => Resolved::Unknown,
        }
    }

    fn names(&self) -> Vec<String> {
        vec!["a".to_owned(), "b".to_owned()]
    }
}

const FILTERS: [&str; 13] = [
    "{a} = 1",
    "{a} = 2",
    "AND({b} = 3, {a} = 1)",
    "{b} = 3",
    "{b} = 3 && {a} > 1",
    "OR({a} = 1, {a} = 3)",
    "{a} > 1",
    "OR({a} = 1, {b} = 3)",
    "TRUE()",
    // Time passes, too; it counts the minutes since 1970.
    "NOW() > DATEADD('1970-01-01T00:00:00Z', {a}, 'minutes')",
    "AND({a} = 1, NOW() <= DATEADD('1970-01-01T00:00:00Z', {b}, 'minutes'))",
    "OR({b} = 3, MINUTE(NOW()) = {a})",
    "DATETIME_DIFF(NOW(), '1970-01-01T00:00:00Z', 'minutes') - {a} = 1",
];

fn program(filter: usize) -> (Expression, Program) {
    Expression::from_user(FILTERS[filter], &Two).unwrap()
}

/// What an entity is at some time: whether archived, and its two cells.
#[derive(Clone, Debug)]
struct State {
    is_archived: bool,
    a: i64,
    b: i64,
}

fn state() -> impl Strategy<Value = State> {
    (prop::bool::weighted(0.1), 0..4i64, 2..5i64).prop_map(|(is_archived, a, b)| State { is_archived, a, b })
}

/// There are three collections of two tenants.
fn tenant(collection: u128) -> TenantId {
    TenantId(Uuid::from_u128(collection % 2))
}

fn row(entity: u128, collection: u128, since: u64, state: &State) -> Row {
    let entity = Entity {
        id: EntityId(Uuid::from_u128(entity)),
        tenant_id: tenant(collection),
        collection_id: CollectionId(Uuid::from_u128(collection)),
        archived: state.is_archived,
        version: 1,
        values: Values::from_iter([(IDS[0], Value::from(state.a))]),
        number: 1,
        created: Stamp { at: Timestamp::UNIX_EPOCH, by: "test".into() },
        changes: Vec::new(),
    };
    Row::new(since, Arc::new(entity), Layout::of(&[IDS[1]]), [Value::from(state.b)].into_iter())
}

/// Somebody who is still looking at what there was, and at which time.
type Looking = (Listener, Unscheduled, BTreeMap<EntityId, Row>, Option<Timestamp>);

/// Somebody who listens from one delta on until another.
#[derive(Clone, Debug)]
struct Listener {
    collection: u128,
    filter: usize,
    /// Whether it is slow to look at what there is.
    is_slow: bool,
    from: usize,
    until: usize,
}

fn listener() -> impl Strategy<Value = Listener> {
    (0..3u128, 0..FILTERS.len(), any::<bool>(), 0..4usize, 0..8usize).prop_map(|(collection, filter, is_slow, from, until)| Listener {
        collection,
        filter,
        is_slow,
        from,
        until,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn everybody_knows_what_matches(
        listeners in prop::collection::vec(listener(), 1..12),
        deltas in prop::collection::vec(
            (prop::collection::btree_map((0..4u128, 0..3u128), state(), 0..5), prop::array::uniform2(0..3i64)),
            1..7,
        ),
    ) {
        let due: Arc<Mutex<BTreeMap<TenantId, Timestamp>>> = Arc::default();
        let told_due = due.clone();
        let live = Live::telling(Box::new(move |tenant, at| {
            let mut due = told_due.lock().unwrap();
            match at {
                Some(at) => due.insert(tenant, at),
                None => due.remove(&tenant),
            };
        }));
        let mut listening: Vec<(Listener, Subscription, BTreeMap<EntityId, Row>)> = Vec::new();
        let mut rows: BTreeMap<EntityId, Row> = BTreeMap::new();
        let mut catalog = Catalog::default();
        for tenant in [0, 1].map(tenant) {
            let key = Key::new(&format!("t{}", tenant.0.as_u128())).unwrap();
            catalog.apply(tenant, &Event::Tenant(TenantEvent::TenantRegistered { id: tenant, key, name: "T".into() }));
        }
        for (n, (delta, minutes)) in deltas.iter().enumerate() {
            let clock = |catalog: &Catalog, listener: &Listener| catalog.tenant(tenant(listener.collection)).unwrap().clock();
            let matching = |rows: &BTreeMap<EntityId, Row>, catalog: &Catalog, listener: &Listener| -> BTreeMap<EntityId, Row> {
                let (_, program) = program(listener.filter);
                let is_of = |row: &Row| row.entity.collection_id.0.as_u128() == listener.collection;
                let now = clock(catalog, listener);
                let matches = |row: &Row| is_of(row) && LiveQuery::matches_at(row, Some(&program), now);
                rows.iter().filter(|(_, row)| matches(row)).map(|(id, row)| (*id, row.clone())).collect()
            };
            listening.retain(|(listener, ..)| listener.until > n);
            let mut looking: Vec<Looking> = Vec::new();
            let schedule = |listener: &Listener, unscheduled: Unscheduled, rows: &BTreeMap<EntityId, Row>, position: u64, now| {
                let (_, program) = program(listener.filter);
                let is_of = |row: &&Row| row.entity.collection_id.0.as_u128() == listener.collection;
                unscheduled.schedule(&program, position, now, |visit| {
                    let _ = rows.values().filter(is_of).all(&mut *visit);
                })
            };
            for listener in listeners.iter().filter(|listener| listener.from == n && listener.until > n) {
                let (filter, program) = program(listener.filter);
                let collection = CollectionId(Uuid::from_u128(listener.collection));
                let query = LiveQuery { tenant: tenant(listener.collection), collection, filter: Some(filter) };
                let is_timed = program.is_timed;
                let subscription = match live.subscribe(query, Some(program), Hears::Entities) {
                    Ok(subscription) => subscription,
                    Err(unscheduled) => {
                        prop_assert!(is_timed);
                        let now = clock(&catalog, listener);
                        if listener.is_slow {
                            looking.push((listener.clone(), unscheduled, rows.clone(), now));
                            continue;
                        }
                        schedule(listener, unscheduled, &rows, n as u64, now).unwrap()
                    }
                };
                listening.push((listener.clone(), subscription, matching(&rows, &catalog, listener)));
            }
            for (tenant, minutes) in [0, 1].map(tenant).into_iter().zip(minutes) {
                let before = catalog.tenant(tenant).unwrap().clock().unwrap_or(Timestamp::UNIX_EPOCH);
                if *minutes > 0 {
                    let to = before + minutes.minutes();
                    catalog.apply(tenant, &Event::Tenant(TenantEvent::ClockAdvanced { id: tenant, to }));
                }
            }
            let change = |((entity, collection), state): (&(u128, u128), &State)| {
                let new = row(entity * 3 + collection, *collection, n as u64, state);
                Change { entity_id: new.entity.id, old: rows.insert(new.entity.id, new.clone()), new }
            };
            let changes = delta.iter().map(change).collect();
            let position = n as u64 + 1;
            live.apply(&Arc::new(Delta {
                previous: n as u64,
                position,
                newest: [0, 1].map(|collection| (tenant(collection), position)).into(),
                catalog: Arc::new(catalog.clone()),
                schema_changed: false,
                is_aside: false,
                changes,
            }));
            for (listener, unscheduled, old, now) in looking {
                let subscription = schedule(&listener, unscheduled, &old, n as u64, now).unwrap();
                let known = matching(&rows, &catalog, &listener);
                listening.push((listener, subscription, known));
            }
            for (listener, subscription, told) in &mut listening {
                while let Some(next) = subscription.try_next() {
                    let Next::Changes(changes) = next else { panic!("{next:?}") };
                    prop_assert!(!changes.ops.is_empty());
                    for op in &changes.ops {
                        let before = match &op.row {
                            Some(row) => told.insert(op.id, row.clone()),
                            None => told.remove(&op.id),
                        };
                        prop_assert_eq!(before.is_some(), op.kind != OpKind::Insert);
                        prop_assert_eq!(op.row.is_none(), op.kind == OpKind::Delete);
                    }
                }
                let all = matching(&rows, &catalog, listener);
                prop_assert_eq!(&*told, &all, "{:?}", listener);
            }
            prop_assert_eq!(live.subscribers(), listening.len());
            // Whatever comes out otherwise because of time alone is told beforehand, and nothing is due already.
            for (listener, ..) in &listening {
                let (tenant, now) = (tenant(listener.collection), clock(&catalog, listener));
                let told = due.lock().unwrap().get(&tenant).copied();
                let Some(now) = now else { continue };
                prop_assert!(told.is_none_or(|told| told > now));
                let mut later = catalog.clone();
                let to = told.map_or(now + 10.minutes(), |told| told - 1.milliseconds());
                later.apply(tenant, &Event::Tenant(TenantEvent::ClockAdvanced { id: tenant, to }));
                prop_assert_eq!(matching(&rows, &later, listener), matching(&rows, &catalog, listener), "{:?}", listener);
            }
        }
        drop(listening);
        prop_assert_eq!(live.subscribers(), 0);
        prop_assert!(due.lock().unwrap().is_empty(), "nobody asks any more");
    }
}
