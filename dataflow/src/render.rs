//! The graph: one loop that computes (with one worker it has no need to be one), and behind it the arrangements that are read from outside.

use decidr_domain::id::{AttributeId, CollectionId, EntityId};
use differential_dataflow::operators::arrange::{TraceAgent, arrangement::arrange_core};
use differential_dataflow::trace::TraceReader;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Concat, ConnectLoop, Enter, Feedback, Leave};
use timely::dataflow::{InputHandle, Scope};
use timely::order::Product;
use timely::progress::frontier::{Antichain, AntichainRef};

use crate::batcher::{KeyBatcher, ValBatcher};
use crate::compute::{Outputs, Store, compute};
use crate::message::Message;
use crate::plan::Round;
use crate::rows::{RowId, Rows};
use crate::types::{KeyBatch, KeySpine, Time, ValBatch, ValSpine};

/// The input of one worker.
pub(crate) type Input = InputHandle<Time, timely::container::CapacityContainerBuilder<Vec<Message>>>;

/// The traces of one worker.
pub(crate) struct Traces {
    rows: TraceAgent<ValSpine<EntityId, RowId>>,
    members: TraceAgent<KeySpine<(CollectionId, EntityId)>>,
    counts: TraceAgent<ValSpine<CollectionId, u64>>,
    links: TraceAgent<ValSpine<(AttributeId, EntityId), EntityId>>,
}

/// The sealed batches of one worker's traces, as of one timestamp.
#[derive(Clone, Default)]
pub(crate) struct Batches {
    /// What the numbers stand for that `rows` holds.
    pub(crate) table: Rows,
    pub(crate) rows: Vec<ValBatch<EntityId, RowId>>,
    pub(crate) members: Vec<KeyBatch<(CollectionId, EntityId)>>,
    pub(crate) counts: Vec<ValBatch<CollectionId, u64>>,
    pub(crate) links: Vec<ValBatch<(AttributeId, EntityId), EntityId>>,
}

/// Builds the graph. Every stream is placed by entity already, so that arranging moves nothing between workers.
pub(crate) fn render<'scope>(scope: Scope<'scope, Time>, input: &mut Input, store: Store) -> Traces {
    let events = input.to_stream(scope);
    let (rows, members, counts, links) = if scope.peers() == 1 {
        let Outputs { rows, members, counts, links, .. } = compute(scope, events, store);
        (rows, members, counts, links)
    } else {
        scope.iterative::<Round, _, _>(|inner| {
            let (handle, news) = inner.feedback(Product::new(Default::default(), 1));
            let Outputs { messages, rows, members, counts, links } = compute(inner, events.enter(inner).concat(news), store);
            messages.connect_loop(handle);
            (rows.leave(scope), members.leave(scope), counts.leave(scope), links.leave(scope))
        })
    };
    let rows = arrange_core::<_, _, _, ValSpine<EntityId, RowId>>(rows, Pipeline, "Rows", ValBatcher::<EntityId, RowId>::new);
    let members = arrange_core::<_, _, _, KeySpine<(CollectionId, EntityId)>>(
        members,
        Pipeline,
        "Members",
        KeyBatcher::<(CollectionId, EntityId)>::new,
    );
    let counts = arrange_core::<_, _, _, ValSpine<CollectionId, u64>>(counts, Pipeline, "Counts", ValBatcher::<CollectionId, u64>::new);
    let links = arrange_core::<_, _, _, ValSpine<(AttributeId, EntityId), EntityId>>(
        links,
        Pipeline,
        "Links",
        ValBatcher::<(AttributeId, EntityId), EntityId>::new,
    );
    Traces { rows: rows.trace, members: members.trace, counts: counts.trace, links: links.trace }
}

impl Traces {
    /// Whether everything of `time` is arranged, of this worker; it is when all workers are through, for their operators
    /// wait for one another.
    pub(crate) fn are_through(&mut self, time: Time) -> bool {
        let upper = &mut Antichain::new();
        is_through(&mut self.rows, time, upper)
            && is_through(&mut self.members, time, upper)
            && is_through(&mut self.counts, time, upper)
            && is_through(&mut self.links, time, upper)
    }

    /// What is sealed up to `upper`, with the rows as of then; earlier times may be forgotten from now on.
    pub(crate) fn publish(&mut self, upper: AntichainRef<'_, Time>, table: Rows) -> Batches {
        Batches {
            table,
            rows: sealed(&mut self.rows, upper),
            members: sealed(&mut self.members, upper),
            counts: sealed(&mut self.counts, upper),
            links: sealed(&mut self.links, upper),
        }
    }
}

fn is_through<T: TraceReader<Time = Time>>(trace: &mut T, time: Time, upper: &mut Antichain<Time>) -> bool {
    trace.read_upper(upper);
    !upper.less_equal(&time)
}

fn sealed<T: TraceReader<Time = Time>>(trace: &mut T, upper: AntichainRef<'_, Time>) -> Vec<T::Batch> {
    trace.set_logical_compaction(upper);
    trace.set_physical_compaction(upper);
    trace.batches_through(upper).expect("the trace is through, so that a batch ends there")
}
