//! The architecture, held by a test: who may import whom, what the planner may not name, where tests live, how long a
//! file may be. The table is DESIGN.md's; a change that needs a new edge changes it here, in sight.

#![allow(clippy::unwrap_used, reason = "all of it is tests, also what is not marked as one")]

use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom: each module, then everything it may name with `crate::`.
const IMPORTS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("plan", &["model"]),
    ("store", &["model"]),
    ("identity", &["model"]),
    ("telemetry", &["model"]),
    ("network", &["model"]),
    ("api", &["model", "store", "identity", "telemetry"]),
    ("agent", &["model", "store", "identity", "telemetry"]),
    ("runtime", &["model", "network"]),
    ("proxy", &["model", "network"]),
    ("control", &["model", "plan", "store", "identity", "network", "telemetry", "runtime", "proxy"]),
    ("front", &["model", "identity", "api", "agent", "proxy"]),
    (
        "cli",
        &[
            "model",
            "plan",
            "store",
            "identity",
            "telemetry",
            "network",
            "api",
            "agent",
            "runtime",
            "proxy",
            "control",
            "front",
        ],
    ),
];

/// The planner is a function of its arguments: none of these may be named in it, tests included.
const FORBIDDEN_IN_PLAN: &[&str] = &[
    "async",
    "tokio",
    "SystemTime",
    "Instant::now",
    "std::fs",
    "std::io",
    "TcpStream",
    "UdpSocket",
    "std::env",
    "tracing",
    "rand",
    "getrandom",
];

/// At 500 lines a file has a second idea.
const FILE_LINES_MAX: usize = 500;

/// A model of a service, or a lock file, is as long as it is.
const SOURCE_FOLDERS: &[&str] = &["src", "build", "tests", "benches", "guest-examples"];

#[test]
fn modules_import_only_what_they_may() {
    for (module, allowed) in IMPORTS {
        for (path, text) in module_sources(module) {
            for named in text.split("crate::").skip(1) {
                let named = first_word(named);
                // `$crate::` and the like aside, what follows is a module of ours.
                assert!(
                    named == *module || allowed.contains(&named),
                    "{path} names crate::{named}, which `{module}` may not import",
                );
            }
        }
    }
}

#[test]
fn every_module_has_a_row_in_the_table() {
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_known = ["lib", "main"].contains(&name.as_str()) || IMPORTS.iter().any(|(module, _)| *module == name);
        assert!(is_known, "{} has no row in IMPORTS", path.display());
    }
}

/// A grouped import hides an edge from the table, and `super::super` walks around it.
#[test]
fn edges_are_written_so_that_they_can_be_seen() {
    for (module, _) in IMPORTS {
        for (path, text) in module_sources(module) {
            assert!(!text.contains("crate::{"), "{path} groups imports of several modules");
            assert!(!text.contains("super::super"), "{path} climbs two modules up");
            if path == format!("src/{module}.rs") {
                for (other, _) in IMPORTS.iter().filter(|(other, _)| other != module) {
                    let climbs = text.split("super::").skip(1).any(|rest| first_word(rest) == *other);
                    assert!(!climbs, "{path} names super::{other}: write crate::{other}");
                }
            }
        }
    }
}

#[test]
fn the_planner_has_no_clock_randomness_io_or_logging() {
    for (path, text) in module_sources("plan") {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for forbidden in FORBIDDEN_IN_PLAN {
                assert!(!has_word(code, forbidden), "{path}:{} names {forbidden}", number + 1);
            }
        }
    }
}

#[test]
fn no_file_hides_a_second_idea() {
    for (path, text) in SOURCE_FOLDERS.iter().flat_map(|folder| sources_under(&root().join(folder))) {
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{path} has {lines} lines, of at most {FILE_LINES_MAX}");
        assert!(!path.ends_with("/mod.rs"), "{path}: write it as a file beside its folder");
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    for (path, text) in sources_under(&root().join("src")) {
        // The tests of a module are about that module.
        if !path.ends_with("/tests.rs") {
            assert!(text.starts_with("//!"), "{path} does not begin with `//!`");
        }
    }
}

/// Each file directly under `tests/` is another binary that links all of wasmtime.
#[test]
fn there_is_one_end_to_end_binary() {
    let mut names: Vec<String> = fs::read_dir(root().join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".rs"))
        .collect();
    names.sort();
    assert_eq!(names, ["architecture.rs", "e2e.rs"]);
}

/// What a session or a machine happens to have beside the checkout is none of the repository's business. Only `.ci/run`
/// looks there, and hands on what it found by a variable.
#[test]
fn nothing_names_what_lies_outside_the_repository() {
    let outside = [concat!("../", "shared"), concat!("/", "work/")];
    let documents = ["README.md", "CHANGELOG.md", "guest-examples/README.md", "tests/run", "build.rs"];
    let documents = documents.iter().map(|path| (path.to_string(), fs::read_to_string(root().join(path)).unwrap()));
    let sources = SOURCE_FOLDERS.iter().flat_map(|folder| sources_under(&root().join(folder)));
    for (path, text) in documents.chain(sources) {
        for name in outside {
            assert!(!text.contains(name), "{path} names {name}");
        }
    }
}

/// Every operation that is offered is called by some end-to-end test: as the API names it, or as the aws CLI or boto3 does.
#[test]
fn every_operation_is_named_by_an_end_to_end_test() {
    let folder = root().join("tests/e2e");
    let texts: String = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let table = fs::read_to_string(root().join("models/operations.txt")).unwrap();
    let mut missing = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let operation = line.split_whitespace().nth(1).expect("a line of operations.txt is a service and an operation");
        let spellings = [operation.to_owned(), separated(operation, '-'), separated(operation, '_')];
        if !spellings.iter().any(|spelling| has_word(&texts, spelling)) {
            missing.push(operation);
        }
    }
    assert!(missing.is_empty(), "no end-to-end test names {}", missing.join(", "));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a module, `src/NAME.rs` and all under `src/NAME/`, with their paths from the root. None while there is
/// no such module yet.
fn module_sources(module: &str) -> Vec<(String, String)> {
    let file = root().join("src").join(format!("{module}.rs"));
    let mut found = sources_under(&root().join("src").join(module));
    if file.is_file() {
        found.push((relative(&file), fs::read_to_string(&file).unwrap()));
    }
    found
}

fn sources_under(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("node_modules") {
                found.extend(sources_under(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((relative(&path), fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !is_word(c)).next().unwrap_or_default()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `text` with nothing of a word, nor a hyphen, on either side.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| is_word(c) || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// `DescribeTasks` as `describe-tasks` or `describe_tasks`.
fn separated(operation: &str, separator: char) -> String {
    let characters: Vec<char> = operation.chars().collect();
    let is = |at: Option<usize>, of: fn(&char) -> bool| at.and_then(|at| characters.get(at)).is_some_and(of);
    let mut text = String::new();
    for (at, c) in characters.iter().enumerate() {
        // A word begins behind a small letter, and with the last capital of an abbreviation.
        let before = at.checked_sub(1);
        let ends_abbreviation = is(before, |c| c.is_uppercase()) && is(Some(at + 1), |c| c.is_lowercase());
        if c.is_uppercase() && (is(before, |c| !c.is_uppercase()) || ends_abbreviation) {
            text.push(separator);
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}
