//! Any bytes as a stored event: they are one, and then stored again as one that is the same, or are refused.
//!
//! `cargo +nightly fuzz run event -- -timeout=5`

#![no_main]

use decidr_domain::event::{Event, Stored};
use decidr_domain::id::AggregateKind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str, u8, &str)| {
    let (kind, event_type, shape, data) = input;
    let kinds = [
        AggregateKind::Tenant,
        AggregateKind::User,
        AggregateKind::Space,
        AggregateKind::Collection,
        AggregateKind::Attribute,
        AggregateKind::Entity,
    ];
    let kind = kinds[usize::from(kind) % kinds.len()];
    let stored = Stored { event_type: event_type.to_owned().into(), shape: u32::from(shape % 3), data: data.to_owned().into() };
    if let Ok(event) = Event::from_stored(kind, &stored) {
        let again = Event::from_stored(kind, &event.to_stored()).expect("what is stored can be read");
        assert_eq!(event, again);
    }
});
