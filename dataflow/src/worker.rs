//! One worker with its share of the graph.

use std::cell::RefCell;
use std::rc::Rc;

use decidr_domain::delta::Change;
use decidr_domain::id::TenantId;
use rustc_hash::FxHashMap;
use timely::progress::Antichain;
use timely::worker::Worker;

use crate::compute::{Backlog, Due, SharedBacklog, SharedDue, SharedEffort, Store};
use crate::message::Message;
use crate::render::{Batches, Input, Traces, render};
use crate::rows::SharedRowTable;
use crate::types::Time;

/// What one worker gives when it is through with a timestamp.
pub(crate) struct Through {
    pub(crate) worker: usize,
    pub(crate) time: Time,
    pub(crate) batches: Batches,
    pub(crate) changes: Vec<Change>,
    pub(crate) backlog: Backlog,
    pub(crate) due: Due,
    pub(crate) effort: FxHashMap<TenantId, u64>,
}

/// One worker with its share of the graph.
pub(crate) struct Graph<'a> {
    worker: &'a mut Worker,
    input: Input,
    traces: Traces,
    changes: Rc<RefCell<Vec<Change>>>,
    rows: SharedRowTable,
    backlog: SharedBacklog,
    due: SharedDue,
    effort: SharedEffort,
}

impl<'a> Graph<'a> {
    /// Builds it.
    pub(crate) fn build(worker: &'a mut Worker) -> Self {
        let mut input = Input::new_with_builder();
        let (changes, rows, backlog) = (Rc::default(), SharedRowTable::default(), Rc::default());
        let (due, effort) = (SharedDue::default(), SharedEffort::default());
        let store = Store::new(Rc::clone(&changes), Rc::clone(&rows), Rc::clone(&backlog), Rc::clone(&due), Rc::clone(&effort));
        let traces = worker.dataflow::<Time, _, _>(|scope| render(scope, &mut input, store));
        Self { worker, input, traces, changes, rows, backlog, due, effort }
    }

    /// How many workers there are.
    pub(crate) fn peers(&self) -> usize {
        self.worker.peers()
    }

    /// Has nothing to feed; must not hold anybody back.
    pub(crate) fn close(&mut self) {
        std::mem::replace(&mut self.input, Input::new_with_builder()).close();
    }

    /// Feeds a message.
    pub(crate) fn send(&mut self, message: Message) {
        self.input.send(message);
    }

    /// What was sent is of earlier times.
    pub(crate) fn advance_to(&mut self, time: Time) {
        self.input.advance_to(time);
        self.input.flush();
    }

    /// Does something with what was sent.
    pub(crate) fn give_way(&mut self) {
        self.input.flush();
        self.worker.step();
    }

    /// Whether everything of `time` has come out, on all workers.
    pub(crate) fn is_through(&mut self, time: Time) -> bool {
        self.traces.are_through(time)
    }

    /// Does what there is to do, or waits until there is something.
    pub(crate) fn step(&mut self) {
        self.worker.step_or_park(None);
    }

    /// What this worker has when `time` is through.
    pub(crate) fn publish(&mut self, time: Time) -> Through {
        let upper = Antichain::from_elem(time + 1);
        let batches = self.traces.publish(upper.borrow(), self.rows.borrow_mut().publish(time));
        let (changes, due, effort) = (self.changes.take(), self.due.take(), self.effort.take());
        Through { worker: self.worker.index(), time, batches, changes, backlog: self.backlog.borrow().clone(), due, effort }
    }

    /// Lets go of what nobody can ask for any more; for when nobody waits.
    pub(crate) fn tidy(&mut self) {
        self.rows.borrow_mut().tidy();
    }
}
