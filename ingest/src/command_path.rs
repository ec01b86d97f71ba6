//! The command path: commands are decided one after the other, and appended many at a time.
//!
//! ```text
//! waiting ─▶ decider: whatever waits, as one batch ─▶ appender: one transaction, then answers, then the dataflow
//! ```
//! A command is decided against the newest snapshot of the arrangements, overlaid with everything accepted since: schema
//! and entities that are not in a snapshot yet, those of batches under way included. So a decision always sees every
//! decision before it, and waits neither for the log nor for the dataflow; the next batch is decided while the last is
//! written. Under load batches grow by themselves, which pays for the sync of each commit.
//!
//! Only the decider decides, so that an entity it has seen stays true until it changes it itself. Should an append fail,
//! what was decided on top of it never was: the appender turns those batches away, and the decider begins again from what
//! is recorded. Should the log be opened for writing elsewhere, everything is refused from then on ([`LogError::Fenced`]).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use decidr_domain::aggregate::Facts;
use decidr_domain::aggregate::entity::{self, Entity};
use decidr_domain::arrangements::{Arrangements, Snapshot};
use decidr_domain::command::{Authority, Request, decide};
use decidr_domain::event::{Event, Metadata};
use decidr_domain::id::{AggregateKind, CommandId, EntityId, EventId, Position, TenantId, Version};
use decidr_domain::rejection::Rejection;
use decidr_domain::schema::Catalog;
use decidr_domain::stamp::Stamp;
use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::allowance::Allowances;
use crate::appender::{Appender, Decided, Outcome, Progress, Replies, answer};
use crate::log::{Answer, Append, EventLog, LogError, NewEvent};

/// The most commands that one transaction takes.
const BATCH_MAX: usize = 1024;

/// How many jobs may wait before senders do.
const QUEUE_MAX: usize = 4096;

/// How many events may be recorded and not be in a snapshot yet. Beyond, commands wait: memory stays bounded, and reads
/// that want their own writes do not fall behind without end.
const IN_FLIGHT_MAX: Position = 20_000;

/// How many entities the decider keeps beside those that are not in a snapshot yet.
const SEEN_MAX: usize = 20_000;

/// Why a command has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExecuteError {
    /// It was refused. Nothing happened, and the same again would be refused again.
    #[error(transparent)]
    Rejected(Rejection),
    /// The log failed. Nothing happened; trying again may help.
    #[error("the command was not recorded: {0}")]
    Log(Arc<LogError>),
    /// The command path has ended. Whether the command was recorded is not known; the same id again is safe.
    #[error("the command path has ended")]
    Stopped,
}

/// Takes commands. Cheap to clone; the task ends when the last clone is gone.
#[derive(Clone)]
pub struct CommandPath {
    jobs: mpsc::Sender<Job>,
    allowances: Arc<Allowances>,
}

struct Job {
    requests: Vec<Request>,
    reply: oneshot::Sender<Vec<Result<Answer, ExecuteError>>>,
}

impl CommandPath {
    /// Starts the task. `arrangements` must have reached the head of the log.
    pub fn start(log: Arc<dyn EventLog>, arrangements: Arc<dyn Arrangements>) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE_MAX);
        let (decided, to_append) = mpsc::channel(1);
        let (progress, told) = watch::channel(Progress::default());
        let allowances = Arc::new(Allowances::new(arrangements.clone()));
        let snapshot = arrangements.snapshot();
        let head = *log.head().borrow();
        let appender = Appender { log: log.clone(), arrangements: arrangements.clone(), progress };
        let decider = Decider {
            log,
            arrangements,
            catalog: snapshot.catalog().clone(),
            snapshot,
            head,
            newest: FxHashMap::default(),
            seen: Mutex::default(),
            under_way: VecDeque::new(),
            number: 0,
            attempt: 1,
            decided,
            progress: told,
        };
        tokio::spawn(appender.run(to_append));
        tokio::spawn(decider.run(waiting));
        Self { jobs, allowances }
    }

    /// Executes one command. Returns when it is recorded, or refused.
    pub async fn execute(&self, request: Request) -> Result<Answer, ExecuteError> {
        self.execute_all(vec![request]).await.pop().unwrap_or(Err(ExecuteError::Stopped))
    }

    /// Executes commands in this order. Each stands or falls by itself; their answers come together.
    ///
    /// Those of a tenant whose formulas take long go a few at a time, and wait for those before them to be computed.
    pub async fn execute_all(&self, requests: Vec<Request>) -> Vec<Result<Answer, ExecuteError>> {
        // They are all of one caller. What the operator has done concerns the platform.
        let allowance = match requests.first().map(|request| request.authority) {
            Some(Authority::Tenant(tenant)) => self.allowances.of(tenant),
            _ => None,
        };
        let Some(allowance) = allowance else { return self.send(requests).await };
        let mut answers = Vec::with_capacity(requests.len());
        let mut left = requests.into_iter();
        while left.len() > 0 {
            let some: Vec<_> = left.by_ref().take(allowance.together()).collect();
            let (room, count) = (allowance.room(some.len()).await, some.len());
            // What was sent is executed though nobody waits for it any more, and the room is taken until then.
            let (this, allowance) = (self.clone(), allowance.clone());
            let answered = tokio::spawn(async move {
                let answered = this.send(some).await;
                if let Some(last) = answered.iter().flatten().map(|answer| answer.position).max() {
                    allowance.leave(room, last);
                }
                answered
            });
            answers.extend(answered.await.unwrap_or_else(|_| vec![Err(ExecuteError::Stopped); count]));
        }
        answers
    }

    /// Has commands executed now.
    async fn send(&self, requests: Vec<Request>) -> Vec<Result<Answer, ExecuteError>> {
        let count = requests.len();
        let (reply, answers) = oneshot::channel();
        let stopped = || vec![Err(ExecuteError::Stopped); count];
        if self.jobs.send(Job { requests, reply }).await.is_err() {
            return stopped();
        }
        answers.await.unwrap_or_else(|_| stopped())
    }
}

/// Entities that the decider has seen, in their newest state. Those that are not in a snapshot yet are kept; of the others
/// as many as there is room for, oldest out first.
#[derive(Default)]
struct Seen {
    entities: FxHashMap<EntityId, (Position, Arc<Entity>)>,
    order: VecDeque<(Position, EntityId)>,
}

impl Seen {
    /// Keeps a state that is in snapshots from `position` on.
    fn insert(&mut self, position: Position, entity: Arc<Entity>) {
        self.order.push_back((position, entity.id));
        self.entities.insert(entity.id, (position, entity));
    }

    /// Forgets the oldest, as far as snapshots have them.
    fn trim(&mut self, reached: Position) {
        while self.order.len() > SEEN_MAX
            && let Some(&(position, id)) = self.order.front()
            && position <= reached
        {
            self.order.pop_front();
            if self.entities.get(&id).is_some_and(|(newest, _)| *newest == position) {
                self.entities.remove(&id);
            }
        }
    }
}

struct Decider {
    log: Arc<dyn EventLog>,
    arrangements: Arc<dyn Arrangements>,
    snapshot: Arc<dyn Snapshot>,
    /// The schema with everything accepted.
    catalog: Arc<Catalog>,
    /// The position of the newest accepted event.
    head: Position,
    /// The positions of the newest events accepted here, by tenant.
    newest: FxHashMap<TenantId, Position>,
    /// Behind a lock only because reading an entity keeps it.
    seen: Mutex<Seen>,
    /// Commands of batches that are not through, by batch.
    under_way: VecDeque<(u64, Vec<(TenantId, CommandId)>)>,
    number: u64,
    attempt: u64,
    decided: mpsc::Sender<Decided>,
    progress: watch::Receiver<Progress>,
}

impl Decider {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while waiting.recv_many(&mut jobs, BATCH_MAX).await > 0 {
            // Jobs go together until a transaction is full; one that is larger has a transaction of its own.
            let (mut requests, mut replies) = (Vec::new(), Vec::new());
            for job in jobs.drain(..) {
                if !requests.is_empty() && requests.len() + job.requests.len() > BATCH_MAX {
                    self.batch(std::mem::take(&mut requests), std::mem::take(&mut replies)).await;
                }
                replies.push((job.reply, job.requests.len()));
                requests.extend(job.requests);
            }
            self.batch(requests, replies).await;
        }
        tracing::debug!("the command path has ended");
    }

    async fn batch(&mut self, requests: Vec<Request>, replies: Replies) {
        if let Err(error) = self.prepare(&requests).await {
            return answer(replies, vec![Err(error); requests.len()]);
        }
        let keys: Vec<_> = requests.iter().map(|request| (issuer(request), request.command_id)).collect();
        let known = match self.log.answers(&keys).await {
            Ok(known) => known,
            Err(error) => return answer(replies, vec![Err(ExecuteError::Log(Arc::new(error))); requests.len()]),
        };
        let started = std::time::Instant::now();
        // To the microsecond, as it is stored.
        let now = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or_default();
        let mut appends: Vec<Append> = Vec::with_capacity(requests.len());
        let mut decided = FxHashMap::default();
        let mut outcomes: Vec<Result<Outcome, Rejection>> = Vec::with_capacity(requests.len());
        for (request, key) in requests.iter().zip(&keys) {
            outcomes.push(match (known.get(key), decided.get(key)) {
                (Some(answer), _) => Ok(Outcome::Known(*answer)),
                // The same command twice in one batch: the second gets the answer of the first.
                (None, Some(first)) => Ok(Outcome::Appended(*first)),
                (None, None) => self.decide(request, now).map(|append| {
                    decided.insert(*key, appends.len());
                    appends.push(append);
                    Outcome::Appended(appends.len() - 1)
                }),
            });
        }
        metrics::histogram!("decidr_command_decide_seconds").record(started.elapsed());
        metrics::histogram!("decidr_command_batch_size").record(requests.len() as f64);
        self.number += 1;
        self.under_way.push_back((self.number, keys));
        let batch = Decided { number: self.number, attempt: self.attempt, appends, outcomes, replies };
        // Fails only when the appender has ended, and with it the program.
        let _ = self.decided.send(batch).await;
    }

    /// Sees to it that decisions may be made: after a failure from what is recorded, and not too far ahead of the
    /// dataflow; and that no command is under way that comes again.
    async fn prepare(&mut self, requests: &[Request]) -> Result<(), ExecuteError> {
        let progress = self.progress.borrow_and_update().clone();
        if let Some((attempt, error)) = progress.failed
            && attempt >= self.attempt
        {
            if matches!(*error, LogError::Fenced) {
                return Err(ExecuteError::Log(error));
            }
            self.begin_again().await?;
        }
        self.snapshot = self.arrangements.snapshot();
        if self.head > self.snapshot.position() + IN_FLIGHT_MAX {
            let recorded = (self.head - IN_FLIGHT_MAX / 2).min(*self.log.head().borrow());
            if !self.arrangements.reached(recorded).await {
                return Err(ExecuteError::Stopped);
            }
            self.snapshot = self.arrangements.snapshot();
        }
        self.seen.get_mut().unwrap_or_else(PoisonError::into_inner).trim(self.snapshot.position());
        while self.under_way.front().is_some_and(|(number, _)| *number <= progress.number) {
            self.under_way.pop_front();
        }
        if self.is_any_under_way(requests) {
            let number = self.number;
            if self.progress.wait_for(|progress| progress.number >= number).await.is_err() {
                return Err(ExecuteError::Stopped);
            }
        }
        Ok(())
    }

    /// Whether one of these commands was sent before and is not through.
    fn is_any_under_way(&self, requests: &[Request]) -> bool {
        let keys: FxHashSet<_> = self.under_way.iter().flat_map(|(_, keys)| keys).collect();
        requests.iter().any(|request| keys.contains(&(issuer(request), request.command_id)))
    }

    /// Forgets what was accepted and not recorded.
    async fn begin_again(&mut self) -> Result<(), ExecuteError> {
        let number = self.number;
        let through = self.progress.wait_for(|progress| progress.number >= number).await.is_ok();
        let recorded = *self.log.head().borrow();
        if !through || !self.arrangements.reached(recorded).await {
            return Err(ExecuteError::Stopped);
        }
        self.snapshot = self.arrangements.snapshot();
        self.catalog = self.snapshot.catalog().clone();
        self.head = recorded;
        self.newest.clear();
        *self.seen.get_mut().unwrap_or_else(PoisonError::into_inner) = Seen::default();
        self.attempt += 1;
        Ok(())
    }

    /// Decides one command, and keeps what it comes to for those behind it.
    fn decide(&mut self, request: &Request, now: Timestamp) -> Result<Append, Rejection> {
        let entities = |id: EntityId| self.entity(id);
        let sizes = |collection| self.snapshot.count(collection);
        let decision = decide(request, Facts { catalog: &self.catalog, entities: &entities, sizes: &sizes })?;
        let stamp = Stamp { at: now, by: request.actor.as_str().into() };
        let mut events = Vec::with_capacity(decision.events.len());
        for (stream, event) in decision.events {
            self.head += 1;
            let version = match &event {
                Event::Entity(event) => self.evolve(event, &stamp),
                event => {
                    Arc::make_mut(&mut self.catalog).apply(decision.tenant, event);
                    self.catalog.version(decision.tenant, stream)
                }
            };
            let metadata = Metadata {
                event_id: EventId(Uuid::now_v7()),
                command_id: request.command_id,
                causation_id: request.command_id.0,
                correlation_id: request.correlation_id,
                actor: request.actor.clone(),
                recorded_at: now,
            };
            events.push(NewEvent { stream, version, event, metadata });
        }
        let subject = decision.subject;
        let version = match subject.kind {
            AggregateKind::Entity => self.entity(EntityId(subject.id)).map_or(0, |entity| entity.version),
            _ => self.catalog.version(decision.tenant, subject),
        };
        let (tenant, newest) = (decision.tenant, self.newest(decision.tenant));
        if !events.is_empty() {
            self.newest.insert(tenant, self.head);
        }
        Ok(Append { tenant, issuer: issuer(request), command_id: request.command_id, subject, version, newest, events })
    }

    /// The position of this tenant's newest event.
    fn newest(&self, tenant: TenantId) -> Position {
        self.newest.get(&tenant).copied().unwrap_or_else(|| self.snapshot.newest(tenant))
    }

    /// The newest state of this entity.
    fn entity(&self, id: EntityId) -> Option<Arc<Entity>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, entity)) = seen.entities.get(&id) {
            return Some(entity.clone());
        }
        let entity = self.snapshot.entity(id)?;
        seen.insert(self.snapshot.position(), entity.clone());
        Some(entity)
    }

    /// Applies an event that was decided; returns the entity's version.
    fn evolve(&mut self, event: &entity::EntityEvent, stamp: &Stamp) -> Version {
        let state = entity::evolve(self.entity(event.id()).map(Arc::unwrap_or_clone), event, stamp);
        let version = state.as_ref().map_or(0, |state| state.version);
        if let Some(state) = state {
            self.seen.get_mut().unwrap_or_else(PoisonError::into_inner).insert(self.head, Arc::new(state));
        }
        version
    }
}

/// In whose name a command's id is remembered; operators share one that no tenant has.
fn issuer(request: &Request) -> TenantId {
    match request.authority {
        Authority::Tenant(tenant) => tenant,
        Authority::Operator => TenantId(Uuid::nil()),
    }
}
