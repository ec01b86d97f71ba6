//! The smallest number or date; blank of none.

use super::{Rollup, anything, of_ordered};

pub(super) static MIN: Rollup = Rollup {
    name: "MIN",
    of_attribute: true,
    result: of_ordered,
    admit: anything,
    naive: |values| values.iter().filter(|value| !value.is_blank()).min().cloned().unwrap_or_default(),
};
