//! The files to install with, held against the program's own settings.

use std::fs;

/// The number that follows a word, at each place of it.
fn numbers_after(text: &str, word: &str) -> Vec<u64> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    text.split(word).skip(1).filter_map(|rest| digits(rest).parse().ok()).collect()
}

#[test]
fn whatever_stops_the_server_waits_for_the_end_of_its_drain() {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let drain = numbers_after(&read("wicara.default.toml"), "\ndrain_seconds = ")[0];
    for (file, word) in [
        ("packaging/wicara.service", "TimeoutStopSec="),
        ("Containerfile", "--stop-timeout "),
        ("Containerfile", "stop_grace_period: "),
        ("knowledge/en/10-running.md", "--stop-timeout "),
        ("knowledge/en/10-running.md", "stop_grace_period: "),
        ("knowledge/id/10-menjalankan-server.md", "--stop-timeout "),
        ("knowledge/id/10-menjalankan-server.md", "stop_grace_period: "),
    ] {
        let seconds = numbers_after(&read(file), word);
        assert!(!seconds.is_empty(), "{file} does not say {word}");
        assert!(
            seconds.iter().all(|seconds| *seconds > drain + 2),
            "{file}: {seconds:?} for a drain of {drain} s"
        );
    }
}
