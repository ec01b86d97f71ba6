//! Each query hears of what concerns it, and of nothing else, however it is found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use decidr_domain::aggregate::entity::{Entity, Values};
use decidr_domain::delta::{Change, Delta, Row};
use decidr_domain::formula::{Attributes, Expression, Program, Resolved, Type};
use decidr_domain::id::{AttributeId, CollectionId, EntityId, TenantId};
use decidr_domain::layout::Layout;
use decidr_domain::stamp::Stamp;
use decidr_domain::value::Value;
use decidr_sinks::live::{Hears, Next};
use decidr_sinks::{Live, LiveQuery, OpKind, Sink, Subscription};
use jiff::Timestamp;
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

const FILTERS: [&str; 9] = [
    "{a} = 1",
    "{a} = 2",
    "AND({b} = 3, {a} = 1)",
    "{b} = 3",
    "{b} = 3 && {a} > 1",
    "OR({a} = 1, {a} = 3)",
    "{a} > 1",
    "OR({a} = 1, {b} = 3)",
    "TRUE()",
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

/// Somebody who listens from one delta on until another.
#[derive(Clone, Debug)]
struct Listener {
    collection: u128,
    filter: usize,
    from: usize,
    until: usize,
}

fn listener() -> impl Strategy<Value = Listener> {
    (0..3u128, 0..FILTERS.len(), 0..4usize, 0..8usize).prop_map(|(collection, filter, from, until)| Listener {
        collection,
        filter,
        from,
        until,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn everybody_knows_what_matches(
        listeners in prop::collection::vec(listener(), 1..12),
        deltas in prop::collection::vec(prop::collection::btree_map((0..4u128, 0..3u128), state(), 0..5), 1..7),
    ) {
        let live = Live::default();
        let mut listening: Vec<(Listener, Subscription, BTreeMap<EntityId, Row>)> = Vec::new();
        let mut rows: BTreeMap<EntityId, Row> = BTreeMap::new();
        for (n, delta) in deltas.iter().enumerate() {
            let matching = |rows: &BTreeMap<EntityId, Row>, listener: &Listener| -> BTreeMap<EntityId, Row> {
                let (_, program) = program(listener.filter);
                let is_of = |row: &Row| row.entity.collection_id.0.as_u128() == listener.collection;
                let matches = |row: &Row| is_of(row) && LiveQuery::matches(row, Some(&program));
                rows.iter().filter(|(_, row)| matches(row)).map(|(id, row)| (*id, row.clone())).collect()
            };
            listening.retain(|(listener, ..)| listener.until > n);
            for listener in listeners.iter().filter(|listener| listener.from == n && listener.until > n) {
                let (filter, program) = program(listener.filter);
                let collection = CollectionId(Uuid::from_u128(listener.collection));
                let query = LiveQuery { tenant: tenant(listener.collection), collection, filter: Some(filter) };
                let subscription = live.subscribe(query, Some(program), Hears::Entities);
                listening.push((listener.clone(), subscription, matching(&rows, listener)));
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
                catalog: Arc::default(),
                schema_changed: false,
                is_aside: false,
                changes,
            }));
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
                let all = matching(&rows, listener);
                prop_assert_eq!(&*told, &all, "{:?}", listener);
            }
            prop_assert_eq!(live.subscribers(), listening.len());
        }
        drop(listening);
        prop_assert_eq!(live.subscribers(), 0);
    }
}
