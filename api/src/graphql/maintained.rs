//! Live results that are more than the entities that match: windows and groups. Each is kept by its subscriber.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use decidr_sinks::live::Changes as Heard;

use super::Refusal;
use super::changes::ChangesKind;
use super::listener::{self, Beginning, Listener, PROGRESS_INTERVAL};
use super::scalars::PositionToken;

/// A result that is kept up to date.
pub(super) trait Maintained: Send {
    /// What is told of a change to it.
    type Op: Send;
    /// The result as of a beginning, as what comes into an empty one. What was there before is forgotten.
    fn begin(&mut self, listener: &Listener, beginning: &Beginning) -> Result<Vec<Self::Op>, Refusal>;
    /// What changes it; nothing if it is the same.
    fn change(&mut self, listener: &mut Listener, view: &super::TenantView, changes: &Heard) -> Result<Vec<Self::Op>, Refusal>;
}

/// What a subscriber is told.
pub(super) type Message<Op> = (PositionToken, ChangesKind, Vec<Op>);

/// How many changes one message of a snapshot holds.
const SNAPSHOT_PAGE: usize = 500;

/// The messages of a snapshot, and its end.
pub(super) fn snapshot<Op>(position: PositionToken, mut ops: Vec<Op>) -> Vec<Message<Op>> {
    let mut messages = Vec::new();
    // An empty result is told too, by an empty page.
    loop {
        let rest = ops.split_off(ops.len().min(SNAPSHOT_PAGE));
        messages.push((position.clone(), ChangesKind::Snapshot, ops));
        if rest.is_empty() {
            break;
        }
        ops = rest;
    }
    messages.push((position, ChangesKind::Progress, vec![]));
    messages
}

/// One subscriber's feed.
pub(super) struct Feed<R: Maintained> {
    listener: Listener,
    result: R,
    waiting: VecDeque<Message<R::Op>>,
    /// Since when there are changes that left the result as it was, of which the subscriber was told nothing.
    untold: Option<Instant>,
}

impl<R: Maintained> Feed<R> {
    pub(super) fn start(listener: Listener, beginning: &Beginning, result: R) -> Result<Self, Refusal> {
        let mut feed = Self { listener, result, waiting: VecDeque::new(), untold: None };
        feed.begin(beginning)?;
        Ok(feed)
    }

    fn begin(&mut self, beginning: &Beginning) -> Result<(), Refusal> {
        let ops = tokio::task::block_in_place(|| self.result.begin(&self.listener, beginning))?;
        self.waiting.extend(snapshot(self.listener.position(), ops));
        Ok(())
    }

    pub(super) async fn next(&mut self) -> Result<Message<R::Op>, Refusal> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            let heard = match self.untold.map(|since| PROGRESS_INTERVAL.saturating_sub(since.elapsed())) {
                None => self.listener.next().await?,
                Some(Duration::ZERO) => listener::Heard::Progress,
                Some(left) => match tokio::time::timeout(left, self.listener.next()).await {
                    Ok(heard) => heard?,
                    Err(_) => listener::Heard::Progress,
                },
            };
            let untold = self.untold.take();
            match heard {
                listener::Heard::Progress => return Ok((self.listener.position(), ChangesKind::Progress, vec![])),
                listener::Heard::Lost(beginning) => {
                    self.waiting.push_back((self.listener.position(), ChangesKind::Reset, vec![]));
                    self.begin(&beginning)?;
                }
                listener::Heard::Changes(view, changes) => {
                    let ops = tokio::task::block_in_place(|| self.result.change(&mut self.listener, &view, &changes))?;
                    if ops.is_empty() {
                        self.untold = untold.or_else(|| Some(Instant::now()));
                    } else {
                        return Ok((self.listener.position(), ChangesKind::Delta, ops));
                    }
                }
            }
        }
    }
}
