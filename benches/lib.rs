//! Measurements: `cargo run --release -p benches --bin updates` and `cargo bench -p benches`.
