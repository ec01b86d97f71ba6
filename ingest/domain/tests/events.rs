//! The stored form of events never changes: each is compared with the golden file of its type, and read back from it.
//! To add an event, run once with `UPDATE_GOLDEN=1`; a file that is there is never to change.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use decidr_domain::aggregate::attribute::{AttributeEvent, Definition, MatchKey, SortKey};
use decidr_domain::aggregate::choice::Choice;
use decidr_domain::aggregate::collection::CollectionEvent;
use decidr_domain::aggregate::entity::{EntityEvent, Values};
use decidr_domain::aggregate::format::{NumberFormat, TextFormat};
use decidr_domain::aggregate::space::SpaceEvent;
use decidr_domain::aggregate::tenant::TenantEvent;
use decidr_domain::aggregate::user::UserEvent;
use decidr_domain::event::{Event, Stored};
use decidr_domain::formula::{Attributes, Expression, Resolved, Type};
use decidr_domain::id::{AttributeId, CollectionId, EntityId, Key, SpaceId, TenantId, UserId};
use decidr_domain::rollup::Rollup;
use decidr_domain::value::Value;
use uuid::Uuid;

fn id<T: From<Uuid>>(n: u128) -> T {
    T::from(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n))
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

struct One;

impl Attributes for One {
    fn resolve(&self, _: &str) -> Resolved {
        Resolved::Attribute(id(6), Type::Number)
    }
    fn names(&self) -> Vec<String> {
        vec![]
    }
}

fn expression() -> Expression {
    Expression::from_user("{x} * 2", &One).unwrap().0
}

/// One event of every type, with every kind of value and definition among them.
fn examples() -> Vec<(&'static str, Event)> {
    let (tenant, user, space): (TenantId, UserId, SpaceId) = (id(1), id(2), id(3));
    let (collection, entity, attribute): (CollectionId, EntityId, AttributeId) = (id(4), id(5), id(6));
    let number = |text: &str| Value::number(text.parse().unwrap());
    let values: Values = [
        (id(10), Value::text("Ünïcode \"quoted\"\n")),
        (id(11), number("12345678901234567890.12345678")),
        (id(12), number("-7")),
        (id(13), Value::from(true)),
        (id(14), Value::Date("2013-01-31".parse().unwrap())),
        (id(15), Value::DateTime("2013-01-01T10:00:00.25Z".parse().unwrap())),
        (id(16), Value::list([Value::text("a"), Value::text("b")])),
        (id(17), Value::Link(id(20))),
        (id(18), Value::Links(vec![id(20), id(21)].into())),
    ]
    .into_iter()
    .collect();
    let choice = |id: &str, name: &str, color: Option<&str>| Choice { id: id.into(), name: name.into(), color: color.map(Into::into) };
    let created = |definition| {
        Event::Attribute(AttributeEvent::AttributeCreated {
            id: attribute,
            tenant_id: tenant,
            collection_id: collection,
            key: key("k"),
            name: "K".into(),
            definition,
            staged: false,
        })
    };
    let function = Rollup::find("SUM").unwrap();
    let sort = vec![SortKey { attribute_id: id(11), descending: true }, SortKey { attribute_id: id(12), descending: false }];
    vec![
        ("TenantRegistered", Event::Tenant(TenantEvent::TenantRegistered { id: tenant, key: key("acme"), name: "Acme".into() })),
        ("TenantUpdated", Event::Tenant(TenantEvent::TenantUpdated { id: tenant, name: "Acme Corp".into() })),
        ("TenantSuspended", Event::Tenant(TenantEvent::TenantSuspended { id: tenant, reason: Some("unpaid".into()) })),
        ("TenantReactivated", Event::Tenant(TenantEvent::TenantReactivated { id: tenant })),
        ("ClockAdvanced", Event::Tenant(TenantEvent::ClockAdvanced { id: tenant, to: "2026-03-01T12:00:30.25Z".parse().unwrap() })),
        ("ComputationCompleted", Event::Tenant(TenantEvent::ComputationCompleted { id: tenant, generation: 3 })),
        ("UserRegistered", Event::User(UserEvent::UserRegistered { id: user, tenant_id: tenant, email: "a@b.c".into(), name: "A".into() })),
        ("UserUpdated", Event::User(UserEvent::UserUpdated { id: user, name: "B".into() })),
        ("UserDeactivated", Event::User(UserEvent::UserDeactivated { id: user })),
        ("SpaceCreated", Event::Space(SpaceEvent::SpaceCreated { id: space, tenant_id: tenant, key: key("s"), name: "S".into() })),
        ("SpaceUpdated", Event::Space(SpaceEvent::SpaceUpdated { id: space, name: "T".into() })),
        (
            "CollectionCreated",
            Event::Collection(CollectionEvent::CollectionCreated {
                id: collection,
                tenant_id: tenant,
                space_id: space,
                key: key("c"),
                name: "C".into(),
            }),
        ),
        ("CollectionUpdated", Event::Collection(CollectionEvent::CollectionUpdated { id: collection, name: "D".into() })),
        ("AttributeCreated.text", created(Definition::Text { max_length: Some(10), format: TextFormat::Plain })),
        ("AttributeCreated.text.email", created(Definition::Text { max_length: None, format: TextFormat::Email })),
        ("AttributeCreated.number", created(Definition::Number { scale: None, format: NumberFormat::Plain })),
        (
            "AttributeCreated.number.currency",
            created(Definition::Number { scale: Some(2), format: NumberFormat::Currency { code: "EUR".into() } }),
        ),
        ("AttributeCreated.number.rating", created(Definition::Number { scale: None, format: NumberFormat::Rating { max: 5 } })),
        ("AttributeCreated.number.percent", created(Definition::Number { scale: None, format: NumberFormat::Percent {} })),
        ("AttributeCreated.dateRange", created(Definition::DateRange {})),
        ("AttributeCreated.json", created(Definition::Json {})),
        ("AttributeCreated.attachments", created(Definition::Attachments {})),
        ("AttributeCreated.autonumber", created(Definition::Autonumber {})),
        ("AttributeCreated.createdTime", created(Definition::CreatedTime {})),
        ("AttributeCreated.createdBy", created(Definition::CreatedBy {})),
        ("AttributeCreated.modifiedTime", created(Definition::ModifiedTime { attribute_ids: vec![] })),
        ("AttributeCreated.modifiedBy", created(Definition::ModifiedBy { attribute_ids: vec![id(11), id(12)] })),
        ("AttributeCreated.user", created(Definition::User { multiple: true })),
        ("AttributeCreated.checkbox", created(Definition::Checkbox {})),
        ("AttributeCreated.date", created(Definition::Date {})),
        ("AttributeCreated.datetime", created(Definition::Datetime { zone: None })),
        ("AttributeCreated.datetimeOfAZone", created(Definition::Datetime { zone: Some("Europe/Berlin".into()) })),
        ("AttributeCreated.singleSelect", created(Definition::SingleSelect { options: vec![choice("a", "a", None)] })),
        (
            "AttributeCreated.singleSelect.coloured",
            created(Definition::SingleSelect { options: vec![choice("a", "b", None), choice("c", "c", Some("red"))] }),
        ),
        (
            "AttributeCreated.multiSelect",
            created(Definition::MultiSelect { options: vec![choice("a", "a", None), choice("b", "b", None)] }),
        ),
        (
            "AttributeCreated.link",
            created(Definition::Link { collection_id: collection, multiple: true, backlink_id: id(7), hierarchical: false }),
        ),
        (
            "AttributeCreated.link.hierarchical",
            created(Definition::Link { collection_id: collection, multiple: false, backlink_id: id(7), hierarchical: true }),
        ),
        ("AttributeCreated.backlink", created(Definition::Backlink { collection_id: collection, link_id: id(8) })),
        ("AttributeCreated.closure", created(Definition::Closure { collection_id: collection, link_id: id(8) })),
        (
            "AttributeCreated.match",
            created(Definition::Match { collection_id: collection, on: vec![MatchKey { own_id: id(8), other_id: id(9) }] }),
        ),
        ("AttributeCreated.formula", created(Definition::Formula { expression: expression() })),
        (
            "AttributeCreated.lookup",
            created(Definition::Lookup { link_id: id(8), attribute_id: id(9), filter: None, sort: vec![], limit: None }),
        ),
        (
            "AttributeCreated.lookup.all",
            created(Definition::Lookup {
                link_id: id(8),
                attribute_id: id(9),
                filter: Some(expression()),
                sort: sort.clone(),
                limit: Some(3),
            }),
        ),
        (
            "AttributeCreated.rollup",
            created(Definition::Rollup {
                link_id: id(8),
                attribute_id: Some(id(9)),
                function,
                filter: Some(expression()),
                sort: vec![],
                limit: None,
                argument: Value::Blank,
                weight_id: None,
                formula: None,
            }),
        ),
        (
            "AttributeCreated.rollup.all",
            created(Definition::Rollup {
                link_id: id(8),
                attribute_id: Some(id(9)),
                function: Rollup::find("PERCENTILE").unwrap(),
                filter: Some(expression()),
                sort,
                limit: Some(3),
                argument: Value::number("0.95".parse().unwrap()),
                weight_id: Some(id(10)),
                formula: Some(expression()),
            }),
        ),
        (
            "AttributeRenamed",
            Event::Attribute(AttributeEvent::AttributeRenamed {
                id: attribute,
                collection_id: collection,
                key: key("j"),
                name: "J".into(),
            }),
        ),
        (
            "AttributeDefinitionChanged",
            Event::Attribute(AttributeEvent::AttributeDefinitionChanged {
                id: attribute,
                collection_id: collection,
                definition: Definition::Formula { expression: expression() },
                staged: false,
            }),
        ),
        (
            "AttributeDefinitionChanged.staged",
            Event::Attribute(AttributeEvent::AttributeDefinitionChanged {
                id: attribute,
                collection_id: collection,
                definition: Definition::Formula { expression: expression() },
                staged: true,
            }),
        ),
        (
            "AttributeDeleted",
            Event::Attribute(AttributeEvent::AttributeDeleted { id: attribute, collection_id: collection, staged: false }),
        ),
        ("EntityCreated", Event::Entity(EntityEvent::EntityCreated { id: entity, tenant_id: tenant, collection_id: collection, values })),
        (
            "AttributeValueSet",
            Event::Entity(EntityEvent::AttributeValueSet { id: entity, attribute_id: attribute, stored_as: None, value: number("0.1") }),
        ),
        (
            "AttributeValueSet.blank",
            Event::Entity(EntityEvent::AttributeValueSet { id: entity, attribute_id: attribute, stored_as: None, value: Value::Blank }),
        ),
        (
            "AttributeValueSet.storedAs",
            Event::Entity(EntityEvent::AttributeValueSet {
                id: entity,
                attribute_id: attribute,
                stored_as: Some(AttributeId(Uuid::from_u128(99))),
                value: number("7"),
            }),
        ),
        (
            "EntitiesLinked",
            Event::Entity(EntityEvent::EntitiesLinked { id: entity, attribute_id: attribute, target_ids: vec![id(20), id(21)] }),
        ),
        (
            "EntitiesUnlinked",
            Event::Entity(EntityEvent::EntitiesUnlinked { id: entity, attribute_id: attribute, target_ids: vec![id(20)] }),
        ),
        (
            "BacklinkReordered",
            Event::Entity(EntityEvent::BacklinkReordered {
                id: entity,
                attribute_id: attribute,
                link_id: AttributeId(Uuid::from_u128(98)),
                holder_ids: vec![id(21), id(20)],
            }),
        ),
        ("EntityArchived", Event::Entity(EntityEvent::EntityArchived { id: entity })),
        ("EntityRestored", Event::Entity(EntityEvent::EntityRestored { id: entity })),
    ]
}

#[test]
fn the_stored_form_is_the_golden_one() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (name, event) in examples() {
        let stored = event.to_stored();
        let line = format!("{} {} {}\n", stored.event_type, stored.shape, stored.data);
        let file = folder.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() && !file.exists() {
            std::fs::write(&file, &line).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert_eq!(line, golden, "{name}");
        let mut parts = golden.trim_end().splitn(3, ' ');
        let (event_type, shape, data) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let golden = Stored { event_type: event_type.into(), shape: shape.parse().unwrap(), data: data.into() };
        assert_eq!(Event::from_stored(event.kind(), &golden).unwrap(), event, "{name}");
    }
}

#[test]
fn what_is_not_known_or_does_not_fit_is_named() {
    use decidr_domain::id::AggregateKind::Entity;
    for (event_type, shape, data, says) in [
        ("EntityTeleported", 1, "{}", "event type EntityTeleported in shape 1 is unknown"),
        ("EntityArchived", 9, "{}", "event type EntityArchived in shape 9 is unknown"),
        ("EntityArchived", 1, "{}", "the data of event type EntityArchived in shape 1 cannot be read"),
        ("EntityArchived", 1, "{", "cannot be read"),
    ] {
        let stored = Stored { event_type: event_type.into(), shape, data: data.into() };
        let error = Event::from_stored(Entity, &stored).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}
