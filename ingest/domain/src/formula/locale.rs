//! The names of months and days, and the order of a date, in some languages.

use super::outcome::{Outcome, error, excerpt};
use crate::value::ErrorKind;

/// A language for dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Locale {
    English,
    British,
    German,
    French,
    Spanish,
    Italian,
    Portuguese,
    Dutch,
    Swedish,
}

pub(super) const MONTHS_ENGLISH: &[&str; 12] =
    &["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

impl Locale {
    /// The language that a code names, as in "de" or "de-AT".
    pub fn named(code: &str) -> Outcome<Locale> {
        let region = code.split(['-', '_']).nth(1).unwrap_or_default().to_ascii_lowercase();
        let language = code.split(['-', '_']).next().unwrap_or(code).to_ascii_lowercase();
        Ok(match language.as_str() {
            // Everywhere else the day comes first.
            "en" if !matches!(region.as_str(), "" | "us" | "ca" | "ph") => Locale::British,
            "en" => Locale::English,
            "de" => Locale::German,
            "fr" => Locale::French,
            "es" => Locale::Spanish,
            "it" => Locale::Italian,
            "pt" => Locale::Portuguese,
            "nl" => Locale::Dutch,
            "sv" => Locale::Swedish,
            _ => {
                let message = format!("the language \"{}\" is not known; en, de, fr, es, it, pt, nl and sv are", excerpt(code));
                return Err(error(ErrorKind::Value, message));
            }
        })
    }

    /// The months, from January.
    pub fn months(self) -> &'static [&'static str; 12] {
        match self {
            Locale::English | Locale::British => MONTHS_ENGLISH,
            Locale::German => {
                &["Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"]
            }
            Locale::French => {
                &["janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"]
            }
            Locale::Spanish => &[
                "enero",
                "febrero",
                "marzo",
                "abril",
                "mayo",
                "junio",
                "julio",
                "agosto",
                "septiembre",
                "octubre",
                "noviembre",
                "diciembre",
            ],
            Locale::Italian => &[
                "gennaio",
                "febbraio",
                "marzo",
                "aprile",
                "maggio",
                "giugno",
                "luglio",
                "agosto",
                "settembre",
                "ottobre",
                "novembre",
                "dicembre",
            ],
            Locale::Portuguese => &[
                "janeiro",
                "fevereiro",
                "março",
                "abril",
                "maio",
                "junho",
                "julho",
                "agosto",
                "setembro",
                "outubro",
                "novembro",
                "dezembro",
            ],
            Locale::Dutch => &[
                "januari",
                "februari",
                "maart",
                "april",
                "mei",
                "juni",
                "juli",
                "augustus",
                "september",
                "oktober",
                "november",
                "december",
            ],
            Locale::Swedish => {
                &["januari", "februari", "mars", "april", "maj", "juni", "juli", "augusti", "september", "oktober", "november", "december"]
            }
        }
    }

    /// The months in short.
    pub fn months_short(self) -> &'static [&'static str; 12] {
        match self {
            Locale::English | Locale::British => &["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
            Locale::German => &["Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sep.", "Okt.", "Nov.", "Dez."],
            Locale::French => &["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."],
            Locale::Spanish => &["ene.", "feb.", "mar.", "abr.", "may.", "jun.", "jul.", "ago.", "sep.", "oct.", "nov.", "dic."],
            Locale::Italian => &["gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov", "dic"],
            Locale::Portuguese => &["jan", "fev", "mar", "abr", "mai", "jun", "jul", "ago", "set", "out", "nov", "dez"],
            Locale::Dutch => &["jan.", "feb.", "mrt.", "apr.", "mei", "jun.", "jul.", "aug.", "sep.", "okt.", "nov.", "dec."],
            Locale::Swedish => &["jan", "feb", "mar", "apr", "maj", "jun", "jul", "aug", "sep", "okt", "nov", "dec"],
        }
    }

    /// The days of the week, from Sunday.
    pub fn days(self) -> &'static [&'static str; 7] {
        match self {
            Locale::English | Locale::British => &["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"],
            Locale::German => &["Sonntag", "Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag"],
            Locale::French => &["dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"],
            Locale::Spanish => &["domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"],
            Locale::Italian => &["domenica", "lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato"],
            Locale::Portuguese => &["domingo", "segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado"],
            Locale::Dutch => &["zondag", "maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag"],
            Locale::Swedish => &["söndag", "måndag", "tisdag", "onsdag", "torsdag", "fredag", "lördag"],
        }
    }

    /// The days in short, from Sunday.
    pub fn days_short(self) -> &'static [&'static str; 7] {
        match self {
            Locale::English | Locale::British => &["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
            Locale::German => &["So.", "Mo.", "Di.", "Mi.", "Do.", "Fr.", "Sa."],
            Locale::French => &["dim.", "lun.", "mar.", "mer.", "jeu.", "ven.", "sam."],
            Locale::Spanish => &["dom.", "lun.", "mar.", "mié.", "jue.", "vie.", "sáb."],
            Locale::Italian => &["dom", "lun", "mar", "mer", "gio", "ven", "sab"],
            Locale::Portuguese => &["dom", "seg", "ter", "qua", "qui", "sex", "sáb"],
            Locale::Dutch => &["zo.", "ma.", "di.", "wo.", "do.", "vr.", "za."],
            Locale::Swedish => &["sön", "mån", "tis", "ons", "tor", "fre", "lör"],
        }
    }

    /// Whether the first week of a year is the one with its first Thursday, and weeks begin on Monday; else it is the one
    /// with 1 January, and they begin on Sunday.
    pub fn has_iso_weeks(self) -> bool {
        self != Locale::English
    }

    /// The format that a shorthand (`LT`, `LL` …) stands for.
    pub fn shorthand(self, token: &str) -> Option<&'static str> {
        let english = self == Locale::English;
        Some(match token {
            "LT" if english => "h:mm A",
            "LT" if self == Locale::Spanish => "H:mm",
            "LT" => "HH:mm",
            "LTS" if english => "h:mm:ss A",
            "LTS" if self == Locale::Spanish => "H:mm:ss",
            "LTS" => "HH:mm:ss",
            "L" => match self {
                Locale::English => "MM/DD/YYYY",
                Locale::German => "DD.MM.YYYY",
                Locale::Dutch => "DD-MM-YYYY",
                Locale::Swedish => "YYYY-MM-DD",
                _ => "DD/MM/YYYY",
            },
            "l" => match self {
                Locale::English => "M/D/YYYY",
                Locale::German => "D.M.YYYY",
                Locale::Dutch => "D-M-YYYY",
                Locale::Swedish => "YYYY-MM-DD",
                _ => "D/M/YYYY",
            },
            "LL" => match self {
                Locale::English => "MMMM D, YYYY",
                Locale::German => "D. MMMM YYYY",
                Locale::Spanish | Locale::Portuguese => "D [de] MMMM [de] YYYY",
                _ => "D MMMM YYYY",
            },
            "ll" => match self {
                Locale::English => "MMM D, YYYY",
                Locale::German => "D. MMM YYYY",
                Locale::Spanish | Locale::Portuguese => "D [de] MMM [de] YYYY",
                _ => "D MMM YYYY",
            },
            "LLL" => match self {
                Locale::English => "MMMM D, YYYY h:mm A",
                Locale::German => "D. MMMM YYYY HH:mm",
                Locale::Spanish => "D [de] MMMM [de] YYYY H:mm",
                Locale::Portuguese => "D [de] MMMM [de] YYYY HH:mm",
                _ => "D MMMM YYYY HH:mm",
            },
            "lll" => match self {
                Locale::English => "MMM D, YYYY h:mm A",
                Locale::German => "D. MMM YYYY HH:mm",
                Locale::Spanish => "D [de] MMM [de] YYYY H:mm",
                Locale::Portuguese => "D [de] MMM [de] YYYY HH:mm",
                _ => "D MMM YYYY HH:mm",
            },
            "LLLL" => match self {
                Locale::English => "dddd, MMMM D, YYYY h:mm A",
                Locale::German => "dddd, D. MMMM YYYY HH:mm",
                Locale::Spanish => "dddd, D [de] MMMM [de] YYYY H:mm",
                Locale::Portuguese => "dddd, D [de] MMMM [de] YYYY HH:mm",
                Locale::British => "dddd, D MMMM YYYY HH:mm",
                _ => "dddd D MMMM YYYY HH:mm",
            },
            "llll" => match self {
                Locale::English => "ddd, MMM D, YYYY h:mm A",
                Locale::German => "ddd, D. MMM YYYY HH:mm",
                Locale::Spanish => "ddd, D [de] MMM [de] YYYY H:mm",
                Locale::Portuguese => "ddd, D [de] MMM [de] YYYY HH:mm",
                Locale::British => "ddd, D MMM YYYY HH:mm",
                _ => "ddd D MMM YYYY HH:mm",
            },
            _ => return None,
        })
    }

    /// A number as one says which of several: 1st.
    pub fn ordinal(self, n: i64) -> String {
        match self {
            Locale::English | Locale::British => {
                let ending = match (n % 10, n % 100) {
                    (1, 11) | (2, 12) | (3, 13) => "th",
                    (1, _) => "st",
                    (2, _) => "nd",
                    (3, _) => "rd",
                    _ => "th",
                };
                format!("{n}{ending}")
            }
            Locale::German => format!("{n}."),
            Locale::French => format!("{n}{}", if n == 1 { "er" } else { "" }),
            Locale::Spanish | Locale::Italian | Locale::Portuguese => format!("{n}º"),
            Locale::Dutch => format!("{n}e"),
            Locale::Swedish => format!("{n}:e"),
        }
    }
}
