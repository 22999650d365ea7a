use wicara_model::terminal::steers;

use super::*;

pub(super) fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let file = (Path::new("some.toml"), file);
    Config::from_layers(Some(file), &Environment::of(environment)).map_err(|error| error.to_string())
}

#[test]
fn without_a_file_the_defaults_stand() {
    let config = Config::from_layers(None, &Environment::of(&[])).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:3333");
    assert_eq!(config.server.public_url, None);
    assert!(config.server.allowed_origins.is_empty());
    assert!(config.server.trusted_proxies.is_empty());
    assert_eq!(config.server.drain.as_secs(), 30);
    assert_eq!(config.server.metrics_listen, None);
    assert_eq!(config.store.url, "sqlite:wicara-data/wicara.db");
    assert_eq!(config.store.wait.as_secs(), 0);
    assert_eq!((config.auth.anonymous, config.auth.anonymous_anywhere), (Anonymous::None, false));
    assert_eq!(config.auth.cookie_same_site, SameSite::Lax);
    assert_eq!(config.auth.session.as_secs(), 168 * 3600);
    assert_eq!(
        (config.auth.admin_email.as_str(), config.auth.admin_password.as_str()),
        ("admin@localhost", "")
    );
    let limits = &config.limits;
    assert_eq!((limits.questions_per_minute, limits.questions_per_minute_per_address), (30, 300));
    assert_eq!((limits.logins_per_minute_per_address, limits.body_bytes), (10, 1_048_576));
    assert_eq!(limits.body_budget_bytes, 67_108_864);
    assert_eq!((limits.streams, limits.streams_per_caller), (20_000, 50));
    assert_eq!(config.events.keep, Duration::from_secs(24 * 3600));
    assert_eq!(limits.signals_per_minute, 60);
    let handover = &config.handover;
    assert_eq!(
        (handover.show_names, handover.return_after, handover.return_text.as_str()),
        (false, None, "")
    );
    let bots: Vec<_> = config.bots.iter().map(|bot| (bot.id.as_str(), bot.default)).collect();
    assert_eq!(bots, [("guide", true)]);
}

#[test]
fn a_file_stands_over_the_defaults_and_the_environment_over_both() {
    let file = "[server]\nlisten = '[::1]:1'\ndrain_seconds = 1\n[limits]\nbody_bytes = 2048";
    let environment = [
        ("WICARA_SERVER__DRAIN_SECONDS", "2"),
        ("WICARA_SERVER__ALLOWED_ORIGINS", " https://A.example:443/ , http://b.example:8080"),
        ("WICARA_AUTH__ANONYMOUS_ANYWHERE", "true"),
        ("WICARA_AUTH__ADMIN_PASSWORD", "${not filled in}"),
    ];
    let config = load(file, &environment).unwrap();
    assert_eq!(config.server.listen.to_string(), "[::1]:1");
    assert_eq!(config.server.drain.as_secs(), 2);
    assert_eq!(config.server.allowed_origins, ["https://a.example", "http://b.example:8080"]);
    assert!(config.auth.anonymous_anywhere);
    assert_eq!(config.auth.admin_password, "${not filled in}");
    assert_eq!(config.limits.body_bytes, 2048);
    assert_eq!(config.store.url, "sqlite:wicara-data/wicara.db");

    let list = [("WICARA_SERVER__ALLOWED_ORIGINS", r#"["https://a.example", 'https://b.example']"#)];
    assert_eq!(load("", &list).unwrap().server.allowed_origins, ["https://a.example", "https://b.example"]);
    let empty = [("WICARA_SERVER__ALLOWED_ORIGINS", "")];
    let file = "[server]\nallowed_origins = ['https://a.example']";
    assert!(load(file, &empty).unwrap().server.allowed_origins.is_empty());
    let proxies = [("WICARA_SERVER__TRUSTED_PROXIES", "127.0.0.1, 2001:db8::/32")];
    assert_eq!(
        load("", &proxies).unwrap().server.trusted_proxies,
        ["127.0.0.1", "2001:db8::/32"].map(|network| network.parse().unwrap())
    );
    let unlimited = load("[limits]\nbody_bytes = 0", &[]).unwrap();
    assert_eq!(unlimited.limits.body_bytes, usize::MAX);
    assert_eq!(unlimited.limits.body_budget_bytes, 67_108_864);
    let unlimited = load("[limits]\nbody_budget_bytes = 0", &[]).unwrap();
    assert_eq!(unlimited.limits.body_budget_bytes, usize::MAX);
    let unlimited = load("[limits]\nstreams = 0\nstreams_per_caller = 0", &[]).unwrap();
    assert_eq!((unlimited.limits.streams, unlimited.limits.streams_per_caller), (usize::MAX, usize::MAX));
}

#[test]
fn an_address_of_a_database_is_checked_as_a_start_reads_it() {
    for (url, expected) in [
        ("postgres://u:${WORD}@127.0.0.1/db", "percent-encoded"),
        ("postgres://u:p@h/db", "sslmode=require"),
        ("sqlite://x.db", "sqlite:wicara.db"),
        ("sqlite:~/x.db", "full path"),
    ] {
        let error = load(&format!("[store]\nurl = '{url}'"), &[("WORD", "hu@sh")]).unwrap_err();
        assert!(error.starts_with("some.toml: store.url: ") && error.contains(expected), "{error}");
        assert!(!error.contains("hu@sh"), "{error}");
    }
    assert!(load("[store]\nurl = 'postgres://u:p@h/db?sslmode=verify-full'", &[]).is_ok());
}

#[test]
fn commands_on_the_store_read_its_settings_alone() {
    let file = "[store]\nurl = 'sqlite:${PLACE}.db'\n[auth]\nadmin_password = '${MISSING}'\n[server]\nlisten = '${MISSING}'\n\
                [[bot]]\nid = 'a'\nkind = 'http'\nurl = '${MISSING}'\n[[bot]]\nid = '${MISSING}'";
    let file = Some((Path::new("some.toml"), file));
    let environment = Environment::of(&[("PLACE", "p"), ("WICARA_SERVER__LISTEN", "x")]);
    let config = StoreConfig::from_layers(file, &environment).unwrap();
    assert_eq!((config.store.url.as_str(), config.source()), ("sqlite:p.db", "some.toml"));
    assert_eq!(config.bot_ids, ["a", "${MISSING}"]);
    let missing = StoreConfig::from_layers(file, &Environment::of(&[])).unwrap_err().to_string();
    assert_eq!(missing, "some.toml: store.url: ${PLACE} takes an environment variable that is not set");
}

#[test]
fn any_bot_in_the_file_replaces_the_built_in_list() {
    let file = "[[bot]]\nid = 'a'\nkind = 'http'\nurl = 'http://h'\ndefault = true\n[[bot]]\nid = 'b'\nkind = 'documents'";
    let config = load(file, &[]).unwrap();
    assert_eq!(config.bots.iter().map(|bot| bot.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_string_of_the_file_takes_environment_variables() {
    let file = "[store]\nurl = 'postgres://${USER}:${WORD}@h/db?sslmode=disable'\n\
                [[bot]]\nid = 'a'\nkind = 'http'\nurl = '${BASE}/x'\ndefault = true\nheaders = { K = 'Bearer ${WORD}' }";
    let environment = [("USER", "u"), ("WORD", "${USER}"), ("BASE", "http://h")];
    assert_eq!(load(file, &environment).unwrap().store.url, "postgres://u:${USER}@h/db?sslmode=disable");
    assert_eq!(
        load(file, &[("USER", "u"), ("WORD", "w")]).unwrap_err(),
        "some.toml: [[bot]] number 1 (\"a\"): url: ${BASE} takes an environment variable that is not set"
    );
    assert_eq!(
        load("[auth]\nadmin_password = '${WORD'", &environment).unwrap_err(),
        "some.toml: auth.admin_password: a ${ has no } after it"
    );
}

#[test]
fn an_error_in_the_file_names_the_file_the_key_what_was_found_and_what_is_allowed() {
    for (file, expected) in [
        ("[server]\nlisten = 'x", "some.toml, line 2, column"),
        ("[server]\nlsten = 'x'", "server.lsten: there is no such setting; known are listen, public_url, "),
        (
            "[servr]\nlisten = 'x'",
            "servr: there is no such setting; known are server, store, auth, limits, events, handover, bot",
        ),
        ("server = 5", "server: found a whole number, expected a table"),
        ("bot = 5", "bot: found a whole number, expected a list"),
        ("[bot]\nid = 'a'", "found [bot], expected [[bot]]"),
        ("[[server]]\nlisten = 'a'", "found [[server]], expected [server]"),
        ("bot = ['a']", "[[bot]] number 1: found a string, expected a table"),
        ("bot = []", "there is no bot; add a [[bot]] with default = true"),
        ("[server]\nlisten = 3333", "server.listen: found a whole number, expected a string"),
        (
            "[server]\nlisten = 'localhost:1'",
            "server.listen: found \"localhost:1\", expected an IP address and a port",
        ),
        (
            "[server]\nmetrics_listen = '9464'",
            "server.metrics_listen: found \"9464\", expected an IP address and a port such as \"127.0.0.1:9464\", or \"\"",
        ),
        ("[server]\ndrain_seconds = '30'", "server.drain_seconds: found a string, expected a whole number"),
        (
            "[server]\ndrain_seconds = 1.5",
            "server.drain_seconds: found a number with a fraction, expected a whole",
        ),
        (
            "[server]\ndrain_seconds = -1",
            "server.drain_seconds: found -1, allowed are whole numbers from 0 to 3600",
        ),
        ("[server]\nallowed_origins = 'x'", "server.allowed_origins: found a string, expected a list"),
        (
            "[server]\nallowed_origins = ['*']",
            "server.allowed_origins: found \"*\", expected http:// or https://",
        ),
        (
            "[server]\npublic_url = 'https://h/p'",
            "server.public_url: found \"https://h/p\", expected http://",
        ),
        (
            "[server]\npublic_url = 'https://u:hush@h'",
            "server.public_url: found \"https://u:***@h\", expected http://",
        ),
        (
            "[server]\npublic_url = 'chat.example.org'",
            "server.public_url: found \"chat.example.org\", expected",
        ),
        (
            "[store]\nurl = 'mysql://u:hush@h'",
            "store.url: found another kind of address, expected \"sqlite:\"",
        ),
        ("[store]\nurl = 'sqlite:'", "store.url: it names no file"),
        ("[store]\nurl = 'postgres:db'", "store.url: found another kind of address"),
        (
            "[store]\nwait_seconds = 3601",
            "store.wait_seconds: found 3601, allowed are whole numbers from 0 to 3600",
        ),
        (
            "[auth]\nanonymous = 'all'",
            "auth.anonymous: found \"all\", allowed are \"none\" or \"chatbot-api\"",
        ),
        (
            "[auth]\nanonymous_anywhere = 'yes'",
            "auth.anonymous_anywhere: found a string, expected true or false",
        ),
        (
            "[auth]\ncookie_same_site = 'Strict'",
            "auth.cookie_same_site: found \"Strict\", allowed are \"lax\" or",
        ),
        (
            "[auth]\nsession_hours = 0",
            "auth.session_hours: found 0, allowed are whole numbers from 1 to 8760",
        ),
        ("[auth]\nadmin_email = 'admin'", "auth.admin_email: found \"admin\", expected an e-mail address"),
        ("[auth]\nadmin_password = 12345", "auth.admin_password: found a whole number, expected a string"),
        (
            "[limits]\nbody_bytes = 1023",
            "limits.body_bytes: found 1023, allowed are whole numbers from 1024 to",
        ),
        (
            "[limits]\nbody_budget_bytes = 2047",
            "limits.body_budget_bytes: found 2047, allowed are whole numbers from 2048 to",
        ),
        (
            "[limits]\nquestions_per_minute = -1",
            "limits.questions_per_minute: found -1, allowed are whole numbers from 0 to 1000000",
        ),
        (
            "[limits]\nstreams = -1",
            "limits.streams: found -1, allowed are whole numbers from 1 to 1000000, and 0 for no limit",
        ),
        (
            "[limits]\nstreams_per_caller = 1000001",
            "limits.streams_per_caller: found 1000001, allowed are whole numbers from 1 to",
        ),
        ("[events]\nkeep_hours = 0", "events.keep_hours: found 0, allowed are whole numbers from 1 to 720"),
        (
            "[events]\nkeep_hours = 721",
            "events.keep_hours: found 721, allowed are whole numbers from 1 to 720",
        ),
        (
            "[handover]\nreturn_minutes = 10081",
            "handover.return_minutes: found 10081, allowed are whole numbers from 0 to 10080",
        ),
        (
            "[handover]\nreturn_text = \"a\\u0000\"",
            "handover.return_text: expected at most 4096 characters and no NUL",
        ),
        ("[limits]\nquestions_per_hour = 1", "limits.questions_per_hour: there is no such setting"),
        (
            "[server]\ntrusted_proxies = ['10.0.0.0/8', 'proxy.example']",
            "server.trusted_proxies: found \"proxy.example\", expected an IP address such as",
        ),
        (
            "[[bot]]\nid = 'a'\nkind = 'documents'\ndefault = true\n[[bot]]\nid = 'b'\nkind = 'http'",
            "[[bot]] number 2 (\"b\"): url is missing",
        ),
        ("[[bot]]\nid = 'a'\nkind = 'documents'", "no bot is the default"),
    ] {
        let error = load(file, &[]).unwrap_err();
        let expected = if expected.starts_with("some.toml") {
            expected.to_owned()
        } else {
            format!("some.toml: {expected}")
        };
        assert!(error.starts_with(&expected), "{file}\n{error}");
        assert!(!error.contains("hush") && !error.contains("12345"), "{error}");
    }
}

#[test]
fn an_error_in_the_environment_names_the_variable() {
    for (name, value, expected) in [
        (
            "WICARA_SERVER__LSTEN",
            "x",
            "WICARA_SERVER__LSTEN: there is no such setting; known are WICARA_SERVER__ALL",
        ),
        (
            "WICARA_SERVR__LISTEN",
            "x",
            "WICARA_SERVR__LISTEN: there is no section servr; known are WICARA_AUTH__…, ",
        ),
        ("WICARA_BOT__ID", "x", "WICARA_BOT__ID: a [[bot]] is set in the file only"),
        (
            "WICARA_SERVER__LISTEN",
            "x",
            "WICARA_SERVER__LISTEN: server.listen: found \"x\", expected an IP address",
        ),
        (
            "WICARA_SERVER__DRAIN_SECONDS",
            "soon",
            "WICARA_SERVER__DRAIN_SECONDS: server.drain_seconds: found \"soon\", expected a whole number",
        ),
        (
            "WICARA_AUTH__ANONYMOUS_ANYWHERE",
            "1",
            "WICARA_AUTH__ANONYMOUS_ANYWHERE: auth.anonymous_anywhere: found \"1\"",
        ),
        (
            "WICARA_SERVER__ALLOWED_ORIGINS",
            "a",
            "WICARA_SERVER__ALLOWED_ORIGINS: server.allowed_origins: found \"a\"",
        ),
        (
            "WICARA_SERVER__ALLOWED_ORIGINS",
            "[1]",
            "WICARA_SERVER__ALLOWED_ORIGINS: server.allowed_origins[0]: found a",
        ),
        (
            "WICARA_LIMITS__BODY_BYTES",
            "9",
            "WICARA_LIMITS__BODY_BYTES: limits.body_bytes: found 9, allowed are",
        ),
    ] {
        let error = load("", &[(name, value)]).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn settings_that_exclude_each_other_are_refused() {
    let anonymous = "[auth]\nanonymous = 'chatbot-api'\n";
    let none = "[auth]\ncookie_same_site = 'none'\n";
    for (file, expected) in [
        (none.to_owned(), Some("some.toml: auth.cookie_same_site: found \"none\"")),
        (
            format!("{none}[server]\npublic_url = 'http://h'"),
            Some("some.toml: auth.cookie_same_site: found \"none\""),
        ),
        (format!("{none}[server]\npublic_url = 'https://h'"), None),
        (anonymous.to_owned(), None),
        (format!("{anonymous}[server]\nlisten = '[::ffff:127.0.0.1]:1'"), None),
        (
            format!("{anonymous}[server]\nlisten = '0.0.0.0:1'"),
            Some("some.toml: auth.anonymous: found \"chatbot-api\""),
        ),
        (format!("{anonymous}anonymous_anywhere = true\n[server]\nlisten = '0.0.0.0:1'"), None),
        (
            "[server]\nmetrics_listen = '127.0.0.1:3333'".to_owned(),
            Some("some.toml: server.metrics_listen: found \"127.0.0.1:3333\", where server.listen is"),
        ),
        (
            "[server]\nlisten = '[::1]:5'\nmetrics_listen = '[0:0::1]:5'".to_owned(),
            Some("some.toml: server.metrics_listen: found \"[::1]:5\", where server.listen is"),
        ),
        (
            "[server]\nmetrics_listen = '[::ffff:127.0.0.1]:3333'".to_owned(),
            Some("some.toml: server.metrics_listen: found"),
        ),
        ("[server]\nmetrics_listen = '127.0.0.1:3334'".to_owned(), None),
        ("[server]\nlisten = '127.0.0.1:0'\nmetrics_listen = '127.0.0.1:0'".to_owned(), None),
        ("[limits]\nbody_budget_bytes = 2097152".into(), None),
        (
            "[limits]\nbody_budget_bytes = 2097151".into(),
            Some(
                "some.toml: limits.body_budget_bytes: found 2097151, of which callers without credentials get half, \
                 while a body may have 1048576 bytes (limits.body_bytes): one of them would never be taken. Allowed \
                 are whole numbers from 2097152,",
            ),
        ),
        ("[limits]\nbody_bytes = 2048\nbody_budget_bytes = 4096".into(), None),
        (
            "[limits]\nbody_bytes = 67108864".into(),
            Some("some.toml: limits.body_budget_bytes: found 67108864,"),
        ),
        ("[limits]\nbody_bytes = 67108864\nbody_budget_bytes = 0".into(), None),
    ] {
        let error = load(&file, &[]).err();
        match (error, expected) {
            (None, None) => {}
            (Some(error), Some(expected)) if error.starts_with(expected) => {}
            (error, _) => panic!("{file}\n{error:?}"),
        }
    }
}

#[test]
fn secrets_are_neither_shown_nor_printed_nor_told_in_errors() {
    let file = "[store]\nurl = 'postgres://u:hush@h/db?password=hush&sslmode=require'\n\
                [auth]\nadmin_password = 'hush, hush'\nadmin_email = '${EMAIL}'\n\
                [[bot]]\nid = 'a'\nkind = 'http'\nurl = 'https://u:hush@h/?api_key=hush'\ndefault = true\n\
                headers = { X-Key = 'hush', Authorization = 'Bearer ${WORD}' }\nbody = '{\"k\":\"${WORD}\"}'\n\
                [[bot]]\nid = 'b'\nkind = 'langflow'\nurl = 'http://h'\nflow = 'f'\napi_key = '${WORD}'\n\
                [[bot]]\nid = 'c'\nkind = 'openai'\nurl = 'http://h'\nmodel = 'm'\napi_key = ''";
    let environment = [("WORD", "hush"), ("EMAIL", "a@hush")];
    let config = load(file, &environment).unwrap();
    assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    assert_eq!(
        config.masked_toml(),
        r#"[server]
allowed_origins = []
drain_seconds = 30
listen = "127.0.0.1:3333"
metrics_listen = ""
public_url = ""
trusted_proxies = []

[store]
url = "postgres://u:***@h/db?password=***&sslmode=require"
wait_seconds = 0

[auth]
admin_email = "${EMAIL}"
admin_password = "***"
anonymous = "none"
anonymous_anywhere = false
cookie_same_site = "lax"
session_hours = 168

[limits]
body_budget_bytes = 67108864
body_bytes = 1048576
logins_per_minute_per_address = 10
questions_per_minute = 30
questions_per_minute_per_address = 300
signals_per_minute = 60
streams = 20000
streams_per_caller = 50

[events]
keep_hours = 24

[handover]
return_minutes = 0
return_text = ""
show_names = false

[[bot]]
id = "a"
kind = "http"
body = "{\"k\":\"${WORD}\"}"
breaker_failures = 5
breaker_seconds = 15
concurrency = 64
default = true
first_token_seconds = 30
handover_after_failures = 0
handover_visitors = true
headers = { Authorization = "***", X-Key = "***" }
hide_thoughts = true
max_answer_bytes = 1048576
origins = []
private_addresses = true
public = false
retries = 1
timeout_seconds = 30
url = "https://u:***@h/?api_key=***"
widget = { color = "", greeting = "", languages = ["id", "en"], suggestions = [], title = "" }

[[bot]]
id = "b"
kind = "langflow"
api_key = "***"
breaker_failures = 5
breaker_seconds = 15
concurrency = 64
default = false
first_token_seconds = 30
flow = "f"
handover_after_failures = 0
handover_visitors = true
hide_thoughts = true
max_answer_bytes = 1048576
origins = []
private_addresses = true
public = false
retries = 1
timeout_seconds = 30
url = "http://h"
widget = { color = "", greeting = "", languages = ["id", "en"], suggestions = [], title = "" }

[[bot]]
id = "c"
kind = "openai"
api_key = ""
breaker_failures = 5
breaker_seconds = 15
concurrency = 64
default = false
first_token_seconds = 30
handover_after_failures = 0
handover_visitors = true
hide_thoughts = true
max_answer_bytes = 1048576
model = "m"
origins = []
private_addresses = true
public = false
retries = 1
timeout_seconds = 30
url = "http://h"
widget = { color = "", greeting = "", languages = ["id", "en"], suggestions = [], title = "" }
"#
    );
    for (file, expected) in [
        (
            "[server]\nlisten = '${WORD}'",
            "some.toml: server.listen: found \"${WORD}\", expected an IP address",
        ),
        ("[server]\ndrain_seconds = '${WORD}'", "some.toml: server.drain_seconds: found a string"),
        ("[auth]\nanonymous = '${WORD}'", "some.toml: auth.anonymous: found \"${WORD}\", allowed are"),
        (
            "[[bot]]\nid = 'a'\nkind = '${WORD}'",
            "some.toml: [[bot]] number 1 (\"a\"): kind: there is no kind \"${WORD}\"",
        ),
    ] {
        let error = load(file, &environment).unwrap_err();
        assert!(error.starts_with(expected) && !error.contains("hush"), "{error}");
    }
}

#[test]
fn what_is_shown_can_be_read_again() {
    let file = "[[bot]]\nid = \"a \\\"b\\\" \\u007f\\n\\u009b\u{202e}\u{e0041}'\"\nkind = 'http'\nurl = 'http://h'\n\
                default = true\nheaders = { 'X.Y' = 'z' }";
    let shown = load(file, &[]).unwrap().masked_toml();
    let again: Table = shown.parse().unwrap();
    assert_eq!(again["bot"][0]["id"].as_str(), Some("a \"b\" \u{7f}\n\u{9b}\u{202e}\u{e0041}'"));
    assert!(!shown.contains(steers), "{shown:?}");
    assert!(load(&shown, &[]).is_ok());
}

#[test]
fn the_commented_bots_of_the_default_file_work() {
    let defaults = include_str!("../../wicara.default.toml");
    let mut file = String::new();
    for example in defaults.split("# [[bot]]\n").skip(1) {
        file.push_str("[[bot]]\n");
        for line in example.lines().map_while(|line| line.strip_prefix("# ")) {
            file.push_str(line);
            file.push('\n');
        }
    }
    file.push_str("default = true");
    let config = load(&file, &[("MAJADIGI_TOKEN", "x"), ("LANGFLOW_API_KEY", "x")]).unwrap();
    let ids: Vec<_> = config.bots.iter().map(|bot| bot.id.as_str()).collect();
    assert_eq!(ids, ["majadigi", "flow", "model"]);
}
