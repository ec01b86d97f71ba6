//! The links that a live walk takes, as a graph in one state.

use decidr_domain::aggregate::attribute::Definition;
use decidr_domain::id::{AttributeId, EntityId};
use decidr_domain::schema::Direction;

use super::traverse::{Links, in_sight, neighbours};
use super::{Refusal, TenantView};
use crate::walks::WalkedLinks;
use crate::walks::reach::Graph;

/// How many entities a live walk keeps.
const REACHED_MAX: usize = 100_000;

/// The links that a walk may take, and the same against their direction.
pub(super) struct Steps {
    out: Links,
    into: Links,
}

impl Steps {
    /// By these links. Refused if one of them is a closure.
    pub(super) fn new(view: &TenantView, out: Links) -> Result<Self, Refusal> {
        let mut into = Links::default();
        for direction in out.values().flatten() {
            let attribute = |link| view.schema.attribute(link).ok_or_else(gone);
            let (to, back) = match *direction {
                Direction::Forward(link) => (attribute(link)?.definition.leads_to().ok_or_else(gone)?, Direction::Backward(link)),
                Direction::Backward(link) => (attribute(link)?.collection_id, Direction::Forward(link)),
                Direction::Reach { .. } | Direction::Match(_) => {
                    let message = "a live walk goes along links and backlinks; a closure is one already";
                    return Err(Refusal::new("INVALID_INPUT", message));
                }
            };
            into.entry(to).or_default().push(back);
        }
        Ok(Self { out, into })
    }

    /// The links that it takes.
    pub(super) fn links(&self) -> WalkedLinks {
        let collections = self.out.keys().chain(self.into.keys()).copied().collect();
        let mut links = WalkedLinks { collections, ..WalkedLinks::default() };
        for direction in self.out.values().flatten() {
            match direction {
                Direction::Forward(link) => links.forward.insert(*link),
                Direction::Backward(link) => links.backward.insert(*link),
                Direction::Reach { .. } | Direction::Match(_) => false,
            };
        }
        links
    }

    /// Refused if one of the links is gone.
    pub(super) fn check(&self, view: &TenantView) -> Result<(), Refusal> {
        let is_there = |link: &AttributeId| {
            let attribute = view.schema.attribute(*link);
            attribute.is_some_and(|attribute| matches!(attribute.definition, Definition::Link { .. }))
        };
        if self.links().all().iter().all(is_there) { Ok(()) } else { Err(gone()) }
    }

    /// As they are in one state.
    pub(super) fn along<'a>(&'a self, view: &'a TenantView) -> Along<'a> {
        Along { view, out: &self.out, into: &self.into }
    }

    /// The same against their direction.
    pub(super) fn against<'a>(&'a self, view: &'a TenantView) -> Along<'a> {
        Along { view, out: &self.into, into: &self.out }
    }
}

/// What cannot be walked any more.
pub(super) fn gone() -> Refusal {
    Refusal::new("NOT_FOUND", "a link that the walk takes, or the collection, is gone")
}

/// The links as they are in one state.
pub(super) struct Along<'a> {
    view: &'a TenantView,
    out: &'a Links,
    into: &'a Links,
}

impl Along<'_> {
    fn neighbours(&self, of: EntityId, links: &Links) -> Result<Vec<EntityId>, Refusal> {
        match self.view.arranged.row(of) {
            Some(row) => neighbours(self.view, &row, links),
            None => Ok(Vec::new()),
        }
    }
}

impl Graph for Along<'_> {
    type Error = Refusal;

    fn heads(&self, of: EntityId) -> Result<Vec<EntityId>, Refusal> {
        self.neighbours(of, self.out)
    }

    fn tails(&self, of: EntityId) -> Result<Vec<EntityId>, Refusal> {
        self.neighbours(of, self.into)
    }

    fn is_in_sight(&self, node: EntityId) -> bool {
        in_sight(self.view, node).is_some()
    }

    fn check_size(&self, nodes: usize) -> Result<(), Refusal> {
        if nodes <= REACHED_MAX {
            return Ok(());
        }
        let message = format!("a live walk reaches {REACHED_MAX} entities at most, and as many that are archived; bound its depth");
        Err(Refusal::new("TOO_LARGE", message))
    }
}
