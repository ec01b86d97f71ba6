//! The suite that every log passes. One macro line runs it:
//! `event_log_conformance!(|| async { (MemoryLog::default(), ()) });`

use decidr_domain::aggregate::entity::EntityEvent;
use decidr_domain::aggregate::space::SpaceEvent;
use decidr_domain::event::{Event, Metadata};
use decidr_domain::id::{CommandId, EntityId, EventId, Key, SpaceId, TenantId};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Answer, Append, Appended, EventLog, NewEvent};

fn tenant() -> TenantId {
    TenantId(Uuid::from_u128(0xACE))
}

fn new_event(space: u128, version: u32, event: SpaceEvent) -> NewEvent {
    let metadata = Metadata {
        event_id: EventId(Uuid::from_u128(space << 64 | u128::from(version))),
        command_id: CommandId(Uuid::from_u128(space)),
        causation_id: Uuid::from_u128(space),
        correlation_id: Uuid::from_u128(space),
        actor: "tester \"ü\" \u{0}".into(),
        recorded_at: Timestamp::from_microsecond(1_700_000_000_123_456).expect("in range"),
    };
    NewEvent { stream: SpaceId(Uuid::from_u128(space)).into(), version, event: Event::Space(event), metadata }
}

/// A command that creates the space of this number.
pub fn create_space(number: u128) -> Append {
    let id = SpaceId(Uuid::from_u128(number));
    let event =
        SpaceEvent::SpaceCreated { id, tenant_id: tenant(), key: Key::new("s").expect("a key"), name: format!("Space {number} ✓") };
    let command_id = CommandId(Uuid::from_u128(number));
    Append {
        tenant: tenant(),
        issuer: tenant(),
        command_id,
        subject: id.into(),
        version: 1,
        newest: 0,
        events: vec![new_event(number, 1, event)],
    }
}

/// A command that renames it, its events from `version` on.
pub fn rename_space(number: u128, command: u128, version: u32, times: u32) -> Append {
    let id = SpaceId(Uuid::from_u128(number));
    let rename = |i| new_event(number, version + i, SpaceEvent::SpaceUpdated { id, name: format!("name {i}") });
    let events = (0..times).map(rename).collect();
    Append {
        tenant: tenant(),
        issuer: tenant(),
        command_id: CommandId(Uuid::from_u128(command)),
        subject: id.into(),
        version: version + times - 1,
        newest: 0,
        events,
    }
}

fn answer(space: u128, version: u32, position: u64) -> Answer {
    Answer { subject: SpaceId(Uuid::from_u128(space)).into(), version, position }
}

/// Events come back as they went in, in order, without gaps; by stream, and all.
pub async fn reads_what_was_appended(log: &impl EventLog) {
    let batch = [create_space(1), create_space(2), rename_space(1, 101, 2, 3)];
    let got = log.append(&batch).await.expect("appends");
    assert_eq!(got, [Appended::New(answer(1, 1, 1)), Appended::New(answer(2, 1, 2)), Appended::New(answer(1, 4, 5))]);
    let all = log.read_all(0, 100).await.expect("reads");
    assert_eq!(all.iter().map(|e| e.position).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let sent: Vec<_> = batch.iter().flat_map(|append| &append.events).collect();
    for (recorded, new) in all.iter().zip(sent) {
        assert_eq!((recorded.stream, recorded.version, recorded.tenant), (new.stream, new.version, tenant()));
        assert_eq!((&recorded.event, &recorded.metadata), (&new.event, &new.metadata));
    }
    let stream = SpaceId(Uuid::from_u128(1)).into();
    let versions = |events: Vec<decidr_domain::event::Recorded>| events.iter().map(|e| e.version).collect::<Vec<_>>();
    assert_eq!(versions(log.read_stream(stream, 1, 100).await.expect("reads")), [1, 2, 3, 4]);
    assert_eq!(versions(log.read_stream(stream, 3, 1).await.expect("reads")), [3]);
    assert_eq!(log.read_all(3, 1).await.expect("reads"), all[3..4]);
    assert!(log.read_all(5, 10).await.expect("reads").is_empty());
}

/// What is not of entities can be read alone, up to a position.
pub async fn reads_the_schema_alone(log: &impl EventLog) {
    let entity = EntityId(Uuid::from_u128(7));
    let mut archive = create_space(2);
    let event = Event::Entity(EntityEvent::EntityArchived { id: entity });
    archive.events = vec![NewEvent {
        stream: entity.into(),
        event,
        ..new_event(2, 1, SpaceEvent::SpaceUpdated { id: SpaceId(Uuid::nil()), name: String::new() })
    }];
    log.append(&[create_space(1), archive, rename_space(1, 101, 2, 2)]).await.expect("appends");
    let all = log.read_all(0, 10).await.expect("reads");
    assert_eq!(all.len(), 4);
    assert_eq!(log.read_schema(4).await.expect("reads"), [&all[..1], &all[2..]].concat());
    assert_eq!(log.read_schema(3).await.expect("reads"), [&all[..1], &all[2..3]].concat());
    assert_eq!(log.read_schema(0).await.expect("reads"), []);
}

/// A command that comes again gets its first answer, in the same batch and later, and adds nothing.
pub async fn a_repeated_command_gets_its_first_answer(log: &impl EventLog) {
    let twice = log.append(&[create_space(1), create_space(1)]).await.expect("appends");
    assert_eq!(twice, [Appended::New(answer(1, 1, 1)), Appended::Repeated(answer(1, 1, 1))]);
    log.append(&[rename_space(1, 101, 2, 2)]).await.expect("appends");
    // Even if it would do something else now.
    let again = log.append(&[rename_space(1, 1, 9, 1)]).await.expect("appends");
    assert_eq!(again, [Appended::Repeated(answer(1, 1, 1))]);
    assert_eq!(*log.head().borrow(), 3);
    let keys = [(tenant(), CommandId(Uuid::from_u128(1))), (tenant(), CommandId(Uuid::from_u128(99)))];
    let answers = log.answers(&keys).await.expect("looks up");
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [(keys[0], answer(1, 1, 1))]);
}

/// A command id means something only in its issuer's name.
pub async fn command_ids_belong_to_their_issuer(log: &impl EventLog) {
    log.append(&[create_space(1)]).await.expect("appends");
    let other = TenantId(Uuid::from_u128(0xBAD));
    assert!(log.answers(&[(other, CommandId(Uuid::from_u128(1)))]).await.expect("looks up").is_empty());
    let same_id = Append { tenant: other, issuer: other, command_id: CommandId(Uuid::from_u128(1)), ..create_space(2) };
    assert_eq!(log.append(&[same_id]).await.expect("appends"), [Appended::New(answer(2, 1, 2))]);
}

/// A decision against an old version, or one that is not there yet, adds nothing; the rest of the batch stands.
pub async fn a_wrong_version_conflicts_alone(log: &impl EventLog) {
    log.append(&[create_space(1)]).await.expect("appends");
    let stream = SpaceId(Uuid::from_u128(1)).into();
    for version in [1, 3] {
        let command = 1000 + u128::from(version);
        let got = log.append(&[rename_space(1, command, version, 1), create_space(command)]).await.expect("appends");
        let conflict = Appended::Conflict { stream, actual: 1 };
        assert!(matches!(got[..], [c, Appended::New(_)] if c == conflict), "{got:?}");
        assert!(log.answers(&[(tenant(), CommandId(Uuid::from_u128(command)))]).await.expect("looks up").len() == 1);
    }
    let positions: Vec<_> = log.read_all(0, 10).await.expect("reads").iter().map(|e| e.position).collect();
    assert_eq!(positions, [1, 2, 3]);
}

/// A command without events is remembered, at the position of its tenant's newest event, and at none beyond the end.
pub async fn a_command_without_events_is_remembered(log: &impl EventLog) {
    let nothing = |command, newest| Append { events: vec![], newest, command_id: CommandId(Uuid::from_u128(command)), ..create_space(1) };
    let got = log.append(&[create_space(1), create_space(2), nothing(7, 1), nothing(8, 99)]).await.expect("appends");
    assert_eq!(got[2..], [Appended::New(answer(1, 1, 1)), Appended::New(answer(1, 1, 2))]);
    assert_eq!(log.append(&[create_space(3), nothing(7, 3)]).await.expect("appends")[1], Appended::Repeated(answer(1, 1, 1)));
}

/// Whoever waits for the head and reads from where it was misses nothing, also with large batches.
pub async fn a_tail_misses_nothing(log: &impl EventLog) {
    let mut head = log.head();
    let (mut seen, mut after) = (Vec::new(), 0);
    let write = async {
        for batch in 0..20u128 {
            let appends: Vec<_> = (0..batch * 37 % 400 + 1).map(|i| create_space(batch * 1000 + i)).collect();
            log.append(&appends).await.expect("appends");
            tokio::task::yield_now().await;
        }
    };
    let total: u128 = (0..20).map(|batch: u128| batch * 37 % 400 + 1).sum();
    let read = async {
        while (seen.len() as u128) < total {
            if *head.borrow_and_update() <= after {
                head.changed().await.expect("the log is there");
                continue;
            }
            for event in log.read_all(after, 97).await.expect("reads") {
                assert_eq!(event.position, after + 1);
                after = event.position;
                seen.push(event.stream);
            }
        }
    };
    tokio::join!(write, read);
    assert_eq!(seen.len() as u128, total);
}

/// Runs the suite against the logs that `$make` makes: a function to a future of a log and of whatever must be
/// kept as long as it.
#[macro_export]
macro_rules! event_log_conformance {
    ($make:expr) => {
        $crate::event_log_conformance!($make;
            reads_what_was_appended, reads_the_schema_alone, a_repeated_command_gets_its_first_answer, command_ids_belong_to_their_issuer,
            a_wrong_version_conflicts_alone, a_command_without_events_is_remembered, a_tail_misses_nothing);
    };
    ($make:expr; $($case:ident),*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (log, _kept) = ($make)().await;
                $crate::log::conformance::$case(&log).await;
            }
        )*
    };
}
