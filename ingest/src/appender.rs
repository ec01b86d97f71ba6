//! The second half of the command path: batches that were decided are written, answered, and given to the arrangements.

use std::sync::Arc;

use decidr_domain::arrangements::Arrangements;
use decidr_domain::event::Recorded;
use decidr_domain::id::Position;
use decidr_domain::rejection::Rejection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::command_path::ExecuteError;
use crate::log::{Answer, Append, Appended, EventLog, LogError};

/// Who waits for how many answers.
pub(crate) type Replies = Vec<(oneshot::Sender<Vec<Result<Answer, ExecuteError>>>, usize)>;

/// A batch that was decided.
pub(crate) struct Decided {
    /// Counted from 1.
    pub(crate) number: u64,
    /// Batches that were decided on top of one another. Grows when the decider begins again.
    pub(crate) attempt: u64,
    pub(crate) appends: Vec<Append>,
    pub(crate) outcomes: Vec<Result<Outcome, Rejection>>,
    pub(crate) replies: Replies,
}

/// What the appender lets the decider know.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    /// The last batch that is through.
    pub(crate) number: u64,
    /// The attempt that failed last, and why.
    pub(crate) failed: Option<(u64, Arc<LogError>)>,
}

/// Gives everybody the answers to what they asked.
pub(crate) fn answer(replies: Replies, answers: Vec<Result<Answer, ExecuteError>>) {
    let mut answers = answers.into_iter();
    for (reply, size) in replies {
        // Whoever asked may have gone; what was recorded stays recorded.
        let _ = reply.send(answers.by_ref().take(size).collect());
    }
}

/// Writes batches one after the other.
pub(crate) struct Appender {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) arrangements: Arc<dyn Arrangements>,
    pub(crate) progress: watch::Sender<Progress>,
}

impl Appender {
    pub(crate) async fn run(self, mut decided: mpsc::Receiver<Decided>) {
        while let Some(batch) = decided.recv().await {
            let number = batch.number;
            let failed = self.progress.borrow().failed.clone().filter(|(attempt, _)| *attempt >= batch.attempt);
            let outcome = match failed {
                // It was decided on top of what was not recorded.
                Some((_, error)) => Err(error),
                None => self.append(&batch.appends).await,
            };
            let attempt = batch.attempt;
            match outcome {
                Ok(appended) => {
                    self.hand_over(batch.appends, &appended);
                    answer(batch.replies, answers(batch.outcomes, &appended));
                    self.progress.send_modify(|progress| progress.number = number);
                }
                Err(error) => {
                    let refused = |outcome: Result<Outcome, Rejection>| match outcome {
                        Ok(Outcome::Known(answer)) => Ok(answer),
                        // A refusal too may rest on what was not recorded.
                        Ok(Outcome::Appended(_)) | Err(_) => Err(ExecuteError::Log(error.clone())),
                    };
                    answer(batch.replies, batch.outcomes.into_iter().map(refused).collect());
                    self.progress.send_modify(|progress| {
                        progress.number = number;
                        progress.failed = Some((attempt, error.clone()));
                    });
                }
            }
        }
    }

    async fn append(&self, appends: &[Append]) -> Result<Vec<Appended>, Arc<LogError>> {
        if appends.is_empty() {
            return Ok(vec![]);
        }
        let started = std::time::Instant::now();
        let appended = self.log.append(appends).await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, commands = appends.len(), "a batch of commands was not recorded");
            Arc::new(error)
        })?;
        metrics::histogram!("decidr_log_append_seconds").record(started.elapsed());
        metrics::counter!("decidr_commands_accepted_total").increment(appended.len() as u64);
        Ok(appended)
    }

    /// Gives what was recorded to the arrangements.
    fn hand_over(&self, appends: Vec<Append>, appended: &[Appended]) {
        let mut recorded = Vec::with_capacity(appends.len());
        for (append, outcome) in appends.into_iter().zip(appended) {
            let Appended::New(answer) = outcome else { continue };
            let first = answer.position + 1 - append.events.len() as Position;
            for (position, new) in (first..).zip(append.events) {
                let (stream, version, event, metadata) = (new.stream, new.version, new.event, new.metadata);
                recorded.push(Recorded { position, stream, version, tenant: append.tenant, event, metadata });
            }
        }
        if let Some(last) = recorded.last() {
            metrics::gauge!("decidr_log_position").set(last.position as f64);
            self.arrangements.accept(recorded);
        }
    }
}

/// The answers to a batch that was recorded.
fn answers(outcomes: Vec<Result<Outcome, Rejection>>, appended: &[Appended]) -> Vec<Result<Answer, ExecuteError>> {
    let mut refused = 0;
    let answer = |outcome| match outcome {
        Ok(Outcome::Known(answer)) => Ok(answer),
        Ok(Outcome::Appended(i)) => match appended[i] {
            Appended::New(answer) | Appended::Repeated(answer) => Ok(answer),
            // Only another writer could have moved the stream, and the log turns other writers away.
            Appended::Conflict { stream, actual } => {
                let message = format!("{stream} has version {actual}, which is not the one that was decided against");
                Err(ExecuteError::Log(Arc::new(LogError::Damaged(message))))
            }
        },
        Err(rejection) => {
            refused += 1;
            Err(ExecuteError::Rejected(rejection))
        }
    };
    let answers = outcomes.into_iter().map(answer).collect();
    metrics::counter!("decidr_commands_refused_total").increment(refused);
    answers
}

/// What was decided about a command that was not refused.
pub(crate) enum Outcome {
    /// It was done before.
    Known(Answer),
    /// What it comes to is at this place of the batch's appends.
    Appended(usize),
}
