//! The command path: one task that takes whatever commands wait, decides them one after the other, appends what they come
//! to in one transaction, and answers.
//!
//! A command is decided against the newest snapshot of the arrangements, overlaid with what was accepted since: schema and
//! entities that are recorded but not in a snapshot yet, and those of the same batch. So a decision always sees every
//! decision before it, and never waits for the dataflow. Under load batches grow by themselves, for the next one gathers
//! while the last is written; that pays for the sync of each commit.
//!
//! Only one task decides. Should its log be opened for writing elsewhere, the append says so ([`LogError::Fenced`]) and
//! everything is refused from then on.

use std::collections::VecDeque;
use std::sync::Arc;

use decidr_domain::aggregate::Facts;
use decidr_domain::aggregate::entity::{self, Entity};
use decidr_domain::arrangements::{Arrangements, Snapshot};
use decidr_domain::command::{Authority, Request, decide};
use decidr_domain::event::{Event, Metadata, Recorded};
use decidr_domain::id::{EntityId, EventId, Position, StreamId, TenantId, Version};
use decidr_domain::rejection::Rejection;
use decidr_domain::schema::Catalog;
use jiff::Timestamp;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::log::{Answer, Append, Appended, EventLog, LogError, NewEvent};

/// The most commands that one transaction takes.
const BATCH_MAX: usize = 1024;

/// How many jobs may wait before senders do.
const QUEUE_MAX: usize = 4096;

/// How many events may be recorded and not be in a snapshot yet. Beyond, commands wait: memory stays bounded, and reads
/// that want their own writes do not fall behind without end.
const IN_FLIGHT_MAX: Position = 20_000;

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
}

struct Job {
    requests: Vec<Request>,
    reply: oneshot::Sender<Vec<Result<Answer, ExecuteError>>>,
}

impl CommandPath {
    /// Starts the task. `arrangements` must have reached the head of the log.
    pub fn start(log: Arc<dyn EventLog>, arrangements: Arc<dyn Arrangements>) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE_MAX);
        let snapshot = arrangements.snapshot();
        let head = *log.head().borrow();
        let task = Task {
            log,
            arrangements,
            catalog: snapshot.catalog().clone(),
            snapshot,
            head,
            accepted: Overlay::default(),
            staged: FxHashMap::default(),
            fenced: None,
        };
        tokio::spawn(task.run(waiting));
        Self { jobs }
    }

    /// Executes one command. Returns when it is recorded, or refused.
    pub async fn execute(&self, request: Request) -> Result<Answer, ExecuteError> {
        self.execute_all(vec![request]).await.pop().unwrap_or(Err(ExecuteError::Stopped))
    }

    /// Executes commands in this order. Each stands or falls by itself; their answers come together.
    pub async fn execute_all(&self, requests: Vec<Request>) -> Vec<Result<Answer, ExecuteError>> {
        let count = requests.len();
        let (reply, answers) = oneshot::channel();
        let stopped = || vec![Err(ExecuteError::Stopped); count];
        if self.jobs.send(Job { requests, reply }).await.is_err() {
            return stopped();
        }
        answers.await.unwrap_or_else(|_| stopped())
    }
}

/// What was accepted and is not in the snapshot yet.
#[derive(Default)]
struct Overlay {
    entities: FxHashMap<EntityId, (Position, Arc<Entity>)>,
    order: VecDeque<(Position, EntityId)>,
}

impl Overlay {
    fn insert(&mut self, position: Position, entity: Arc<Entity>) {
        self.order.push_back((position, entity.id));
        self.entities.insert(entity.id, (position, entity));
    }

    /// Forgets what the snapshot has.
    fn settle(&mut self, reached: Position) {
        while let Some(&(position, id)) = self.order.front()
            && position <= reached
        {
            self.order.pop_front();
            if self.entities.get(&id).is_some_and(|(newest, _)| *newest <= reached) {
                self.entities.remove(&id);
            }
        }
    }
}

struct Task {
    log: Arc<dyn EventLog>,
    arrangements: Arc<dyn Arrangements>,
    snapshot: Arc<dyn Snapshot>,
    /// The schema with everything accepted.
    catalog: Arc<Catalog>,
    head: Position,
    accepted: Overlay,
    /// Entities that the batch at hand changed; the last state of each.
    staged: FxHashMap<EntityId, Arc<Entity>>,
    fenced: Option<Arc<LogError>>,
}

impl Task {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        // Jobs that are larger than a transaction are taken in parts.
        while waiting.recv_many(&mut jobs, BATCH_MAX).await > 0 {
            let sizes: Vec<usize> = jobs.iter().map(|job| job.requests.len()).collect();
            let (mut requests, mut replies) = (Vec::with_capacity(sizes.iter().sum()), Vec::with_capacity(jobs.len()));
            for job in jobs.drain(..) {
                requests.extend(job.requests);
                replies.push(job.reply);
            }
            let mut answers = Vec::with_capacity(requests.len());
            for part in requests.chunks(BATCH_MAX) {
                answers.extend(self.batch(part).await);
            }
            let mut answers = answers.into_iter();
            for (reply, size) in replies.into_iter().zip(sizes) {
                // Whoever asked may have gone; what was recorded stays recorded.
                let _ = reply.send(answers.by_ref().take(size).collect());
            }
        }
        tracing::debug!("the command path has ended");
    }

    async fn batch(&mut self, requests: &[Request]) -> Vec<Result<Answer, ExecuteError>> {
        let fail = |error: &Arc<LogError>| vec![Err(ExecuteError::Log(error.clone())); requests.len()];
        if let Some(error) = &self.fenced {
            return fail(error);
        }
        self.snapshot = self.arrangements.snapshot();
        if self.head > self.snapshot.position() + IN_FLIGHT_MAX {
            if !self.arrangements.reached(self.head - IN_FLIGHT_MAX / 2).await {
                return vec![Err(ExecuteError::Stopped); requests.len()];
            }
            self.snapshot = self.arrangements.snapshot();
        }
        self.accepted.settle(self.snapshot.position());

        let keys: Vec<_> = requests.iter().map(|request| (issuer(request), request.command_id)).collect();
        let known = match self.log.answers(&keys).await {
            Ok(known) => known,
            Err(error) => return fail(&Arc::new(error)),
        };
        let started = std::time::Instant::now();
        let before = self.catalog.clone();
        let now = Timestamp::now();
        let mut appends: Vec<Append> = Vec::with_capacity(requests.len());
        let mut decided = FxHashMap::default();
        let mut outcomes: Vec<Result<Outcome, Rejection>> = Vec::with_capacity(requests.len());
        for (request, key) in requests.iter().zip(&keys) {
            outcomes.push(match known.get(key) {
                Some(answer) => Ok(Outcome::Known(*answer)),
                // The same command twice in one batch: the second gets the answer of the first.
                None => match decided.get(key) {
                    Some(first) => Ok(Outcome::Appended(*first)),
                    None => self.decide(request, now).map(|append| {
                        decided.insert(*key, appends.len());
                        appends.push(append);
                        Outcome::Appended(appends.len() - 1)
                    }),
                },
            });
        }
        metrics::histogram!("decidr_command_decide_seconds").record(started.elapsed());
        metrics::histogram!("decidr_command_batch_size").record(requests.len() as f64);

        let started = std::time::Instant::now();
        let appended = match if appends.is_empty() { Ok(vec![]) } else { self.log.append(&appends).await } {
            Ok(appended) => appended,
            Err(error) => {
                self.catalog = before;
                self.staged.clear();
                tracing::error!(error = &error as &dyn std::error::Error, commands = appends.len(), "a batch of commands was not recorded");
                let error = Arc::new(error);
                if matches!(*error, LogError::Fenced) {
                    self.fenced = Some(error.clone());
                }
                return fail(&error);
            }
        };
        metrics::histogram!("decidr_log_append_seconds").record(started.elapsed());
        self.hand_over(&mut appends, &appended);
        let mut refused = 0;
        let answers = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Ok(Outcome::Known(answer)) => Ok(answer),
                Ok(Outcome::Appended(i)) => match appended[i] {
                    Appended::New(answer) | Appended::Repeated(answer) => Ok(answer),
                    Appended::Conflict { stream, actual } => {
                        let message = format!("{stream} has version {actual}, which is not the one that was decided against");
                        Err(ExecuteError::Log(Arc::new(LogError::Damaged(message))))
                    }
                },
                Err(rejection) => {
                    refused += 1;
                    Err(ExecuteError::Rejected(rejection))
                }
            })
            .collect();
        metrics::counter!("decidr_commands_refused_total").increment(refused);
        metrics::counter!("decidr_commands_accepted_total").increment(appended.len() as u64);
        answers
    }

    /// Decides one command, and stages what it comes to for those behind it.
    fn decide(&mut self, request: &Request, now: Timestamp) -> Result<Append, Rejection> {
        let (staged, accepted, snapshot) = (&self.staged, &self.accepted, &self.snapshot);
        let entities = |id: EntityId| {
            staged.get(&id).or_else(|| accepted.entities.get(&id).map(|(_, entity)| entity)).cloned().or_else(|| snapshot.entity(id))
        };
        let decision = decide(request, Facts { catalog: &self.catalog, entities: &entities })?;

        let mut events = Vec::with_capacity(decision.events.len());
        for (stream, event) in decision.events {
            let version = match (&event, stream) {
                (Event::Entity(event), _) => self.stage(event),
                (event, stream) => {
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
        let version = self.version(decision.tenant, decision.subject);
        Ok(Append {
            tenant: decision.tenant,
            issuer: issuer(request),
            command_id: request.command_id,
            subject: decision.subject,
            version,
            events,
        })
    }

    /// The newest state of this entity, of the batch, in flight or in the snapshot.
    fn entity(&self, id: EntityId) -> Option<Arc<Entity>> {
        let staged = self.staged.get(&id).or_else(|| self.accepted.entities.get(&id).map(|(_, entity)| entity));
        staged.cloned().or_else(|| self.snapshot.entity(id))
    }

    fn stage(&mut self, event: &entity::EntityEvent) -> Version {
        let state = self.entity(event.id()).map(Arc::unwrap_or_clone);
        let state = entity::evolve(state, event);
        let version = state.as_ref().map_or(0, |state| state.version);
        self.staged.extend(state.map(|state| (event.id(), Arc::new(state))));
        version
    }

    fn version(&self, tenant: TenantId, stream: StreamId) -> Version {
        match self.entity(EntityId(stream.id)) {
            Some(entity) => entity.version,
            None => self.catalog.version(tenant, stream),
        }
    }

    /// Gives what was recorded to the arrangements, and keeps it in the overlay until a snapshot has it.
    fn hand_over(&mut self, appends: &mut Vec<Append>, appended: &[Appended]) {
        let mut recorded = Vec::with_capacity(appends.len());
        for (append, outcome) in appends.drain(..).zip(appended) {
            let Appended::New(answer) = outcome else { continue };
            let mut position = answer.position - append.events.len() as Position;
            for new in append.events {
                position += 1;
                let (stream, version, event, metadata) = (new.stream, new.version, new.event, new.metadata);
                recorded.push(Recorded { position, stream, version, tenant: append.tenant, event, metadata });
            }
            self.head = self.head.max(answer.position);
        }
        let head = self.head;
        for (_, entity) in self.staged.drain() {
            self.accepted.insert(head, entity);
        }
        metrics::gauge!("decidr_log_position").set(head as f64);
        if !recorded.is_empty() {
            self.arrangements.accept(recorded);
        }
    }
}

/// In whose name a command's id is remembered; operators share one that no tenant has.
fn issuer(request: &Request) -> TenantId {
    match request.authority {
        Authority::Tenant(tenant) => tenant,
        Authority::Operator => TenantId(Uuid::nil()),
    }
}

enum Outcome {
    Known(Answer),
    Appended(usize),
}
