//! When formulas that ask what time it is come out otherwise: the moment that is foretold is the moment at which it happens.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use decidr_domain::formula::{At, Attributes, Expression, Program, Resolved, Type};
use decidr_domain::id::AttributeId;
use decidr_domain::value::Value;
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

const NAMES: [(&str, Type); 4] = [("due", Type::DateTime), ("day", Type::Date), ("n", Type::Number), ("text", Type::Text)];

struct Names;

impl Attributes for Names {
    fn resolve(&self, name: &str) -> Resolved {
        match NAMES.iter().position(|(known, _)| *known == name) {
            Some(place) => Resolved::Attribute(id(place), NAMES[place].1.clone()),
            None => Resolved::Unknown,
        }
    }
    fn names(&self) -> Vec<String> {
        vec![]
    }
}

fn id(place: usize) -> AttributeId {
    AttributeId(Uuid::from_u128(place as u128 + 100))
}

fn program(text: &str) -> Program {
    Expression::from_user(text, &Names).expect(text).1
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

struct Row([Value; 4]);

impl Row {
    fn cells(&self) -> impl Fn(AttributeId) -> Value {
        |wanted| (0..4).find(|place| id(*place) == wanted).map_or(Value::Blank, |place| self.0[place].clone())
    }

    fn value(&self, program: &Program, now: Timestamp) -> Value {
        program.evaluate(&At { cells: &self.cells(), now: Some(now) })
    }

    fn next(&self, program: &Program, now: Timestamp) -> Option<Timestamp> {
        program.next_change(&At { cells: &self.cells(), now: Some(now) })
    }
}

fn row() -> Row {
    let due = Value::DateTime(at("2026-03-01T12:00:30.250Z"));
    Row([due, Value::Date("2026-03-10".parse().unwrap()), Value::from(3), Value::text("x")])
}

#[test]
fn flips_are_foretold_to_the_millisecond() {
    let now = at("2026-02-20T08:15:42.123Z");
    for (text, expected) in [
        ("{due} < NOW()", Some("2026-03-01T12:00:30.251Z")),
        ("{due} <= NOW()", Some("2026-03-01T12:00:30.250Z")),
        ("NOW() > DATEADD({due}, -2, 'days')", Some("2026-02-27T12:00:30.251Z")),
        ("DATEADD(NOW(), 1, 'week') >= {due}", Some("2026-02-22T12:00:30.250Z")),
        ("IS_AFTER(NOW(), {due})", Some("2026-03-01T12:00:30.251Z")),
        ("IS_BEFORE({due}, NOW(), 'month')", Some("2026-04-01T00:00:00Z")),
        ("{day} < TODAY()", Some("2026-03-11T00:00:00Z")),
        ("TODAY() >= DATEADD({day}, -{n}, 'days')", Some("2026-03-07T00:00:00Z")),
        ("DATETIME_DIFF(NOW(), {due}, 'hours') >= 1", Some("2026-03-01T13:00:30.250Z")),
        ("IF({due} < NOW(), 'late', 'in time')", Some("2026-03-01T12:00:30.251Z")),
        ("AND({n} > 2, NOT({due} > NOW()))", Some("2026-03-01T12:00:30.250Z")),
        // Two that are looked at apart: the first of them.
        ("OR({due} < NOW(), TODAY() > DATEADD({day}, -12, 'days'))", Some("2026-02-27T00:00:00Z")),
        // What is not a comparison changes with the minute, and only when it does.
        ("NOW()", Some("2026-02-20T08:16:00Z")),
        ("TODAY()", Some("2026-02-21T00:00:00Z")),
        ("DATETIME_DIFF(NOW(), {due}, 'days')", Some("2026-02-20T12:01:00Z")),
        ("DATETIME_DIFF(TODAY(), {day}, 'years')", Some("2027-03-10T00:00:00Z")),
        ("YEAR(NOW()) * 2", Some("2027-01-01T00:00:00Z")),
        ("{day} = TODAY()", Some("2026-02-21T00:00:00Z")),
        ("MONTH(TODAY())", Some("2026-02-21T00:00:00Z")),
        // It is so for good, or there is nothing to wait for.
        ("DATEADD({due}, -1, 'month') < NOW()", None),
        ("{n} + 1", None),
        ("IF(YEAR({due}) > 2500, 1, 2)", None),
    ] {
        let program = program(text);
        assert_eq!(row().next(&program, now), expected.map(at), "{text}");
    }
}

#[test]
fn without_a_clock_everything_is_due() {
    let program = program("{due} < NOW()");
    assert!(program.evaluate(&At { cells: &row().cells(), now: None }).is_error());
    assert_eq!(program.next_change(&At { cells: &row().cells(), now: None }), Some(Timestamp::MIN));
}

#[test]
fn now_is_the_minute_where_it_is_shown_and_the_moment_where_it_is_compared() {
    let now = at("2026-03-01T12:00:30.250Z");
    assert_eq!(row().value(&program("NOW()"), now), Value::DateTime(at("2026-03-01T12:00:00Z")));
    assert_eq!(row().value(&program("NOW() >= {due}"), now), Value::from(true));
    assert_eq!(row().value(&program("NOW() = {due}"), now), Value::from(false));
}

#[test]
fn an_instant_moved_by_months_goes_back_at_their_ends() {
    // Of 30 and 31 January one comes to 30 June, and the other to the same day again.
    let row = Row([Value::DateTime(at("2021-06-30T12:00:00Z")), Value::Blank, Value::Blank, Value::Blank]);
    let program = program("DATEADD(NOW(), -31, 'months') > {due}");
    let mut flips = Vec::new();
    let mut now = at("2024-01-01T00:00:00Z");
    while let Some(next) = row.next(&program, now) {
        flips.push((next.to_string(), row.value(&program, next)));
        now = next;
    }
    let expected = [("2024-01-30T12:00:00.001Z", true), ("2024-01-31T00:00:00Z", false), ("2024-01-31T12:00:00.001Z", true)];
    assert_eq!(flips, expected.map(|(at, is)| (at.to_owned(), Value::from(is))));
}

#[test]
fn what_is_long_to_foretell_is_looked_at_each_minute() {
    let month = |k: usize| format!("DATETIME_DIFF(DATEADD(NOW(), {k}, 'minutes'), {{due}}, 'months')");
    let many: Vec<_> = (1..100).map(month).collect();
    let text = format!("{} > 1000000", many.join(" + "));
    assert_eq!(row().next(&program(&text), at("2026-03-01T12:00:30Z")), Some(at("2026-03-01T12:01:00Z")));
}

/// Formulas of every form that is told apart.
fn formulas() -> impl Strategy<Value = String> {
    let moment = prop_oneof![
        Just("NOW()".to_owned()),
        Just("TODAY()".to_owned()),
        (-40i32..40, prop_oneof![Just("days"), Just("months"), Just("hours"), Just("milliseconds")])
            .prop_map(|(n, unit)| format!("DATEADD(NOW(), {n}, '{unit}')")),
        Just("DATEADD(TODAY(), {n}, 'weeks')".to_owned()),
    ];
    let fixed = prop_oneof![Just("{due}".to_owned()), Just("{day}".to_owned()), Just("DATEADD({due}, {n}, 'months')".to_owned()),];
    let pair = (moment, fixed, any::<bool>()).prop_map(|(a, b, swap)| if swap { (b, a) } else { (a, b) });
    let unit = prop_oneof![Just("days"), Just("minutes"), Just("months"), Just("years"), Just("seconds")];
    (pair, unit, 0..14usize, -5i32..5).prop_map(|((a, b), unit, form, k)| match form {
        0 => format!("{a} < {b}"),
        1 => format!("{a} >= {b}"),
        2 => format!("IS_BEFORE({a}, {b}, '{}')", if unit == "minutes" { "minute" } else { "month" }),
        3 => format!("DATETIME_DIFF({a}, {b}, '{unit}')"),
        4 => format!("DATETIME_DIFF({a}, {b}, '{unit}') * {k} - 2"),
        5 => format!("{k} - DATETIME_DIFF({a}, {b}, '{unit}') / -3 > {{n}}"),
        6 => format!("IF({a} <= {b}, DATETIME_DIFF({a}, {b}, '{unit}'), 'x')"),
        7 => format!("{a} = {b}"),
        8 => format!("ROUND(DATETIME_DIFF({a}, {b}, 'hours') / 24, 1) & {{text}}"),
        9 => format!("LET(x, {a}, x < {b})"),
        10 => format!("IS_SAME({a}, {b}, 'day')"),
        11 => format!("ABS(DATETIME_DIFF({a}, {b}, '{unit}')) % 7"),
        12 => format!("IF({{text}}, FROMNOW({b}))"),
        _ => format!("XOR({a} > {b}, {{n}} > {k}, {b} >= {a})"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    /// Between now and the moment that is foretold nothing changes, to whichever moment one looks.
    #[test]
    fn nothing_changes_before_it_is_foretold(
        text in formulas(),
        due in 1_700_000_000_000i64..1_710_000_000_000,
        blanks in 0..8u8,
        n in -30i64..30,
        start in 1_690_000_000_000i64..1_720_000_000_000,
        looks in proptest::collection::vec(0.0..1.0f64, 12),
    ) {
        let program = program(&text);
        let due = Timestamp::from_millisecond(due).unwrap();
        let day = jiff::tz::TimeZone::UTC.to_datetime(due).date();
        let unless = |bit: u8, value| if blanks & bit == bit { Value::Blank } else { value };
        let row = Row([unless(3, Value::DateTime(due)), unless(5, Value::Date(day)), unless(6, Value::from(n)), Value::text("x")]);
        let mut now = Timestamp::from_millisecond(start).unwrap();
        for _ in 0..4 {
            let value = row.value(&program, now);
            let next = row.next(&program, now);
            let end = next.unwrap_or_else(|| at("2400-01-01T00:00:00Z"));
            prop_assert!(end > now, "{text} at {now}: {end}");
            let span = end.as_millisecond() - 1 - now.as_millisecond();
            for look in looks.iter().copied().chain([1.0]) {
                // Most looks near the ends, where mistakes would be.
                let then = Timestamp::from_millisecond(now.as_millisecond() + (span as f64 * look.powi(3)) as i64).unwrap();
                prop_assert_eq!(&row.value(&program, then), &value, "{} from {} to {}: looked at {}", text, now, end, then);
            }
            match next {
                Some(next) => now = next,
                None => break,
            }
        }
    }
}
