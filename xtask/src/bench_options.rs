//! What `cargo xtask bench` may be told, read before anything is built.

/// What can be measured, with what each is about.
pub const BENCHMARKS: [(&str, &str); 20] = [
    ("message", "POST /api/message"),
    ("questions-new", "POST /api/questions, a new session each, 64 connections and 16"),
    ("questions-session", "POST /api/questions in existing sessions"),
    ("distant", "POST /api/message with PostgreSQL 1 ms away"),
    ("list-program", "GET /api/conversation as a program"),
    ("list-person", "GET /api/conversation as a person"),
    ("detail", "GET /api/conversation/:id, 2 messages"),
    ("message-by-id", "GET /api/message/:id"),
    ("detail-long", "GET /api/conversation/:id, 2,000 messages"),
    ("pages", "deep pages of 10,000 conversations against the first"),
    ("deep-page", "page 50,000 of 1,000,000 conversations"),
    ("reads", "all other reads, 1,000,000 conversations against 10,000"),
    ("added-time", "the time added to a question over calling the bot directly, 50 times a second"),
    ("tokens", "the delay added to the tokens of 200 streams"),
    ("start", "start to the first 200, 1,000,000 conversations"),
    ("memory", "memory of an idle server, and the most under the loads above"),
    ("overload", "three times as many requests as the server can take"),
    (
        "streams",
        "10,000 streams of the feed: idle, with events, beside nchan, and a restart; takes 15 minutes",
    ),
    (
        "search",
        "searches and lists of the inbox, 1,000,000 conversations: warm, cold, beside 500 messages a second, and the \
         console in Chromium; takes 15 minutes",
    ),
    ("snapshot", "POST /api/message beside a transaction that is open for five minutes; takes twelve"),
];

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BenchOptions {
    pub help: bool,
    /// One round, short and with little data: whether everything can be measured, and no more.
    pub quick: bool,
    /// The results on stdout as JSON instead of the table.
    pub json: bool,
    /// Empty: everything.
    pub only: Vec<String>,
}

impl BenchOptions {
    /// The arguments after `bench`; `None` where they are wrong.
    #[must_use]
    pub fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "-h" | "--help" => options.help = true,
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                "--only" => {
                    let name = words.next()?;
                    BENCHMARKS.iter().find(|(known, _)| known == name)?;
                    options.only.push((*name).to_owned());
                }
                _ => return None,
            }
        }
        Some(options)
    }

    /// Whether this one is to be measured.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// What `cargo xtask bench --help` prints.
#[must_use]
pub fn help() -> String {
    let mut help = "\
Measures the server against the limits of the machine. Needs Linux.

Usage: cargo xtask bench [OPTIONS]

Options:
  --quick        one short round with little data: shows that all can be measured, and nothing about speed
  --only NAME    only this; may be given several times
  --json         the results on stdout as JSON instead of the table

Names:
"
    .to_owned();
    for (name, about) in BENCHMARKS {
        help += &format!("  {name:<18} {about}\n");
    }
    help + "
Results are left in target/bench. A whole run also writes the table into BENCHMARKS.md and draws benchmarks.svg.

Exit codes: 0 measured, 1 something could not be measured or the server answered errors, 2 wrong usage."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_can_be_asked_for() {
        let options = BenchOptions::parse(&["--only", "message", "--quick", "--only", "start"]).unwrap();
        assert!(options.quick && options.wants("start") && !options.wants("streams"));
        assert_eq!(BenchOptions::parse(&["--only", "massage"]), None);
        assert_eq!(BenchOptions::parse(&["--only"]), None);
        assert!(BenchOptions::parse(&[]).unwrap().wants("streams"));
    }
}
