//! Lets time pass for formulas that ask for it: an event at the moment at which some cell comes out otherwise, and none
//! before.

use std::collections::BTreeMap;
use std::time::Duration;

use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::arrangements::Snapshot;
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::id::{CommandId, TenantId};
use decidr_ingest::{CommandPath, ExecuteError};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use crate::platform::Platform;

/// Who needs time to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asker {
    /// The cells that the dataflow computes.
    Cells,
    /// The filters of live queries.
    Filters,
}

/// When time must be let pass for a tenant because of this asker; nothing if it need not.
pub(crate) type Due = (Asker, TenantId, Option<Timestamp>);

/// The least time between two events for one tenant: what is due meanwhile is seen so much later, together.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long to wait after the log failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest that is slept at once: the time of day may be set anew meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What is known of one tenant.
#[derive(Clone, Copy)]
struct Pending {
    /// When something is due.
    at: Timestamp,
    /// Not before this.
    earliest: Instant,
}

/// Records that time has passed, for each tenant when something is due.
pub(crate) async fn run(mut due: mpsc::UnboundedReceiver<Due>, commands: CommandPath) {
    let mut pending: BTreeMap<(TenantId, Asker), Pending> = BTreeMap::new();
    let mut advanced: BTreeMap<TenantId, Instant> = BTreeMap::new();
    loop {
        let nap = pending.values().map(Pending::wait).min();
        let news = match nap {
            Some(nap) => tokio::time::timeout(nap.min(SLEEP_MAX), due.recv()).await.ok(),
            None => Some(due.recv().await),
        };
        match news {
            None => {}
            Some(None) => return,
            Some(Some(first)) => {
                let mut next = Some(first);
                while let Some((asker, tenant, at)) = next {
                    let earliest = advanced.get(&tenant).map_or_else(Instant::now, |advanced| *advanced + INTERVAL);
                    match at {
                        Some(at) => drop(pending.insert((tenant, asker), Pending { at, earliest })),
                        None => drop(pending.remove(&(tenant, asker))),
                    }
                    next = due.try_recv().ok();
                }
            }
        }
        let is_ripe = |pending: &Pending| pending.wait().is_zero();
        let mut ripe: Vec<TenantId> = pending.iter().filter(|(_, at)| is_ripe(at)).map(|((tenant, _), _)| *tenant).collect();
        ripe.dedup();
        if ripe.is_empty() {
            continue;
        }
        let now = Timestamp::now();
        let answers = commands.execute_all(ripe.iter().map(|tenant| advance(*tenant, now)).collect()).await;
        for (tenant, answer) in ripe.into_iter().zip(answers) {
            advanced.insert(tenant, Instant::now());
            let of_tenant = pending.extract_if((tenant, Asker::Cells)..=(tenant, Asker::Filters), |_, pending| pending.at <= now);
            match answer {
                // What is due next comes with the delta.
                Ok(_) => of_tenant.for_each(drop),
                Err(ExecuteError::Log(error)) => {
                    tracing::warn!(%tenant, %error, "time passed, and it could not be recorded; trying again");
                    let earliest = Instant::now() + PAUSE;
                    let again: Vec<_> = of_tenant.map(|(of, pending)| (of, Pending { earliest, ..pending })).collect();
                    pending.extend(again);
                }
                Err(error) => {
                    tracing::warn!(%tenant, %error, "time passed, and it was refused");
                    of_tenant.for_each(drop);
                }
            }
        }
        advanced.retain(|_, at| at.elapsed() < INTERVAL);
    }
}

impl Pending {
    /// How long until then.
    fn wait(&self) -> Duration {
        let until = Timestamp::now().duration_until(self.at);
        Duration::try_from(until).unwrap_or_default().max(self.earliest.saturating_duration_since(Instant::now()))
    }
}

/// Tells a tenant's formulas what time it is, if they do not know it at all; so that the first that asks finds an answer.
pub(crate) async fn start(tenant: TenantId, platform: &Platform) -> Result<(), ExecuteError> {
    tell(tenant, platform, |clock| clock.is_none()).await
}

/// The same if they knew it longer ago than it may be late; so that a live query that asks does not begin with what is over.
pub(crate) async fn catch_up(tenant: TenantId, platform: &Platform) -> Result<(), ExecuteError> {
    let is_late = |clock: Timestamp| Duration::try_from(clock.duration_until(Timestamp::now())).is_ok_and(|late| late > INTERVAL);
    tell(tenant, platform, |clock| clock.is_none_or(is_late)).await
}

/// Tells a tenant's formulas what time it is, if what they know needs it. Returns when they know.
async fn tell(tenant: TenantId, platform: &Platform, needs_it: impl Fn(Option<Timestamp>) -> bool) -> Result<(), ExecuteError> {
    let arranged = platform.arranged();
    let schema = arranged.catalog().tenant(tenant).filter(|schema| !schema.tenant.suspended);
    if schema.is_some_and(|schema| needs_it(schema.clock())) {
        let answer = platform.execute(advance(tenant, Timestamp::now())).await?;
        platform.reached(answer.position).await;
    }
    Ok(())
}

fn advance(tenant: TenantId, to: Timestamp) -> Request {
    // The same again is the same command.
    let command_id = CommandId(Uuid::new_v5(&tenant.0, &to.as_millisecond().to_be_bytes()));
    let command = Command::Tenant(TenantCommand::AdvanceClock { id: tenant, to });
    Request { command_id, authority: Authority::Operator, actor: "decidr".into(), correlation_id: command_id.0, command }
}
