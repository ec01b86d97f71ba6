//! How much may be under way of a tenant whose formulas take long.
//!
//! What follows from the events of all tenants is computed in the order of the log, so that whoever comes behind a change
//! that takes long waits for it. Of a tenant that has such formulas, or had, so many commands are under way at a time as
//! are computed in some tens of milliseconds; those behind them wait here, where they hold up nobody else. When they are
//! computed the tenant rests for as long again, so that others have at least half of the time.
//!
//! How long a command takes is foreseen from the schema at first, and then learnt from what the last ones took: links may
//! lead to many, and texts may be long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use decidr_domain::arrangements::Arrangements;
use decidr_domain::id::{Position, TenantId};
use rustc_hash::FxHashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many steps may be under way, those of one command left aside that takes more: some tens of milliseconds.
const UNDER_WAY_MAX: u32 = 1_000_000;

/// How many steps a command is taken to have at least, so that no more than a thousand are under way: the next ones may
/// take longer than any before.
const STEPS_MIN: u32 = 1_000;

/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(30);

/// About how long a step takes that takes long: many take a fifth of it.
const STEP_MAX: Duration = Duration::from_nanos(100);

/// The allowances of all tenants that need one.
pub(crate) struct Allowances {
    arrangements: Arc<dyn Arrangements>,
    tenants: Mutex<FxHashMap<TenantId, Arc<Allowance>>>,
}

/// The allowance of one tenant.
pub(crate) struct Allowance {
    tenant: TenantId,
    arrangements: Arc<dyn Arrangements>,
    /// One permit for each step.
    room: Arc<Semaphore>,
    cost: Mutex<Cost>,
}

/// What a command takes, as far as that is known.
#[derive(Debug, PartialEq)]
struct Cost {
    /// In steps; between [`STEPS_MIN`] and [`UNDER_WAY_MAX`].
    steps: u32,
    /// What the schema lets foresee, of all cells of one entity.
    foreseen: u64,
    /// The tenant's effort when it was last looked at.
    effort: u64,
}

impl Cost {
    fn new(effort: u64) -> Self {
        Self { steps: STEPS_MIN, foreseen: 0, effort }
    }

    /// Another schema lets foresee this.
    fn foresee(&mut self, foreseen: u64) {
        if foreseen != self.foreseen {
            self.foreseen = foreseen;
            self.steps = self.steps.max(bounded(foreseen));
        }
    }

    /// So many commands are computed, and the effort is this by now; returns how many steps were taken since it was last
    /// looked at.
    fn learn(&mut self, commands: usize, effort: u64) -> u64 {
        let taken = effort.saturating_sub(self.effort);
        self.effort = effort;
        let each = bounded(taken / commands.max(1) as u64);
        // Up at once and down slowly: few that take little say nothing about those to come.
        self.steps = if each >= self.steps { each } else { self.steps - (self.steps - each).div_ceil(16) };
        taken
    }
}

fn bounded(steps: u64) -> u32 {
    u32::try_from(steps).unwrap_or(u32::MAX).clamp(STEPS_MIN, UNDER_WAY_MAX)
}

impl Allowances {
    pub(crate) fn new(arrangements: Arc<dyn Arrangements>) -> Self {
        Self { arrangements, tenants: Mutex::default() }
    }

    /// The allowance of a tenant, if it needs one.
    pub(crate) fn of(&self, tenant: TenantId) -> Option<Arc<Allowance>> {
        let snapshot = self.arrangements.snapshot();
        let foreseen = snapshot.catalog().tenant(tenant).map_or(0, |schema| schema.long_work());
        let effort = snapshot.effort(tenant);
        if foreseen == 0 && effort == 0 {
            return None;
        }
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = tenants.entry(tenant).or_insert_with(|| {
            let room = Arc::new(Semaphore::new(UNDER_WAY_MAX as usize));
            Arc::new(Allowance { tenant, arrangements: self.arrangements.clone(), room, cost: Mutex::new(Cost::new(effort)) })
        });
        allowance.cost().foresee(foreseen);
        Some(allowance.clone())
    }
}

impl Allowance {
    fn cost(&self) -> std::sync::MutexGuard<'_, Cost> {
        self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many commands may go together.
    pub(crate) fn together(&self) -> usize {
        (UNDER_WAY_MAX / self.cost().steps) as usize
    }

    /// Waits until there is room for so many commands, no more than may go together.
    pub(crate) async fn room(&self, commands: usize) -> Room {
        let steps = u32::try_from(commands).unwrap_or(u32::MAX).saturating_mul(self.cost().steps).min(UNDER_WAY_MAX);
        let permit = self.room.clone().acquire_many_owned(steps).await.expect("it is never closed");
        Room { permit, commands, entered: Instant::now() }
    }

    /// Gives the room back when what was recorded up to a position is computed, and as long again has passed.
    pub(crate) fn leave(self: &Arc<Self>, room: Room, position: Position) {
        let this = self.clone();
        tokio::spawn(async move {
            this.arrangements.reached(position).await;
            // What others took is part of it, and no reason to rest.
            let took = room.entered.elapsed();
            let taken = this.cost().learn(room.commands, this.arrangements.snapshot().effort(this.tenant));
            let theirs = STEP_MAX.saturating_mul(u32::try_from(taken).unwrap_or(u32::MAX));
            tokio::time::sleep(took.min(theirs).min(REST_MAX)).await;
            drop(room.permit);
        });
    }
}

/// Room for some commands.
pub(crate) struct Room {
    permit: OwnedSemaphorePermit,
    commands: usize,
    entered: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_take_is_foreseen_and_then_learnt() {
        let mut cost = Cost::new(7_000_000);
        cost.foresee(250_000);
        assert_eq!(cost.steps, 250_000, "four may go together");
        assert_eq!(cost.learn(4, 7_000_000 + 4 * 500_000), 2_000_000);
        assert_eq!(cost.steps, 500_000, "more than was foreseen");
        cost.learn(1, u64::MAX);
        assert_eq!(cost.steps, UNDER_WAY_MAX, "one after the other is the least");
        for _ in 0..200 {
            let effort = cost.effort;
            assert_eq!(cost.learn(1, effort), 0);
        }
        assert_eq!(cost.steps, STEPS_MIN, "what took little for long is taken to take little");
        cost.foresee(250_000);
        assert_eq!(cost.steps, STEPS_MIN, "the same schema says nothing new");
        cost.foresee(260_000);
        assert_eq!(cost.steps, 260_000);
        cost.foresee(0);
        assert_eq!(cost.steps, 260_000, "what was under way is not known to be through");
    }
}
