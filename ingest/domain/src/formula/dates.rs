//! Days and instants: what text reads as one, the names of zones, the units they lie in.

use std::borrow::Cow;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::tz::{Offset, TimeZone};

use super::locale::Locale;
use super::outcome::{Outcome, error, excerpt};
use crate::value::ErrorKind;

/// A day or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A day.
    Date(Date),
    /// An instant, in UTC.
    DateTime(Timestamp),
}

impl Moment {
    /// The civil day and time in this zone; a day begins at midnight wherever it is.
    pub fn civil(self, zone: &TimeZone) -> DateTime {
        match self {
            Moment::Date(date) => date.to_datetime(Time::midnight()),
            Moment::DateTime(at) => zone.to_datetime(at),
        }
    }

    /// The instant; of a day its first in this zone.
    pub fn instant(self, zone: &TimeZone) -> Outcome<Timestamp> {
        match self {
            Moment::Date(date) => zone
                .to_timestamp(date.to_datetime(Time::midnight()))
                .map_err(|_| error(ErrorKind::Range, "the date lies outside the years -9999 to 9999")),
            Moment::DateTime(at) => Ok(at),
        }
    }
}

/// The zone of this name, as in "Europe/Berlin".
pub fn zone(name: &str) -> Outcome<TimeZone> {
    if name.is_empty() || name.eq_ignore_ascii_case("utc") || name.eq_ignore_ascii_case("gmt") {
        return Ok(TimeZone::UTC);
    }
    let unknown = || error(ErrorKind::Value, format!("\"{}\" is not a time zone; \"Europe/Berlin\" is one", excerpt(name)));
    // What a machine calls its own zone means nothing elsewhere.
    if name.len() > 64 || name.eq_ignore_ascii_case("local") {
        return Err(unknown());
    }
    TimeZone::get(name).map_err(|_| unknown())
}

/// How many whole months of the calendar lie between two times, the earlier first: from the 31st to the last day of a shorter
/// month is one.
pub fn whole_months(from: DateTime, to: DateTime) -> i64 {
    let month = |at: DateTime| i64::from(at.year()) * 12 + i64::from(at.month());
    let months = month(to) - month(from);
    // One month too many if that many overshoot the later one.
    let reached = jiff::Span::new().try_months(months).and_then(|span| from.checked_add(span));
    if months > 0 && reached.is_ok_and(|reached| reached > to) { months - 1 } else { months }
}

/// The date that a text shows without saying how: ISO 8601; month/day/year with slashes; or with the month's English name.
/// A day of the week may come before it, and a time may follow. Without a zone it is in `zone`.
pub fn parse(text: &str, zone: &TimeZone) -> Option<Moment> {
    if text.len() > 64 {
        return None;
    }
    // What a date and time with a zone looks like to everybody.
    if text.contains(['T', 't', ' '])
        && let Ok(at) = Timestamp::from_str(text)
    {
        return Some(Moment::DateTime(at));
    }
    let (date, rest) = match without_weekday(text) {
        // A day of the week that the date is not, or one beside something that says no day, is no date.
        Some((weekday, rest)) => {
            date_in_front(rest).filter(|(date, _)| words(rest).len() >= 3 && date.weekday().to_sunday_zero_offset() == weekday)?
        }
        None => date_in_front(text)?,
    };
    // Only there is it clear what digits without colons say.
    let is_iso = rest.starts_with(['T', 't']) && text.bytes().take(4).all(|b| b.is_ascii_digit());
    let rest = rest.trim_start_matches(['T', 't', ',']).trim();
    if rest.is_empty() {
        return Some(Moment::Date(date));
    }
    let (rest, offset) = without_offset(rest, is_iso);
    let rest = if is_iso { with_colons(rest) } else { rest.into() };
    // The end of a day is the start of the next one.
    let (date, time) = match rest.strip_prefix("24:") {
        Some(rest) => (date.tomorrow().ok()?, time(&format!("00:{rest}")).filter(|time| *time == Time::midnight())?),
        None => (date, time(&rest)?),
    };
    let at = date.to_datetime(time);
    let at = offset.map_or_else(|| zone.to_timestamp(at), |offset| offset.to_timestamp(at));
    at.ok().map(Moment::DateTime)
}

/// A time of ISO 8601 that begins with an hour, as 18, 1804 or 180420, in the form that has colons.
fn with_colons(time: &str) -> Cow<'_, str> {
    let length = time.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = time.split_at(length);
    match length {
        2 if !rest.starts_with(':') => format!("{digits}:00{rest}").into(),
        4 => format!("{}:{}{rest}", &digits[..2], &digits[2..]).into(),
        6 => format!("{}:{}:{}{rest}", &digits[..2], &digits[2..4], &digits[4..]).into(),
        _ => time.into(),
    }
}

/// What is before the offset from UTC at the end of a time, and the offset: +02:00, -0800, or one of the zones that mails know.
/// One that is not set apart might be the end of a span of time, unless the form is that of ISO 8601.
///
/// Source: RFC 5322, 4.3.
fn without_offset(time: &str, is_iso: bool) -> (&str, Option<Offset>) {
    const ZONES: [(&str, i8); 12] = [
        ("GMT", 0),
        ("UTC", 0),
        ("UT", 0),
        ("Z", 0),
        ("EST", -5),
        ("EDT", -4),
        ("CST", -6),
        ("CDT", -5),
        ("MST", -7),
        ("MDT", -6),
        ("PST", -8),
        ("PDT", -7),
    ];
    for (name, hours) in ZONES {
        if let Some(rest) = time.strip_suffix(name) {
            return (rest.trim_end(), Some(Offset::constant(hours)));
        }
    }
    let offset = time.rfind(['+', '-']).and_then(|at| {
        let (before, sign) = (&time[..at], if time[at..].starts_with('-') { -1 } else { 1 });
        if !is_iso && !before.ends_with(' ') {
            return None;
        }
        let (hours, minutes) = match time.as_bytes()[at + 1..] {
            [a, b] if is_iso => ([a, b], [b'0', b'0']),
            [a, b, c, d] | [a, b, b':', c, d] => ([a, b], [c, d]),
            _ => return None,
        };
        let number =
            |digits: [u8; 2]| digits.iter().all(u8::is_ascii_digit).then(|| i32::from(digits[0] - b'0') * 10 + i32::from(digits[1] - b'0'));
        let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
        let seconds = sign * (hours * 3600 + minutes * 60);
        // No place on earth is further from UTC.
        (-12 * 3600..=14 * 3600).contains(&seconds).then_some(())?;
        Some((before.trim_end(), Some(Offset::from_seconds(seconds).ok()?)))
    });
    offset.unwrap_or((time, None))
}

/// The day of the week at the start of a text, as in "Tue, 31 Dec 2024", from Sunday, and the rest.
fn without_weekday(text: &str) -> Option<(i8, &str)> {
    let length = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(length);
    let is_it = |day: &String| day.len() >= length && day[..length].eq_ignore_ascii_case(word);
    let weekday = Locale::english().days().iter().position(is_it).filter(|_| length >= 3)?;
    Some((weekday as i8, rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ',' | '.'))))
}

/// The date at the start of a text, and what follows it.
fn date_in_front(text: &str) -> Option<(Date, &str)> {
    let parts: Vec<(&str, usize)> = words(text);
    let end = |i: usize| parts.get(i).map(|(word, at)| at + word.len());
    let number = |i: usize| parts.get(i).and_then(|(word, _)| word.parse::<i16>().ok());
    // Something else before it is no date, and the places below count from the start.
    let (first, _) = parts.first().filter(|(_, at)| *at == 0)?;
    if first.chars().all(|c| c.is_ascii_digit()) {
        let separator = text[first.len()..].chars().next();
        if first.len() == 4
            && let Some(found) = week_or_day_of_year(text)
        {
            return found;
        }
        if first.len() == 4 && matches!(separator, Some('-' | '/' | '.')) {
            // 2024-01-31, also without leading zeros; 2024-01 is its first day.
            let day = if separator == text[end(1)?..].chars().next() { number(2) } else { None };
            let date = Date::new(number(0)?, i8::try_from(number(1)?).ok()?, i8::try_from(day.unwrap_or(1)).ok()?).ok()?;
            return Some((date, &text[end(if day.is_some() { 2 } else { 1 })?..]));
        }
        if first.len() == 4 && text.len() == 4 {
            return Date::new(number(0)?, 1, 1).ok().map(|date| (date, ""));
        }
        if first.len() == 8 {
            let date = Date::new(text[..4].parse().ok()?, text[4..6].parse().ok()?, text[6..8].parse().ok()?).ok()?;
            return Some((date, &text[8..]));
        }
        if let Some(month) = parts.get(1).and_then(|(word, _)| month_named(word)) {
            // 31 January 2024
            let date = Date::new(year(parts.get(2)?.0)?, month, i8::try_from(number(0)?).ok()?).ok()?;
            return Some((date, &text[end(2)?..]));
        }
        if matches!(separator, Some('/' | '-')) {
            // 1/31/2024, 1/31/24
            let date = Date::new(year(parts.get(2)?.0)?, i8::try_from(number(0)?).ok()?, i8::try_from(number(1)?).ok()?).ok()?;
            return Some((date, &text[end(2)?..]));
        }
        return None;
    }
    let month = month_named(first)?;
    // January 31, 2024; January 2024
    match parts.get(1)?.0.len() {
        4 => Some((Date::new(year(parts[1].0)?, month, 1).ok()?, &text[end(1)?..])),
        _ => Some((Date::new(year(parts.get(2)?.0)?, month, i8::try_from(number(1)?).ok()?).ok()?, &text[end(2)?..])),
    }
}

/// Of a text that begins with a year: 2024-W05-3, the third day of the fifth week, or 2024-W05, its first; 2024-031, the 31st
/// day of the year. Nothing if it is of neither form; no date if it is, and there is no such day.
fn week_or_day_of_year(text: &str) -> Option<Option<(Date, &str)>> {
    let year = text[..4].parse().ok()?;
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i16>().ok())?
    };
    let goes_on = |end: usize| text[end..].starts_with(|c: char| c.is_alphanumeric() && !matches!(c, 'T' | 't') || c == '-');
    if text[4..].starts_with("-W") {
        let week = number(6..8)?;
        let (day, end) = if text[8..].starts_with('-') { (number(9..10)?, 10) } else { (1, 8) };
        let date = || {
            let day = Weekday::from_monday_one_offset(i8::try_from(day).ok()?).ok()?;
            Some((ISOWeekDate::new(year, i8::try_from(week).ok()?, day).ok()?.date(), &text[end..]))
        };
        return Some(date().filter(|_| !goes_on(end)));
    }
    let day = number(5..8).filter(|_| text[4..].starts_with('-') && !goes_on(8))?;
    let date = || {
        let first = Date::new(year, 1, 1).ok()?;
        let date = first.checked_add(jiff::Span::new().days(day.checked_sub(1)?)).ok()?;
        (date.year() == year).then_some((date, &text[8..]))
    };
    Some(date())
}

/// Runs of letters, and runs of digits, with their places.
fn words(text: &str) -> Vec<(&str, usize)> {
    let mut out = Vec::new();
    let mut start = None;
    let class = |c: char| if c.is_ascii_digit() { 1 } else { 2 * u8::from(c.is_alphabetic()) };
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match start {
            Some((from, of)) if class(c) != of => {
                out.push((&text[from..at], from));
                start = (class(c) > 0).then(|| (at, class(c)));
            }
            None if class(c) > 0 => start = Some((at, class(c))),
            _ => {}
        }
    }
    out
}

fn month_named(word: &str) -> Option<i8> {
    let found = Locale::english().months().iter().position(|month| {
        let short = word.len() >= 3 && word.is_ascii() && month.len() >= word.len();
        short && month[..word.len()].eq_ignore_ascii_case(word)
    });
    found.map(|i| i as i8 + 1)
}

/// A year of four digits, or of two: up to 68 of this century, from 69 on of the last.
pub(super) fn year(digits: &str) -> Option<i16> {
    let year: i16 = digits.parse().ok()?;
    match digits.len() {
        4 => Some(year),
        2 => Some(if year <= 68 { 2000 + year } else { 1900 + year }),
        _ => None,
    }
}

/// 17:05, 17:05:30.25, 5:05 pm, 5:05 p.m.
fn time(text: &str) -> Option<Time> {
    let lower = text.to_ascii_lowercase();
    let half = [("am", 0), ("a.m.", 0), ("pm", 12), ("p.m.", 12)]
        .into_iter()
        .find_map(|(written, half)| Some((lower.strip_suffix(written)?, half)));
    let (digits, half) = half.map_or((lower.trim(), None), |(digits, half)| (digits.trim(), Some(half)));
    let mut parts = digits.split(':');
    let hour: i8 = parts.next()?.parse().ok()?;
    let minute: i8 = parts.next().map_or(half.map(|_| 0), |minute| minute.parse().ok())?;
    let seconds = parts.next().unwrap_or("0");
    let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    if parts.next().is_some() || fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanosecond = format!("{fraction:0<9}").parse().ok()?;
    let hour = match half {
        Some(half) if (1..=12).contains(&hour) => hour % 12 + half,
        Some(_) => return None,
        None => hour,
    };
    Time::new(hour, minute, second.parse().ok()?, nanosecond).ok()
}

/// The first instant of a unit that holds `at`.
pub(super) fn cut(at: DateTime, unit: &str) -> Option<DateTime> {
    let date = at.date();
    let day = |date: Date| Some(date.to_datetime(Time::midnight()));
    match unit {
        "year" => day(Date::new(at.year(), 1, 1).ok()?),
        "quarter" => day(Date::new(at.year(), (at.month() - 1) / 3 * 3 + 1, 1).ok()?),
        "month" => day(date.first_of_month()),
        "week" => day(date.checked_sub(jiff::Span::new().days(i64::from(date.weekday().to_sunday_zero_offset()))).ok()?),
        "day" => day(date),
        "hour" => DateTime::new(at.year(), at.month(), at.day(), at.hour(), 0, 0, 0).ok(),
        "minute" => DateTime::new(at.year(), at.month(), at.day(), at.hour(), at.minute(), 0, 0).ok(),
        "second" => DateTime::new(at.year(), at.month(), at.day(), at.hour(), at.minute(), at.second(), 0).ok(),
        _ => Some(at),
    }
}

/// The month whose name is in front, and how many characters the name has.
pub(super) fn month_in(locale: Locale, word: &str) -> Option<(i8, usize)> {
    let lower = word.to_lowercase();
    let found = locale.names_of_months().filter(|(_, name)| lower.starts_with(&name.to_lowercase())).max_by_key(|(_, name)| name.len());
    found.map(|(i, name)| (i as i8 + 1, name.chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_people_write_them() {
        for (text, expected) in [
            ("2024-01-31", "2024-01-31"),
            ("2024/1/5", "2024-01-05"),
            ("2024-03", "2024-03-01"),
            ("20240131", "2024-01-31"),
            ("1/31/2024", "2024-01-31"),
            ("07/10/19", "2019-07-10"),
            ("12/31/75", "1975-12-31"),
            ("Wednesday, January 31, 2024", "2024-01-31"),
            ("wed 31 Jan 2024", "2024-01-31"),
            ("Wed, 31 Jan 2024 10:30:00 GMT", "2024-01-31T10:30:00Z"),
            ("January 31, 2024", "2024-01-31"),
            ("Jan 31 2024", "2024-01-31"),
            ("31 january 2024", "2024-01-31"),
            ("Tue, 01 Nov 2016 01:23:45 +0000", "2016-11-01T01:23:45Z"),
            ("Tue, 01 Nov 2016 01:23:45 -0800", "2016-11-01T09:23:45Z"),
            ("Tue, 01 Nov 2016 01:23:45 PST", "2016-11-01T09:23:45Z"),
            ("Tue, 01 Nov 2016 01:23 UT", "2016-11-01T01:23:00Z"),
            ("2011-10-08 18:04:20 +02:00", "2011-10-08T16:04:20Z"),
            ("20111008T180420", "2011-10-08T18:04:20Z"),
            ("20111008T1804+02", "2011-10-08T16:04:00Z"),
            ("2011-10-08T18", "2011-10-08T18:00:00Z"),
            ("2011-281", "2011-10-08"),
            ("2011-W40-6", "2011-10-08"),
            ("2011-W40", "2011-10-03"),
            ("2024-005-10", "2024-05-10"),
            ("2011-281T18:04+0200", "2011-10-08T16:04:00Z"),
            ("31 Jan 2024 10:30 +14:00", "2024-01-30T20:30:00Z"),
            ("2011-W40-6T18:04", "2011-10-08T18:04:00Z"),
            ("2014-01-01T24:00:00.000", "2014-01-02T00:00:00Z"),
            ("2014-01-01 24:00", "2014-01-02T00:00:00Z"),
            ("2024-01-31T10:30:00Z", "2024-01-31T10:30:00Z"),
            ("2024-01-31T10:30:00.250+02:00", "2024-01-31T08:30:00.25Z"),
            ("2024-01-31 10:30", "2024-01-31T10:30:00Z"),
            ("1/31/2024 5:05 pm", "2024-01-31T17:05:00Z"),
            ("1/31/2024 12:00am", "2024-01-31T00:00:00Z"),
            ("31 Jan 2024, 3 P.M.", "2024-01-31T15:00:00Z"),
            ("31 Jan 2024 3:30 a.m.", "2024-01-31T03:30:00Z"),
        ] {
            let shown = match parse(text, &TimeZone::UTC) {
                Some(Moment::Date(date)) => date.to_string(),
                Some(Moment::DateTime(at)) => at.to_string(),
                None => "none".into(),
            };
            assert_eq!(shown, expected, "{text}");
        }
        for text in
            ["€50", "📅 5 Jan 2024", "–12", "№5", "Tue，31 Dec 2024", "Tue 1430", "Sun 2024", "Mon, 31 Dec 2024", "Sunday", "Tue\u{a0}"]
        {
            assert_eq!(parse(text, &TimeZone::UTC), None, "{text}");
        }
        assert_eq!(parse("Tue\u{a0}31 Dec 2024", &TimeZone::UTC), Some(Moment::Date(jiff::civil::date(2024, 12, 31))));
        for text in [
            "1/31/2024 10:30-11:30",
            "Jan 31, 2024 14:00-15:30",
            "1/31/2024 9am-10",
            "1/31/2024T10-11",
            "31 Jan 2024 10:30 +1:0",
            "31 Jan 2024 10:30 +0:2",
            "31 Jan 2024 10:30 +::02",
            "31 Jan 2024 10:30 +1400x",
            "31 Jan 2024 10:30 -1300",
            "2014-01-01 24:00....",
            "2014-01-01 24:00::",
            "2014-01-01 24:00:00:00",
            "2014-01-01 24:00:00.1",
            "2024-W-05",
            "2024-W 05",
            "2024-W/05-3",
            "2024- W05",
            "2024-W05-/3",
            "2024-W05-03",
            "2024-W05-é",
            "2024-Wé5",
            "2024-~031",
            "2024-03é",
            "2024-0311",
        ] {
            assert_eq!(parse(text, &TimeZone::UTC), None, "{text}");
        }
        for text in ["2014-01-01 24:30", "2011-366", "2011-000", "2011-W53", "2011-W40-8", "2011-10-08 18", "2011-10-08 18:04 +25:00"] {
            assert_eq!(parse(text, &TimeZone::UTC), None, "{text}");
        }
        for text in ["", "x", "2024-13-01", "31/31/2024", "2024-02-30", "hello 1", "1/2", "12:30", "2024-01-31 25:00", "99999-01-01"] {
            assert_eq!(parse(text, &TimeZone::UTC), None, "{text}");
        }
    }
}
