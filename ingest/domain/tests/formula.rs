//! What formulas mean: expression and result, and mistakes with their place. The rules are those of the language's
//! reference: blanks, errors, rounding, dates.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use decidr_domain::formula::{Attributes, Expression, FormulaError, FormulaErrorKind, Resolved, Type, functions, parse};
use decidr_domain::id::AttributeId;
use decidr_domain::value::{ErrorKind, Value};
use uuid::Uuid;

/// Attributes with their types and values.
struct Row(Vec<(&'static str, Type, Value)>);

impl Row {
    fn example() -> Self {
        let number = |text: &str| Value::number(text.parse().unwrap());
        Row(vec![
            ("a", Type::Number, number("7")),
            ("neg", Type::Number, number("-2.5")),
            ("nothing", Type::Number, Value::Blank),
            ("word", Type::Text, Value::text("Flight")),
            ("digits", Type::Text, Value::text("12.5")),
            ("empty", Type::Text, Value::text("")),
            ("yes", Type::Bool, Value::from(true)),
            ("day", Type::Date, Value::Date("2024-01-31".parse().unwrap())),
            ("at", Type::DateTime, Value::DateTime("2013-01-01T10:30:00Z".parse().unwrap())),
            ("numbers", Type::List(Box::new(Type::Number)), Value::list([Value::from(3), Value::from(1), Value::from(2)])),
            ("one", Type::List(Box::new(Type::Number)), Value::list([Value::from(5)])),
            ("broken", Type::Number, Value::error(ErrorKind::Div0, "division by zero")),
            ("unticked", Type::Bool, Value::Blank),
            (
                "faulty",
                Type::List(Box::new(Type::Number)),
                Value::list([Value::from(1), Value::error(ErrorKind::Div0, "division by zero")]),
            ),
            ("unlinked", Type::List(Box::new(Type::Number)), Value::Blank),
        ])
    }

    fn id(i: usize) -> AttributeId {
        AttributeId(Uuid::from_u128(i as u128 + 1))
    }
}

impl Attributes for Row {
    fn resolve(&self, name: &str) -> Resolved {
        let by_name = |(i, (known, ..)): &(usize, &(&str, Type, Value))| *known == name || Self::id(*i).to_string() == name;
        match self.0.iter().enumerate().find(by_name) {
            Some((i, (_, ty, _))) => Resolved::Attribute(Self::id(i), ty.clone()),
            None => Resolved::Unknown,
        }
    }
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, ..)| (*name).to_owned()).collect()
    }
}

fn evaluate(text: &str) -> Value {
    try_evaluate(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn try_evaluate(text: &str) -> Result<Value, FormulaError> {
    let row = Row::example();
    let (stored, program) = Expression::from_user(text, &row)?;
    let cells: BTreeMap<_, _> = row.0.iter().enumerate().map(|(i, (.., value))| (Row::id(i), value.clone())).collect();
    let cell = |id: AttributeId| cells[&id].clone();
    let value = program.evaluate(&cell);
    assert_eq!(stored.program(&row).unwrap().evaluate(&cell), value, "{text}: stored by id it is the same");
    Ok(value)
}

/// `expected` as a number, true, false, blank, #kind of an error, or text.
fn check(text: &str, expected: &str) {
    let value = evaluate(text);
    let shown = match &value {
        Value::Blank => "blank".to_owned(),
        Value::Error(error) => format!("#{}", error.kind),
        other => decidr_domain::formula::coerce::text(other).to_string(),
    };
    assert_eq!(shown, expected, "{text} gave {value:?}");
}

#[test]
fn arithmetic_is_exact() {
    for (text, expected) in [
        ("0.1 + 0.2", "0.3"),
        ("1 / 3", "0.3333333333333333333333333333"),
        ("2 ^ 10", "1024"),
        ("2 ^ -1", "0.5"),
        ("9 ^ 0.5", "3"),
        ("0 ^ 0", "1"),
        ("7 % 3", "1"),
        ("-7 % 3", "2"),
        ("7 % -3", "-2"),
        ("{a} / 0", "#div0"),
        ("{a} % 0", "#div0"),
        ("79228162514264337593543950335 * 10", "#range"),
        ("(0 - 8) ^ 0.5", "#range"),
        ("{digits} * 2", "25"),
        ("{word} * 2", "#value"),
        ("-{neg}", "2.5"),
    ] {
        check(text, expected);
    }
}

#[test]
fn what_is_made_of_quotients_is_rounded_once() {
    for (formula, expected) in [
        ("1/3*3 = 1", "true"),
        ("1/3 + 1/3 + 1/3", "1"),
        ("INT(-(2/3)*3)", "-2"),
        ("-(1/3)", "-0.3333333333333333333333333333"),
        ("{a}/49*{a}", "1"),
        ("MOD(1/7*7, 1)", "0"),
        ("10/3", "3.3333333333333333333333333333"),
        ("2 - 1/3 - 5/3", "0"),
        ("1/(1/3)", "3"),
        ("POWER(2, 90)/7*7 = POWER(2, 90)", "true"),
        ("1/3*{nothing}", "0"),
        ("{digits}/3*3", "12.5"),
        ("1/3*3 & \"\"", "1"),
        ("1/3/{nothing}", "#div0"),
        ("1/(1/3-1/3)", "#div0"),
        ("{broken}/3*3", "#div0"),
        ("{word}/3*3", "#value"),
        ("10000000000000000000000000000/3*30", "#range"),
        // In between there is more room than in a cell.
        ("10000000000000000000000000000/3*30/100", "1000000000000000000000000000"),
    ] {
        check(formula, expected);
    }
    let chain = format!("1/3{}", "*{a}/{a}".repeat(100));
    assert_eq!(evaluate(&format!("{chain}*3 = 1")), Value::from(true), "so long a chain is rounded on the way, and not noticeably");
    let tower = format!("1/3{}", "*10000000000000000000000000000".repeat(200));
    assert!(matches!(evaluate(&tower), Value::Error(error) if error.kind == ErrorKind::Range));
}

#[test]
fn texts_among_numbers_and_dates() {
    for (formula, expected) in [
        ("MAX({day}, \"2025-01-01\")", "2025-01-01"),
        ("MIN(\"2025-01-01\", {day})", "2024-01-31"),
        ("MAX({day}, \"no date\")", "2024-01-31"),
        ("SUMIF({numbers}, \">1\", {numbers})", "5"),
        ("LARGE({unlinked}, 1)", "#range"),
        ("VALUE(\"1,234,567.5\")", "1234567.5"),
        ("VALUE(\"1,,2\")", "#value"),
        ("VALUE(\"1.2,3\")", "#value"),
        ("VALUE(\",5\")", "#value"),
        ("VALUE(\"5,\")", "#value"),
        ("DATETIME_PARSE(\"Sat Mar 4 2017\", \"ddd MMM D YYYY\") = DATETIME_PARSE(\"2017-03-04\")", "true"),
        ("DATETIME_PARSE(\"Saturday, 4 March 2017\", \"dddd, D MMMM YYYY\") = DATETIME_PARSE(\"2017-03-04\")", "true"),
        ("DATETIME_PARSE(\"Mon Mar 4 2017\", \"ddd MMM D YYYY\")", "#value"),
    ] {
        check(formula, expected);
    }
}

#[test]
fn functions_of_other_products_are_told_by_what_to_write_instead() {
    for (formula, advice) in [("RAND()", "nothing is random"), ("SUBSTR(\"a\", 1)", "MID takes"), ("EDATE({day}, 1)", "DATEADD adds")] {
        let message = try_evaluate(formula).unwrap_err().message;
        assert!(message.contains(advice), "{message}");
    }
    assert!(functions::ALIASES.iter().all(|(_, name)| functions::find(name).is_some_and(|function| function.name == *name)));
}

#[test]
fn what_takes_long_is_foreseen() {
    let work = |text: &str| Expression::from_user(text, &Row::example()).unwrap().1.work();
    let items = "SPLIT(REPT('a,', 999), ',')";
    for (formula, range) in [
        ("{a} + 1".to_owned(), 1..100),
        ("IF({yes}, {word} & ': ' & {digits}, UPPER({word}))".into(), 10..300),
        ("COUNTALL(FILTER({numbers}, value > 1))".into(), 10..1_000),
        ("REGEX_MATCH({word}, 'x+')".into(), 500..5_000),
        (format!("COUNTALL(FILTER({items}, value = {{word}}))"), 5_000..1_000_000),
        (format!("COUNTALL(FILTER({items}, COUNTALL(FILTER({items}, value = 'a')) > 1))"), 1_000_000..u64::MAX),
        (format!("LET(s, {{word}}, {} LEN(s))", "s, s & s, ".repeat(20)), 1_000_000..u64::MAX),
    ] {
        let work = work(&formula);
        assert!(range.contains(&work), "{formula}: {work}");
    }
    let tower = format!("LET(s, {{word}}, {} LEN(s))", "s, s & s, ".repeat(100));
    assert!(work(&tower) > 1_000_000, "it ends where numbers do");
}

#[test]
fn a_box_that_was_never_ticked_is_not_ticked() {
    for (text, expected) in [
        ("{unticked} = FALSE()", "true"),
        ("FALSE = {unticked}", "true"),
        ("{unticked} != FALSE", "false"),
        ("{unticked} = 0", "true"),
        ("{unticked} = 1", "false"),
        ("{unticked} = TRUE()", "false"),
        ("{unticked} != TRUE()", "true"),
        ("{unticked} = {yes}", "false"),
        ("{unticked} = NOT({yes})", "true"),
        ("{unticked} = (1 > 2)", "true"),
        ("{yes} = TRUE()", "true"),
        ("{yes} = 1", "true"),
        ("SWITCH({unticked}, FALSE(), 'no', TRUE(), 'yes')", "no"),
        ("SWITCH({yes}, FALSE(), 'no', TRUE(), 'yes')", "yes"),
        ("SWITCH({unticked}, BLANK(), 'never', FALSE(), 'no')", "never"),
        ("SWITCH({unticked}, IF({nothing}, TRUE()), 'same', 'other')", "same"),
        ("SWITCH(FALSE(), {unticked}, 'no', 'other')", "no"),
        ("SWITCH(0, {unticked}, 'no', 'other')", "no"),
        ("SWITCH({unticked}, {unticked}, 'same')", "same"),
        ("SWITCH({unticked}, {nothing}, {unticked}, 'other')", "other"),
        ("{unticked} = {unticked}", "true"),
        ("{unticked} = BLANK()", "true"),
        ("{unticked} = ''", "true"),
        ("FALSE() = BLANK()", "false"),
        ("{nothing} = FALSE()", "false"),
        ("({broken} > 1) = FALSE()", "#div0"),
    ] {
        check(text, expected);
    }
}

#[test]
fn blank_is_nothing() {
    for (text, expected) in [
        ("{nothing} + 1", "1"),
        ("{nothing} & 'x'", "x"),
        ("IF({nothing}, 1, 2)", "2"),
        ("{nothing} = BLANK()", "true"),
        ("{nothing} = 0", "false"),
        ("{empty} = BLANK()", "true"),
        ("{nothing} < 1", "true"),
        ("{nothing} <= 0", "true"),
        ("MIN({nothing}, 4)", "4"),
        ("MAX({nothing})", "blank"),
        ("YEAR(BLANK())", "blank"),
        ("IF({a} > 100, 1)", "blank"),
    ] {
        check(text, expected);
    }
}

#[test]
fn errors_pass_through_everything_but_iserror() {
    for (text, expected) in [
        ("{broken} + 1", "#div0"),
        ("CONCATENATE('a', {broken})", "#div0"),
        ("IF({broken}, 1, 2)", "#div0"),
        ("IF(TRUE, 1, {broken})", "1"),
        ("IF(FALSE(), 1 / 0, 2)", "2"),
        ("ISERROR({broken})", "true"),
        ("ISERROR(1 / 0)", "true"),
        ("ISERROR({a})", "false"),
        ("AND(TRUE, {broken})", "#div0"),
        ("MAX(1, {broken})", "#div0"),
    ] {
        check(text, expected);
    }
}

#[test]
fn logic_and_comparison() {
    for (text, expected) in [
        ("AND({a}, {word}, {yes})", "true"),
        ("AND({a}, {empty})", "false"),
        ("OR(0, {nothing}, '')", "false"),
        ("OR(0, '0')", "true"),
        ("NOT({yes})", "false"),
        ("'b' > 'a'", "true"),
        ("'B' = 'b'", "false"),
        ("{yes} = 1", "true"),
        ("{day} < {at}", "false"),
        ("{day} = '2024-01-31'", "true"),
        ("'a' & 1 = 'a1'", "true"),
        ("{one} = 5", "true"),
    ] {
        check(text, expected);
    }
}

#[test]
fn rounding_goes_up_at_half() {
    for (text, expected) in [
        ("ROUND(2.5)", "3"),
        ("ROUND(-2.5)", "-2"),
        ("ROUND(600.425, 2)", "600.43"),
        ("ROUND(-1.255, 2)", "-1.25"),
        ("ROUND(1234.5, -2)", "1200"),
        ("ROUND(1250, -2)", "1300"),
        ("ROUND(1.23456, 2.9)", "1.23"),
        ("ROUND(5, 40)", "5"),
        ("ROUND(5, -40)", "0"),
        ("ABS({neg})", "2.5"),
    ] {
        check(text, expected);
    }
}

#[test]
fn text_counts_code_points() {
    for (text, expected) in [
        ("LEN('👍a')", "2"),
        ("LEFT('👍abc', 2)", "👍a"),
        ("RIGHT('abc👍', 2)", "c👍"),
        ("LEFT({word})", "F"),
        ("RIGHT({word}, 0)", ""),
        ("LEFT({word}, -3)", ""),
        ("LEFT({word}, 99)", "Flight"),
        ("UPPER('straße')", "STRASSE"),
        ("LOWER({word})", "flight"),
        ("CONCATENATE({a}, {yes}, {day})", "7true2024-01-31"),
        ("'3' + 2", "32"),
        ("{numbers} & ''", "3, 1, 2"),
        ("'say \\'hi\\''", "say 'hi'"),
    ] {
        check(text, expected);
    }
}

#[test]
fn lists_are_taken_apart_by_summaries_and_are_one_value_elsewhere() {
    for (text, expected) in
        [("MAX({numbers})", "3"), ("MIN({numbers}, 0)", "0"), ("{one} * 2", "10"), ("{numbers} * 2", "#value"), ("OR({numbers})", "true")]
    {
        check(text, expected);
    }
}

#[test]
fn dates_follow_the_calendar() {
    for (text, expected) in [
        ("DATEADD({day}, 1, 'month')", "2024-02-29"),
        ("DATEADD({day}, 1, 'M')", "2024-02-29"),
        ("DATEADD({day}, 90, 'm')", "2024-01-31T01:30:00Z"),
        ("DATEADD({day}, -1.9, 'days')", "2024-01-30"),
        ("DATEADD({at}, 1, 'quarter')", "2013-04-01T10:30:00Z"),
        ("DATEADD({day}, 999999, 'years')", "#range"),
        ("DATEADD({day}, 9999999999999999, 'milliseconds')", "#range"),
        ("DATEADD(BLANK(), 1, 'days')", "blank"),
        ("DATETIME_DIFF(DATEADD({day}, 1, 'month'), {day}, 'months')", "1"),
        ("DATETIME_DIFF({day}, DATEADD({day}, 1, 'month'), 'days')", "-29"),
        ("DATETIME_DIFF({at}, {at})", "0"),
        ("DATETIME_DIFF({day}, {at}, 'years')", "11"),
        ("DATETIME_DIFF({at}, {day}, 'years')", "-11"),
        ("DATETIME_DIFF({at}, {day}, 'h')", "-97117"),
        ("YEAR({at}) * 10000 + MONTH({at}) * 100 + DAY({at})", "20130101"),
    ] {
        check(text, expected);
    }
}

#[test]
fn mistakes_are_refused_with_their_place() {
    use FormulaErrorKind::{Type as T, UnknownAttribute as U};
    for (text, kind, span, says) in [
        ("{wrod} & 'x'", U, (0, 6), "did you mean {word}?"),
        ("1 + {zzzzzz}", U, (4, 12), "unknown attribute {zzzzzz}"),
        ("ROND(1)", T, (0, 7), "did you mean ROUND?"),
        ("YEAR({yes})", T, (5, 10), "wants a date or datetime"),
        ("YEAR({day}, 1)", T, (0, 14), "wants 1 argument and got 2"),
        ("IF(1)", T, (0, 5), "2 to 3"),
        ("AND()", T, (0, 5), "at least 1"),
        ("wrod", U, (0, 4), "did you mean {word}?"),
        ("LET(x, 1, x + y)", U, (14, 15), "unknown attribute {y}"),
        ("REGEX_MATCH({word}, '(')", T, (20, 23), "not a regular expression"),
        ("SET_TIMEZONE({at}, 'Nowhere/Else')", T, (19, 33), "not a time zone"),
        ("{word} + 1", T, (0, 6), "join texts with `&`"),
        ("{day} + 1", T, (0, 5), "DATEADD"),
        ("{word} < 1", T, (0, 10), "in order"),
        ("-{day}", T, (1, 6), "wants a number"),
        ("DATEADD({day}, 1, 'fortnights')", T, (18, 30), "not a unit of time"),
    ] {
        let error = Expression::from_user(text, &Row::example()).expect_err(text);
        assert_eq!((error.kind, (error.span.start, error.span.end)), (kind, span), "{text}: {error}");
        assert!(error.message.contains(says), "{text}: {error}");
    }
}

/// What is as deep as a formula may be can be stored, read again and evaluated on a thread's ordinary stack.
#[test]
fn the_deepest_formulas_work() {
    for text in [
        format!("{}1{}", "ABS(".repeat(249), ")".repeat(249)),
        format!("{}1{}", "IF(1, ".repeat(249), ")".repeat(249)),
        format!("{}x{}", "LET(x, 1, ".repeat(249), ")".repeat(249)),
        format!("{}1{}", "FILTER({numbers}, IFERROR(".repeat(8), ", 0))".repeat(8)),
        format!("{}1", "-".repeat(249)),
        format!("{}1", "!".repeat(249)),
        format!("1{}", " & 1".repeat(249)),
        format!("{}1{}", "SWITCH(1, 1, ".repeat(249), ")".repeat(249)),
    ] {
        assert!(!evaluate(&text).is_error(), "{}", &text[..40]);
    }
}

/// A list of nothing has no items, not even a blank one.
#[test]
fn lists_of_nothing_hold_nothing() {
    for (text, expected) in [
        ("COUNTALL(FILTER({numbers}, value > 99))", "0"),
        ("COUNTBLANK(FILTER({numbers}, value > 99))", "0"),
        ("COUNTIF(FILTER({numbers}, value > 99), '')", "0"),
        ("COUNTALL(SPLIT('', ','))", "0"),
        ("ISBLANK(ARRAYUNIQUE(FILTER({numbers}, value > 99)))", "true"),
        ("FILTER({numbers}, value > 99) & '.'", "."),
        // A lookup through a link that leads nowhere.
        ("COUNTALL({unlinked})", "0"),
        ("LET(x, {unlinked}, COUNTALL(x))", "0"),
        ("COUNTALL(IF(TRUE, {unlinked}, {numbers}))", "0"),
        ("{unlinked}", "blank"),
        ("{unlinked} = BLANK()", "true"),
        ("SUM({unlinked}) + 1", "1"),
    ] {
        check(text, expected);
    }
}

/// Only what looks at errors stops one, wherever in a list it is.
#[test]
fn errors_in_lists_flow() {
    for formula in [
        "{faulty}",
        "{faulty} & ''",
        "LEN({faulty})",
        "UPPER({faulty})",
        "{faulty} = 'x'",
        "NOT({faulty})",
        "ISBLANK({faulty})",
        "IF({faulty}, 1, 2)",
        "{faulty} && TRUE",
        "COUNTALL({faulty})",
        "SUM({faulty})",
        "COALESCE({faulty}, 1)",
        "T({faulty})",
        "LET(x, {faulty}, LEN(x))",
        "ARRAYCOMPACT({faulty})",
    ] {
        check(formula, "#div0");
    }
    check("IFERROR({faulty}, 'none')", "none");
    check("ISERROR({faulty})", "true");
    check("IF(TRUE, 1, {faulty})", "1");
}

/// Where clocks are put back an hour comes twice, and zones go with the date.
#[test]
fn what_is_compared_passes_as_time_does() {
    let berlin = |text: &str| format!("SET_TIMEZONE(DATETIME_PARSE('{text}'), 'Europe/Berlin')");
    let (first, second) = (berlin("2024-10-27T00:30:00Z"), berlin("2024-10-27T01:30:00Z"));
    for (text, expected) in [
        (format!("IS_SAME({first}, {second})"), "false"),
        (format!("IS_SAME({first}, {second}, 'minute')"), "false"),
        (format!("IS_SAME({first}, {second}, 'day')"), "true"),
        (format!("IS_BEFORE({first}, {second})"), "true"),
        (format!("IS_AFTER({second}, {first})"), "true"),
        ("WORKDAY(SET_TIMEZONE(DATETIME_PARSE('2024-01-05T20:00:00Z'), 'Asia/Tokyo'), 1)".to_owned(), "2024-01-07T20:00:00Z"),
    ] {
        check(&text, expected);
    }
}

/// Bombs end with an error, and soon.
#[test]
fn work_is_bounded() {
    for (text, expected) in [
        ("REPT(REPT('ab', 1000), 1000)", "#limit"),
        ("LET(a, REPT('x', 90000), SUBSTITUTE(a, 'x', a))", "#limit"),
        ("LET(a, REPT('x', 90000), REGEX_REPLACE(a, 'x', a))", "#limit"),
        ("REGEX_MATCH(REPT('a', 50000), '(a|aa)+$b')", "false"),
        ("REGEX_MATCH('a', REPT('(a{1,50}){1,50}', 20))", "#limit"),
        // Each of a thousand searches looks at all that is left.
        ("LEN(REGEX_REPLACE(REPT('A', 99000), '.*[^A-Z]|[A-Z]', 'x'))", "#limit"),
        ("REGEX_MATCH(REPT('a', 99000), '(a{1,40}){1,40}$b')", "#limit"),
        ("LEN(REGEX_REPLACE(REPT('ab ', 3000), '[a-z]+', 'x'))", "6000"),
        ("PADLEFT('x', 999999999)", "#limit"),
        ("WORKDAY({day}, 1000000000)", "#range"),
        ("SPLIT(REPT('a', 90000), '')", "#limit"),
        ("LET(l, SPLIT(REPT('a', 9000), ''), COUNTALL(FILTER(l, COUNTALL(l) > 1)))", "#limit"),
        ("LET(a, ARRAYFLATTEN({numbers}, SPLIT(REPT('a', 6000), '')), ARRAYFLATTEN(a, a))", "#limit"),
        ("DATEADD({day}, 999999999999999999, 'days')", "#range"),
        ("2 ^ 1000000000", "#range"),
        ("0.1 ^ 1000000000", "0"),
    ] {
        check(text, expected);
    }
}

#[test]
fn renaming_does_not_break_a_formula() {
    let (stored, _) = Expression::from_user("{ a }  *  2 & {word}", &Row::example()).unwrap();
    let names = [(Row::id(0), "miles".into()), (Row::id(3), "kind".into())].into_iter().collect();
    assert_eq!(stored.to_user(&names), "{miles}  *  2 & {kind}");
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        /// Whatever text is given to what reads texts, it comes to an end.
        #[test]
        fn no_text_breaks_anything(
            text in "(\\PC|[0-9:/.,\u{a0}€–年🎉 -]|Tue|Jan|2024|[AP]M|Z|T|GMT|%|\\(|\\)|\\{|\\}|\\\\|\n){0,12}",
            other in "([YMDHhmsSAaZzXxQWwdoLlEkgG]|\\[|\\]|\\PC|[0-9*?<>=.-]){0,10}",
        ) {
            let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let (t, o) = (quoted(&text), quoted(&other));
            for formula in [
                format!("DATESTR({t})"), format!("{t} = {{day}}"), format!("{t} < {{at}}"), format!("VALUE({t})"), format!("{t} * 1"),
                format!("DATETIME_PARSE({t})"), format!("DATETIME_PARSE({t}, {o})"), format!("DATETIME_FORMAT({{at}}, {o})"),
                format!("DATETIME_FORMAT({t}, {o})"), format!("COUNTIF(SPLIT({t}, ''), {o})"), format!("SUBSTITUTE({t}, {o}, 'x', 2)"),
                format!("FIND({o}, {t}, 2)"), format!("SEARCH({o}, {t})"), format!("MID({t}, 2, 3) & LEFT({t}, 2) & RIGHT({t}, 2)"),
                format!("REPLACE({t}, 2, 3, {o})"), format!("REGEX_EXTRACT({t}, {o})"), format!("REGEX_REPLACE({t}, {o}, {t})"),
                format!("SPLIT({t}, {o})"), format!("PROPER({t}) & UPPER({t}) & LOWER({t}) & TRIM({t})"), format!("PADLEFT({t}, 9, {o})"),
                format!("WORKDAY({{day}}, 3, {t})"), format!("SET_TIMEZONE({{at}}, {t})"), format!("DATETIME_FORMAT(SET_LOCALE({{at}}, {o}), 'LLLL')"),
                format!("ENCODE_URL_COMPONENT({t})"), format!("DATEADD({{day}}, 1, {o})"), format!("DATETIME_DIFF({t}, {{day}}, {o})"),
                format!("ISBLANK({t}) & LEN({t}) & T({t}) & REPT({t}, 3)"), text.clone(), format!("{{{text}}}"),
            ] {
                // Refused or evaluated, to a value or an error.
                let _ = try_evaluate(&formula);
            }
        }
    }

    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("{a}".to_owned()),
            Just("{word}".to_owned()),
            Just("{nothing}".to_owned()),
            Just("{broken}".to_owned()),
            Just("{day}".to_owned()),
            Just("{numbers}".to_owned()),
            any::<i32>().prop_map(|n| n.to_string()),
            Just("'2024-02-30'".to_owned()),
            Just("'months'".to_owned()),
            Just("LET(x, {a}, x)".to_owned()),
            "'[a-z👍]{0,5}'",
        ];
        leaf.prop_recursive(6, 64, 4, |inner| {
            let operator = prop::sample::select(vec!["+", "-", "*", "/", "^", "%", "&", "=", "!=", "<", ">=", "&&", "||"]);
            let function = prop::sample::select(functions::all().map(|f| f.name).collect::<Vec<_>>());
            prop_oneof![
                (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
                (function, prop::collection::vec(inner, 1..4)).prop_map(|(f, args)| format!("{f}({})", args.join(", "))),
            ]
        })
    }

    proptest! {
        /// Whatever is accepted evaluates to some value; nothing panics.
        #[test]
        fn accepted_formulas_have_a_value(text in expression()) {
            if Expression::from_user(&text, &Row::example()).is_ok() {
                evaluate(&text);
            }
        }

        /// What is printed reads as what was printed.
        #[test]
        fn printing_keeps_the_formula(text in expression()) {
            if let Ok(tree) = parse::parse(&text, &[]) {
                let again = parse::parse(&tree.to_string(), &[]).unwrap();
                prop_assert!(again.means_the_same(&tree), "{text} is printed {tree}");
            }
        }

        /// Any text at all is accepted or refused with a place inside it.
        #[test]
        fn any_text_is_accepted_or_refused(text in "\\PC{0,60}|[{}()'\",+*/<>=!&a-z0-9 .]{0,60}") {
            if let Err(error) = Expression::from_user(&text, &Row::example()) {
                prop_assert!(error.span.start <= error.span.end && error.span.end <= text.len());
            }
        }
    }
}

#[test]
fn months_count_the_same_either_way_round() {
    for (text, expected) in [
        ("DATETIME_DIFF('2024-01-31', '2024-02-29', 'months')", "-1"),
        ("DATETIME_DIFF('2024-02-29', '2024-01-31', 'months')", "1"),
        ("DATETIME_DIFF('2023-01-29', '2023-02-28', 'months')", "-1"),
        ("DATETIME_DIFF('2024-01-31', '2024-04-30', 'months')", "-3"),
        ("DATETIME_DIFF('2024-02-29', '2025-02-28', 'years')", "-1"),
        ("DATETIME_DIFF('2023-11-30', '2024-02-29', 'quarters')", "-1"),
        ("DATETIME_DIFF('2024-01-31', '2024-02-28', 'months')", "0"),
    ] {
        check(text, expected);
    }
}

#[test]
fn regular_expressions_are_those_of_re2() {
    for (text, expected) in [
        (r"REGEX_REPLACE('5kg', '(\d+)kg', '$1lb')", "5lb"),
        (r"REGEX_REPLACE('2024-01-05', '(\d+)-(\d+)-(\d+)', '$3_$2_$1')", "05_01_2024"),
        (r"REGEX_REPLACE('abc', '(b)', '<$&$$$10$2>')", "a<b$b0$2>c"),
        (r"REGEX_REPLACE('abc', '(?P<x>b)', '$<x>$<y>')", "ab$<y>c"),
        (r"REGEX_EXTRACT('{abc}', '{([^}]*)}')", "abc"),
        (r"REGEX_MATCH('a{,2}', '^a{,2}$')", "true"),
        (r"REGEX_MATCH('aa', '^a{2}$')", "true"),
        (r"REGEX_MATCH('[', '[[]')", "true"),
        (r"REGEX_MATCH(']', '^[]]$')", "true"),
        (r"REGEX_REPLACE('a&b', '[a&&b]', 'x')", "xxx"),
        (r"REGEX_REPLACE('café', '\w', 'x')", "xxxé"),
        (r"REGEX_REPLACE('a1 ٣', '[\d\s]', 'x')", "axx٣"),
        (r"REGEX_REPLACE('ab!', '[^\w]|[\W]', '?')", "ab?"),
        (r"REGEX_MATCH('x', '\bx\b')", "true"),
        (r"REGEX_MATCH('a.b', '\Qa.b\E')", "true"),
        (r"REGEX_MATCH('é', '[[:alpha:]]')", "false"),
        (r"REGEX_REPLACE('Zoë 1', '\p{L}+', '<$&>')", "<Zoë> 1"),
        (r"REGEX_REPLACE('aΩ', '\p{Greek}|\x{61}', '.')", ".."),
        (r"REGEX_EXTRACT('12é', '\P{N}')", "é"),
        (r"REGEX_REPLACE('{é}', '[{\p{L}}]', '.')", "..."),
    ] {
        check(text, expected);
    }
}

#[test]
fn lists_beside_texts_are_what_they_show() {
    for (text, expected) in [
        ("{numbers} = '3, 1, 2'", "true"),
        ("'3, 1' = {numbers}", "false"),
        ("FILTER({numbers}, value > 9) = ''", "true"),
        ("AND(FILTER({numbers}, value > 9))", "false"),
        ("IF(1, 'a', 2) + 1", "a1"),
        ("IF(1, 2, 'a') + 1", "3"),
    ] {
        check(text, expected);
    }
}

#[test]
fn weeks_at_the_end_of_a_year() {
    for (text, expected) in [
        ("WEEKNUM('2024-12-31')", "1"),
        ("WEEKNUM('2024-12-28')", "52"),
        ("DATETIME_FORMAT('2024-12-30', 'gggg-ww')", "2025-01"),
        ("DATETIME_FORMAT('2023-12-31', 'w gggg')", "1 2024"),
        ("DATETIME_FORMAT(SET_LOCALE('2021-01-03', 'de'), 'w')", "53"),
        ("DATETIME_FORMAT(SET_LOCALE('2024-12-30', 'fr'), 'w gggg')", "1 2025"),
        ("DATETIME_FORMAT(SET_LOCALE('2024-01-31', 'en-gb'), 'L')", "31/01/2024"),
        ("DATETIME_PARSE('Q3 2024', '[Q]Q YYYY')", "2024-07-01T00:00:00Z"),
        ("DATETIME_PARSE('2024-W05-3', 'GGGG-[W]WW-E')", "2024-01-31T00:00:00Z"),
        // The end of a day; the hour that is called 24 is the first one.
        ("DATETIME_PARSE('2014-12-31 24:00', 'YYYY-MM-DD HH:mm')", "2015-01-01T00:00:00Z"),
        ("DATETIME_PARSE('24:00:00 31/12/2014', 'H:mm:ss DD/MM/YYYY')", "2015-01-01T00:00:00Z"),
        ("DATETIME_PARSE('2014-01-01 24:30', 'YYYY-MM-DD HH:mm')", "#value"),
        ("DATETIME_PARSE('2014-01-01 24:30', 'YYYY-MM-DD kk:mm')", "2014-01-01T00:30:00Z"),
        ("DATETIME_PARSE('2014-01-01 00:30 am', 'YYYY-MM-DD hh:mm a')", "2014-01-01T00:30:00Z"),
        ("DATETIME_PARSE('2014-01-01 15:30', 'YYYY-MM-DD hh:mm')", "2014-01-01T15:30:00Z"),
        ("DATETIME_PARSE('2014-01-01 24:30', 'YYYY-MM-DD hh:mm')", "#value"),
        ("DATETIME_PARSE('2014-01-01 13:30 am', 'YYYY-MM-DD hh:mm a')", "#value"),
        ("DATETIME_PARSE('2014-01-01 15:30 pm', 'YYYY-MM-DD hh:mm a')", "#value"),
        ("DATETIME_PARSE('2014-01-01 24:00 pm', 'YYYY-MM-DD kk:mm a')", "#value"),
        ("DATETIME_PARSE('2014-01-01 24:00 am', 'YYYY-MM-DD HH:mm a')", "#value"),
        ("DATETIME_PARSE('1234567890.123', 'X.SSS')", "2009-02-13T23:31:30.123Z"),
        ("DATETIME_PARSE('1234567890.5', 'X')", "2009-02-13T23:31:30.5Z"),
        ("DATETIME_PARSE('1234567890', 'X')", "2009-02-13T23:31:30Z"),
        ("DATETIME_PARSE('1234567890.', 'X')", "#value"),
        ("DATETIME_PARSE('2024-5', 'gggg-w')", "#value"),
    ] {
        check(text, expected);
    }
}

#[test]
fn what_takes_long_or_much_ends_early() {
    let long = "REPT('a', 100000)";
    for (text, expected) in [
        ("REPT('', 1000000000000000000000000000)".to_owned(), ""),
        (format!("LEN(REGEX_REPLACE({long}, '(.*)', '{}'))", "$1".repeat(5_000)), "#limit"),
        ("UPPER(REPT('ΐ', 40000))".into(), "#limit"),
        (format!("DATETIME_FORMAT({{day}}, {long})"), "#limit"),
        (format!("LET(s, {long}, COUNTALL(FILTER(SPLIT(REPT('x,', 9999), ','), LEN(UPPER(s)) > 1)))"), "#limit"),
        ("VAR(100000000000000000000, 0 - 100000000000000000000)".into(), "#range"),
        ("ROUNDUP(1.5, 0 - 40)".into(), "#range"),
        ("ROUNDDOWN(1.5, 0 - 40)".into(), "0"),
        ("VALUE('1_000')".into(), "#value"),
        ("SUBSTITUTE('aa', 'a', 'b', 100000000000000000000)".into(), "aa"),
    ] {
        check(&text, expected);
    }
}

#[test]
fn odd_things_that_others_agree_on() {
    for (text, expected) in [
        ("COUNTA(1, '', '2', 3, FALSE())", "3"),
        ("COUNTBLANK(FALSE(), TRUE())", "1"),
        ("ARRAYJOIN(ARRAYCOMPACT(SPLIT('a,,b', ',')))", "a, b"),
        ("PRODUCT(SPLIT('2,,4', ','))", "8"),
        ("PRODUCT(SPLIT('2,3,foo', ','))", "6"),
        ("DATESTR('December 31, 9999')", "9999-12-31"),
        ("DATETIME_FORMAT(DATE(9999, 12, 31), 'dddd, D MMMM YYYY HH:mm')", "Friday, 31 December 9999 00:00"),
        ("TIMESTR(DATE(9999, 12, 31))", "00:00:00"),
        ("VALUE('(123)')", "-123"),
        ("VALUE('(12%)')", "-0.12"),
        ("VALUE('($-350)')", "#value"),
        ("VALUE('(-5)')", "#value"),
        ("VALUE('(5')", "#value"),
        ("COUNTIF(ARRAYFLATTEN(TRUE(), FALSE(), TRUE()), 'TRUE')", "2"),
        ("COUNTIF(ARRAYFLATTEN(TRUE(), FALSE()), '=FALSE')", "1"),
        ("COUNTIF(ARRAYFLATTEN('true', 'TRUE', 1), TRUE())", "0"),
        ("COUNTIF(SPLIT('TRUE,true', ','), 'TRUE')", "1"),
        ("DATE(1, 1, 2)", "1901-01-02"),
        ("DATE(-1, 1, 1)", "#range"),
        ("DATE(1850, 1, 1)", "1850-01-01"),
        ("1 + 1 == 2", "true"),
        ("DATETIME_FORMAT(SET_LOCALE(DATETIME_PARSE('2016-06-08'), 'tzm-latn'), 'dddd D MMMM')", "akras 8 ywnyw"),
        ("DATETIME_FORMAT(SET_LOCALE(DATETIME_PARSE('2016-06-08'), 'tzl'), 'LLLL')", "Márcuri, li 8. Gün dallas 2016 00.00"),
    ] {
        check(text, expected);
    }
}
