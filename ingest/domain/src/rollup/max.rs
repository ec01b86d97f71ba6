//! The largest number or date; blank of none.

use super::{Rollup, anything, of_ordered};

pub(super) static MAX: Rollup = Rollup {
    name: "MAX",
    of_attribute: true,
    result: of_ordered,
    admit: anything,
    naive: |values| values.iter().filter(|value| !value.is_blank()).max().cloned().unwrap_or_default(),
};
