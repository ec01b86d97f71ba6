//! The command path over a log in memory, with arrangements that lag behind, and a log that fails when told to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use decidr_domain::aggregate::attribute::{AttributeCommand, DefinitionInput};
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::entity::{self, Entity, EntityCommand};
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::arrangements::{Arrangements, Reached, Snapshot};
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::event::{Event, Recorded};
use decidr_domain::id::{AttributeId, CollectionId, CommandId, EntityId, Key, Position, SpaceId, StreamId, TenantId, Version};
use decidr_domain::schema::Catalog;
use decidr_ingest::log::{Append, Appended, LogFuture, MemoryLog};
use decidr_ingest::{Answer, CommandPath, EventLog, ExecuteError, LogError};
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

/// Arrangements that fold by hand, and only when told to.
struct Lagging {
    state: Mutex<State>,
    lags: AtomicBool,
    /// Whether it lags even if somebody waits.
    holds: AtomicBool,
    position: watch::Sender<Position>,
}

#[derive(Default)]
struct State {
    queued: Vec<Recorded>,
    shown: Shown,
}

#[derive(Clone, Default)]
struct Shown {
    position: Position,
    newest: BTreeMap<TenantId, Position>,
    catalog: Arc<Catalog>,
    entities: BTreeMap<EntityId, Arc<Entity>>,
    effort: u64,
}

impl Snapshot for Shown {
    fn position(&self) -> Position {
        self.position
    }
    fn newest(&self, tenant: TenantId) -> Position {
        self.newest.get(&tenant).copied().unwrap_or(0)
    }
    fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }
    fn entity(&self, id: EntityId) -> Option<Arc<Entity>> {
        self.entities.get(&id).cloned()
    }
    fn count(&self, _: CollectionId) -> u64 {
        0
    }
    fn effort(&self, _: TenantId) -> u64 {
        self.effort
    }
}

impl Lagging {
    fn catch_up(&self) {
        let mut state = self.state.lock().unwrap();
        for recorded in std::mem::take(&mut state.queued) {
            assert_eq!(recorded.position, state.shown.position + 1, "events come in order, without gaps");
            state.shown.position = recorded.position;
            state.shown.newest.insert(recorded.tenant, recorded.position);
            match &recorded.event {
                Event::Entity(event) => {
                    let before = state.shown.entities.get(&event.id()).map(|entity| (**entity).clone());
                    let after = entity::evolve(before, event, &recorded.metadata.stamp()).expect("an entity that was created");
                    assert_eq!(after.version, recorded.version);
                    state.shown.entities.insert(event.id(), Arc::new(after));
                }
                event => {
                    Arc::make_mut(&mut state.shown.catalog).apply(recorded.tenant, event);
                }
            }
        }
        self.position.send_replace(state.shown.position);
    }
}

impl Arrangements for Lagging {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(self.state.lock().unwrap().shown.clone())
    }
    fn accept(&self, events: Vec<Recorded>) {
        self.state.lock().unwrap().queued.extend(events);
        if !self.lags.load(Ordering::SeqCst) {
            self.catch_up();
        }
    }
    fn reached(&self, position: Position) -> Reached<'_> {
        if !self.holds.load(Ordering::SeqCst) {
            self.catch_up();
        }
        let mut newest = self.position.subscribe();
        Box::pin(async move { newest.wait_for(|newest| *newest >= position).await.is_ok() })
    }
}

/// A log whose appends fail while it is told so.
#[derive(Default)]
struct Failing {
    log: MemoryLog,
    fails: AtomicBool,
}

impl EventLog for Failing {
    fn append<'a>(&'a self, batch: &'a [Append]) -> LogFuture<'a, Vec<Appended>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.fails.load(Ordering::SeqCst) {
                return Err(LogError::Storage { operation: "commit", source: "no space left".into() });
            }
            self.log.append(batch).await
        })
    }
    fn answers<'a>(&'a self, commands: &'a [(TenantId, CommandId)]) -> LogFuture<'a, HashMap<(TenantId, CommandId), Answer>> {
        self.log.answers(commands)
    }
    fn read_stream(&self, stream: StreamId, from: Version, limit: usize) -> LogFuture<'_, Vec<Recorded>> {
        self.log.read_stream(stream, from, limit)
    }
    fn read_all(&self, after: Position, limit: usize) -> LogFuture<'_, Vec<Recorded>> {
        self.log.read_all(after, limit)
    }
    fn read_schema(&self, last: Position) -> LogFuture<'_, Vec<Recorded>> {
        self.log.read_schema(last)
    }
    fn head(&self) -> watch::Receiver<Position> {
        self.log.head()
    }
    fn lineage(&self) -> u32 {
        self.log.lineage()
    }
}

struct Running {
    log: Arc<Failing>,
    arrangements: Arc<Lagging>,
    commands: CommandPath,
    tenant: TenantId,
    collection: CollectionId,
}

fn id<T: From<Uuid>>(n: u128) -> T {
    T::from(Uuid::from_u128(n))
}

impl Running {
    /// A tenant with one collection of one number; the arrangements have seen nothing of it yet.
    async fn start() -> Self {
        let log = Arc::new(Failing::default());
        let arrangements = Arc::new(Lagging {
            state: Mutex::default(),
            lags: AtomicBool::new(true),
            holds: AtomicBool::new(false),
            position: watch::Sender::new(0),
        });
        let commands = CommandPath::start(log.clone(), arrangements.clone());
        let running = Running { log, arrangements, commands, tenant: id(1), collection: id(3) };
        let register = TenantCommand::RegisterTenant { id: running.tenant, key: Key::new("t").unwrap(), name: "T".into() };
        running.send(1, Authority::Operator, Command::Tenant(register)).await.unwrap();
        let space = SpaceCommand::CreateSpace { id: id::<SpaceId>(2), key: Key::new("s").unwrap(), name: "S".into() };
        running.ours(2, Command::Space(space)).await.unwrap();
        let create =
            CollectionCommand::CreateCollection { id: running.collection, space_id: id(2), key: Key::new("c").unwrap(), name: "C".into() };
        running.ours(3, Command::Collection(create)).await.unwrap();
        let definition = DefinitionInput::number();
        let number = AttributeCommand::CreateAttribute {
            id: id::<AttributeId>(4),
            collection_id: running.collection,
            key: Key::new("n").unwrap(),
            name: None,
            definition,
        };
        running.ours(4, Command::Attribute(number)).await.unwrap();
        running
    }

    fn request(&self, command_id: u128, authority: Authority, command: Command) -> Request {
        Request { command_id: id(command_id), authority, actor: "test".into(), correlation_id: Uuid::nil(), command }
    }

    async fn send(&self, command_id: u128, authority: Authority, command: Command) -> Result<Answer, ExecuteError> {
        self.commands.execute(self.request(command_id, authority, command)).await
    }

    async fn ours(&self, command_id: u128, command: Command) -> Result<Answer, ExecuteError> {
        self.send(command_id, Authority::Tenant(self.tenant), command).await
    }

    fn create(&self, entity: u128) -> Command {
        Command::Entity(EntityCommand::CreateEntity { id: id(entity), collection_id: self.collection, values: Default::default() })
    }

    fn set(&self, entity: u128, n: i64, expected_version: Option<i64>) -> Command {
        let values = json!({ "n": n }).as_object().cloned().unwrap();
        Command::Entity(EntityCommand::SetValues { id: id(entity), values, expected_version })
    }
}

#[tokio::test]
async fn decisions_see_every_decision_before_them() {
    let running = Running::start().await;
    assert_eq!(running.arrangements.snapshot().position(), 0, "nothing is arranged, and all of it counts");
    running.ours(10, running.create(50)).await.unwrap();
    assert_eq!(running.ours(11, running.set(50, 7, Some(1))).await.unwrap().version, 2);
    let error = running.ours(12, running.set(50, 8, Some(1))).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Rejected(r) if r.code() == "VERSION_CONFLICT"));
    running.arrangements.catch_up();
    assert_eq!(running.ours(13, running.set(50, 9, Some(2))).await.unwrap().version, 3);
    // Also within one batch.
    let authority = Authority::Tenant(running.tenant);
    let batch = [running.create(51), running.set(51, 1, Some(1)), running.set(51, 2, Some(1)), running.set(51, 2, Some(2))];
    let requests = batch.into_iter().enumerate().map(|(i, command)| running.request(20 + i as u128, authority, command)).collect();
    let answers = running.commands.execute_all(requests).await;
    assert_eq!(answers.iter().map(|answer| answer.as_ref().ok().map(|a| a.version)).collect::<Vec<_>>(), [Some(1), Some(2), None, Some(3)]);
}

#[tokio::test]
async fn the_same_command_again_is_the_same_answer_and_no_second_event() {
    let running = Running::start().await;
    let first = running.ours(10, running.create(50)).await.unwrap();
    let head = *running.log.head().borrow();
    assert_eq!(running.ours(10, running.create(50)).await.unwrap(), first);
    assert_eq!(running.ours(10, running.create(51)).await.unwrap(), first, "whatever it says now");
    let authority = Authority::Tenant(running.tenant);
    let twice = || running.request(11, authority, running.set(50, 1, None));
    let (a, b) = tokio::join!(running.commands.execute_all(vec![twice(), twice()]), running.commands.execute(twice()));
    assert_eq!(a[0].as_ref().unwrap(), a[1].as_ref().unwrap());
    assert_eq!(a[0].as_ref().unwrap(), b.as_ref().unwrap());
    assert_eq!(*running.log.head().borrow(), head + 1);
    // A command that changes nothing has no event, and an answer all the same.
    let nothing = running.ours(12, running.set(50, 1, None)).await.unwrap();
    assert_eq!((nothing.version, nothing.position), (2, head + 1));
}

#[tokio::test]
async fn a_refused_command_leaves_nothing_behind() {
    let running = Running::start().await;
    let head = *running.log.head().borrow();
    let error = running.ours(10, running.set(99, 1, None)).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Rejected(r) if r.code() == "NOT_FOUND"));
    assert_eq!(*running.log.head().borrow(), head);
    // The same id may be used for what is accepted then.
    running.ours(10, running.create(99)).await.unwrap();
}

#[tokio::test]
async fn what_was_decided_on_a_failed_append_never_was() {
    let running = Running::start().await;
    running.ours(10, running.create(50)).await.unwrap();
    running.log.fails.store(true, Ordering::SeqCst);
    let error = running.ours(11, running.set(50, 1, None)).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Log(_)), "{error}");
    // Several under way at once: all of them fail, none is half done.
    let sends = (0..20).map(|i| running.ours(30 + i, running.create(60 + i)));
    for outcome in futures_join(sends).await {
        assert!(outcome.is_err());
    }
    running.log.fails.store(false, Ordering::SeqCst);
    // Versions and schema are those of what is recorded.
    assert_eq!(running.ours(12, running.set(50, 2, Some(1))).await.unwrap().version, 2);
    assert_eq!(running.ours(30, running.create(60)).await.unwrap().version, 1);
    running.arrangements.catch_up();
    let shown = running.arrangements.snapshot();
    assert_eq!(shown.position(), *running.log.head().borrow());
    assert!(shown.entity(id(61)).is_none());
}

#[tokio::test]
async fn of_a_tenant_whose_formulas_take_long_few_commands_are_under_way() {
    let running = Running::start().await;
    let register = TenantCommand::RegisterTenant { id: id(9), key: Key::new("u").unwrap(), name: "U".into() };
    running.send(10, Authority::Operator, Command::Tenant(register)).await.unwrap();
    // As many steps as a cell may take, a fourth of what may be under way.
    let expression = r#"LET(a, SPLIT(REPT("a,", 300), ","), COUNTALL(FILTER(a, COUNTALL(FILTER(a, value = {n} & "")) > 1)))"#;
    let long = AttributeCommand::CreateAttribute {
        id: id::<AttributeId>(5),
        collection_id: running.collection,
        key: Key::new("long").unwrap(),
        name: None,
        definition: DefinitionInput::Formula { expression: expression.into() },
    };
    running.ours(11, Command::Attribute(long)).await.unwrap();
    running.arrangements.catch_up();

    running.arrangements.holds.store(true, Ordering::SeqCst);
    let head = *running.log.head().borrow();
    let authority = Authority::Tenant(running.tenant);
    let requests = (0..10).map(|i| running.request(100 + i, authority, running.create(1_000 + i))).collect();
    let (commands, mut newest) = (running.commands.clone(), running.log.head());
    let all = tokio::spawn(async move { commands.execute_all(requests).await });
    newest.wait_for(|newest| *newest > head).await.unwrap();
    // Whoever comes now does not wait behind those of them that do.
    for i in 0..5 {
        let space = SpaceCommand::CreateSpace { id: id(9_000 + i), key: Key::new(&format!("s{i}")).unwrap(), name: "S".into() };
        let answer = running.send(200 + i, Authority::Tenant(id(9)), Command::Space(space)).await.unwrap();
        assert_eq!(answer.position, head + 4 + 1 + i as u64);
    }
    assert!(!all.is_finished());
    running.arrangements.holds.store(false, Ordering::SeqCst);
    while !all.is_finished() {
        running.arrangements.catch_up();
        tokio::task::yield_now().await;
    }
    assert!(all.await.unwrap().iter().all(Result::is_ok));
    assert_eq!(*running.log.head().borrow(), head + 15, "all of them are done in the end");
}

async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[tokio::test]
async fn many_at_once_are_decided_in_some_order() {
    let running = Running::start().await;
    running.ours(10, running.create(50)).await.unwrap();
    running.arrangements.lags.store(false, Ordering::SeqCst);
    // Each expects the version that it would have alone: exactly one of each round wins.
    for round in 0..20u128 {
        let version = 1 + round as i64;
        let sends = (0..8).map(|i| running.ours(1000 + round * 10 + i, running.set(50, (round * 10 + i) as i64 + 1, Some(version))));
        assert_eq!(futures_join(sends).await.iter().filter(|outcome| outcome.is_ok()).count(), 1, "round {round}");
    }
}
