//! Dates as text by formats of tokens, as `YYYY-MM-DD HH:mm`: written and read. What stands in square brackets is text.

use std::ops::Range;

use ecow::EcoString;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ZonedDateTime, civil};

use super::coerce::bounded;
use super::dates::{month_in, year};
use super::locale::Locale;
use super::outcome::{Outcome, error};
use crate::value::ErrorKind;

/// Every token, a longer one before those that it begins with.
const TOKENS: &[&str] = &[
    "LLLL", "LLL", "LTS", "LL", "LT", "L", "llll", "lll", "ll", "l", "YYYYYY", "YYYYY", "YYYY", "YY", "Y", "Qo", "Q", "MMMM", "MMM", "MM",
    "Mo", "M", "DDDD", "DDDo", "DDD", "DD", "Do", "D", "dddd", "ddd", "dd", "do", "d", "e", "E", "ww", "wo", "w", "WW", "Wo", "W", "gggg",
    "gg", "GGGG", "GG", "A", "a", "HH", "H", "hh", "h", "kk", "k", "mm", "m", "ss", "s", "ZZ", "Z", "zz", "z", "X", "x",
];

/// A piece of a format.
enum Piece<'a> {
    Token(&'a str),
    Literal(&'a str),
}

/// The pieces of a format. What stands in brackets or behind a backslash is literal, and so is what is no token.
fn pieces(format: &str) -> Vec<Piece<'_>> {
    let (mut out, mut at) = (Vec::new(), 0);
    // Behind the last closing bracket no bracket opens anything.
    let last_end = format.rfind(']').unwrap_or(0);
    while let Some(c) = format[at..].chars().next() {
        let rest = &format[at..];
        let (piece, length) = if c == '['
            && at < last_end
            && let Some(end) = rest.find(']')
        {
            (Piece::Literal(&rest[1..end]), end + 1)
        } else if c == '\\' && rest.len() > 1 {
            let length = rest[1..].chars().next().map_or(0, char::len_utf8);
            (Piece::Literal(&rest[1..1 + length]), 1 + length)
        } else if c == 'S' {
            let length = rest.bytes().take_while(|b| *b == b'S').count();
            (Piece::Token(&rest[..length]), length)
        } else if let Some(token) = TOKENS.iter().find(|token| rest.starts_with(**token)) {
            (Piece::Token(token), token.len())
        } else {
            (Piece::Literal(&rest[..c.len_utf8()]), c.len_utf8())
        };
        out.push(piece);
        at += length;
    }
    out
}

/// The longest format, in bytes.
pub(super) const FORMAT_LENGTH_MAX: usize = 1_000;

/// The date by a format.
pub(super) fn written(at: &ZonedDateTime, format: &str, locale: Locale) -> Outcome<EcoString> {
    let mut out = String::new();
    write(&mut out, at, format, locale, 0)?;
    let out = locale.localized(out);
    bounded(out.len())?;
    Ok(out.into())
}

fn write(out: &mut String, at: &ZonedDateTime, format: &str, locale: Locale, depth: u8) -> Outcome<()> {
    if format.len() > FORMAT_LENGTH_MAX {
        let message = format!("the format has {} bytes; {FORMAT_LENGTH_MAX} are the most", format.len());
        return Err(error(ErrorKind::Limit, message));
    }
    for piece in pieces(format) {
        match piece {
            Piece::Literal(literal) => out.push_str(literal),
            Piece::Token(token) => match locale.shorthand(token).filter(|_| depth == 0) {
                Some(format) => write(out, at, &format, locale, 1)?,
                None => out.push_str(&shown(token, at, locale, format)),
            },
        }
        bounded(out.len())?;
    }
    Ok(())
}

/// What stands for a token of a format.
fn shown(token: &str, at: &ZonedDateTime, locale: Locale, format: &str) -> String {
    let (date, time) = (at.date(), at.time());
    let twelve = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let weekday = usize::from(date.weekday().to_sunday_zero_offset().unsigned_abs());
    let month = usize::from(date.month().unsigned_abs()) - 1;
    let iso = date.iso_week_date();
    let (week_year, local_week) = locale.week(date);
    let day_part = locale.day_part(time.hour(), time.minute());
    match token {
        "YYYY" => format!("{:04}", date.year()),
        "gggg" => format!("{week_year:04}"),
        "gg" => format!("{:02}", week_year.rem_euclid(100)),
        "YYYYY" => format!("{:05}", date.year()),
        "YYYYYY" => format!("{:+07}", date.year()),
        "YY" => format!("{:02}", date.year().rem_euclid(100)),
        "Y" => date.year().to_string(),
        "GGGG" => format!("{:04}", iso.year()),
        "GG" => format!("{:02}", iso.year().rem_euclid(100)),
        "Q" => ((date.month() + 2) / 3).to_string(),
        "Qo" => locale.ordinal(i64::from((date.month() + 2) / 3), "Q"),
        "MMMM" => locale.month(month, format).to_owned(),
        "MMM" => locale.month_short(month, format).to_owned(),
        "MM" => format!("{:02}", date.month()),
        "Mo" => locale.ordinal(date.month().into(), "M"),
        "M" => date.month().to_string(),
        "DDDD" => format!("{:03}", date.day_of_year()),
        "DDDo" => locale.ordinal(date.day_of_year().into(), "DDD"),
        "DDD" => date.day_of_year().to_string(),
        "DD" => format!("{:02}", date.day()),
        "Do" => locale.ordinal(date.day().into(), "D"),
        "D" => date.day().to_string(),
        "dddd" => locale.days()[weekday].clone(),
        "ddd" => locale.days_short()[weekday].clone(),
        "dd" => locale.days_min()[weekday].clone(),
        "do" => locale.ordinal(weekday as i64, "d"),
        "d" => weekday.to_string(),
        "e" => locale.place_in_week(weekday).to_string(),
        "E" => date.weekday().to_monday_one_offset().to_string(),
        "ww" => format!("{local_week:02}"),
        "wo" => locale.ordinal(local_week, "w"),
        "w" => local_week.to_string(),
        "WW" => format!("{:02}", iso.week()),
        "Wo" => locale.ordinal(iso.week().into(), "W"),
        "W" => iso.week().to_string(),
        "A" => day_part.0.to_owned(),
        "a" => day_part.1.to_owned(),
        "HH" => format!("{:02}", time.hour()),
        "H" => time.hour().to_string(),
        "hh" => format!("{twelve:02}"),
        "h" => twelve.to_string(),
        "kk" => format!("{:02}", if time.hour() == 0 { 24 } else { time.hour() }),
        "k" => if time.hour() == 0 { 24 } else { time.hour() }.to_string(),
        "mm" => format!("{:02}", time.minute()),
        "m" => time.minute().to_string(),
        "ss" => format!("{:02}", time.second()),
        "s" => time.second().to_string(),
        "Z" => offset(at.offset(), ":"),
        "ZZ" => offset(at.offset(), ""),
        "z" | "zz" => at.strftime("%Z").to_string(),
        "X" => at.timestamp().as_second().to_string(),
        "x" => at.timestamp().as_millisecond().to_string(),
        fraction => {
            let digits = format!("{:09}", time.subsec_nanosecond());
            fraction.char_indices().map(|(i, _)| digits.get(i..=i).unwrap_or("0")).collect()
        }
    }
}

fn offset(offset: Offset, separator: &str) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}{separator}{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// The nanoseconds that the digits in front of a text say as the part of a second, and what is left.
fn fraction(text: &str) -> Option<(i32, &str)> {
    let length = text.bytes().take(9).take_while(u8::is_ascii_digit).count();
    let nanosecond = format!("{:0<9}", &text[..length]).parse().ok()?;
    Some((nanosecond, text[length..].trim_start_matches(|c: char| c.is_ascii_digit())))
}

/// How hours are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hours {
    /// From 0; 24 is the end of the day.
    #[default]
    FromZero,
    /// From 1; 24 is the first hour.
    FromOne,
    /// From 1 in each half of the day.
    OfHalf,
}

/// What a text says, token by token.
#[derive(Default)]
struct Said {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    quarter: Option<i8>,
    iso_year: Option<i16>,
    iso_week: Option<i8>,
    weekday: Option<i8>,
    /// The days of the week that a name may mean, Sunday being the first; none if it is not said, or by a name that is not known.
    weekdays_named: Vec<usize>,
    hour: Option<i8>,
    hours: Hours,
    minute: i8,
    second: i8,
    nanosecond: i32,
    /// The minutes of the day that it is in; none if it is not said.
    day_part: Vec<Range<u16>>,
    offset: Option<i32>,
    instant: Option<Timestamp>,
}

/// The days of the week, Sunday being the first, whose name the text begins with, in this language or in English; those of the
/// longest such name.
fn weekdays_in(locale: Locale, text: &str) -> Vec<usize> {
    let text = text.to_lowercase();
    let (mut found, mut longest) = (Vec::new(), 0);
    for of in [locale, Locale::english()] {
        for names in [of.days(), of.days_short(), of.days_min()] {
            for (day, name) in names.iter().enumerate() {
                let name = name.to_lowercase();
                let name = name.trim_end_matches('.');
                if !text.starts_with(name) || name.len() < longest {
                    continue;
                }
                if name.len() > longest {
                    found.clear();
                    longest = name.len();
                }
                found.push(day);
            }
        }
    }
    found
}

/// The instant that `written` shows by this format.
pub(super) fn read(written: &str, format: &str, locale: Locale, zone: &TimeZone) -> Option<Timestamp> {
    let written = locale.delocalized(written);
    let (mut said, mut rest) = (Said::default(), written.as_str());
    let expanded: String = pieces(format)
        .into_iter()
        .map(|piece| match piece {
            Piece::Literal(literal) => format!("[{literal}]"),
            Piece::Token(token) => locale.shorthand(token).unwrap_or_else(|| token.to_owned()),
        })
        .collect();
    for piece in pieces(&expanded) {
        match piece {
            Piece::Literal(literal) => {
                // Separators may differ, and may be missing at the end.
                for c in literal.chars() {
                    let next = rest.chars().next();
                    match next {
                        Some(there) if there == c || (!there.is_alphanumeric() && !c.is_alphanumeric()) => rest = &rest[there.len_utf8()..],
                        _ if !c.is_alphanumeric() => {}
                        _ => return None,
                    }
                }
            }
            Piece::Token(token) => {
                rest = rest.trim_start();
                rest = said.take(token, rest, locale)?;
            }
        }
    }
    if !rest.trim().is_empty() {
        return None;
    }
    said.instant(zone)
}

impl Said {
    /// Takes what a token stands for from the front; returns what is left.
    fn take<'a>(&mut self, token: &str, text: &'a str, locale: Locale) -> Option<&'a str> {
        if text.is_empty() {
            // What is not said has its least value.
            return (self.year.is_some() || self.iso_year.is_some() || self.instant.is_some()).then_some(text);
        }
        let digits = |most: usize| {
            let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
            text[..length].parse::<i64>().ok().map(|n| (n, &text[length..]))
        };
        let mut rest = text;
        let mut small = |most: usize, range: std::ops::RangeInclusive<i64>| {
            let (n, left) = digits(most)?;
            rest = left;
            range.contains(&n).then_some(n as i8)
        };
        match token {
            "YYYY" | "GGGG" | "Y" => {
                let (n, left) = digits(4)?;
                let length = text.len() - left.len();
                let said = if length == 2 { year(&text[..2])? } else { n as i16 };
                *if token == "GGGG" { &mut self.iso_year } else { &mut self.year } = Some(said);
                rest = left;
            }
            "Q" => self.quarter = Some(small(1, 1..=4)?),
            "WW" | "W" => self.iso_week = Some(small(2, 1..=53)?),
            "E" => self.weekday = Some(small(1, 1..=7)?),
            "YY" => {
                let (_, left) = digits(if text.len() >= 4 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit) { 4 } else { 2 })?;
                self.year = Some(year(&text[..text.len() - left.len()])?);
                rest = left;
            }
            "MMMM" | "MMM" => {
                let (month, length) = month_in(locale, text).or_else(|| month_in(Locale::english(), text))?;
                self.month = Some(month);
                rest = &text[text.char_indices().nth(length).map_or(text.len(), |(at, _)| at)..];
                rest = rest.strip_prefix('.').unwrap_or(rest);
            }
            "MM" | "M" => self.month = Some(small(2, 1..=12)?),
            "DD" | "D" => self.day = Some(small(2, 1..=31)?),
            "Do" => {
                // The day with what makes it an ordinal, or by itself.
                let days = (1..=31).filter_map(|day| Some((day, text.strip_prefix(locale.ordinal(day, "D").as_str())?)));
                match days.max_by_key(|(_, left)| text.len() - left.len()) {
                    Some((day, left)) => (self.day, rest) = (i8::try_from(day).ok(), left),
                    None => self.day = Some(small(2, 1..=31)?),
                }
                rest = rest.trim_start_matches(|c: char| c.is_alphabetic() || c == '.' || c == 'º');
            }
            "DDDD" | "DDD" => {
                let (n, left) = digits(3)?;
                self.day_of_year = Some(i16::try_from(n).ok()?);
                rest = left;
            }
            "dddd" | "ddd" | "dd" => {
                self.weekdays_named = weekdays_in(locale, text);
                rest = text.trim_start_matches(|c: char| c.is_alphabetic() || c == '.' || c == '-');
            }
            "HH" | "H" => (self.hour, self.hours) = (Some(small(2, 0..=24)?), Hours::FromZero),
            "kk" | "k" => (self.hour, self.hours) = (Some(small(2, 0..=24)?), Hours::FromOne),
            "hh" | "h" => (self.hour, self.hours) = (Some(small(2, 0..=23)?), Hours::OfHalf),
            "mm" | "m" => self.minute = small(2, 0..=59)?,
            "ss" | "s" => self.second = small(2, 0..=59)?,
            "A" | "a" => {
                let (hours, length) = locale.day_part_in(text).or_else(|| Locale::english().day_part_in(text))?;
                (self.day_part, rest) = (hours, &text[length..]);
            }
            "Z" | "ZZ" => {
                if let Some(left) = text.strip_prefix(['Z', 'z']) {
                    (self.offset, rest) = (Some(0), left);
                } else {
                    let sign = if text.starts_with('-') { -1 } else { 1 };
                    let bare: String = text.get(1..)?.chars().take(5).filter(char::is_ascii_digit).take(4).collect();
                    let (hours, minutes) = (bare.get(..2)?.parse::<i32>().ok()?, bare.get(2..4)?.parse::<i32>().ok()?);
                    self.offset = Some(sign * (hours * 3600 + minutes * 60));
                    rest = text.get(if text.as_bytes().get(3) == Some(&b':') { 6 } else { 5 }..)?;
                }
            }
            "X" | "x" => {
                let (n, left) = digits(15)?;
                rest = left;
                self.instant = match left.strip_prefix('.').filter(|left| token == "X" && left.starts_with(|c: char| c.is_ascii_digit())) {
                    Some(left) => {
                        let (nanosecond, left) = fraction(left)?;
                        rest = left;
                        Timestamp::new(n, nanosecond).ok()
                    }
                    None if token == "X" => Timestamp::from_second(n).ok(),
                    None => Timestamp::from_millisecond(n).ok(),
                };
                self.instant?;
            }
            token if token.starts_with('S') => (self.nanosecond, rest) = fraction(text)?,
            // It says nothing that makes a date.
            _ => return None,
        }
        Some(rest)
    }

    fn instant(self, zone: &TimeZone) -> Option<Timestamp> {
        if self.instant.is_some() {
            return self.instant;
        }
        let hour = match self.hour.unwrap_or(0) {
            24 if !self.day_part.is_empty() => return None,
            24 if self.hours == Hours::FromOne => 0,
            // The end of the day.
            24 if (self.minute, self.second, self.nanosecond) != (0, 0, 0) => return None,
            24 => 0,
            // It says by itself in which half of the day it is.
            13.. if self.hours == Hours::OfHalf && !self.day_part.is_empty() => return None,
            hour if self.day_part.is_empty() || hour > 12 => hour,
            // The one of the two hours so called that is in this part of the day, or else in the same half of it.
            hour => {
                let minute = |hour: i8| u16::from(hour.unsigned_abs()) * 60 + u16::from(self.minute.unsigned_abs());
                let is_in = |hour: &i8| self.day_part.iter().any(|part| part.contains(&minute(*hour)));
                let is_late = self.day_part.iter().all(|part| part.start >= 12 * 60);
                [hour % 12, hour % 12 + 12].into_iter().find(is_in).unwrap_or(hour % 12 + if is_late { 12 } else { 0 })
            }
        };
        let date = match self.day_of_year {
            None if let Some(year) = self.iso_year => {
                let day = civil::Weekday::from_monday_one_offset(self.weekday.unwrap_or(1)).ok()?;
                civil::ISOWeekDate::new(year, self.iso_week.unwrap_or(1), day).ok()?.date()
            }
            Some(day) => {
                let first = civil::Date::new(self.year?, 1, 1).ok()?;
                let date = first.checked_add(jiff::Span::new().try_days(i64::from(day) - 1).ok()?).ok()?;
                if date.year() == first.year() { date } else { return None }
            }
            None => civil::Date::new(
                self.year?,
                self.month.unwrap_or_else(|| self.quarter.map_or(1, |quarter| quarter * 3 - 2)),
                self.day.unwrap_or(1),
            )
            .ok()?,
        };
        let weekday = usize::from(date.weekday().to_sunday_zero_offset().unsigned_abs());
        if !self.weekdays_named.is_empty() && !self.weekdays_named.contains(&weekday) {
            return None;
        }
        let date = if self.hour == Some(24) && self.hours == Hours::FromZero { date.tomorrow().ok()? } else { date };
        let at = date.to_datetime(civil::Time::new(hour, self.minute, self.second, self.nanosecond).ok()?);
        match self.offset {
            Some(seconds) => Offset::from_seconds(seconds).ok()?.to_timestamp(at).ok(),
            None => zone.to_timestamp(at).ok(),
        }
    }
}
