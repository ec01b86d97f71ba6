//! One subscriber's ear: snapshots to begin with, and every change after.

use std::sync::Arc;
use std::time::Duration;

use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::formula::{FormulaErrorKind, Program};
use decidr_domain::id::{CollectionId, Position};
use decidr_domain::rejection::Rejection;
use decidr_domain::schema::resolve;
use decidr_sinks::LiveQuery;
use decidr_sinks::live::{Changes, Hears, Next, SCHEDULED_MAX, Unschedulable, Unscheduled};

use super::scalars::PositionToken;
use super::{Refusal, Request, ScanBudget, Seal, TenantView, arranged_schema};
use crate::clocks;
use crate::platform::Platform;

/// How often a subscriber hears that nothing changed, if something else of its tenant did.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// How often it is tried to find out when entities are due, if the schema changes meanwhile.
const TRIES: usize = 5;

/// Who listens to what.
#[derive(Clone)]
struct Ear {
    platform: Arc<Platform>,
    query: LiveQuery,
    hears: Hears,
    seal: Seal,
    actor: Arc<str>,
}

/// Listens to one live query.
pub(super) struct Listener {
    ear: Ear,
    subscription: decidr_sinks::Subscription,
    sent: Position,
}

/// A state to begin with: everything up to there is in it, and nothing of it will be heard again.
pub(super) struct Beginning {
    /// The state; whoever holds it keeps everything that it shows.
    pub(super) view: TenantView,
    /// The query's filter.
    pub(super) filter: Option<Program>,
}

/// What is heard.
pub(super) enum Heard {
    /// What changed, with a view in which to show it.
    Changes(TenantView, Arc<Changes>),
    /// Nothing changed up to [`Listener::position`].
    Progress,
    /// Too much changed to be told, or its meaning: from here it goes on.
    Lost(Beginning),
}

impl Ear {
    /// Why the query means nothing any more.
    fn gone(&self) -> Refusal {
        let (arranged, filter) = (self.platform.arranged(), self.query.filter.as_ref());
        let schema = arranged.catalog().tenant(self.query.tenant).filter(|schema| schema.collection(self.query.collection).is_some());
        let mistake = schema.zip(filter).and_then(|(schema, filter)| resolve::stored_formula(schema, self.query.collection, filter).err());
        match mistake.filter(|error| error.kind == FormulaErrorKind::Type) {
            Some(error) => Rejection::Formula { what: "the filter".into(), error }.into(),
            None => Refusal::new("NOT_FOUND", "the collection, or an attribute that the query refers to, is gone"),
        }
    }

    /// Listens to a query whose filter asks what time it is, after looking at what it may let in when.
    fn schedule(&self, unscheduled: Unscheduled, filter: Option<&Program>) -> Result<decidr_sinks::Subscription, Unschedulable> {
        let filter = filter.ok_or(Unschedulable::Outdated)?;
        let (arranged, LiveQuery { tenant, collection, .. }) = (self.platform.arranged(), &self.query);
        let clock = arranged.catalog().tenant(*tenant).and_then(|schema| schema.clock());
        tokio::task::block_in_place(|| {
            unscheduled.schedule(filter, arranged.position(), clock, |visit| {
                let selection = arranged.select(*tenant, *collection, &filter.equalities());
                arranged.scan_selected(*collection, &selection, None, visit);
            })
        })
    }
}

impl Listener {
    /// Listens to the entities of a collection that pass a filter.
    pub(super) async fn start(
        request: &Request<'_>,
        collection: CollectionId,
        filter: Option<&str>,
        hears: Hears,
    ) -> Result<(Self, Beginning), Refusal> {
        let view = request.view(None).await?;
        view.schema.collection(collection).ok_or_else(|| Refusal::new("NOT_FOUND", format!("no collection `{collection}`")))?;
        let filter = filter.map(|filter| view.live_filter(collection, filter)).transpose()?;
        let tenant = request.tenant()?;
        if filter.as_ref().is_some_and(|(_, program)| program.is_timed) {
            clocks::catch_up(tenant, request.platform).await?;
        }
        let query = LiveQuery { tenant, collection, filter: filter.map(|(expression, _)| expression) };
        let (platform, actor) = (request.platform.clone(), request.caller.actor.as_str().into());
        Self::listen(Ear { platform, query, hears, seal: request.seal(), actor })
    }

    fn listen(ear: Ear) -> Result<(Self, Beginning), Refusal> {
        let mut tries = 0;
        loop {
            // Listen first, look then: what comes in between is in both, and passed over.
            let program = ear.query.program(ear.platform.arranged().catalog()).map_err(|_| ear.gone())?;
            let subscribed = ear.platform.live().subscribe(ear.query.clone(), program.clone(), ear.hears);
            let scheduled = subscribed.or_else(|unscheduled| ear.schedule(unscheduled, program.as_ref()));
            tries += 1;
            let subscription = match scheduled {
                Ok(subscription) => subscription,
                Err(Unschedulable::Outdated) if tries < TRIES => continue,
                Err(Unschedulable::Outdated) => {
                    return Err(Refusal::new(
                        "TOO_LARGE",
                        "the collection changes too fast to be listened to; filter by something else, too",
                    ));
                }
                Err(Unschedulable::TooMany) => {
                    let message = format!("more than {SCHEDULED_MAX} entities would wait for their time; filter by something else, too");
                    return Err(Refusal::new("TOO_LARGE", message));
                }
            };
            let mut listener = Self { ear: ear.clone(), subscription, sent: 0 };
            let (view, filter) = listener.newest()?;
            // Otherwise the schema changed in between, and whoever listens has the filter of before.
            if filter == program {
                return Ok((listener, Beginning { view, filter: program }));
            }
        }
    }

    /// The newest state, and the filter as of then. What is heard from now on is not in it.
    pub(super) fn newest(&mut self) -> Result<(TenantView, Option<Program>), Refusal> {
        let view = self.view()?;
        let filter = self.ear.query.program(view.arranged.catalog()).map_err(|_| self.ear.gone())?;
        self.sent = view.arranged.newest(self.ear.query.tenant);
        Ok((view, filter))
    }

    fn view(&self) -> Result<TenantView, Refusal> {
        let arranged = self.ear.platform.arranged();
        let schema = arranged_schema(&arranged, self.ear.query.tenant)?;
        Ok(TenantView::new(arranged, schema, self.ear.seal.clone(), ScanBudget::default(), self.ear.actor.clone()))
    }

    /// The collection.
    pub(super) fn collection(&self) -> CollectionId {
        self.ear.query.collection
    }

    /// Up to where everything was heard.
    pub(super) fn position(&self) -> PositionToken {
        self.ear.seal.position(self.ear.query.tenant, self.sent)
    }

    /// What comes next; waits for it.
    pub(super) async fn next(&mut self) -> Result<Heard, Refusal> {
        loop {
            let next = match tokio::time::timeout(PROGRESS_INTERVAL, self.subscription.next()).await {
                Ok(next) => next,
                Err(_) => {
                    // First how far it is, then whether something waits: so nothing up to there can be missed.
                    let position = self.ear.platform.live().newest(self.ear.query.tenant);
                    match self.subscription.try_next() {
                        Some(next) => next,
                        None if position > self.sent => {
                            self.sent = position;
                            return Ok(Heard::Progress);
                        }
                        None => continue,
                    }
                }
            };
            match next {
                Next::Changes(changes) if changes.position <= self.sent => {}
                Next::Changes(changes) => {
                    self.sent = changes.position;
                    // What nodes show beside their row is as of the newest position; the row itself is this delta's.
                    return Ok(Heard::Changes(self.view()?, changes));
                }
                Next::Lagged => {
                    let (listener, beginning) = Self::listen(self.ear.clone())?;
                    *self = listener;
                    return Ok(Heard::Lost(beginning));
                }
                Next::Gone => return Err(self.ear.gone()),
            }
        }
    }
}
