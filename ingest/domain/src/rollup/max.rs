//! The largest number or date; blank of none.

use super::{Argument, Rollup, Takes, anything, of_ordered};

pub(super) static MAX: Rollup = Rollup {
    name: "MAX",
    of_attribute: true,
    order_matters: false,
    takes: Takes::Items,
    argument: Argument::None,
    result: of_ordered,
    admit: anything,
    naive: |values, _| values.iter().filter(|value| !value.is_blank()).max().cloned().unwrap_or_default(),
};
