//! Dates in many languages: shown as moment 2.30 does, which the products of the Airtable family use, and read back.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use decidr_domain::formula::locale::Locale;
use decidr_domain::formula::{Attributes, Expression, Resolved};
use decidr_domain::value::Value;

struct NoAttributes;

impl Attributes for NoAttributes {
    fn resolve(&self, _: &str) -> Resolved {
        Resolved::Unknown
    }
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

fn evaluate(text: &str) -> Value {
    let (_, program) = Expression::from_user(text, &NoAttributes).unwrap_or_else(|error| panic!("{text}: {error}"));
    program.evaluate(&|_| Value::Blank)
}

#[test]
fn dates_in_many_languages() {
    for (language, at, format, expected) in [
        ("ja", "2024-01-01T00:05:00Z", "LLLL", "2024年1月1日 月曜日 00:05"),
        ("ja", "2024-06-09T11:40:00Z", "LLL", "2024年6月9日 11:40"),
        ("ja", "2023-12-31T21:59:59Z", "LL", "2023年12月31日"),
        ("ja", "2022-08-13T15:00:00Z", "L", "2022/08/13"),
        ("zh-cn", "2024-01-01T00:05:00Z", "L", "2024/01/01"),
        ("zh-cn", "2024-06-09T11:40:00Z", "llll", "2024年6月9日星期日 11:40"),
        ("zh-cn", "2023-12-31T21:59:59Z", "dddd, D MMMM YYYY", "星期日, 31 十二月 2023"),
        ("zh-cn", "2022-08-13T15:00:00Z", "dd ddd MMM MMMM Do", "六 周六 8月 八月 13日"),
        ("zh-tw", "2024-01-01T00:05:00Z", "dd ddd MMM MMMM Do", "一 週一 1月 一月 1日"),
        ("zh-tw", "2024-06-09T11:40:00Z", "h:mm A a", "11:40 中午 中午"),
        ("zh-tw", "2023-12-31T21:59:59Z", "w wo gggg e", "1 1週 2024 0"),
        ("zh-tw", "2022-08-13T15:00:00Z", "DDDo Mo Qo do Wo", "225日 8月 3 6日 32週"),
        ("ko", "2024-01-01T00:05:00Z", "DDDo Mo Qo do Wo", "1일 1월 1 1일 1주"),
        ("ko", "2023-12-31T21:59:59Z", "LLLL", "2023년 12월 31일 일요일 오후 9:59"),
        ("ko", "2022-08-13T15:00:00Z", "LLL", "2022년 8월 13일 오후 3:00"),
        ("ko", "2024-01-01T00:05:00Z", "LL", "2024년 1월 1일"),
        ("ru", "2024-06-09T11:40:00Z", "LL", "9 июня 2024 г."),
        ("ru", "2023-12-31T21:59:59Z", "L", "31.12.2023"),
        ("ru", "2022-08-13T15:00:00Z", "llll", "сб, 13 авг. 2022 г., 15:00"),
        ("ru", "2024-01-01T00:05:00Z", "dddd, D MMMM YYYY", "понедельник, 1 января 2024"),
        ("uk", "2024-06-09T11:40:00Z", "dddd, D MMMM YYYY", "неділя, 9 червня 2024"),
        ("uk", "2023-12-31T21:59:59Z", "dd ddd MMM MMMM Do", "нд нд груд грудень 31-го"),
        ("uk", "2022-08-13T15:00:00Z", "h:mm A a", "3:00 дня дня"),
        ("uk", "2024-01-01T00:05:00Z", "w wo gggg e", "1 1-й 2024 0"),
        ("pl", "2024-06-09T11:40:00Z", "w wo gggg e", "23 23. 2024 6"),
        ("pl", "2023-12-31T21:59:59Z", "DDDo Mo Qo do Wo", "365. 12. 4. 0. 52."),
        ("pl", "2024-01-01T00:05:00Z", "LLLL", "poniedziałek, 1 stycznia 2024 00:05"),
        ("pl", "2024-06-09T11:40:00Z", "LLL", "9 czerwca 2024 11:40"),
        ("cs", "2023-12-31T21:59:59Z", "LLL", "31. prosince 2023 21:59"),
        ("cs", "2022-08-13T15:00:00Z", "LL", "13. srpna 2022"),
        ("cs", "2024-01-01T00:05:00Z", "L", "01.01.2024"),
        ("cs", "2024-06-09T11:40:00Z", "llll", "ne 9. čvn 2024 11:40"),
        ("lt", "2023-12-31T21:59:59Z", "llll", "2023 m. gruodžio 31 d., Sek, 21:59 val."),
        ("lt", "2022-08-13T15:00:00Z", "dddd, D MMMM YYYY", "šeštadienis, 13 rugpjūčio 2022"),
        ("lt", "2024-01-01T00:05:00Z", "dd ddd MMM MMMM Do", "P Pir sau sausio 1-oji"),
        ("lt", "2024-06-09T11:40:00Z", "h:mm A a", "11:40 AM am"),
        ("fi", "2023-12-31T21:59:59Z", "h:mm A a", "9:59 PM pm"),
        ("fi", "2022-08-13T15:00:00Z", "w wo gggg e", "32 32. 2022 5"),
        ("fi", "2024-01-01T00:05:00Z", "DDDo Mo Qo do Wo", "1. 1. 1. 1. 1."),
        ("fi", "2023-12-31T21:59:59Z", "LLLL", "sunnuntai, 31. joulukuuta 2023, klo 21.59"),
        ("hu", "2022-08-13T15:00:00Z", "LLLL", "2022. augusztus 13., szombat 15:00"),
        ("hu", "2024-01-01T00:05:00Z", "LLL", "2024. január 1. 0:05"),
        ("hu", "2024-06-09T11:40:00Z", "LL", "2024. június 9."),
        ("hu", "2023-12-31T21:59:59Z", "L", "2023.12.31."),
        ("tr", "2022-08-13T15:00:00Z", "L", "13.08.2022"),
        ("tr", "2024-01-01T00:05:00Z", "llll", "Pzt, 1 Oca 2024 00:05"),
        ("tr", "2024-06-09T11:40:00Z", "dddd, D MMMM YYYY", "Pazar, 9 Haziran 2024"),
        ("tr", "2023-12-31T21:59:59Z", "dd ddd MMM MMMM Do", "Pz Paz Ara Aralık 31"),
        ("ar", "2022-08-13T15:00:00Z", "dd ddd MMM MMMM Do", "س سبت أغسطس أغسطس ١٣"),
        ("ar", "2024-01-01T00:05:00Z", "h:mm A a", "١٢:٠٥ ص ص"),
        ("ar", "2024-06-09T11:40:00Z", "w wo gggg e", "٢٤ ٢٤ ٢٠٢٤ ١"),
        ("ar", "2023-12-31T21:59:59Z", "DDDo Mo Qo do Wo", "٣٦٥ ١٢ ٤ ٠ ٥٢"),
        ("fa", "2022-08-13T15:00:00Z", "DDDo Mo Qo do Wo", "۲۲۵م ۸م ۳م ۶م ۳۲م"),
        ("fa", "2024-06-09T11:40:00Z", "LLLL", "یک‌شنبه، ۹ ژوئن ۲۰۲۴ ۱۱:۴۰"),
        ("fa", "2023-12-31T21:59:59Z", "LLL", "۳۱ دسامبر ۲۰۲۳ ۲۱:۵۹"),
        ("fa", "2022-08-13T15:00:00Z", "LL", "۱۳ اوت ۲۰۲۲"),
        ("hi", "2024-01-01T00:05:00Z", "LL", "१ जनवरी २०२४"),
        ("hi", "2024-06-09T11:40:00Z", "L", "०९/०६/२०२४"),
        ("hi", "2023-12-31T21:59:59Z", "llll", "रवि, ३१ दिस. २०२३, रात ९:५९ बजे"),
        ("hi", "2022-08-13T15:00:00Z", "dddd, D MMMM YYYY", "शनिवार, १३ अगस्त २०२२"),
        ("he", "2024-01-01T00:05:00Z", "dddd, D MMMM YYYY", "שני, 1 ינואר 2024"),
        ("he", "2024-06-09T11:40:00Z", "dd ddd MMM MMMM Do", "א א׳ יוני יוני 9"),
        ("he", "2023-12-31T21:59:59Z", "h:mm A a", "9:59 בערב בערב"),
        ("he", "2022-08-13T15:00:00Z", "w wo gggg e", "33 33 2022 6"),
        ("th", "2024-01-01T00:05:00Z", "w wo gggg e", "1 1 2024 1"),
        ("th", "2024-06-09T11:40:00Z", "DDDo Mo Qo do Wo", "161 6 2 0 23"),
        ("th", "2022-08-13T15:00:00Z", "LLLL", "วันเสาร์ที่ 13 สิงหาคม 2022 เวลา 15:00"),
        ("th", "2024-01-01T00:05:00Z", "LLL", "1 มกราคม 2024 เวลา 0:05"),
        ("vi", "2024-06-09T11:40:00Z", "LLL", "9 tháng 6 năm 2024 11:40"),
        ("vi", "2023-12-31T21:59:59Z", "LL", "31 tháng 12 năm 2023"),
        ("vi", "2022-08-13T15:00:00Z", "L", "13/08/2022"),
        ("vi", "2024-01-01T00:05:00Z", "llll", "T2, 1 Thg 01 2024 00:05"),
        ("el", "2024-06-09T11:40:00Z", "llll", "Κυρ, 9 Ιουν 2024 11:40 ΠΜ"),
        ("el", "2023-12-31T21:59:59Z", "dddd, D MMMM YYYY", "Κυριακή, 31 Δεκεμβρίου 2023"),
        ("el", "2022-08-13T15:00:00Z", "dd ddd MMM MMMM Do", "Σα Σαβ Αυγ Αύγουστος 13η"),
        ("el", "2024-01-01T00:05:00Z", "h:mm A a", "12:05 ΠΜ πμ"),
        ("da", "2024-06-09T11:40:00Z", "h:mm A a", "11:40 AM am"),
        ("da", "2023-12-31T21:59:59Z", "w wo gggg e", "52 52. 2023 6"),
        ("da", "2022-08-13T15:00:00Z", "DDDo Mo Qo do Wo", "225. 8. 3. 6. 32."),
        ("da", "2024-06-09T11:40:00Z", "LLLL", "søndag d. 9. juni 2024 kl. 11:40"),
        ("nb", "2023-12-31T21:59:59Z", "LLLL", "søndag 31. desember 2023 kl. 21:59"),
        ("nb", "2022-08-13T15:00:00Z", "LLL", "13. august 2022 kl. 15:00"),
        ("nb", "2024-01-01T00:05:00Z", "LL", "1. januar 2024"),
        ("nb", "2024-06-09T11:40:00Z", "L", "09.06.2024"),
        ("sv", "2023-12-31T21:59:59Z", "L", "2023-12-31"),
        ("sv", "2022-08-13T15:00:00Z", "llll", "lör 13 aug 2022 15:00"),
        ("sv", "2024-01-01T00:05:00Z", "dddd, D MMMM YYYY", "måndag, 1 januari 2024"),
        ("sv", "2024-06-09T11:40:00Z", "dd ddd MMM MMMM Do", "sö sön jun juni 9:e"),
        ("nl", "2023-12-31T21:59:59Z", "dd ddd MMM MMMM Do", "zo zo. dec. december 31ste"),
        ("nl", "2022-08-13T15:00:00Z", "h:mm A a", "3:00 PM pm"),
        ("nl", "2024-01-01T00:05:00Z", "w wo gggg e", "1 1ste 2024 0"),
        ("nl", "2024-06-09T11:40:00Z", "DDDo Mo Qo do Wo", "161ste 6de 2de 0de 23ste"),
        ("ro", "2023-12-31T21:59:59Z", "DDDo Mo Qo do Wo", "365 12 4 0 52"),
        ("ro", "2024-01-01T00:05:00Z", "LLLL", "luni, 1 ianuarie 2024 0:05"),
        ("ro", "2024-06-09T11:40:00Z", "LLL", "9 iunie 2024 11:40"),
        ("ro", "2023-12-31T21:59:59Z", "LL", "31 decembrie 2023"),
        ("pt-br", "2022-08-13T15:00:00Z", "LL", "13 de agosto de 2022"),
        ("pt-br", "2024-01-01T00:05:00Z", "L", "01/01/2024"),
        ("pt-br", "2024-06-09T11:40:00Z", "llll", "dom, 9 de jun de 2024 às 11:40"),
        ("pt-br", "2023-12-31T21:59:59Z", "dddd, D MMMM YYYY", "domingo, 31 dezembro 2023"),
        ("de-at", "2022-08-13T15:00:00Z", "dddd, D MMMM YYYY", "Samstag, 13 August 2022"),
        ("de-at", "2024-01-01T00:05:00Z", "dd ddd MMM MMMM Do", "Mo Mo. Jän. Jänner 1."),
        ("de-at", "2024-06-09T11:40:00Z", "h:mm A a", "11:40 AM am"),
        ("de-at", "2023-12-31T21:59:59Z", "w wo gggg e", "52 52. 2023 6"),
        ("fr-ca", "2022-08-13T15:00:00Z", "w wo gggg e", "33 33e 2022 6"),
        ("fr-ca", "2024-01-01T00:05:00Z", "DDDo Mo Qo do Wo", "1er 1er 1er 1er 1re"),
        ("fr-ca", "2023-12-31T21:59:59Z", "LLLL", "dimanche 31 décembre 2023 21:59"),
        ("fr-ca", "2022-08-13T15:00:00Z", "LLL", "13 août 2022 15:00"),
        ("fr-ch", "2024-01-01T00:05:00Z", "LLL", "1 janvier 2024 00:05"),
        ("fr-ch", "2024-06-09T11:40:00Z", "LL", "9 juin 2024"),
        ("fr-ch", "2023-12-31T21:59:59Z", "L", "31.12.2023"),
        ("fr-ch", "2022-08-13T15:00:00Z", "llll", "sam. 13 août 2022 15:00"),
        ("en-gb", "2024-01-01T00:05:00Z", "llll", "Mon, 1 Jan 2024 00:05"),
        ("en-gb", "2024-06-09T11:40:00Z", "dddd, D MMMM YYYY", "Sunday, 9 June 2024"),
        ("en-gb", "2023-12-31T21:59:59Z", "dd ddd MMM MMMM Do", "Su Sun Dec December 31st"),
        ("en-gb", "2022-08-13T15:00:00Z", "h:mm A a", "3:00 PM pm"),
        ("en-au", "2024-01-01T00:05:00Z", "h:mm A a", "12:05 AM am"),
        ("en-au", "2024-06-09T11:40:00Z", "w wo gggg e", "24 24th 2024 0"),
        ("en-au", "2023-12-31T21:59:59Z", "DDDo Mo Qo do Wo", "365th 12th 4th 0th 52nd"),
        ("en-au", "2024-01-01T00:05:00Z", "LLLL", "Monday, 1 January 2024 12:05 AM"),
        ("en-ca", "2024-06-09T11:40:00Z", "LLLL", "Sunday, June 9, 2024 11:40 AM"),
        ("en-ca", "2023-12-31T21:59:59Z", "LLL", "December 31, 2023 9:59 PM"),
        ("en-ca", "2022-08-13T15:00:00Z", "LL", "August 13, 2022"),
        ("en-ca", "2024-01-01T00:05:00Z", "L", "2024-01-01"),
        ("ca", "2024-06-09T11:40:00Z", "L", "09/06/2024"),
        ("ca", "2023-12-31T21:59:59Z", "llll", "dg. 31 des. 2023, 21:59"),
        ("ca", "2022-08-13T15:00:00Z", "dddd, D MMMM YYYY", "dissabte, 13 d’agost 2022"),
        ("ca", "2024-01-01T00:05:00Z", "dd ddd MMM MMMM Do", "dl dl. gen. gener 1r"),
        ("eu", "2024-06-09T11:40:00Z", "dd ddd MMM MMMM Do", "ig ig. eka. ekaina 9."),
        ("eu", "2023-12-31T21:59:59Z", "h:mm A a", "9:59 PM pm"),
        ("eu", "2022-08-13T15:00:00Z", "w wo gggg e", "33 33. 2022 5"),
        ("eu", "2024-01-01T00:05:00Z", "DDDo Mo Qo do Wo", "1. 1. 1. 1. 1."),
        ("ka", "2024-06-09T11:40:00Z", "DDDo Mo Qo do Wo", "161-ე მე-6 მე-2 0 23-ე"),
        ("ka", "2022-08-13T15:00:00Z", "LLLL", "შაბათი, 13 აგვისტო 2022 15:00"),
        ("ka", "2024-01-01T00:05:00Z", "LLL", "1 იანვარი 2024 00:05"),
        ("ka", "2024-06-09T11:40:00Z", "LL", "9 ივნისი 2024"),
        ("kk", "2023-12-31T21:59:59Z", "LL", "31 желтоқсан 2023"),
        ("kk", "2022-08-13T15:00:00Z", "L", "13.08.2022"),
        ("kk", "2024-01-01T00:05:00Z", "llll", "дүй, 1 қаң 2024 00:05"),
        ("kk", "2024-06-09T11:40:00Z", "dddd, D MMMM YYYY", "жексенбі, 9 маусым 2024"),
    ] {
        let text = format!("DATETIME_FORMAT(SET_LOCALE(DATETIME_PARSE('{at}'), '{language}'), '{format}')");
        assert_eq!(evaluate(&text), Value::text(expected), "{text}");
    }
}

#[test]
fn what_a_language_shows_it_reads() {
    let mut unread = Vec::new();
    for code in Locale::codes() {
        for (at, format) in
            [("2024-01-01T00:05:00Z", "LL LT"), ("2024-06-09T11:40:00Z", "LL"), ("2022-08-13T15:00:00Z", "D MMM YYYY h:mm A")]
        {
            let text = format!(
                "LET(at, DATETIME_PARSE('{at}'), shown, DATETIME_FORMAT(SET_LOCALE(at, '{code}'), '{format}'), \
                 IF(DATETIME_FORMAT(SET_LOCALE(DATETIME_PARSE(shown, '{format}', '{code}'), '{code}'), '{format}') = shown, 'read', shown))"
            );
            match evaluate(&text) {
                value if value == Value::text("read") => {}
                value => unread.push(format!("{code} {format}: {value:?}")),
            }
        }
    }
    assert!(unread.is_empty(), "{unread:#?}");
}

#[test]
fn a_region_without_an_entry_is_its_language() {
    for (code, expected) in
        [("de-LI", "31. Januar 2024"), ("EN_us", "January 31, 2024"), ("en-za", "31 January 2024"), ("zh", "2024年1月31日")]
    {
        assert_eq!(evaluate(&format!("DATETIME_FORMAT(SET_LOCALE('2024-01-31', '{code}'), 'LL')")), Value::text(expected), "{code}");
    }
}
