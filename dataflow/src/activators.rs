//! By what the workers' threads are woken.

use std::sync::{Mutex, PoisonError};

use timely::scheduling::SyncActivator;
use timely::worker::Worker;

/// By which the workers' threads are woken.
#[derive(Default)]
pub(crate) struct Activators(Mutex<Vec<SyncActivator>>);

impl Activators {
    /// Wakes this worker too, when all are woken.
    pub(crate) fn wake_too(&self, worker: &Worker) {
        // Activating the empty path schedules no operator, but wakes the thread.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(worker.sync_activator_for(vec![]));
    }

    /// Wakes every worker.
    pub(crate) fn wake(&self) {
        for activator in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // Fails only if the worker has ended.
            let _ = activator.activate();
        }
    }
}
