//! Given these commands, when this one, then these events or this refusal: collections, attributes and entities.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use decidr_domain::aggregate::Facts;
use decidr_domain::aggregate::attribute::{AttributeCommand, DefinitionInput};
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::entity::{self, Entity, EntityCommand};
use decidr_domain::aggregate::format::{NumberFormat, TextFormat};
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::aggregate::user::UserCommand;
use decidr_domain::command::{Authority, Command, Request, decide};
use decidr_domain::event::Event;
use decidr_domain::id::{AttributeId, CollectionId, CommandId, EntityId, Key, SpaceId, TenantId, UserId};
use decidr_domain::rejection::Rejection;
use decidr_domain::rollup::Rollup;
use decidr_domain::schema::Catalog;
use decidr_domain::stamp::Stamp;
use serde_json::{Value as Json, json};
use uuid::Uuid;

fn id<T: From<Uuid>>(n: u128) -> T {
    T::from(Uuid::from_u128(n))
}

const TENANT: u128 = 1;
const SPACE: u128 = 2;
const BOOKS: u128 = 10;
const AUTHORS: u128 = 11;
const OTHER_TENANT: u128 = 100;

/// Everything that was accepted so far.
#[derive(Default)]
struct World {
    catalog: Catalog,
    entities: RefCell<BTreeMap<EntityId, Arc<Entity>>>,
    /// How many entities each collection is said to have.
    size: u64,
    /// Whether what was accepted last is to be computed aside.
    staged: bool,
}

impl World {
    fn send(&mut self, authority: Authority, command: Command) -> Result<Vec<String>, Rejection> {
        let request = Request { command_id: CommandId(Uuid::nil()), authority, actor: "test".into(), correlation_id: Uuid::nil(), command };
        let lookup = |id: EntityId| self.entities.borrow().get(&id).cloned();
        let decision = decide(&request, Facts { catalog: &self.catalog, entities: &lookup, sizes: &|_| self.size })?;
        self.staged = decision.events.iter().any(|(_, event)| matches!(event, Event::Attribute(event) if event.is_staged()));
        let stamp = Stamp { at: jiff::Timestamp::UNIX_EPOCH, by: "test".into() };
        let mut names = Vec::new();
        for (_, event) in &decision.events {
            match event {
                Event::Entity(event) => {
                    let mut entities = self.entities.borrow_mut();
                    let before = entities.get(&event.id()).map(|entity| (**entity).clone());
                    entities.extend(entity::evolve(before, event, &stamp).map(|after| (event.id(), Arc::new(after))));
                }
                event => {
                    self.catalog.apply(decision.tenant, event);
                }
            }
            names.push(event.to_stored().event_type.into_owned());
        }
        Ok(names)
    }

    fn ours(&mut self, command: Command) -> Result<Vec<String>, Rejection> {
        self.send(Authority::Tenant(id(TENANT)), command)
    }

    /// The command is accepted and comes to these events.
    fn accepts(&mut self, command: Command, events: &[&str]) {
        let shown = format!("{command:?}");
        assert_eq!(self.ours(command).unwrap_or_else(|e| panic!("{shown}: {e}")), events, "{shown}");
    }

    /// The command is refused with this code, and the message says this.
    fn refuses(&mut self, command: Command, code: &str, says: &str) {
        let shown = format!("{command:?}");
        let rejection = self.ours(command).expect_err(&shown);
        assert_eq!(rejection.code(), code, "{shown}: {rejection}");
        assert!(rejection.to_string().contains(says), "{shown}: {rejection}");
    }

    /// A tenant with books and authors, linked.
    fn library() -> Self {
        let mut world = World::default();
        for (tenant, space, key) in [(TENANT, SPACE, "acme"), (OTHER_TENANT, OTHER_TENANT + 1, "other")] {
            let register = TenantCommand::RegisterTenant { id: id(tenant), key: Key::new(key).unwrap(), name: key.into() };
            world.send(Authority::Operator, Command::Tenant(register)).unwrap();
            let create = SpaceCommand::CreateSpace { id: id(space), key: Key::new("s").unwrap(), name: "S".into() };
            world.send(Authority::Tenant(id(tenant)), Command::Space(create)).unwrap();
        }
        for (collection, key) in [(BOOKS, "books"), (AUTHORS, "authors")] {
            world.accepts(create_collection(collection, SPACE, key), &["CollectionCreated"]);
        }
        world.accepts(
            attribute(20, BOOKS, "title", DefinitionInput::Text { max_length: Some(5), format: TextFormat::Plain }),
            &["AttributeCreated"],
        );
        world.accepts(
            attribute(21, BOOKS, "pages", DefinitionInput::Number { scale: Some(1), format: NumberFormat::Plain }),
            &["AttributeCreated"],
        );
        world.accepts(attribute(22, BOOKS, "authors", link(AUTHORS, true, 30, "books")), &["AttributeCreated", "AttributeCreated"]);
        world.accepts(attribute(23, BOOKS, "editor", link(AUTHORS, false, 31, "edited")), &["AttributeCreated", "AttributeCreated"]);
        world.accepts(attribute(24, BOOKS, "double", formula("{pages} * 2")), &["AttributeCreated"]);
        world
    }
}

fn create_collection(collection: u128, space: u128, key: &str) -> Command {
    let (id, space_id) = (id::<CollectionId>(collection), id::<SpaceId>(space));
    Command::Collection(CollectionCommand::CreateCollection { id, space_id, key: Key::new(key).unwrap(), name: key.into() })
}

fn attribute(attribute: u128, collection: u128, key: &str, definition: DefinitionInput) -> Command {
    let (id, collection_id) = (id::<AttributeId>(attribute), id(collection));
    Command::Attribute(AttributeCommand::CreateAttribute { id, collection_id, key: Key::new(key).unwrap(), name: None, definition })
}

fn change(attribute: u128, definition: DefinitionInput) -> Command {
    Command::Attribute(AttributeCommand::UpdateAttribute { id: id(attribute), key: None, name: None, definition: Some(definition) })
}

fn link(collection: u128, multiple: bool, backlink: u128, backlink_key: &str) -> DefinitionInput {
    let (collection_id, backlink_id) = (id(collection), id(backlink));
    DefinitionInput::Link {
        collection_id,
        multiple,
        backlink_id,
        backlink_key: Key::new(backlink_key).unwrap(),
        backlink_name: None,
        hierarchical: false,
    }
}

fn formula(expression: &str) -> DefinitionInput {
    DefinitionInput::Formula { expression: expression.into() }
}

fn rollup(link: &str, attribute: &str, function: &str) -> DefinitionInput {
    let function = Rollup::find(function).unwrap();
    DefinitionInput::rollup(link, Some(attribute.into()), function, None)
}

fn lookup(link: &str, attribute: &str) -> DefinitionInput {
    DefinitionInput::lookup(link, attribute)
}

fn create(entity: u128, collection: u128, values: Json) -> Command {
    let values = values.as_object().cloned().unwrap();
    Command::Entity(EntityCommand::CreateEntity { id: id(entity), collection_id: id(collection), values })
}

fn set(entity: u128, values: Json) -> Command {
    let values = values.as_object().cloned().unwrap();
    Command::Entity(EntityCommand::SetValues { id: id(entity), values, expected_version: None })
}

fn link_to(entity: u128, attribute: &str, targets: &[u128]) -> Command {
    let target_ids = targets.iter().map(|target| id(*target)).collect();
    Command::Entity(EntityCommand::LinkEntities { id: id(entity), attribute: attribute.into(), target_ids })
}

fn unlink(entity: u128, attribute: &str, targets: &[u128]) -> Command {
    let target_ids = targets.iter().map(|target| id(*target)).collect();
    Command::Entity(EntityCommand::UnlinkEntities { id: id(entity), attribute: attribute.into(), target_ids })
}

fn reorder(entity: u128, attribute: &str, targets: &[u128]) -> Command {
    let target_ids = targets.iter().map(|target| id(*target)).collect();
    Command::Entity(EntityCommand::ReorderLinks { id: id(entity), attribute: attribute.into(), target_ids })
}

fn uuid(n: u128) -> String {
    Uuid::from_u128(n).to_string()
}

#[test]
fn values_are_checked_against_their_attributes() {
    let mut world = World::library();
    world.accepts(create(50, BOOKS, json!({ "title": "Emma", "pages": 12.25 })), &["EntityCreated"]);
    world.refuses(create(51, BOOKS, json!({ "pages": "many" })), "VALUE_TYPE_MISMATCH", "`pages` wants a number");
    world.refuses(create(51, BOOKS, json!({ "title": 7 })), "VALUE_TYPE_MISMATCH", "`title` wants text, and the value is 7");
    world.refuses(create(51, BOOKS, json!({ "title": "too long" })), "TOO_LARGE", "5 characters");
    world.refuses(create(51, BOOKS, json!({ "pagse": 1 })), "UNKNOWN_ATTRIBUTE", "did you mean `pages`?");
    world.refuses(create(51, BOOKS, json!({ "double": 1 })), "NOT_WRITABLE", "formula");
    world.refuses(create(51, 999, json!({})), "NOT_FOUND", "collection");
    world.refuses(create(50, BOOKS, json!({})), "INVALID_INPUT", "exists already");
    world.refuses(set(99, json!({})), "NOT_FOUND", "entity");
    for number in ["1e400", "123456789012345678901234567890123", "0.00000000000000000000000000001"] {
        let number: Json = serde_json::from_str(number).unwrap();
        world.refuses(set(50, json!({ "pages": number })), "VALUE_TYPE_MISMATCH", "28 digits");
    }
    world.accepts(set(50, json!({ "title": "Emma", "pages": null })), &["AttributeValueSet"]);
    world.accepts(set(50, json!({ "title": "Emma", "pages": null })), &[]);
}

#[test]
fn versions_are_those_of_the_stream() {
    let mut world = World::library();
    world.accepts(create(50, BOOKS, json!({ "pages": 1 })), &["EntityCreated"]);
    let expecting = |version, pages: i32| {
        let values = json!({ "pages": pages, "title": pages.to_string() }).as_object().cloned().unwrap();
        Command::Entity(EntityCommand::SetValues { id: id(50), values, expected_version: Some(version) })
    };
    world.refuses(expecting(0, 2), "VERSION_CONFLICT", "version 0 was expected, and 1 is");
    world.accepts(expecting(1, 2), &["AttributeValueSet", "AttributeValueSet"]);
    world.accepts(expecting(3, 3), &["AttributeValueSet", "AttributeValueSet"]);
}

#[test]
fn links_lead_to_entities_of_their_collection() {
    let mut world = World::library();
    world.accepts(create(60, AUTHORS, json!({})), &["EntityCreated"]);
    world.accepts(create(61, AUTHORS, json!({})), &["EntityCreated"]);
    world.accepts(create(50, BOOKS, json!({ "authors": [uuid(60)], "editor": uuid(61) })), &["EntityCreated"]);
    world.refuses(set(50, json!({ "editor": uuid(999) })), "LINK_TARGET_NOT_FOUND", "no such entity");
    world.refuses(set(50, json!({ "editor": uuid(50) })), "LINK_TARGET_WRONG_COLLECTION", "links to collection `authors`");
    world.refuses(set(50, json!({ "editor": [uuid(60), uuid(61)] })), "VALUE_TYPE_MISMATCH", "one entity");
    world.refuses(set(50, json!({ "editor": "nobody" })), "VALUE_TYPE_MISMATCH", "an entity's id");
    world.refuses(link_to(50, "editor", &[60, 61]), "VALUE_TYPE_MISMATCH", "one entity");
    world.refuses(link_to(50, "title", &[60]), "INVALID_INPUT", "not a link");
    world.refuses(set(60, json!({ "books": [uuid(50)] })), "NOT_WRITABLE", "linkEntities");
    world.accepts(link_to(50, "authors", &[60, 61, 61]), &["EntitiesLinked"]);
    world.accepts(link_to(50, "authors", &[61]), &[]);
    world.accepts(link_to(50, "editor", &[60]), &["EntitiesUnlinked", "EntitiesLinked"]);
    world.accepts(unlink(50, "editor", &[61]), &[]);
    world.accepts(set(50, json!({ "editor": null })), &["EntitiesUnlinked"]);
    world.accepts(unlink(50, "authors", &[60]), &["EntitiesUnlinked"]);
    // From the other side it is the same link.
    world.accepts(link_to(60, "books", &[50]), &["EntitiesLinked"]);
    world.accepts(link_to(60, "edited", &[50]), &["EntitiesLinked"]);
    world.accepts(link_to(61, "edited", &[50]), &["EntitiesUnlinked", "EntitiesLinked"]);
    world.accepts(unlink(61, "edited", &[50]), &["EntitiesUnlinked"]);
    // Those that are named come first, the others as they were.
    world.accepts(reorder(50, "authors", &[60]), &["EntitiesUnlinked", "EntitiesLinked"]);
    world.accepts(reorder(50, "authors", &[60]), &[]);
    world.accepts(reorder(50, "authors", &[61, 60]), &["EntitiesUnlinked", "EntitiesLinked"]);
    world.refuses(reorder(50, "authors", &[50]), "LINK_TARGET_NOT_FOUND", "authors");
    world.accepts(reorder(60, "books", &[50]), &["BacklinkReordered"]);
    world.accepts(reorder(60, "books", &[50]), &[]);
    world.accepts(reorder(60, "books", &[]), &[]);
    world.refuses(reorder(61, "edited", &[50]), "LINK_TARGET_NOT_FOUND", "edited");
    let book = world.entities.borrow()[&id(50)].clone();
    assert_eq!(book.values.get(id(22)).targets(), [id::<EntityId>(61), id(60)]);
    assert!(book.values.get(id(23)).is_blank());
}

#[test]
fn what_is_archived_rests() {
    let mut world = World::library();
    world.accepts(create(50, BOOKS, json!({})), &["EntityCreated"]);
    world.accepts(create(60, AUTHORS, json!({})), &["EntityCreated"]);
    world.accepts(Command::Entity(EntityCommand::RestoreEntity { id: id(50) }), &[]);
    world.accepts(Command::Entity(EntityCommand::ArchiveEntity { id: id(50) }), &["EntityArchived"]);
    world.accepts(Command::Entity(EntityCommand::ArchiveEntity { id: id(50) }), &[]);
    world.refuses(set(50, json!({ "pages": 1 })), "ARCHIVED", "restore it first");
    world.refuses(link_to(60, "books", &[50]), "ARCHIVED", "restore it first");
    world.accepts(Command::Entity(EntityCommand::RestoreEntity { id: id(50) }), &["EntityRestored"]);
    world.accepts(set(50, json!({ "pages": 1 })), &["AttributeValueSet"]);
}

#[test]
fn definitions_are_checked() {
    let mut world = World::library();
    world.refuses(attribute(40, BOOKS, "pages", DefinitionInput::Checkbox), "KEY_TAKEN", "`books`");
    world.refuses(attribute(40, BOOKS, "l", link(AUTHORS, true, 41, "books")), "KEY_TAKEN", "`authors`");
    world.refuses(attribute(40, BOOKS, "l", link(BOOKS, true, 41, "l")), "KEY_TAKEN", "a key each");
    world.refuses(attribute(40, BOOKS, "l", link(999, true, 41, "b")), "NOT_FOUND", "collection");
    world.refuses(attribute(40, BOOKS, "f", formula("{pgaes}")), "UNKNOWN_ATTRIBUTE", "did you mean {pages}?");
    world.refuses(attribute(40, BOOKS, "f", formula("{authors}")), "FORMULA_TYPE", "make a rollup or lookup");
    world.refuses(attribute(40, BOOKS, "f", lookup("title", "x")), "INVALID_INPUT", "not a link");
    world.refuses(attribute(40, BOOKS, "f", lookup("authors", "nmae")), "UNKNOWN_ATTRIBUTE", "`authors`");
    world.refuses(attribute(40, BOOKS, "f", lookup("editor", "books")), "INVALID_INPUT", "leads to many");
    world.refuses(attribute(40, AUTHORS, "f", rollup("books", "title", "SUM")), "FORMULA_TYPE", "SUM wants numbers");
    world.refuses(
        attribute(40, BOOKS, "f", DefinitionInput::Number { scale: Some(99), format: NumberFormat::Plain }),
        "INVALID_INPUT",
        "between 0 and 28",
    );
    world.refuses(attribute(40, BOOKS, "f", DefinitionInput::SingleSelect { options: vec![] }), "INVALID_INPUT", "1 to");
    world.refuses(change(20, formula("1")), "INVALID_INPUT", "cannot become a formula");
    world.refuses(change(20, DefinitionInput::User { multiple: false }), "INVALID_INPUT", "cannot become a user");
    // What is stored may change its type, so often and no more; its own again is no change of it.
    for turn in 0..16 {
        let definition = if turn % 2 == 0 { DefinitionInput::Checkbox } else { DefinitionInput::text() };
        world.accepts(change(20, definition), &["AttributeDefinitionChanged"]);
    }
    world.refuses(change(20, DefinitionInput::Checkbox), "TOO_LARGE", "16 times");
    world.accepts(change(20, DefinitionInput::Text { max_length: Some(9), format: TextFormat::Plain }), &["AttributeDefinitionChanged"]);
    world.refuses(change(22, link(AUTHORS, false, 41, "b")), "INVALID_INPUT", "delete it and make another");
}

#[test]
fn what_many_entities_must_be_looked_at_for_is_computed_aside() {
    let mut world = World::library();
    world.size = 1_000_000;
    for (attribute, definition, staged) in [
        // A longer text shows what there was; another type does not, neither the first time nor later.
        (20, DefinitionInput::Text { max_length: Some(9), format: TextFormat::Plain }, false),
        (20, DefinitionInput::number(), true),
        (20, DefinitionInput::text(), true),
        (24, formula("{pages} * 3"), true),
    ] {
        world.accepts(change(attribute, definition), &["AttributeDefinitionChanged"]);
        assert_eq!(world.staged, staged, "{attribute}");
    }
    let mut small = World::library();
    small.accepts(change(20, DefinitionInput::number()), &["AttributeDefinitionChanged"]);
    assert!(!small.staged);
    // So is what takes long for each of a few.
    small.size = 1_000;
    let pairs =
        "COUNTALL(FILTER(SPLIT(REPT(\"a,\", 99), \",\"), COUNTALL(FILTER(SPLIT(REPT(\"a,\", 99), \",\"), value = \"a\")) > {pages}))";
    for (definition, staged) in [(formula("{pages} * 4"), false), (formula(pairs), true)] {
        small.accepts(change(24, definition), &["AttributeDefinitionChanged"]);
        assert_eq!(small.staged, staged);
    }
}

#[test]
fn a_cycle_is_refused_with_its_path() {
    let mut world = World::library();
    world.accepts(attribute(40, AUTHORS, "total", rollup("books", "double", "SUM")), &["AttributeCreated"]);
    world.accepts(attribute(41, BOOKS, "editors_total", lookup("editor", "total")), &["AttributeCreated"]);
    world.refuses(change(24, formula("{double}")), "FORMULA_CYCLE", "books.double → books.double");
    let rejection = world.ours(change(24, formula("{pages} + {editors_total}"))).unwrap_err();
    let Rejection::FormulaCycle { path } = &rejection else { panic!("{rejection}") };
    assert_eq!(path, &["books.double", "books.editors_total", "authors.total", "books.double"]);
    world.accepts(change(24, formula("{pages} + 1")), &["AttributeDefinitionChanged"]);
}

#[test]
fn a_cycle_is_refused_also_through_what_is_broken() {
    let mut world = World::library();
    world.accepts(attribute(40, BOOKS, "printed", DefinitionInput::Date), &["AttributeCreated"]);
    world.accepts(attribute(41, BOOKS, "f", formula("1")), &["AttributeCreated"]);
    world.accepts(attribute(42, BOOKS, "g", formula("{f} - 1")), &["AttributeCreated"]);
    // A date less one is no formula: what depends on it is broken, and might be mended.
    world.accepts(change(41, formula("{printed}")), &["AttributeDefinitionChanged"]);
    world.refuses(change(41, formula("IF({g}, 1, 2)")), "FORMULA_CYCLE", "books.f → books.g → books.f");
}

#[test]
fn odd_names_are_names_all_the_same() {
    let mut world = World::library();
    world.accepts(attribute(40, BOOKS, "deadbeefdeadbeefdeadbeefdeadbeef", DefinitionInput::Checkbox), &["AttributeCreated"]);
    world.accepts(attribute(41, BOOKS, "f", formula("NOT({deadbeefdeadbeefdeadbeefdeadbeef})")), &["AttributeCreated"]);
    // A name of megabytes is refused at once, without a search for what it might have meant.
    let mut values = serde_json::Map::new();
    values.insert("x".repeat(4_000_000), json!(1));
    world.refuses(create(50, BOOKS, values.into()), "UNKNOWN_ATTRIBUTE", "`books`");
    // A formula may grow when its references become ids.
    let long = format!("OR({})", vec!["{pages} = 1"; 2_000].join(", "));
    world.accepts(attribute(43, BOOKS, "long", formula(&long)), &["AttributeCreated"]);
}

#[test]
fn a_link_goes_with_its_backlink() {
    let mut world = World::library();
    let delete = |attribute| Command::Attribute(AttributeCommand::DeleteAttribute { id: id(attribute) });
    world.accepts(delete(30), &["AttributeDeleted", "AttributeDeleted"]);
    world.refuses(delete(22), "NOT_FOUND", "attribute");
    world.refuses(create(50, BOOKS, json!({ "authors": [] })), "UNKNOWN_ATTRIBUTE", "`authors`");
}

#[test]
fn tenants_do_not_see_one_another() {
    let mut world = World::library();
    world.accepts(create(50, BOOKS, json!({})), &["EntityCreated"]);
    let theirs = Authority::Tenant(id(OTHER_TENANT));
    for command in [
        create(51, BOOKS, json!({})),
        set(50, json!({ "pages": 1 })),
        attribute(40, BOOKS, "x", DefinitionInput::Checkbox),
        create_collection(42, SPACE, "things"),
        Command::Attribute(AttributeCommand::DeleteAttribute { id: id(20) }),
    ] {
        let rejection = world.send(theirs, command).unwrap_err();
        assert_eq!(rejection.code(), "NOT_FOUND", "{rejection}");
    }
    world.send(theirs, create_collection(42, OTHER_TENANT + 1, "books")).unwrap();
    let rejection = world.send(theirs, attribute(43, 42, "l", link(BOOKS, true, 44, "b"))).unwrap_err();
    assert_eq!(rejection.code(), "NOT_FOUND");
    world.send(theirs, attribute(45, 42, "l", link(42, true, 46, "b"))).unwrap();
    let rejection = world.send(theirs, create(52, 42, json!({ "l": [uuid(50)] }))).unwrap_err();
    assert_eq!(rejection.code(), "LINK_TARGET_NOT_FOUND");
    let rejection = world.send(theirs, Command::Tenant(TenantCommand::SuspendTenant { id: id(TENANT), reason: None })).unwrap_err();
    assert_eq!(rejection.code(), "FORBIDDEN");
    let rejection = world.send(Authority::Operator, create(53, BOOKS, json!({}))).unwrap_err();
    assert_eq!(rejection.code(), "FORBIDDEN");
}

#[test]
fn a_suspended_tenant_takes_no_commands() {
    let mut world = World::library();
    let tenant = |command| Command::Tenant(command);
    world.send(Authority::Operator, tenant(TenantCommand::SuspendTenant { id: id(TENANT), reason: None })).unwrap();
    world.refuses(create(50, BOOKS, json!({})), "TENANT_SUSPENDED", "suspended");
    world.send(Authority::Operator, tenant(TenantCommand::ReactivateTenant { id: id(TENANT) })).unwrap();
    world.accepts(create(50, BOOKS, json!({})), &["EntityCreated"]);
}

#[test]
fn users_have_one_address_each() {
    let mut world = World::library();
    let register =
        |n, email: &str| Command::User(UserCommand::RegisterUser { id: id::<UserId>(n), email: email.into(), name: "Ada".into() });
    world.accepts(register(70, "Ada@Example.org"), &["UserRegistered"]);
    world.refuses(register(71, "ada@example.org"), "INVALID_INPUT", "registered already");
    world.refuses(register(71, "nowhere"), "INVALID_INPUT", "name@host");
    world.accepts(Command::User(UserCommand::DeactivateUser { id: id(70) }), &["UserDeactivated"]);
    world.refuses(Command::User(UserCommand::UpdateUser { id: id(72), name: "B".into() }), "NOT_FOUND", "user");
    let tenant: TenantId = id(TENANT);
    assert!(world.catalog.tenant(tenant).unwrap().users[&id::<UserId>(70)].deactivated);
}
