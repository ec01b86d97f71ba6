//! Dates to text and back.

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ZonedDateTime};

use super::date::now;
use super::{Call, Function, Kind, Parameters};
use crate::formula::coerce::{moment, text};
use crate::formula::date_format::{FORMAT_LENGTH_MAX, read, written};
use crate::formula::dates::Moment;
use crate::formula::eval::Context;
use crate::formula::locale::Locale;
use crate::formula::outcome::{Outcome, error, excerpt};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

const ONE: Parameters = Parameters::exactly(&[Kind::Moment]);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "DATETIME_FORMAT",
        arguments: "date, [format]",
        parameters: Parameters::with_optional(&[Kind::Moment], &[Kind::Text]),
        returns: |_| Type::Text,
        call: Call::Dated(|context, values| {
            let Some(at) = zoned(context, &values[0])? else { return Ok(Value::Blank) };
            let format = values.get(1).map(text).filter(|format| !format.is_empty());
            written(&at, format.as_deref().unwrap_or("YYYY-MM-DDTHH:mm:ssZ"), context.locale).map(Value::Text)
        }),
        doc: "The date as text. Tokens: `YYYY YY` year, `Q` quarter, `MMMM MMM MM M Mo` month, `DD D Do` day, `DDD DDDD` day of the year, `dddd ddd d E` day of the week, `w W gggg GGGG` week and its year, `HH H hh h kk` hour, `mm m` minute, `ss s` second, `S`… fraction, `A a` half of the day, `Z ZZ` offset, `X x` seconds and milliseconds since 1970, `L LL LLL LLLL LT LTS` the language's own forms.",
        examples: &[
            ("DATETIME_FORMAT({at}, \"DD.MM.YYYY HH:mm\")", "\"31.01.2024 10:30\""),
            ("DATETIME_FORMAT({day}, \"dddd, MMMM Do [of] YYYY\")", "\"Wednesday, January 31st of 2024\""),
            ("DATETIME_FORMAT(SET_TIMEZONE({at}, \"America/New_York\"), \"H:mm Z\")", "\"5:30 -05:00\""),
            ("DATETIME_FORMAT(SET_LOCALE({day}, \"de\"), \"LL\")", "\"31. Januar 2024\""),
        ],
    },
    Function {
        name: "DATETIME_PARSE",
        arguments: "text, [format], [language]",
        parameters: Parameters::with_optional(&[Kind::Any], &[Kind::Text, Kind::Locale]),
        returns: |_| Type::DateTime,
        call: Call::Dated(|context, values| {
            let format = values.get(1).map(text).filter(|format| !format.is_empty());
            let locale = values.get(2).map_or(Ok(context.locale), |name| Locale::named(&text(name)))?;
            match (&values[0], format) {
                (Value::Date(_) | Value::DateTime(_), _) | (_, None) => match moment(&values[0], &context.zone)? {
                    Some(at) => at.instant(&context.zone).map(Value::DateTime),
                    None => Ok(Value::Blank),
                },
                (value, Some(format)) => {
                    let written = text(value);
                    if written.trim().is_empty() {
                        return Ok(Value::Blank);
                    }
                    if format.len() > FORMAT_LENGTH_MAX {
                        let message = format!("the format has {} bytes; {FORMAT_LENGTH_MAX} are the most", format.len());
                        return Err(error(ErrorKind::Limit, message));
                    }
                    let parsed = read(written.trim(), &format, locale, &context.zone);
                    let unreadable =
                        || error(ErrorKind::Value, format!("\"{}\" is not a date of the form {}", excerpt(&written), excerpt(&format)));
                    parsed.map(Value::DateTime).ok_or_else(unreadable)
                }
            }
        }),
        doc: "The instant that a text shows in this format, of tokens as DATETIME_FORMAT has them, but for `w`, `gggg`, `d`, `e` and the zone's name, which it does not read; without a format in any common form. It is in the formula's zone if it names none.",
        examples: &[
            ("DATETIME_PARSE(\"4 Mar 2017 23:00\", \"D MMM YYYY HH:mm\")", "2017-03-04T23:00:00Z"),
            ("DATETIME_PARSE(\"4 März 2017\", \"D MMMM YYYY\", \"de\")", "2017-03-04T00:00:00Z"),
            ("DATETIME_PARSE(\"2024年1月31日 下午5:04\", \"LL Ah:mm\", \"zh-cn\")", "2024-01-31T17:04:00Z"),
            ("DATETIME_PARSE(\"x\", \"YYYY\")", "#value"),
        ],
    },
    Function {
        name: "DATESTR",
        arguments: "date",
        parameters: ONE,
        returns: |_| Type::Text,
        call: Call::Dated(|context, values| formatted(context, &values[0], "YYYY-MM-DD")),
        doc: "The day as text, as 2024-01-31.",
        examples: &[("DATESTR({at})", "\"2024-01-31\"")],
    },
    Function {
        name: "TIMESTR",
        arguments: "date",
        parameters: ONE,
        returns: |_| Type::Text,
        call: Call::Dated(|context, values| formatted(context, &values[0], "HH:mm:ss")),
        doc: "The time as text, as 10:30:15.",
        examples: &[("TIMESTR({at})", "\"10:30:15\"")],
    },
    Function {
        name: "SET_TIMEZONE",
        arguments: "date, zone",
        parameters: Parameters::exactly(&[Kind::Moment, Kind::Zone]),
        returns: |types| types[0].item().clone(),
        call: Call::Dated(|context, values| Ok(moment(&values[0], &context.zone)?.map_or(Value::Blank, value))),
        doc: "The same date, which the function that it is given to looks at in this zone.",
        examples: &[("HOUR(SET_TIMEZONE({at}, \"Asia/Tokyo\"))", "19"), ("SET_TIMEZONE({at}, \"Nowhere\")", "refused")],
    },
    Function {
        name: "SET_LOCALE",
        arguments: "date, language",
        parameters: Parameters::exactly(&[Kind::Moment, Kind::Locale]),
        returns: |types| types[0].item().clone(),
        call: Call::Dated(|context, values| Ok(moment(&values[0], &context.zone)?.map_or(Value::Blank, value))),
        doc: "The same date, which DATETIME_FORMAT shows in this language: en, en-gb, de, pt-br, ja, zh-cn and about 130 more.",
        examples: &[
            ("DATETIME_FORMAT(SET_LOCALE({day}, \"fr\"), \"dddd D MMMM\")", "\"mercredi 31 janvier\""),
            ("DATETIME_FORMAT(SET_LOCALE({day}, \"ja\"), \"LL dddd\")", "\"2024年1月31日 水曜日\""),
            ("DATETIME_FORMAT(SET_LOCALE({day}, \"xx\"), \"LL\")", "refused"),
        ],
    },
    Function {
        name: "FROMNOW",
        arguments: "date",
        parameters: ONE,
        returns: |_| Type::Text,
        call: Call::Dated(distance),
        doc: "How far it is from now, in words, as `3 days`; looked at once a minute.",
        examples: &[("FROMNOW({day})", "\"4 days\""), ("FROMNOW(DATEADD(NOW(), 2, \"hours\"))", "\"2 hours\"")],
    },
    Function {
        name: "TONOW",
        arguments: "date",
        parameters: ONE,
        returns: |_| Type::Text,
        call: Call::Dated(distance),
        doc: "The same as FROMNOW.",
        examples: &[("TONOW({day})", "\"4 days\"")],
    },
];

fn value(at: Moment) -> Value {
    match at {
        Moment::Date(date) => Value::Date(date),
        Moment::DateTime(at) => Value::DateTime(at),
    }
}

fn zoned(context: &Context, value: &Value) -> Outcome<Option<ZonedDateTime>> {
    let Some(at) = moment(value, &context.zone)? else { return Ok(None) };
    if let (Moment::Date(_), Err(_)) = (at, at.instant(&context.zone)) {
        // There are days before the first instant and behind the last, in UTC: they are shown as east or west of it.
        let shift = if at.civil(&context.zone).year() > 0 { 2 } else { -2 };
        let zone = TimeZone::fixed(Offset::constant(shift));
        return Ok(Some(at.instant(&zone)?.to_zoned_datetime(zone)));
    }
    Ok(Some(at.instant(&context.zone)?.to_zoned_datetime(context.zone.clone())))
}

fn formatted(context: &Context, value: &Value, format: &str) -> Outcome {
    let Some(at) = zoned(context, value)? else { return Ok(Value::Blank) };
    written(&at, format, context.locale).map(Value::Text)
}

/// How far a date is from now, in the words of the table-makers: from 45 seconds on a minute, from 45 minutes an hour,
/// from 22 hours a day, from 26 days a month, from 11 months a year.
fn distance(context: &Context, values: &[Value]) -> Outcome {
    let Some(at) = moment(&values[0], &context.zone)? else { return Ok(Value::Blank) };
    let nearest = if at.civil(&context.zone).year() > 0 { Timestamp::MAX } else { Timestamp::MIN };
    let seconds = at.instant(&context.zone).unwrap_or(nearest).duration_until(now(context)?).as_secs_f64().abs();
    let (minutes, hours, days) = ((seconds / 60.0).round(), (seconds / 3600.0).round(), (seconds / 86_400.0).round());
    let (months, years) = ((days / 30.436_875).round().max(1.0), (days / 365.2425).round().max(1.0));
    let some = |count: f64, one: &str, many: &str| if count < 2.0 { one.to_owned() } else { format!("{count} {many}") };
    Ok(Value::text(match () {
        () if seconds < 45.0 => "a few seconds".to_owned(),
        () if minutes < 45.0 => some(minutes, "a minute", "minutes"),
        () if hours < 22.0 => some(hours, "an hour", "hours"),
        () if days < 26.0 => some(days, "a day", "days"),
        () if months < 11.0 => some(months, "a month", "months"),
        () => some(years, "a year", "years"),
    }))
}
