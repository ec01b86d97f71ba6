//! Batches of updates that mostly come in order.
//!
//! A batcher sorts what comes in chunks of a few kilobytes and merges these like a merge sort does, so that each update is moved
//! once for every doubling. The compute operator gives rows by ascending entity: of two sorted chains the one then mostly ends
//! before the other begins, and putting the one behind the other moves nothing.

use std::mem;

use differential_dataflow::batcher::merge::chunker::ContainerChunker;
use differential_dataflow::batcher::merge::vec::VecMerger;
use differential_dataflow::batcher::merge::{Extractor, MergeBatcher, Merger};
use differential_dataflow::trace::implementations::ord_neu::{VecOrdKeyBuilder, VecOrdValBuilder};
use timely::progress::frontier::{Antichain, AntichainRef};

use crate::types::{Diff, Time};

/// Makes batches of values by key.
pub(crate) type ValBatcher<K, V> =
    MergeBatcher<ContainerChunker<Vec<((K, V), Time, Diff)>>, RunMerger<(K, V)>, VecOrdValBuilder<K, V, Time, Diff>>;

/// Makes batches of keys.
pub(crate) type KeyBatcher<K> =
    MergeBatcher<ContainerChunker<Vec<((K, ()), Time, Diff)>>, RunMerger<(K, ())>, VecOrdKeyBuilder<K, Time, Diff>>;

/// Sorted updates.
type Chunk<D> = Vec<(D, Time, Diff)>;

/// Merges sorted chains of chunks like [`VecMerger`], and moves no update where there is no need to.
pub(crate) struct RunMerger<D>(VecMerger<D, Time, Diff>);

impl<D> Default for RunMerger<D> {
    fn default() -> Self {
        Self(VecMerger::default())
    }
}

impl<D: Ord + Clone + 'static> Merger for RunMerger<D> {
    type Chunk = Chunk<D>;

    fn merge(&mut self, mut one: Vec<Chunk<D>>, mut other: Vec<Chunk<D>>, output: &mut Vec<Chunk<D>>, stash: &mut Vec<Chunk<D>>) {
        if is_before(&other, &one) {
            mem::swap(&mut one, &mut other);
        } else if !is_before(&one, &other) {
            return self.0.merge(one, other, output, stash);
        }
        output.append(&mut one);
        output.append(&mut other);
    }

    fn len(chunk: &Chunk<D>) -> usize {
        chunk.len()
    }
}

/// Whether a chain ends before another begins; of two that are equal in data and time the differences are one update.
fn is_before<D: Ord>(one: &[Chunk<D>], other: &[Chunk<D>]) -> bool {
    let (last, first) = (one.last().and_then(|chunk| chunk.last()), other.first().and_then(|chunk| chunk.first()));
    matches!((last, first), (Some((last, last_time, _)), Some((first, first_time, _))) if (last, last_time) < (first, first_time))
}

impl<D: Ord + Clone + 'static> Extractor for RunMerger<D> {
    type Time = Time;

    fn extract(
        &mut self,
        mut merged: Vec<Chunk<D>>,
        upper: AntichainRef<'_, Time>,
        frontier: &mut Antichain<Time>,
        readied: &mut Vec<Chunk<D>>,
        kept: &mut Vec<Chunk<D>>,
        stash: &mut Vec<Chunk<D>>,
    ) {
        // One timestamp is in the graph at a time, and what is taken out is all there is.
        if merged.iter().flatten().any(|(_, time, _)| upper.less_equal(time)) {
            return self.0.extract(merged, upper, frontier, readied, kept, stash);
        }
        readied.append(&mut merged);
    }
}

#[cfg(test)]
mod tests {
    use differential_dataflow::batcher::merge::Sealer;
    use differential_dataflow::batcher::{Batcher, Extract};
    use proptest::prelude::*;

    use super::*;

    /// Gives the updates as they are.
    struct Plain;

    impl<D> Sealer<Chunk<D>> for Plain {
        type Output = Chunk<D>;

        fn seal(chain: &mut Vec<Chunk<D>>) -> Option<Self::Output> {
            Some(mem::take(chain).into_iter().flatten().collect())
        }
    }

    type Batching<M> = MergeBatcher<ContainerChunker<Chunk<u32>>, M, Plain>;

    /// What comes out up to each of some times, and from which time on there is more.
    fn batches<M: Extractor<Chunk = Chunk<u32>, Time = Time>>(parts: &[Chunk<u32>], uppers: &[Time]) -> Vec<(Chunk<u32>, Vec<Time>)> {
        let mut batcher = Batching::<M>::new(None, 0);
        parts.iter().for_each(|part| batcher.insert(&mut part.clone()));
        let mut out = Vec::new();
        for upper in uppers {
            let (batch, frontier) = batcher.extract(AntichainRef::new(std::slice::from_ref(upper)));
            out.push((batch.unwrap_or_default(), frontier.to_vec()));
        }
        out
    }

    proptest! {
        /// In order or not, with updates that cancel others, and taken out at once or time by time: as without it.
        #[test]
        fn batches_are_the_same(
            parts in proptest::collection::vec((proptest::collection::vec((0..5_000u32, 0..3u64, -1..=1isize), 0..700), any::<bool>()), 0..8),
            starts in proptest::collection::vec(0..20_000u32, 8),
        ) {
            let parts: Vec<Chunk<u32>> = parts
                .into_iter()
                .zip(starts)
                .map(|((mut part, is_sorted), start)| {
                    part.iter_mut().for_each(|(data, ..)| *data += start);
                    if is_sorted {
                        part.sort_unstable();
                    }
                    part
                })
                .collect();
            for uppers in [&[3][..], &[1, 2, 3]] {
                prop_assert_eq!(batches::<RunMerger<u32>>(&parts, uppers), batches::<VecMerger<u32, Time, Diff>>(&parts, uppers));
            }
        }
    }
}
