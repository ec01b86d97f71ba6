//! Incremental equals recomputed, at every position.
//!
//! The histories are those of `decidr_dataflow::oracle::histories`. A failure prints the words that the commands were made
//! from, as few as proptest can find. `cargo run --release -p benches --bin oracle` runs as many as one likes.

use decidr_dataflow::oracle::histories::run;
use proptest::prelude::*;

fn cases() -> u32 {
    std::env::var("DECIDR_ORACLE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn oracle_one_worker(words in prop::collection::vec(any::<u32>(), 100..900), splits in prop::collection::vec(any::<u8>(), 1..20)) {
        run(words, splits, 1);
    }

    #[test]
    fn oracle_two_workers(words in prop::collection::vec(any::<u32>(), 100..900), splits in prop::collection::vec(any::<u8>(), 1..20)) {
        run(words, splits, 2);
    }
}
