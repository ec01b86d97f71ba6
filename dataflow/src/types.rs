//! Names for the versions of timely and differential that we use, and batches that other threads may read.
//!
//! A differential batch is immutable once sealed, but is shared by `Rc` and so bound to its worker. [`Shared`] shares it by
//! `Arc` instead; everything is forwarded to the batch inside. Arrangements made with it can be read from any thread.

use std::sync::Arc;

use decidr_domain::id::Position;
use differential_dataflow::trace::Navigable;
use differential_dataflow::trace::cursor::Cursor;
use differential_dataflow::trace::implementations::Vector;
use differential_dataflow::trace::implementations::ord_neu::{OrdKeyBatch, OrdValBatch};
use differential_dataflow::trace::implementations::spine_fueled::{Merger, Spine, SpineBatch};
use timely::progress::frontier::AntichainRef;

/// The dataflow's time: a position in the log, and behind it as many slices of what is computed aside as there are before
/// the next position.
pub(crate) type Time = u64;

/// How many bits of a time count slices.
const SLICE_BITS: u32 = 24;

/// The time of a position: of the events up to there, before any slice.
pub(crate) fn time_of(position: Position) -> Time {
    position << SLICE_BITS
}

/// The time of the slice after `time`; `None` if there were so many since the last position that there is no more room.
pub(crate) fn slice_after(time: Time) -> Option<Time> {
    let next = time + 1;
    (next >> SLICE_BITS == time >> SLICE_BITS).then_some(next)
}

/// How often an update counts: 1 for an insertion, -1 for a retraction.
pub(crate) type Diff = isize;

/// How much an arrangement holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many updates: what is there, and what retractions are not merged away yet.
    pub updates: usize,
    /// How much memory they take, those of rows with the rows themselves, by a sample.
    pub bytes: usize,
}

/// A batch of values by key that any thread may read.
pub(crate) type ValBatch<K, V> = Shared<OrdValBatch<Vector<((K, V), Time, Diff)>>>;

/// A trace of such batches.
pub(crate) type ValSpine<K, V> = Spine<ValBatch<K, V>>;

/// A batch of keys that any thread may read.
pub(crate) type KeyBatch<K> = Shared<OrdKeyBatch<Vector<((K, ()), Time, Diff)>>>;

/// A trace of such batches.
pub(crate) type KeySpine<K> = Spine<KeyBatch<K>>;

/// A batch behind an `Arc`.
pub(crate) struct Shared<B>(Arc<B>);

impl<B> Clone for Shared<B> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<B> From<B> for Shared<B> {
    fn from(batch: B) -> Self {
        Shared(Arc::new(batch))
    }
}

pub(crate) struct SharedMerger<B: SpineBatch>(B::Merger);

impl<B: SpineBatch> SpineBatch for Shared<B> {
    type Time = B::Time;
    type Merger = SharedMerger<B>;
    fn len(&self) -> usize {
        (*self.0).len()
    }
}

impl<B: SpineBatch> Merger<Shared<B>> for SharedMerger<B> {
    fn new(a: &Shared<B>, b: &Shared<B>, frontier: AntichainRef<'_, B::Time>) -> Self {
        SharedMerger(B::Merger::new(&a.0, &b.0, frontier))
    }
    fn work(&mut self, a: &Shared<B>, b: &Shared<B>, fuel: &mut isize) {
        self.0.work(&a.0, &b.0, fuel);
    }
    fn done(self) -> Option<Shared<B>> {
        self.0.done().map(Into::into)
    }
}

impl<B: Navigable> Navigable for Shared<B> {
    type Cursor = SharedCursor<B::Cursor>;
    fn cursor(&self) -> Self::Cursor {
        SharedCursor(self.0.cursor())
    }
}

/// A cursor over a batch behind an `Arc`.
pub(crate) struct SharedCursor<C>(C);

impl<C: Cursor> Cursor for SharedCursor<C> {
    type Storage = Shared<C::Storage>;
    type Key<'a> = C::Key<'a>;
    type ValOwn = C::ValOwn;
    type Val<'a> = C::Val<'a>;
    type Time = C::Time;
    type TimeGat<'a> = C::TimeGat<'a>;
    type Diff = C::Diff;
    type DiffGat<'a> = C::DiffGat<'a>;
    type KeyContainer = C::KeyContainer;
    type ValContainer = C::ValContainer;
    type TimeContainer = C::TimeContainer;
    type DiffContainer = C::DiffContainer;
    fn key_valid(&self, s: &Self::Storage) -> bool {
        self.0.key_valid(&s.0)
    }
    fn val_valid(&self, s: &Self::Storage) -> bool {
        self.0.val_valid(&s.0)
    }
    fn key<'a>(&self, s: &'a Self::Storage) -> Self::Key<'a> {
        self.0.key(&s.0)
    }
    fn val<'a>(&self, s: &'a Self::Storage) -> Self::Val<'a> {
        self.0.val(&s.0)
    }
    fn get_key<'a>(&self, s: &'a Self::Storage) -> Option<Self::Key<'a>> {
        self.0.get_key(&s.0)
    }
    fn get_val<'a>(&self, s: &'a Self::Storage) -> Option<Self::Val<'a>> {
        self.0.get_val(&s.0)
    }
    fn map_times<L: FnMut(Self::TimeGat<'_>, Self::DiffGat<'_>)>(&mut self, s: &Self::Storage, logic: L) {
        self.0.map_times(&s.0, logic);
    }
    fn step_key(&mut self, s: &Self::Storage) {
        self.0.step_key(&s.0);
    }
    fn seek_key(&mut self, s: &Self::Storage, key: Self::Key<'_>) {
        self.0.seek_key(&s.0, key);
    }
    fn step_val(&mut self, s: &Self::Storage) {
        self.0.step_val(&s.0);
    }
    fn seek_val(&mut self, s: &Self::Storage, val: Self::Val<'_>) {
        // A list of cursors seeks in all of them, also in those that are behind their last key, where there are no values.
        if self.0.key_valid(&s.0) {
            self.0.seek_val(&s.0, val);
        }
    }
    fn rewind_keys(&mut self, s: &Self::Storage) {
        self.0.rewind_keys(&s.0);
    }
    fn rewind_vals(&mut self, s: &Self::Storage) {
        self.0.rewind_vals(&s.0);
    }
}
