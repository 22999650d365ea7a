//! Feeds generated input to what reads input: a few cases in every test run, and as many as fit into some seconds
//! with `cargo xtask fuzz`. A target is a test with `fuzz` in its name, or in that of its module, that calls [`fuzz`].

#![expect(clippy::print_stdout, reason = "tests print, and the runner shows it where they fail")]

use std::env;
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// The variable with the duration. Without it: one round with a fixed seed.
const SECONDS: &str = "WICARA_FUZZ_SECONDS";
/// The variable with the first seed, as a failure prints it.
const SEED: &str = "WICARA_FUZZ_SEED";

/// Cases with one seed.
const CASES_PER_ROUND: u32 = 256;

/// Calls `check` with generated inputs. Where it panics, the smallest input that makes it panic is printed.
#[track_caller]
pub fn fuzz<S: Strategy>(name: &str, strategy: S, check: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    let time = number(SECONDS).map(Duration::from_secs);
    let fresh = || if time.is_some() { RandomState::new().hash_one(name) } else { 0 };
    let (started, mut seed, mut rounds) = (Instant::now(), number(SEED).unwrap_or_else(fresh), 0);
    println!("{name}: seeds from {seed}");
    loop {
        let config = Config {
            cases: CASES_PER_ROUND,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            ..Config::default()
        };
        let done = TestRunner::new(config).run(&strategy, |input| {
            check(input);
            Ok(())
        });
        if let Err(failure) = done {
            panic!("{name}: {failure}\nOnce more: {SEED}={seed} cargo test --lib fuzz");
        }
        (seed, rounds) = (seed.wrapping_add(1), rounds + 1);
        if time.is_none_or(|time| started.elapsed() >= time) {
            break;
        }
    }
    println!("{name}: {} cases", rounds * CASES_PER_ROUND);
}

/// The text of a JSON value, with the spaces, escapes, numbers and repeated names that a client or a bot may send.
/// Its objects have fields of these names more often than others.
pub fn json(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    json_leaf().prop_recursive(4, 32, 6, move |inner| {
        let list = vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(",")));
        prop_oneof![1 => list, 3 => json_object(names, inner)]
    })
}

/// The text of a JSON object with values of this strategy.
pub fn json_object(
    names: &'static [&'static str],
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let known = select(names).prop_map(|name| format!("{name:?}"));
    let name = prop_oneof![4 => known, 1 => json_text()];
    let space = prop_oneof![4 => Just(""), 1 => Just(" \t\r\n")];
    let field =
        (name, space.clone(), value).prop_map(|(name, space, value)| format!("{name}{space}:{space}{value}"));
    (space, vec(field, 0..6)).prop_map(|(space, fields)| format!("{space}{{{}}}{space}", fields.join(",")))
}

pub fn json_leaf() -> impl Strategy<Value = String> {
    let word =
        select(&["null", "true", "false", "\"\"", "\" \"", "9223372036854775807", "9223372036854775808"]);
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?";
    prop_oneof![word.prop_map(str::to_owned), number, json_text()]
}

/// The text of a JSON string, plain or with any escapes, unpaired surrogates among them.
fn json_text() -> impl Strategy<Value = String> {
    let plain = any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a text serialises"));
    prop_oneof![
        plain,
        "\"([ -!#-\\[\\]-~]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}|\\\\ud[89ab]3d\\\\ude0a){0,8}\""
    ]
}

/// Mutates about a third of the texts: bytes are replaced, inserted or removed, or the end is cut off.
pub fn mutated(valid: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), 0..4, any::<u8>());
    (valid, prop_oneof![2 => vec(change.clone(), 0..1), 1 => vec(change, 1..4)]).prop_map(
        |(text, changes)| {
            let mut bytes = text.into_bytes();
            for (position, change, byte) in changes {
                let position = position.index(bytes.len() + 1);
                match change {
                    0 => bytes.insert(position, byte),
                    1 => bytes.truncate(position),
                    2 if position < bytes.len() => drop(bytes.remove(position)),
                    3 if position < bytes.len() => bytes[position] = byte,
                    _ => {}
                }
            }
            bytes
        },
    )
}

#[test]
#[should_panic(expected = "minimal failing input: 100")]
fn fuzz_shows_the_smallest_input_that_fails() {
    fuzz("itself", 0..1000u32, |number| assert!(number < 100));
}
