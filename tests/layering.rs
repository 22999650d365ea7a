//! Keeps the house in order: who may use whom, how long files grow, pairs of migrations, and file names in the texts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module right below `src` with the ones that it may use. A new one needs a line here.
const LAYERS: &[(&str, &[&str])] = &[
    ("main", &["cli", "app", "config", "telemetry", "http", "service", "store", "bot", "metrics", "model"]),
    ("cli", &["app", "config", "telemetry", "http", "service", "store", "bot", "tls", "metrics", "model"]),
    ("app", &["config", "telemetry", "http", "service", "store", "bot", "metrics", "model"]),
    ("config", &["bot", "model"]),
    ("telemetry", &["metrics", "model", "fuzz"]),
    ("http", &["service", "store", "bot", "metrics", "model", "fuzz"]),
    ("service", &["store", "bot", "metrics", "model"]),
    ("store", &["tls", "metrics", "model"]),
    ("bot", &["tls", "metrics", "model", "fuzz"]),
    ("tls", &[]),
    ("metrics", &[]),
    ("model", &["fuzz"]),
    // Tests of those above use it.
    ("fuzz", &[]),
];

const RULE: &str = "main -> cli -> app -> http -> service -> { store, bot } -> model, each using only what stands to \
                    its right; store and bot not each other; config (may use bot, model) and telemetry only by cli and app; \
                    metrics, which uses nothing of ours, by all from cli to bot, and by telemetry";

const LONGEST_FILE: usize = 600;
const DEEPEST_FOLDER: usize = 2;

/// The texts whose file names must be true.
const TEXTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md"];
/// Files that the texts may name although they are not ours to keep.
const ELSEWHERE: &[&str] = &["wicara.toml"];

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let module = module_of(&file);
        // The library's root only lists the modules.
        let Some(layer) = module.first() else { continue };
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| name == layer) else {
            wrong.push(format!("{}: `{layer}` has no line in LAYERS in tests/layering.rs", file.display()));
            continue;
        };
        for (line, used) in used_modules(&read(&file), module.len()) {
            if used != *layer && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}:{line}: `{layer}` must not use `{used}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\nThe rule: {RULE}", wrong.join("\n"));
}

#[test]
fn files_stay_short_and_folders_shallow() {
    let mut wrong = Vec::new();
    for file in ["src", "tests", "xtask/src", "xtask/bench/src"].into_iter().flat_map(rust_files) {
        let lines = read(&file).lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{}: {lines} lines: split it, {LONGEST_FILE} are the most", file.display()));
        }
        let folders = file.components().count() - 2;
        if file.starts_with("src") && folders > DEEPEST_FOLDER {
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
                // The texts may speak of `http/questions.rs`, since everything there is below `src`.
                if !exists(Path::new("."), &path) && !exists(Path::new("src"), &path) {
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

// Paths in Rust code.

/// `src/http/error.rs` is `["http", "error"]`, `src/http/mod.rs` is `["http"]`, `src/lib.rs` is the root.
fn module_of(file: &Path) -> Vec<String> {
    let below = file.strip_prefix("src").unwrap_or(file).with_extension("");
    let mut module: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

/// What a file takes from the crate's root, in `use` and elsewhere, with the lines. `depth` is how many modules lie
/// between the file and the root.
fn used_modules(source: &str, depth: usize) -> Vec<(usize, String)> {
    let code = without_comments(source);
    // A module inside the file (the tests, at its end) lies one deeper.
    let inner = code.find("\nmod tests {").unwrap_or(code.len());
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let rest = &code[at..];
        let starts = !code[..at].ends_with(|c: char| is_word(c) || c == ':');
        let depth = if at > inner { depth + 1 } else { depth };
        let ups = "super::".repeat(depth);
        let root =
            ["crate::", "wicara::", &ups].into_iter().find(|root| !root.is_empty() && rest.starts_with(root));
        let Some(root) = root.filter(|_| starts) else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        at += root.len();
        let line = code[..at].matches('\n').count() + 1;
        found.extend(first_words(&code[at..]).into_iter().map(|word| (line, word)));
    }
    found
}

/// `model::Id` begins with `model`; `{model::{Id, Page}, store}` with `model` and with `store`.
fn first_words(path: &str) -> Vec<String> {
    let word = |path: &str| path.trim_start().chars().take_while(|c| is_word(*c) || *c == '*').collect();
    let Some(tree) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut words = vec![word(tree)];
    let mut open = 0;
    for (at, c) in tree.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => break,
            '}' => open -= 1,
            ',' if open == 0 => words.push(word(&tree[at + 1..])),
            _ => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The same lines without what follows `//`.
fn without_comments(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    for (depth, source, expected) in [
        (1, "use crate::store::Store;", &["store"][..]),
        (1, "pub(crate) use crate::{\n    model::{Id, Page},\n    store,\n};", &["model", "store"]),
        (1, "fn f() -> crate::http::Answer {}", &["http"]),
        (1, "use crate::*;", &["*"]),
        (0, "use wicara::cli;", &["cli"]),
        (1, "use super::app;", &["app"]),
        (2, "use super::app; use super::super::http::x;", &["http"]),
        (1, "\nmod tests {\n    use super::app;\n    use super::super::http;\n}", &["http"]),
        (1, "// crate::store\nuse other_crate::store;\nuse other::crate_::store;", &[]),
    ] {
        let found: Vec<String> = used_modules(source, depth).into_iter().map(|(_, word)| word).collect();
        assert_eq!(found, expected, "{source}");
    }
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
            let below =
                ["src/", "migrations/", "tests/", "xtask/"].iter().any(|folder| path.starts_with(folder));
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
