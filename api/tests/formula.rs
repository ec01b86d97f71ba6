//! `decidr formula eval`: a line in, a line out, in order, whatever the line is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

fn eval(lines: &[String]) -> Vec<Json> {
    let mut process =
        Command::new(env!("CARGO_BIN_EXE_decidr")).args(["formula", "eval"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    let text = lines.join("\n");
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn values_go_in_and_come_out() {
    let cases = [
        (json!({ "expr": "{a} + 1", "fields": { "a": 2 } }), json!(3)),
        (json!({ "expr": "0.1 + 0.2" }), json!(0.3)),
        (json!({ "expr": "{x} = ''", "fields": { "x": null } }), json!(true)),
        (json!({ "expr": "ARRAYSORT({xs})", "fields": { "xs": [3, 1, 2] } }), json!([1, 2, 3])),
        (json!({ "expr": "COUNTALL({xs})", "fields": { "xs": [3, null, "a"] } }), json!(3)),
        (json!({ "expr": "DATEADD({d}, 1, 'month')", "fields": { "d": { "$date": "2024-01-31" } } }), json!({ "$date": "2024-02-29" })),
        (
            json!({ "expr": "DATEADD({t}, 1, 'day')", "fields": { "t": { "$datetime": "2024-03-30T10:00:00Z" } }, "tz": "Europe/Berlin" }),
            json!({ "$datetime": "2024-03-31T09:00:00Z" }),
        ),
        (json!({ "expr": "IF(NOW() > '2020-01-01', TODAY() > '2020-01-01')" }), json!(true)),
        (json!({ "expr": "BLANK()" }), json!(null)),
    ];
    let lines: Vec<_> = cases.iter().map(|(line, _)| line.to_string()).collect();
    for (answer, (line, expected)) in eval(&lines).iter().zip(&cases) {
        assert_eq!(answer, &json!({ "value": expected }), "{line}");
    }
}

#[test]
fn mistakes_have_a_kind_and_a_place() {
    let nested = format!("{}1{}", "ABS(".repeat(10_000), ")".repeat(10_000));
    let long = "1+".repeat(500_000) + "1";
    let cases = [
        (json!({ "expr": "1 + {b}", "fields": { "bb": 1 } }).to_string(), "unknown_attribute", json!([4, 7])),
        (json!({ "expr": "1 + " }).to_string(), "syntax", json!([4, 4])),
        (json!({ "expr": "LEN('ab') + YEAR(TRUE)" }).to_string(), "type", json!([17, 21])),
        (json!({ "expr": "1 + 2 / {z}", "fields": { "z": 0 } }).to_string(), "div0", json!([4, 11])),
        (json!({ "expr": "VALUE('x')" }).to_string(), "value", json!([0, 10])),
        (json!({ "expr": nested }).to_string(), "too_large", json!([32768, 50001])),
        (json!({ "expr": long }).to_string(), "too_large", json!([32768, 1000001])),
        (json!({ "expr": "1", "tz": "Nowhere" }).to_string(), "input", json!(null)),
        (json!({ "fields": {} }).to_string(), "input", json!(null)),
        ("[1, 2".to_owned(), "input", json!(null)),
        ("7".to_owned(), "input", json!(null)),
    ];
    let lines: Vec<_> = cases.iter().map(|(line, ..)| line.clone()).collect();
    let answers = eval(&lines);
    assert_eq!(answers.len(), cases.len());
    for (answer, (line, kind, span)) in answers.iter().zip(&cases) {
        let short: String = line.chars().take(80).collect();
        assert_eq!((&answer["error"]["kind"], &answer["error"]["span"]), (&json!(kind), span), "{short}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().len() > 5);
    }
}
