//! What the compiler does not check: which crates may use which, how long files grow, pairs of migrations, and file names
//! in the texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

/// Each crate of the workspace with those of ours that it may use. The compiler refuses circles; this table also refuses
/// a short cut, such as the HTTP layer using the store.
const CRATES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("platform", &["model"]),
    ("metrics", &[]),
    ("guide", &[]),
    ("pages", &[]),
    ("search", &[]),
    ("documents", &["guide", "model"]),
    ("outbound", &["metrics", "model", "platform"]),
    ("bots", &["documents", "metrics", "model", "outbound", "platform"]),
    ("store", &["metrics", "model", "platform", "search"]),
    ("service", &["bots", "metrics", "model", "platform", "search", "store"]),
    ("http", &["guide", "metrics", "model", "pages", "platform", "search", "service"]),
    // For tests alone.
    ("fuzz", &[]),
];

const LONGEST_FILE: usize = 600;
const DEEPEST_FOLDER: usize = 2;

/// The texts whose file names must be true.
const TEXTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md"];
/// Files that the texts may name although they are not ours to keep.
const ELSEWHERE: &[&str] = &["wicara.toml"];

#[test]
fn crates_use_only_those_below_them() {
    let crates: BTreeMap<&str, &[&str]> = CRATES.iter().copied().collect();
    let folders: BTreeSet<String> =
        fs::read_dir("crates").unwrap().map(|entry| name(&entry.unwrap().path())).collect();
    assert!(folders.iter().map(String::as_str).eq(crates.keys().copied()), "{folders:?} in CRATES");
    for (name, allowed) in crates {
        let manifest: Table = read(&Path::new("crates").join(name).join("Cargo.toml")).parse().unwrap();
        let used = manifest["dependencies"].as_table().unwrap().keys();
        for used in used.filter_map(|used| used.strip_prefix("wicara-")) {
            assert!(allowed.contains(&used), "crates/{name} must not use {used}: see CRATES");
        }
    }
}

#[test]
fn files_stay_short_and_folders_shallow() {
    let mut wrong = Vec::new();
    for file in ["src", "crates", "tests", "xtask/src", "xtask/bench/src"].into_iter().flat_map(rust_files) {
        let lines = read(&file).lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{}: {lines} lines: split it, {LONGEST_FILE} are the most", file.display()));
        }
        let below = file.iter().skip_while(|part| *part != "src").skip(1).count();
        let folders = below.saturating_sub(1);
        if folders > DEEPEST_FOLDER {
            wrong.push(format!(
                "{}: {folders} folders below src: {DEEPEST_FOLDER} are the most",
                file.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn migrations_come_in_pairs() {
    let [postgres, sqlite] = ["migrations/postgres", "migrations/sqlite"].map(|folder| {
        let names: BTreeSet<String> = files(Path::new(folder)).iter().map(|file| name(file)).collect();
        assert!(!names.is_empty(), "{folder} holds no migrations");
        names
    });
    let alone: Vec<String> = postgres.symmetric_difference(&sqlite).cloned().collect();
    assert!(
        alone.is_empty(),
        "in one of migrations/postgres and migrations/sqlite only: {}",
        alone.join(", ")
    );
    let numbers: Vec<Option<u32>> = postgres.iter().map(|name| migration_number(name)).collect();
    let expected: Vec<Option<u32>> = (1..).map(Some).take(numbers.len()).collect();
    assert_eq!(numbers, expected, "migrations are V01__name.sql, V02__name.sql and so on: {postgres:?}");
}

#[test]
fn the_texts_name_files_that_exist() {
    let mut wrong = Vec::new();
    for text in TEXTS {
        for (line, path) in named_files(&read(Path::new(text))) {
            for path in alternatives(&path) {
                if !exists(Path::new("."), &path) {
                    wrong.push(format!("{text}:{line}: there is no {path}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// Files.

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The files right in the folder and below it, sorted; none if the folder is not there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    files(Path::new(folder))
        .into_iter()
        .filter(|file| file.extension().is_some_and(|it| it == "rs"))
        .collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// `V07__words_with_underscores.sql` is 7.
fn migration_number(name: &str) -> Option<u32> {
    let (number, words) = name.strip_prefix('V')?.strip_suffix(".sql")?.split_once("__")?;
    if words.is_empty() { None } else { number.parse().ok() }
}

// File names in texts.

/// What stands in backticks and names a file of ours, outside of code blocks, with its line.
fn named_files(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (number, line) in text.lines().enumerate() {
        in_block ^= line.trim_start().starts_with("```");
        if in_block {
            continue;
        }
        for quoted in line.split('`').skip(1).step_by(2) {
            // A line or an item may follow the file: `src/app.rs:12`.
            let path = quoted.split(':').next().unwrap_or_default();
            let below = ["src/", "crates/", "migrations/", "tests/", "xtask/"]
                .iter()
                .any(|folder| path.starts_with(folder));
            let file = [".rs", ".toml", ".md"].iter().any(|ending| path.ends_with(ending));
            let one_word = !path.contains(char::is_whitespace);
            if (below || file) && one_word && !ELSEWHERE.contains(&path) {
                found.push((number + 1, path.to_owned()));
            }
        }
    }
    found
}

/// `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((choices, after)) = rest.split_once('}') else { return vec![path.to_owned()] };
    choices.split(',').flat_map(|choice| alternatives(&format!("{before}{}{after}", choice.trim()))).collect()
}

/// Whether at least one file or folder fits; `<anything>`, `*` and `…` stand for any characters.
fn exists(folder: &Path, path: &str) -> bool {
    let (part, rest) = path.split_once('/').unwrap_or((path, ""));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| fits(part, &name(&entry.path())))
        .any(|entry| rest.is_empty() || exists(&entry.path(), rest))
}

fn fits(pattern: &str, name: &str) -> bool {
    let Some(at) = pattern.find(['<', '*', '…']) else { return pattern == name };
    let after = match pattern[at..].split_once('>') {
        Some((_, after)) if pattern[at..].starts_with('<') => after,
        _ => pattern[at..].trim_start_matches(['*', '…']),
    };
    let Some(rest) = name.strip_prefix(&pattern[..at]) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| fits(after, &rest[at..]))
}
