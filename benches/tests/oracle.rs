//! The oracle's histories, computed by two processes together.

use std::process::Command;

#[test]
fn two_processes_compute_what_one_does() {
    let output = Command::new(env!("CARGO_BIN_EXE_oracle"))
        .args(["--processes", "2", "--seed", "31", "--count", "300"])
        .output()
        .expect("the oracle starts");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    let report: serde_json::Value = said.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("a report comes last");
    assert_eq!(report["processes"], 2);
    assert!(report["batches"].as_u64() >= Some(300), "{report}");
    assert_eq!(report["differences"], 0);
}
