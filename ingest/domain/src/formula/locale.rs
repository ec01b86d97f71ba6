//! Languages for dates: names of months and days, how dates are put together, when a week begins.
//!
//! The table `locales.json` has an entry for each language; another is one more entry, and no code.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::civil::Date;
use regex::Regex;
use serde::Deserialize;

use super::outcome::{Outcome, error, excerpt};
use crate::value::ErrorKind;

/// A language for dates.
#[derive(Clone, Copy, Debug)]
pub struct Locale(&'static Language);

/// An entry of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Language {
    /// Formats in which a month stands in a date, with its day; if there is none, behind it.
    in_date: Option<Pattern>,
    months: [String; 12],
    /// In a date, as in "1 января", if they are otherwise there.
    months_in_date: Option<[String; 12]>,
    months_short: [String; 12],
    months_short_in_date: Option<[String; 12]>,
    days: [String; 7],
    days_short: [String; 7],
    days_min: [String; 7],
    /// The first day of a week, from Sunday.
    first_day: i64,
    /// The first week of a year is the one that holds the day in January with the number 7 + `first_day` - `first_week`.
    first_week: i64,
    /// The formats that shorthands stand for.
    forms: BTreeMap<String, String>,
    /// The parts of a day, from a minute of the day on: what `A` and what `a` shows.
    #[serde(default = "before_and_after_noon")]
    day_parts: Vec<(u16, String, String)>,
    /// The digits, if they are not those of English.
    digits: Option<String>,
    comma: Option<String>,
    ordinals: Vec<Ordinals>,
}

/// A regular expression.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = regex::Error;

    fn try_from(pattern: String) -> Result<Self, regex::Error> {
        Regex::new(&pattern).map(Pattern)
    }
}

/// How numbers are written that say which of several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordinals {
    /// Of what, by the tokens of formats.
    tokens: String,
    /// As most are written; `%d` is the number.
    others: String,
    /// The rules go by the remainder of the number by this.
    #[serde(default = "all_numbers")]
    period: i64,
    #[serde(default)]
    rules: BTreeMap<String, Vec<i64>>,
}

fn before_and_after_noon() -> Vec<(u16, String, String)> {
    vec![(0, "AM".into(), "am".into()), (720, "PM".into(), "pm".into())]
}

fn all_numbers() -> i64 {
    i64::MAX
}

static LANGUAGES: LazyLock<BTreeMap<String, Language>> =
    LazyLock::new(|| serde_json::from_str(include_str!("locales.json")).expect("a test reads the table"));

/// Other codes for languages of the table.
const ALIASES: &[(&str, &str)] = &[
    ("zh", "zh-cn"),
    ("zh-hans", "zh-cn"),
    ("zh-sg", "zh-cn"),
    ("zh-hant", "zh-tw"),
    ("no", "nb"),
    ("hy", "hy-am"),
    ("pa", "pa-in"),
    ("tl", "tl-ph"),
    ("ug", "ug-cn"),
    ("me-latn", "me"),
    ("sr-latn", "sr"),
];

impl Locale {
    /// English, as in the United States.
    pub fn english() -> Locale {
        static ENGLISH: LazyLock<&Language> = LazyLock::new(|| &LANGUAGES["en"]);
        Locale(*ENGLISH)
    }

    /// The codes of the table's languages, in order.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        LANGUAGES.keys().map(String::as_str)
    }

    /// The language that a code names, as in "de" or "de-AT"; one of a region that has no entry is that of the language.
    pub fn named(code: &str) -> Outcome<Locale> {
        let code = code.trim().to_ascii_lowercase().replace('_', "-");
        let aliased = |code: &str| ALIASES.iter().find(|(alias, _)| *alias == code).map_or(code.to_owned(), |(_, code)| (*code).to_owned());
        let language = code.split('-').next().unwrap_or(&code);
        let by_language = match language {
            // Everywhere else the day comes first.
            "en" if !matches!(code.as_str(), "en" | "en-us" | "en-ph") => "en-gb",
            language => language,
        };
        let found = LANGUAGES.get(&aliased(&code)).or_else(|| LANGUAGES.get(&aliased(by_language)));
        found.map(Locale).ok_or_else(|| {
            let message = format!("the language \"{}\" is not known; codes are as in en, en-gb, de, pt-br, ja or zh-cn", excerpt(&code));
            error(ErrorKind::Value, message)
        })
    }

    /// The months, from January.
    pub fn months(self) -> &'static [String; 12] {
        &self.0.months
    }

    /// A month, from 0, as it stands in this format.
    pub fn month(self, month: usize, format: &str) -> &'static str {
        let in_date = self.0.months_in_date.as_ref().filter(|_| self.is_date(format));
        &in_date.unwrap_or(&self.0.months)[month]
    }

    /// A month in short, from 0, as it stands in this format.
    pub fn month_short(self, month: usize, format: &str) -> &'static str {
        let in_date = self.0.months_short_in_date.as_ref().filter(|_| self.is_date(format));
        &in_date.unwrap_or(&self.0.months_short)[month]
    }

    /// Whether a month stands in a date in this format.
    fn is_date(self, format: &str) -> bool {
        static DAY_FIRST: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"D[oD]?(?:\[[^\[\]]*\]|\s)+MMMM?").expect("a test reads the pattern"));
        self.0.in_date.as_ref().map_or(&*DAY_FIRST, |pattern| &pattern.0).is_match(format)
    }

    /// All names of months, with the month from 0.
    pub fn names_of_months(self) -> impl Iterator<Item = (usize, &'static str)> {
        let Language { months, months_in_date, months_short, months_short_in_date, .. } = self.0;
        let all = [Some(months), months_in_date.as_ref(), Some(months_short), months_short_in_date.as_ref()];
        all.into_iter().flatten().flat_map(|names| names.iter().map(String::as_str).enumerate())
    }

    /// The days of the week, from Sunday.
    pub fn days(self) -> &'static [String; 7] {
        &self.0.days
    }

    /// The days in short, from Sunday.
    pub fn days_short(self) -> &'static [String; 7] {
        &self.0.days_short
    }

    /// The days as short as they get, from Sunday.
    pub fn days_min(self) -> &'static [String; 7] {
        &self.0.days_min
    }

    /// The place in the week of a day that is counted from Sunday.
    pub fn place_in_week(self, day: usize) -> i64 {
        (day as i64 - self.0.first_day).rem_euclid(7)
    }

    /// The week of a date, and the year whose week it is.
    pub fn week(self, date: Date) -> (i16, i64) {
        let (year, day) = (i64::from(date.year()), i64::from(date.day_of_year()) - 1);
        let first_of_year = i64::from(date.weekday().to_sunday_zero_offset()) - day;
        let length = i64::from(date.days_in_year());
        let length_before = if Date::new(date.year() - 1, 2, 29).is_ok() { 366 } else { 365 };
        // Which day the first week begins with, counted from 1 January, of a year that begins with this day.
        let start = |first_of_year: i64| {
            let held = 6 + self.0.first_day - self.0.first_week;
            held - (first_of_year + held - self.0.first_day).rem_euclid(7)
        };
        let (this, next) = (start(first_of_year), length + start(first_of_year + length));
        if day < this {
            let before = start(first_of_year - length_before) - length_before;
            (year as i16 - 1, (day - before) / 7 + 1)
        } else if day >= next {
            (year as i16 + 1, (day - next) / 7 + 1)
        } else {
            (year as i16, (day - this) / 7 + 1)
        }
    }

    /// The format that a shorthand (`LT`, `LL` …) stands for.
    pub fn shorthand(self, token: &str) -> Option<String> {
        let forms = &self.0.forms;
        if !matches!(token, "LT" | "LTS" | "L" | "LL" | "LLL" | "LLLL" | "l" | "ll" | "lll" | "llll") {
            return None;
        }
        forms.get(token).cloned().or_else(|| {
            // The short forms are the long ones with everything a size smaller.
            let long = forms.get(&token.to_ascii_uppercase())?;
            let smaller = [("MMMM", "MMM"), ("MM", "M"), ("DD", "D"), ("dddd", "ddd")];
            let (mut out, mut rest) = (String::new(), long.as_str());
            while let Some(c) = rest.chars().next() {
                let literal = rest.find(']').filter(|_| c == '[').map(|end| &rest[..=end]);
                let (from, to) = match smaller.iter().find(|(from, _)| rest.starts_with(from)) {
                    _ if literal.is_some() => (literal.unwrap_or_default(), literal.unwrap_or_default()),
                    Some((from, to)) => (*from, *to),
                    None => (&rest[..c.len_utf8()], &rest[..c.len_utf8()]),
                };
                out.push_str(to);
                rest = &rest[from.len()..];
            }
            Some(out)
        })
    }

    /// A number as one says which of several, of what this token stands for: 1st.
    pub fn ordinal(self, n: i64, token: &str) -> String {
        let table = self.0.ordinals.iter().find(|table| table.tokens.split(' ').any(|there| there == token));
        let pattern = table.map_or("%d", |table| {
            let rule = table.rules.iter().find(|(_, numbers)| numbers.contains(&(n % table.period)));
            rule.map_or(table.others.as_str(), |(pattern, _)| pattern)
        });
        pattern.replace("%d", &n.to_string())
    }

    /// The part of the day: what `A` shows, and what `a` does.
    pub fn day_part(self, hour: i8, minute: i8) -> (&'static str, &'static str) {
        let minute = u16::from(hour.unsigned_abs()) * 60 + u16::from(minute.unsigned_abs());
        let part = self.0.day_parts.iter().rev().find(|(from, ..)| *from <= minute);
        part.map_or(("", ""), |(_, upper, lower)| (upper, lower))
    }

    /// The part of the day that a text begins with: the hours that it is of, and how many bytes its name has.
    pub fn day_part_in(self, text: &str) -> Option<(Vec<std::ops::Range<u16>>, usize)> {
        let day_parts = &self.0.day_parts;
        let matches = |name: &str| {
            let there = text.get(..name.len()).filter(|there| there.to_lowercase() == name.to_lowercase());
            there.filter(|there| !there.is_empty()).map(str::len)
        };
        let length = day_parts.iter().flat_map(|(_, upper, lower)| [matches(upper), matches(lower)]).flatten().max()?;
        let end = |place: usize| day_parts.get(place + 1).map_or(24 * 60, |(next, ..)| *next);
        let named =
            |(_, (_, upper, lower)): &(usize, &(u16, String, String))| [upper, lower].iter().any(|name| matches(name) == Some(length));
        Some((day_parts.iter().enumerate().filter(named).map(|(place, (from, ..))| *from..end(place)).collect(), length))
    }

    /// A date's text with the language's own digits and commas.
    pub fn localized(self, text: String) -> String {
        let comma = &self.0.comma;
        let digits: Vec<char> = self.0.digits.iter().flat_map(|digits| digits.chars()).collect();
        if digits.is_empty() && comma.is_none() {
            return text;
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match (c.to_digit(10).and_then(|digit| digits.get(digit as usize)), comma) {
                (Some(digit), _) => out.push(*digit),
                (None, Some(comma)) if c == ',' => out.push_str(comma),
                _ => out.push(c),
            }
        }
        out
    }

    /// A date's text with the digits and commas that formats have.
    pub fn delocalized(self, text: &str) -> String {
        let digits = self.0.digits.as_deref().unwrap_or_default();
        let digit = |c| digits.chars().zip('0'..='9').find(|(own, _)| *own == c).map(|(_, digit)| digit);
        let text: String = text.chars().map(|c| digit(c).unwrap_or(c)).collect();
        self.0.comma.as_ref().map_or(text.clone(), |comma| text.replace(comma.as_str(), ","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_of_the_table_is_whole() {
        assert!(LANGUAGES.len() > 100);
        for (code, language) in &*LANGUAGES {
            assert!((0..7).contains(&language.first_day) && (0..=12).contains(&language.first_week), "{code}");
            for form in ["LT", "LTS", "L", "LL", "LLL", "LLLL"] {
                assert!(language.forms.contains_key(form), "{code} has {form}");
            }
            for token in ["D", "DDD", "M", "Q", "d", "w", "W"] {
                assert!(language.ordinals.iter().any(|table| table.tokens.split(' ').any(|there| there == token)), "{code} {token}");
            }
            assert_eq!(language.day_parts.first().map(|(from, ..)| *from), Some(0), "{code}");
            assert!(language.digits.as_ref().is_none_or(|digits| digits.chars().count() == 10), "{code}");
        }
        for (alias, code) in ALIASES {
            assert!(!LANGUAGES.contains_key(*alias) && LANGUAGES.contains_key(*code), "{alias}");
        }
    }
}
