//! The map is true: crates depend on one another only as ARCHITECTURE.md allows, and the paths that it names exist.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// For each crate of ours: what it may name of ours, and what else it may not.
const ALLOWED: [(&str, &[&str], &[&str]); 5] = [
    ("decidr-allocator", &[], &["tokio", "timely", "differential-dataflow", "sqlx", "async-graphql", "axum"]),
    ("decidr-domain", &[], &["tokio", "timely", "differential-dataflow", "sqlx", "async-graphql", "axum"]),
    ("decidr-ingest", &["decidr-domain"], &["timely", "differential-dataflow", "async-graphql", "axum"]),
    ("decidr-dataflow", &["decidr-domain"], &["sqlx", "async-graphql", "axum"]),
    ("decidr-sinks", &["decidr-domain"], &["timely", "differential-dataflow", "async-graphql", "axum"]),
];

#[test]
fn crates_depend_only_the_allowed_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let dependencies: BTreeMap<&str, Vec<&str>> = packages
        .iter()
        .map(|package| {
            let normal = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
            (package["name"].as_str().unwrap(), normal.map(|d| d["name"].as_str().unwrap()).collect())
        })
        .collect();
    for (package, ours, never) in ALLOWED {
        for dependency in &dependencies[package] {
            assert!(!dependency.starts_with("decidr-") || ours.contains(dependency), "{package} must not depend on {dependency}");
            assert!(!never.contains(dependency), "{package} must not depend on {dependency}");
        }
    }
    let mut knows_timely: Vec<_> = dependencies.iter().filter(|(_, d)| d.contains(&"timely")).map(|(name, _)| *name).collect();
    knows_timely.sort_unstable();
    assert_eq!(knows_timely, ["decidr-dataflow"]);
}

#[test]
fn the_paths_of_the_map_exist() {
    let mut checked = 0;
    for document in ["ARCHITECTURE.md", "README.md", "docs/glossary.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = word.contains('/') && !word.contains([' ', '<', '*', ':', '{', '$', '…']) && !word.starts_with(['/', '.', '-']);
            if is_path || word.ends_with(".md") {
                assert!(root().join(word).exists(), "{document} names `{word}`, which is not there");
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "the map names {checked} paths, and should name the way through the house");
}
