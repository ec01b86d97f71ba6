//! Kernels by themselves, so that benches can measure them: what is kept in an order, and the graphs of self-links.

use std::sync::Arc;

use decidr_domain::formula::Cells;
use decidr_domain::id::{AttributeId, EntityId};
use decidr_domain::schema::{Collect, Direction};
use decidr_domain::value::Value;
use uuid::Uuid;

use super::closure::Closure;
use super::topology::Topology;
use crate::rollup::Sequence;

/// The state of a cell whose contributions stand in an order or wait for a filter that looks at the host.
pub struct SequenceKernel(Sequence);

impl SequenceKernel {
    /// Nothing is contributed yet.
    pub fn new(collect: &Arc<Collect>) -> Self {
        Self(Sequence::new(collect))
    }

    /// Takes in what a source contributes now, in place of what it did.
    pub fn take_in(&mut self, source: EntityId, old: &Option<Value>, new: &Option<Value>) {
        self.0.take_in(source, old, new);
    }

    /// The host has other cells than when the filter was asked.
    pub fn host_changed(&mut self) {
        self.0.host_changed();
    }

    /// The cell that it makes, of a host with these cells.
    pub fn summary(&mut self, host: &dyn Cells) -> Value {
        self.0.summary(&Value::Blank, host)
    }
}

/// The one way in which the graphs here are walked: who holds a link is the source.
fn directions() -> [Direction; 1] {
    [Direction::Backward(AttributeId(Uuid::nil()))]
}

/// Who reaches whom along a self-link.
#[derive(Default)]
pub struct ClosureKernel(Closure);

impl ClosureKernel {
    /// The entity is in sight, and leads to these.
    pub fn take_in(&mut self, entity: EntityId, hosts: Vec<EntityId>) {
        self.0.graph.take_in(&directions(), entity, true, vec![hosts]);
    }

    /// How many pairs came together or parted since the last call.
    pub fn changes(&mut self) -> usize {
        self.0.changes().pairs.len()
    }
}

/// Which entities depend on themselves along a self-link, and in which order the others are computed.
#[derive(Default)]
pub struct TopologyKernel(Topology);

impl TopologyKernel {
    /// The entity is in sight, and leads to these.
    pub fn take_in(&mut self, entity: EntityId, hosts: Vec<EntityId>) {
        self.0.graph.take_in(&directions(), entity, true, vec![hosts]);
    }

    /// For how many entities it is otherwise since the last call whether they depend on themselves; and how many have
    /// another rank.
    pub fn changes(&mut self) -> (usize, usize) {
        let changes = self.0.changes();
        (changes.cycles.len(), changes.ranks.len())
    }
}
