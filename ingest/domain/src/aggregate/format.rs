//! What texts and numbers stand for: which are accepted, and how they are meant to be shown. Formulas see plain texts and
//! numbers.

use ecow::EcoString;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// What a text stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TextFormat {
    /// A line.
    #[default]
    Plain,
    /// Several lines.
    Long,
    /// An address for mail.
    Email,
    /// An address in the web.
    Url,
    /// A telephone number.
    Phone,
}

/// What a number stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum NumberFormat {
    /// Itself.
    #[default]
    Plain,
    /// A share: 0.5 is 50 %.
    Percent {},
    /// An amount of money.
    Currency {
        /// The three letters of the currency.
        code: EcoString,
    },
    /// So many stars of so many.
    Rating {
        /// The most stars.
        max: u32,
    },
    /// Seconds.
    Duration {},
}

/// The most stars of a rating.
pub const RATING_MAX: i64 = 10;

/// The longest address of mail and of the web, and the longest telephone number, in bytes.
const EMAIL_LENGTH_MAX: usize = 254;
const URL_LENGTH_MAX: usize = 2_000;
const PHONE_LENGTH_MAX: usize = 40;

impl TextFormat {
    /// The word for it in messages.
    pub fn kind(self) -> &'static str {
        match self {
            TextFormat::Plain => "text",
            TextFormat::Long => "long text",
            TextFormat::Email => "email",
            TextFormat::Url => "url",
            TextFormat::Phone => "phone",
        }
    }

    /// What is wanted, if this text is not of the format. Empty text is of every format.
    pub fn check(self, text: &str) -> Result<(), &'static str> {
        let fits = match self {
            _ if text.is_empty() => true,
            TextFormat::Plain | TextFormat::Long => true,
            TextFormat::Email => is_email(text),
            TextFormat::Url => is_url(text),
            TextFormat::Phone => is_phone(text),
        };
        if fits {
            return Ok(());
        }
        Err(match self {
            TextFormat::Plain | TextFormat::Long => "text",
            TextFormat::Email => "an address as \"ada@example.com\"",
            TextFormat::Url => "an address as \"https://example.com/page\"",
            TextFormat::Phone => "a number as \"+1 555 0100\"",
        })
    }

    /// Whether every text of the format `before` is one of this too.
    pub fn takes_all_of(self, before: TextFormat) -> bool {
        self == before || matches!(self, TextFormat::Plain | TextFormat::Long)
    }
}

fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.rsplit_once('@') else { return false };
    let labels = domain.split('.').filter(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    text.len() <= EMAIL_LENGTH_MAX
        && !name.is_empty()
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "<>()[],;:\"".contains(c))
        && !name.contains('@')
        && labels.count() == domain.split('.').count()
        && domain.contains('.')
}

fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let rest = match scheme {
        "http" | "https" | "ftp" => rest.strip_prefix("//").unwrap_or(""),
        _ => rest,
    };
    // What a browser would run is no address.
    let runs = matches!(scheme.to_ascii_lowercase().as_str(), "javascript" | "data" | "vbscript");
    text.len() <= URL_LENGTH_MAX
        && scheme_fits
        && !runs
        && !rest.is_empty()
        && !rest.starts_with('/')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn is_phone(text: &str) -> bool {
    text.len() <= PHONE_LENGTH_MAX
        && text.chars().filter(char::is_ascii_digit).count() >= 3
        && text.chars().all(|c| c.is_ascii_digit() || " +-()./#x*".contains(c))
}

impl NumberFormat {
    /// The word for it in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            NumberFormat::Plain => "number",
            NumberFormat::Percent {} => "percent",
            NumberFormat::Currency { .. } => "currency",
            NumberFormat::Rating { .. } => "rating",
            NumberFormat::Duration {} => "duration",
        }
    }

    /// What is wanted, if this number is not of the format.
    pub fn check(&self, number: Decimal) -> Result<(), String> {
        match self {
            NumberFormat::Rating { max } if !number.fract().is_zero() || number < 0.into() || number > (*max).into() => {
                Err(format!("a whole number from 0 to {max}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether every number of the format `before` is one of this too.
    pub fn takes_all_of(&self, before: &NumberFormat) -> bool {
        match (self, before) {
            (NumberFormat::Rating { max }, NumberFormat::Rating { max: before }) => max >= before,
            (NumberFormat::Rating { .. }, _) => false,
            _ => true,
        }
    }
}

/// The seconds that a text shows as hours, minutes and seconds: `1:30`, `0:01:30.5`, `-2:00`.
pub fn seconds(text: &str) -> Option<Decimal> {
    let (sign, digits) = match text.trim().strip_prefix('-') {
        Some(digits) => (-Decimal::ONE, digits),
        None => (Decimal::ONE, text.trim()),
    };
    let parts: Vec<&str> = digits.split(':').collect();
    let (hours, minutes, seconds) = match parts[..] {
        [hours, minutes] => (hours, minutes, "0"),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return None,
    };
    let whole = |text: &str, below: u32| {
        let n: u32 = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))?;
        (n < below).then_some(Decimal::from(n))
    };
    let seconds = Decimal::from_str_exact(seconds).ok().filter(|n| !n.is_sign_negative() && *n < 60.into())?;
    Some(sign * (whole(hours, 1_000_000)? * Decimal::from(3600) + whole(minutes, 60)? * Decimal::from(60) + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_and_what_does_not() {
        use TextFormat::{Email, Phone, Url};
        for (format, good, bad) in [
            (
                Email,
                &["ada@example.com", "a.b+c@x-y.example.co.uk", "ü@bücher.example"][..],
                &[
                    "ada",
                    "@example.com",
                    "ada@",
                    "ada@example",
                    "a b@example.com",
                    "a@@example.com",
                    "ada@.com",
                    "ada@example..com",
                    "<a@b.c>",
                ][..],
            ),
            (
                Url,
                &["https://example.com", "http://localhost:8080/a?b=c#d", "mailto:ada@example.com", "ftp://x/y"],
                &["example.com", "https://", "https:///x", "http:example.com", "javascript:alert(1)", "https://a b", ":x"],
            ),
            (Phone, &["+1 (555) 0100", "110", "030/123-45"], &["12", "call me", "+1 555 0100 ask for Ada"]),
        ] {
            good.iter().for_each(|text| assert_eq!(format.check(text), Ok(()), "{text}"));
            bad.iter().for_each(|text| assert!(format.check(text).is_err(), "{text}"));
        }
        assert!(Email.check(&format!("{}@example.com", "a".repeat(300))).is_err());
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, expected) in [("1:30", "5400"), ("0:01:30.5", "90.5"), ("-2:00", "-7200"), (" 100:00:00 ", "360000")] {
            assert_eq!(seconds(text).map(|n| n.normalize().to_string()).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "90", "1:60", "1:2:61", "a:b", "1:2:3:4", "1:-2", "--1:00", "1:+2"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
