//! The two ends of a subscription: messages are left at the one, and read at the other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use super::State;
use crate::interests::QueryId;
use crate::query::{Changes, Hears};

/// How many deltas may wait for one subscriber.
pub const QUEUE_MAX: usize = 1024;

/// How many changes of entities may wait for one subscriber, but that there may always be one delta.
pub const WAITING_MAX: usize = 100_000;

/// What comes next on a subscription.
#[derive(Debug)]
pub enum Next {
    /// Changes.
    Changes(Arc<Changes>),
    /// The subscriber fell behind, or the meaning of its filter changed: start again from a snapshot.
    Lagged,
    /// The query cannot be answered any more.
    Gone,
}

/// One subscriber's end.
pub struct Subscription {
    queue: mpsc::Receiver<Arc<Changes>>,
    /// How many changes of entities are in the queue.
    waiting: Arc<AtomicUsize>,
    ended: Arc<Mutex<Option<End>>>,
    /// Where it is registered, and as whose.
    state: Weak<Mutex<State>>,
    query: QueryId,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.retain_subscribers(self.query, |subscriber| subscriber.id != self.id);
        }
    }
}

/// Why a subscription ends.
#[derive(Clone, Copy)]
pub(super) enum End {
    Lagged,
    Gone,
}

impl Subscription {
    /// Both ends.
    pub(super) fn new(state: Weak<Mutex<State>>, query: QueryId, id: u64, hears: Hears) -> (Self, Subscriber) {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let (waiting, ended) = (Arc::default(), Arc::default());
        let subscriber = Subscriber { id, hears, queue: sender, waiting: Arc::clone(&waiting), ended: Arc::clone(&ended) };
        (Self { queue, waiting, ended, state, query, id }, subscriber)
    }

    /// The next message; waits for it.
    pub async fn next(&mut self) -> Next {
        match self.queue.recv().await {
            Some(changes) => self.read(changes),
            None => self.end(),
        }
    }

    /// The next message, if it is there already.
    pub fn try_next(&mut self) -> Option<Next> {
        match self.queue.try_recv() {
            Ok(changes) => Some(self.read(changes)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(self.end()),
        }
    }

    fn read(&self, changes: Arc<Changes>) -> Next {
        self.waiting.fetch_sub(changes.ops.len(), Ordering::Relaxed);
        Next::Changes(changes)
    }

    fn end(&self) -> Next {
        match *self.ended.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(End::Gone) => Next::Gone,
            Some(End::Lagged) | None => Next::Lagged,
        }
    }
}

/// The other end: where messages are left.
pub(super) struct Subscriber {
    pub(super) id: u64,
    pub(super) hears: Hears,
    queue: mpsc::Sender<Arc<Changes>>,
    waiting: Arc<AtomicUsize>,
    ended: Arc<Mutex<Option<End>>>,
}

impl Subscriber {
    /// Whether it is still there after this message was left for it.
    pub(super) fn send(&self, message: &Arc<Changes>) -> bool {
        let ops = message.ops.len();
        let waiting = self.waiting.fetch_add(ops, Ordering::Relaxed);
        let is_lagging = ops > 0 && waiting > 0 && waiting + ops > WAITING_MAX;
        let sent = if is_lagging { Err(TrySendError::Full(message.clone())) } else { self.queue.try_send(message.clone()) };
        if matches!(sent, Err(TrySendError::Full(_))) {
            metrics::counter!("decidr_live_lagged_total").increment(1);
            self.end(End::Lagged);
        }
        sent.is_ok()
    }

    /// Takes leave of a subscriber: it reads what waits for it, and then this.
    pub(super) fn end(&self, end: End) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }
}

#[cfg(test)]
mod tests {
    use decidr_domain::aggregate::entity::{Entity, Values};
    use decidr_domain::delta::{Change, Delta, Row};
    use decidr_domain::id::{CollectionId, EntityId, Position, TenantId};
    use decidr_domain::layout::Layout;
    use decidr_domain::stamp::Stamp;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::{Live, LiveQuery, Sink as _};

    const TENANT: TenantId = TenantId(Uuid::nil());
    const COLLECTION: CollectionId = CollectionId(Uuid::nil());

    /// So many new entities.
    fn delta(position: Position, count: usize) -> Arc<Delta> {
        let change = |n: usize| {
            let entity = Entity {
                id: EntityId(Uuid::from_u128(n as u128)),
                tenant_id: TENANT,
                collection_id: COLLECTION,
                archived: false,
                version: 1,
                values: Values::default(),
                number: 1,
                created: Stamp { at: Timestamp::UNIX_EPOCH, by: "test".into() },
                changes: Vec::new(),
            };
            let new = Row::new(1, Arc::new(entity), Layout::default(), std::iter::empty());
            Change { entity_id: new.entity.id, old: None, new }
        };
        Arc::new(Delta {
            previous: position - 1,
            position,
            newest: vec![(TENANT, position)],
            catalog: Arc::default(),
            schema_changed: false,
            is_aside: false,
            changes: (0..count).map(change).collect(),
        })
    }

    fn listen(live: &Live) -> Subscription {
        let query = LiveQuery { tenant: TENANT, collection: COLLECTION, filter: None };
        live.subscribe(query, None, Hears::Entities).expect("no time is asked for")
    }

    fn read(subscription: &mut Subscription) -> Option<usize> {
        match subscription.try_next()? {
            Next::Changes(changes) => Some(changes.ops.len()),
            next => panic!("{next:?}"),
        }
    }

    #[test]
    fn what_waits_is_bounded_by_its_size() {
        let live = Live::default();
        let (mut slow, mut quick) = (listen(&live), listen(&live));
        // One delta is handed over however large it is; what comes with it is too much, unless it was read.
        live.apply(&delta(1, WAITING_MAX + 1));
        assert_eq!(read(&mut quick), Some(WAITING_MAX + 1));
        live.apply(&delta(2, 10));
        assert_eq!((read(&mut quick), live.subscribers()), (Some(10), 1));
        assert_eq!(read(&mut slow), Some(WAITING_MAX + 1), "what was left for it before is still read");
        assert!(matches!(slow.try_next(), Some(Next::Lagged)));
        // As much as may wait, in many deltas; then one more.
        for position in 3..13 {
            live.apply(&delta(position, WAITING_MAX / 10));
        }
        assert_eq!(live.subscribers(), 1);
        live.apply(&delta(13, 1));
        assert_eq!(live.subscribers(), 0);
        assert_eq!(std::iter::from_fn(|| (!quick.queue.is_empty()).then(|| read(&mut quick))).count(), 10);
        assert!(matches!(quick.try_next(), Some(Next::Lagged)));
    }
}
