//! What the harnesses share: a platform with one tenant, and short ways to fill it.

pub mod recorder;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use decidr_api::platform::{DataDir, Platform};
use decidr_dataflow::Arranged;
use decidr_dataflow::EngineConfig;
use decidr_domain::aggregate::attribute::{AttributeCommand, DefinitionInput};
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::entity::EntityCommand;
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::id::{AttributeId, CollectionId, CommandId, EntityId, Key, Position, SpaceId, TenantId};
use decidr_domain::value::Value;
use decidr_sinks::LiveQuery;
use decidr_sinks::live::{Hears, Next, Subscription};
use hdrhistogram::Histogram;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

/// What a start begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// What was computed before, and the log behind it.
    Checkpoint,
    /// The whole log.
    Log,
}

/// A platform on a log of its own, with a tenant and a space.
pub struct Bench {
    /// The platform.
    pub platform: Arc<Platform>,
    /// The tenant.
    pub tenant: TenantId,
    space: SpaceId,
    workers: usize,
    folder: tempfile::TempDir,
}

/// How many commands are sent together.
const TOGETHER: usize = 5_000;

impl Bench {
    /// On a new log on disk, every commit synced.
    pub async fn start(workers: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let platform = Arc::new(Self::open(&folder, workers).await?);
        let mut bench = Self { platform, tenant: TenantId(Uuid::nil()), space: SpaceId(Uuid::nil()), workers, folder };
        (bench.tenant, bench.space) = bench.tenant("bench").await?;
        Ok(bench)
    }

    async fn open(folder: &tempfile::TempDir, workers: usize) -> anyhow::Result<Platform> {
        let config = EngineConfig { workers, ..EngineConfig::default() };
        Ok(Platform::open(&DataDir::create(folder.path())?, config).await?)
    }

    /// Another like it, with nothing in it.
    pub async fn another(&self) -> anyhow::Result<Self> {
        Self::start(self.workers).await
    }

    /// Ends, and starts again with what is on disk; gives how long that took until everything is arranged.
    pub async fn restarted(self, start: Start) -> anyhow::Result<(Self, Duration)> {
        let Self { platform, tenant, space, workers, folder } = self;
        match start {
            Start::Checkpoint => platform.close().await,
            Start::Log => drop(std::fs::remove_file(DataDir::create(folder.path())?.checkpoint())),
        }
        // What still holds it for a moment, answers nobody any more.
        let mut platform = Some(platform);
        while let Some(held) = platform.take() {
            platform = Arc::try_unwrap(held).err();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let start = Instant::now();
        let platform = Arc::new(Self::open(&folder, workers).await?);
        let bench = Self { platform, tenant, space, workers, folder };
        bench.settle().await;
        Ok((bench, start.elapsed()))
    }

    /// Another tenant, with a space.
    pub async fn tenant(&self, key: &str) -> anyhow::Result<(TenantId, SpaceId)> {
        let (id, space) = (TenantId(Uuid::now_v7()), SpaceId(Uuid::now_v7()));
        let register = TenantCommand::RegisterTenant { id, key: Key::new(key)?, name: key.into() };
        self.execute_as(Authority::Operator, vec![Command::Tenant(register)]).await?;
        let create = SpaceCommand::CreateSpace { id: space, key: Key::new("space")?, name: "Space".into() };
        self.execute_as(Authority::Tenant(id), vec![Command::Space(create)]).await?;
        Ok((id, space))
    }

    /// Executes commands in the tenant's name; returns the last position.
    pub async fn execute(&self, commands: Vec<Command>) -> anyhow::Result<Position> {
        self.execute_as(Authority::Tenant(self.tenant), commands).await
    }

    /// Executes commands; returns the last position.
    pub async fn execute_as(&self, authority: Authority, commands: Vec<Command>) -> anyhow::Result<Position> {
        let mut last = 0;
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            let request = |command| {
                let id = Uuid::now_v7();
                Request { command_id: CommandId(id), authority, actor: "bench".into(), correlation_id: id, command }
            };
            let requests = commands.by_ref().take(TOGETHER).map(request).collect();
            for answer in self.platform.execute_all(requests).await {
                last = last.max(answer.context("a command was refused")?.position);
            }
        }
        Ok(last)
    }

    /// A new collection of the tenant.
    pub async fn collection(&self, key: &str) -> anyhow::Result<CollectionId> {
        let id = CollectionId(Uuid::now_v7());
        let create = CollectionCommand::CreateCollection { id, space_id: self.space, key: Key::new(key)?, name: key.into() };
        self.execute(vec![Command::Collection(create)]).await?;
        Ok(id)
    }

    /// A new attribute.
    pub async fn attribute(&self, collection_id: CollectionId, key: &str, definition: DefinitionInput) -> anyhow::Result<AttributeId> {
        let id = AttributeId(Uuid::now_v7());
        let create = AttributeCommand::CreateAttribute { id, collection_id, key: Key::new(key)?, name: None, definition };
        self.execute(vec![Command::Attribute(create)]).await?;
        Ok(id)
    }

    /// Changes what an attribute holds.
    pub async fn redefine(&self, id: AttributeId, definition: DefinitionInput) -> anyhow::Result<Position> {
        self.execute(vec![Command::Attribute(AttributeCommand::UpdateAttribute {
            id,
            key: None,
            name: None,
            definition: Some(definition),
        })])
        .await
    }

    /// New entities with these values.
    pub async fn entities(&self, collection_id: CollectionId, values: impl IntoIterator<Item = Json>) -> anyhow::Result<Vec<EntityId>> {
        let mut ids = Vec::new();
        let create = |values: Json| {
            let id = EntityId(Uuid::now_v7());
            ids.push(id);
            Command::Entity(EntityCommand::CreateEntity { id, collection_id, values: object(values) })
        };
        let commands = values.into_iter().map(create).collect();
        self.execute(commands).await?;
        Ok(ids)
    }

    /// Sets values of one entity; returns the position.
    pub async fn set(&self, id: EntityId, values: Json) -> anyhow::Result<Position> {
        self.execute(vec![set(id, values)]).await
    }

    /// Waits until everything accepted is arranged, and shown.
    pub async fn settle(&self) {
        let head = self.platform.head();
        let is_shown = |arranged: &Arranged| arranged.position() >= head && arranged.staged_at(self.tenant).is_none();
        self.platform.arranged_when(is_shown).await;
    }

    /// Listens to a collection.
    pub fn listen(&self, collection: CollectionId) -> Subscription {
        self.platform
            .live()
            .subscribe(LiveQuery { tenant: self.tenant, collection, filter: None }, None, Hears::Entities)
            .expect("no time is asked for")
    }

    /// Until a subscriber has the change at this position.
    pub async fn heard(&self, subscription: &mut Subscription, position: Position) -> anyhow::Result<()> {
        loop {
            match tokio::time::timeout(Duration::from_secs(60), subscription.next()).await? {
                Next::Changes(changes) if changes.position >= position => return Ok(()),
                Next::Changes(_) => {}
                Next::Lagged | Next::Gone => return Err(anyhow!("the subscription ended")),
            }
        }
    }

    /// The computed value of an attribute of an entity.
    pub fn value(&self, id: EntityId, attribute: AttributeId) -> Value {
        let arranged = self.platform.arranged();
        let schema = arranged.catalog().tenant(self.tenant);
        schema.zip(arranged.row(id)).map_or(Value::Blank, |(schema, row)| schema.shown_value(&row, attribute))
    }
}

/// A command that sets values.
pub fn set(id: EntityId, values: Json) -> Command {
    Command::Entity(EntityCommand::SetValues { id, values: object(values), expected_version: None })
}

fn object(values: Json) -> Map<String, Json> {
    match values {
        Json::Object(values) => values,
        _ => Map::new(),
    }
}

/// A formula.
pub fn formula(expression: &str) -> DefinitionInput {
    DefinitionInput::Formula { expression: expression.into() }
}

/// A number.
pub fn number() -> DefinitionInput {
    DefinitionInput::number()
}

/// A link.
pub fn link(collection_id: CollectionId, multiple: bool, backlink: &str, hierarchical: bool) -> anyhow::Result<DefinitionInput> {
    let (backlink_id, backlink_key) = (AttributeId(Uuid::now_v7()), Key::new(backlink)?);
    Ok(DefinitionInput::Link { collection_id, multiple, backlink_id, backlink_key, backlink_name: None, hierarchical })
}

/// A rollup.
pub fn rollup(link: &str, attribute: &str, function: &str) -> anyhow::Result<DefinitionInput> {
    let function = decidr_domain::rollup::Rollup::find(function).ok_or_else(|| anyhow!("no rollup {function}"))?;
    Ok(DefinitionInput::rollup(link, Some(attribute.into()), function, None))
}

/// Times, in microseconds.
pub struct Times(Histogram<u64>);

impl Times {
    /// None yet.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(100, 600_000_000_000, 3)?))
    }

    /// Notes the time since `start`.
    pub fn since(&mut self, start: Instant) {
        self.add(start.elapsed());
    }

    /// Notes a time.
    pub fn add(&mut self, time: Duration) {
        self.0.saturating_record(time.as_nanos() as u64);
    }

    /// Milliseconds at a quantile.
    pub fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e6
    }

    /// Milliseconds at the median and at the 99th percentile.
    pub fn middle_and_end(&self) -> (f64, f64) {
        (self.at(0.5), self.at(0.99))
    }

    /// For ever fewer of the times, how many a thousand are longer and the milliseconds that they are at least.
    pub fn tail(&self) -> Vec<(f64, f64)> {
        let shares = std::iter::successors(Some(0.9), |share| Some(share * 0.8));
        let seen = self.0.len() as f64;
        shares.take_while(|share| share * seen >= 1.0).map(|share| (share * 1000.0, self.at(1.0 - share))).collect()
    }
}
