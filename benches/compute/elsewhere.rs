//! Edits that have nothing to do with what is computed meanwhile: what they notice of it.

use std::time::Instant;

use benches::{Bench, Times, formula, number};
use decidr_domain::id::{CollectionId, EntityId};
use serde_json::json;

use crate::{Line, latency, once};

/// An entity with a formula, in a collection of its own.
pub(crate) struct Elsewhere {
    collection: CollectionId,
    entity: EntityId,
}

impl Elsewhere {
    pub(crate) async fn new(bench: &Bench) -> anyhow::Result<Self> {
        let collection = bench.collection("elsewhere").await?;
        bench.attribute(collection, "n", number()).await?;
        bench.attribute(collection, "f", formula("{n} * 2")).await?;
        let entity = bench.entities(collection, [json!({ "n": 0 })]).await?[0];
        Ok(Self { collection, entity })
    }

    /// Edits it, one time after the other, until what was just defined is shown, and a hundred times at least; notes how long
    /// that took since `start`, and the edits.
    pub(crate) async fn until_shown(
        &mut self,
        bench: &Bench,
        start: Instant,
        case: &'static str,
        what: String,
        lines: &mut Vec<Line>,
    ) -> anyhow::Result<()> {
        const EDITS_MIN: usize = 100;
        let (defined, mut subscription) = (bench.platform.head(), bench.listen(self.collection));
        let (mut times, mut edits, mut shown) = (Times::new()?, 0, None);
        while shown.is_none() || edits < EDITS_MIN {
            edits += 1;
            let sent = Instant::now();
            let position = bench.set(self.entity, json!({ "n": edits })).await?;
            bench.heard(&mut subscription, position).await?;
            times.since(sent);
            let arranged = bench.platform.arranged();
            if shown.is_none() && position >= defined && arranged.staged_at(bench.tenant).is_none() {
                shown = Some(once(case, what.clone(), start));
            }
        }
        lines.extend(shown);
        lines.push(latency(case, format!("an edit elsewhere meanwhile and after ({edits} edits)"), &times));
        Ok(())
    }
}
