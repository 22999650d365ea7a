//! `wicara config`, and configurations that are wrong.

use serde_json::Value;

use super::place::{Place, finished};

#[test]
fn a_configuration_that_is_wrong_is_refused_everywhere_and_says_where() {
    for (config, expected) in [
        ("[server]\nport = 5", &["server.port", "listen"][..]),
        ("[server]\nlisten = 'localhost'", &["server.listen", "127.0.0.1:3333"]),
        ("[server]\nlisten = 5", &["server.listen", "string"]),
        ("[server]\nmetrics_listen = 'localhost'", &["server.metrics_listen", "127.0.0.1:9464"]),
        ("[server]\nmetrics_listen = '127.0.0.1:3333'", &["server.metrics_listen", "server.listen"]),
        ("[sever]\nlisten = '127.0.0.1:1'", &["sever", "server"]),
        ("[limits]\nbody_bytes = -1", &["limits.body_bytes", "67108864"]),
        ("[auth]\nadmin_password = 'pass-12'", &["auth.admin_password", "8 to 1024"]),
        ("[auth]\nadmin_email = 'admin'", &["auth.admin_email", "admin@example.org"]),
        ("[auth]\nanonymous = 'all'", &["auth.anonymous", "chatbot-api"]),
        ("[auth]\ncookie_same_site = 'none'", &["auth.cookie_same_site", "public_url"]),
        (
            "[server]\nlisten = '0.0.0.0:0'\n[auth]\nanonymous = 'chatbot-api'",
            &["auth.anonymous", "auth.anonymous_anywhere", "0.0.0.0"],
        ),
        ("[store]\nurl = 'mysql://u:secret-word@h/d'", &["store.url", "sqlite:", "postgres://"]),
        ("[store]\nurl = '${NOWHERE_SET}'", &["store.url", "NOWHERE_SET"]),
        (
            "[[bot]]\nid = 'a'\nkind = 'parrot'\ndefault = true",
            &["[[bot]] number 1", "\"a\"", "documents", "http"],
        ),
        ("[[bot]]\nid = 'a'\nkind = 'documents'", &["default"]),
        (
            "server.listen = '127.0.0.1:0'\n[[bot]]\nid = 'a'\nkind = 'documents'\ndefault = true\nfolder = 'nowhere'",
            &["\"a\"", "nowhere does not exist"],
        ),
        ("listen", &["line 1"]),
    ] {
        let place = Place::with_config(config);
        let file = place.path().join("wicara.toml");
        for command in [&["config", "check"][..], &["serve"], &["user", "list"]] {
            // Who manages people needs no right settings of bots, only the store's.
            if command == ["user", "list"] && !config.contains("store") && config != "listen" {
                continue;
            }
            let told = place.run(command).failed(1);
            assert!(told.contains("wicara.toml"), "{config}: {told}");
            for text in expected {
                assert!(told.contains(text), "{config}: {text} is not in {told}");
            }
            assert!(!told.contains("secret-word") && !told.contains("pass-12"), "{told}");
            // The same for a file that is named.
            let named = Place::with_config("");
            let told = named.run(&[&["--config", file.to_str().unwrap()], command].concat()).failed(1);
            assert!(told.contains(file.to_str().unwrap()), "{told}");
        }
        assert!(!place.path().join("wicara-data").exists(), "{config}");
    }
    let place = Place::with_config("");
    let told = place.run(&["--config", "missing.toml", "config", "check"]).failed(1);
    assert!(told.contains("missing.toml"), "{told}");
    let told = finished(place.command(&["config", "check"]).env("WICARA_SERVER__PORT", "5")).failed(1);
    assert!(told.contains("WICARA_SERVER__PORT") && told.contains("WICARA_SERVER__LISTEN"), "{told}");
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    let place = Place::with_config(
        "[server]\nallowed_origins = ['https://console.example']\n\
         [store]\nurl = 'postgres://wicara:secret-one@db.example/wicara?sslmode=require'\n\
         [auth]\nadmin_password = 'secret-two'\n\
         [[bot]]\nid = 'a'\nkind = 'http'\ndefault = true\nurl = 'https://u:secret-three@bot.example/ask?api_key=secret-four&x=1'\n\
         headers = { Authorization = 'Bearer secret-five', X-Token = '${BOT_TOKEN}' }\n",
    );
    let run = |arguments: &[&str]| finished(place.command(arguments).env("BOT_TOKEN", "secret-six"));
    assert!(run(&["config", "check"]).done().contains("valid"));
    let shown = run(&["config", "show"]).done();
    let in_json = run(&["config", "show", "--json"]).done();
    for text in [&shown, &in_json] {
        assert!(!text.contains("secret-"), "{text}");
        for part in ["console.example", "db.example", "bot.example", "X-Token", "***", "drain_seconds"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
    let json: Value = serde_json::from_str(&in_json).unwrap();
    assert_eq!(json["server"]["listen"], "127.0.0.1:3333");
    // Over the file stands the environment, and what is shown can be read again.
    let overridden = finished(
        place
            .command(&["config", "show", "--json"])
            .env("BOT_TOKEN", "x")
            .env("WICARA_SERVER__LISTEN", "[::1]:4444"),
    );
    assert_eq!(serde_json::from_str::<Value>(&overridden.done()).unwrap()["server"]["listen"], "[::1]:4444");
    let filled_in = shown.replace("admin_password = \"***\"", "admin_password = \"secret-two\"");
    std::fs::write(place.path().join("shown.toml"), &filled_in).unwrap();
    assert_eq!(run(&["--config", "shown.toml", "config", "show"]).done(), shown);
}
