//! What an index finds is what a look at all entities finds, while they change, also in states that somebody kept.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use decidr_api::platform::Platform;
use decidr_dataflow::{Arranged, EngineConfig, Selection};
use decidr_domain::aggregate::attribute::{AttributeCommand, DefinitionInput};
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::entity::EntityCommand;
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::formula::Program;
use decidr_domain::id::{AttributeId, CollectionId, CommandId, EntityId, Key, SpaceId, TenantId};
use decidr_domain::schema::resolve;
use decidr_ingest::log::MemoryLog;
use decidr_sinks::LiveQuery;
use serde_json::json;
use support::Random;
use uuid::Uuid;

/// How many attributes hold the same.
const COPIES: u64 = 20;

const KINDS: [&str; 3] = ["a", "b", "2024-05-01"];

struct Things {
    platform: Platform,
    tenant: TenantId,
    collection: CollectionId,
    twice: AttributeId,
    ids: Vec<EntityId>,
    random: Random,
}

impl Things {
    async fn new(workers: usize) -> Self {
        let config = EngineConfig { workers, ..EngineConfig::default() };
        let platform = Platform::start(Arc::new(MemoryLog::default()), config).await.unwrap();
        let (tenant, space) = (TenantId(Uuid::now_v7()), SpaceId(Uuid::now_v7()));
        let (collection, twice) = (CollectionId(Uuid::now_v7()), AttributeId(Uuid::now_v7()));
        let things = Self { platform, tenant, collection, twice, ids: Vec::new(), random: Random(workers as u64) };
        let key = |key: &str| Key::new(key).unwrap();
        let register = TenantCommand::RegisterTenant { id: tenant, key: key("acme"), name: "Acme".into() };
        things.execute(Authority::Operator, vec![Command::Tenant(register)]).await;
        let attribute = |id, name: &str, definition| {
            let create = AttributeCommand::CreateAttribute { id, collection_id: collection, key: key(name), name: None, definition };
            Command::Attribute(create)
        };
        let mut commands = vec![
            Command::Space(SpaceCommand::CreateSpace { id: space, key: key("space"), name: "Space".into() }),
            Command::Collection(CollectionCommand::CreateCollection {
                id: collection,
                space_id: space,
                key: key("things"),
                name: "Things".into(),
            }),
            attribute(AttributeId(Uuid::now_v7()), "n", DefinitionInput::number()),
            attribute(AttributeId(Uuid::now_v7()), "kind", DefinitionInput::text()),
            attribute(twice, "twice", DefinitionInput::Formula { expression: "{n} * 2".into() }),
        ];
        let copy = |n| {
            let definition = DefinitionInput::Formula { expression: "{n}".into() };
            attribute(AttributeId(Uuid::now_v7()), &format!("copy{n}"), definition)
        };
        commands.extend((0..COPIES).map(copy));
        things.execute(Authority::Tenant(tenant), commands).await;
        things
    }

    async fn execute(&self, authority: Authority, commands: Vec<Command>) {
        let request = |command| {
            let id = Uuid::now_v7();
            Request { command_id: CommandId(id), authority, actor: "ada".into(), correlation_id: id, command }
        };
        for answer in self.platform.execute_all(commands.into_iter().map(request).collect()).await {
            answer.unwrap();
        }
        assert!(self.platform.reached(self.platform.head()).await);
    }

    fn edit(&mut self) -> Command {
        let (n, kind) = (self.random.below(300), KINDS[self.random.below(3)]);
        let values = [("n".to_owned(), json!(n)), ("kind".to_owned(), json!(kind))].into_iter().collect();
        if self.ids.len() < 3_000 || self.random.below(50) == 0 {
            self.ids.push(EntityId(Uuid::now_v7()));
            let id = *self.ids.last().unwrap();
            return Command::Entity(EntityCommand::CreateEntity { id, collection_id: self.collection, values });
        }
        let id = self.ids[self.random.below(self.ids.len())];
        let is_archived = self.platform.arranged().entity(id).is_some_and(|entity| entity.archived);
        Command::Entity(match self.random.below(8) {
            _ if is_archived => EntityCommand::RestoreEntity { id },
            0 => EntityCommand::ArchiveEntity { id },
            _ => EntityCommand::SetValues { id, values, expected_version: None },
        })
    }

    async fn edits(&mut self, count: usize) {
        let commands: Vec<Command> = (0..count).map(|_| self.edit()).collect();
        let requests = commands.into_iter().map(|command| {
            let (id, authority) = (Uuid::now_v7(), Authority::Tenant(self.tenant));
            Request { command_id: CommandId(id), authority, actor: "ada".into(), correlation_id: id, command }
        });
        // One that comes too late for what it wants is refused, which is no matter here.
        self.platform.execute_all(requests.collect()).await;
        assert!(self.platform.reached(self.platform.head()).await);
    }

    fn program(&self, arranged: &Arranged, filter: &str) -> Program {
        let schema = arranged.catalog().tenant(self.tenant).unwrap();
        let (_, program) = resolve::filter(schema, self.collection, filter, "nobody").unwrap();
        schema.shown_program(program)
    }

    /// Compares what is selected with all; whether it was found by an index.
    fn check(&self, arranged: &Arranged, filter: &str) -> bool {
        let program = self.program(arranged, filter);
        let found = |selection: &Selection| {
            let mut found = Vec::new();
            arranged.scan_selected(self.collection, selection, None, |row| {
                found.extend(LiveQuery::matches_at(row, Some(&program), None).then_some(row.entity.id));
                true
            });
            found
        };
        let selection = arranged.select(self.tenant, self.collection, &program.equalities());
        let (all, selected) = (found(&Selection::All), found(&selection));
        assert_eq!(selected, all, "{filter}");
        if let [first, .., last] = all[..] {
            let mut behind = Vec::new();
            arranged.scan_selected(self.collection, &selection, Some(first), |row| {
                behind.extend(LiveQuery::matches_at(row, Some(&program), None).then_some(row.entity.id));
                row.entity.id != last
            });
            assert_eq!(behind, all[1..], "{filter}");
        }
        matches!(selection, Selection::Found(_))
    }

    fn indexed(&self) -> usize {
        self.platform.arranged().sizes().iter().find(|(name, _)| *name == "indexes").map_or(0, |(_, size)| size.updates)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_finds_what_a_look_at_all_finds() {
    for workers in [1, 2] {
        let mut things = Things::new(workers).await;
        things.edits(400).await;
        assert!(!things.check(&things.platform.arranged(), "{n} = 7"), "few entities are looked at whole");
        for _ in 0..3 {
            things.edits(1_000).await;
        }
        let mut kept: Vec<Arc<Arranged>> = Vec::new();
        let (mut found, mut largest, mut was_made_anew) = (0, 0, false);
        for round in 0..50_u64 {
            // One more index each round, asked for just before the edits, so that it is made while they come.
            let copy = round % COPIES;
            things.check(&things.platform.arranged(), &format!("{{copy{copy}}} = 1"));
            things.edits(200).await;
            if round == 25 {
                let definition = Some(DefinitionInput::Formula { expression: "{n} * 2 + 1".into() });
                let update = AttributeCommand::UpdateAttribute { id: things.twice, key: None, name: None, definition };
                things.execute(Authority::Tenant(things.tenant), vec![Command::Attribute(update)]).await;
            }
            let (n, twice) = (things.random.below(300), things.random.below(600));
            let arranged = things.platform.arranged();
            for filter in [
                format!("{{n}} = {n}"),
                format!("AND({{n}} = {n}, {{kind}} = \"a\")"),
                format!("OR({{twice}} = {twice}, {{twice}} = {n})"),
                format!("{{kind}} = \"2024-05-01\" && {{n}} > {n}"),
                format!("OR({{n}} = {n}, {{kind}} = \"a\")"),
                format!("{{copy{copy}}} = {n}"),
                format!("{{copy{}}} = {n}", things.random.below(COPIES as usize)),
            ] {
                found += usize::from(things.check(&arranged, &filter));
                for kept in kept.iter().filter(|_| round % 4 == 3) {
                    things.check(kept, &filter);
                }
            }
            if round % 9 == 0 {
                kept.push(arranged);
                if kept.len() > 3 {
                    kept.remove(0);
                }
            }
            let indexed = things.indexed();
            was_made_anew |= indexed < largest;
            largest = largest.max(indexed);
        }
        assert!(found > 50, "indexes were used {found} times");
        assert!(was_made_anew, "an index that has grown is made anew; the largest were {largest}");
        // Nobody else finds anything by them.
        let arranged = things.platform.arranged();
        let program = things.program(&arranged, "{n} = 7");
        let other = arranged.select(TenantId(Uuid::now_v7()), things.collection, &program.equalities());
        assert!(matches!(other, Selection::All));
    }
}
