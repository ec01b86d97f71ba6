//! Stories: `cargo run -p examples --example first_table`. The folder `nycflights13` is the demo's data.
