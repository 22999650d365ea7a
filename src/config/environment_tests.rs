//! Variables of the environment, as settings and in the strings of a file.

use super::layers::Environment;
use super::tests::load;

#[test]
fn variables_that_are_no_settings_are_left_alone() {
    let environment = [
        ("WICARA_LOG", "debug"),
        ("WICARA_PASSWORD", "x"),
        ("WICARA_TEST_A__B", "x"),
        ("WICARA_SERVER", "x"),
    ];
    assert!(load("", &environment).is_ok());
}

#[test]
fn a_variable_with_other_underscores_than_a_setting_is_refused() {
    for name in
        ["WICARA_SERVER_LISTEN", "WICARA_SERVERLISTEN", "WICARA_LIMITS_BODY_BYTES", "WICARA_STORE_URL"]
    {
        let error = load("", &[(name, "x")]).unwrap_err();
        let expected = name.replacen("WICARA_SERVERLISTEN", "WICARA_SERVER_LISTEN", 1);
        let (section, key) = expected["WICARA_".len()..].split_once('_').unwrap();
        let expected = format!("is written WICARA_{section}__{key}");
        assert!(error.starts_with(name) && error.ends_with(&expected), "{error}");
    }
    // As Kubernetes makes for a service.
    let service = [("WICARA_SERVICE_HOST", "x"), ("WICARA_PORT_3333_TCP", "x"), ("WICARA_SERVER_PORT", "x")];
    assert!(load("", &service).is_ok());
}

#[test]
fn variables_that_look_like_settings_are_named_and_those_of_kubernetes_are_not() {
    let environment = Environment::of(&[
        ("WICARA_CONFIG", "x"),
        ("WICARA_FOO", "x"),
        ("WICARA_KEY", "x"),
        ("WICARA_LISTEN", "x"),
        ("WICARA_LOG", "x"),
        ("WICARA_PASSWORD", "x"),
        ("WICARA_PORT", "tcp://10.0.0.1:3333"),
        ("WICARA_PORT_3333_TCP_ADDR", "10.0.0.1"),
        ("WICARA_SERVER__LISTEN", "x"),
        ("WICARA_SERVER_PORT", "5"),
        ("WICARA_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("WICARA_SERVER_SERVICE_PORT_HTTP", "3333"),
        ("WICARA_TEST_A", "x"),
        ("OTHER_FOO", "x"),
    ]);
    assert_eq!(
        environment.unknown().collect::<Vec<_>>(),
        ["WICARA_FOO", "WICARA_LISTEN", "WICARA_SERVER_PORT"]
    );
}

#[test]
fn a_text_of_the_environment_may_have_lines_and_an_address_may_not() {
    let file = "[[bot]]\nid = 'a'\nkind = 'openai'\nurl = 'http://h'\nmodel = 'm'\ndefault = true\nsystem = '${TEXT}'\n\
                [[bot]]\nid = 'b'\nkind = 'http'\nurl = 'http://h'\nbody = '{\"a\":${TEXT}\"{{question}}\"}'";
    let text = "\n\tRule 1\nRule 2\n\n";
    assert!(load(&file.replace("body = '{\"a\":${TEXT}\"{{question}}\"}'", ""), &[("TEXT", text)]).is_ok());
    assert!(load(&file.replace("\"{{question}}\"", "{{question}}"), &[("TEXT", "\n \n")]).is_ok());
    for setting in ["model = 'm'", "url = 'http://h'"] {
        let (key, _) = setting.split_once(' ').unwrap();
        let file = file.replace(setting, &format!("{key} = 'http://h${{TEXT}}'"));
        let error = load(&file, &[("TEXT", text)]).unwrap_err();
        assert!(error.contains("the environment variable TEXT has a line break"), "{error}");
    }
}

#[test]
fn a_variable_without_braces_is_refused_where_it_is_all_there_is() {
    let bot = "[[bot]]\nid = 'a'\nkind = 'http'\nurl = 'http://h'\ndefault = true\n";
    for (setting, expected) in [
        (
            "headers = { Authorization = 'Bearer $TOKEN' }",
            "(\"a\"): headers.Authorization: $TOKEN is not replaced: write ${TOKEN}",
        ),
        ("headers = { X-Key = '$KEY_2' }", "headers.X-Key: $KEY_2 is not"),
        ("[auth]\nadmin_password = '$PASSWORD'", "auth.admin_password: $PASSWORD is not"),
        ("[store]\nurl = 'sqlite:$HOME/x.db'", "store.url: $HOME is not replaced"),
    ] {
        let error = load(&format!("{bot}{setting}"), &[]).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    for setting in [
        "headers = { X-Key = 'a$KEY' }",
        "headers = { X-Key = '$key' }",
        "headers = { X-Key = 'costs in $USD' }",
    ] {
        assert!(load(&format!("{bot}{setting}"), &[]).is_ok(), "{setting}");
    }
}

#[test]
fn a_secret_of_the_environment_is_taken_without_its_line_break_and_refused_with_what_nobody_sees() {
    let file = "[auth]\nadmin_password = 'a ${WORD}'";
    let password = |value: &str| load(file, &[("WORD", value)]).map(|config| config.auth.admin_password);
    let direct = |value: &str| {
        load("", &[("WICARA_AUTH__ADMIN_PASSWORD", value)]).map(|config| config.auth.admin_password)
    };
    for end in ["", "\n", "\r\n"] {
        assert_eq!(password(&format!("secret\"word{end}")).unwrap(), "a secret\"word");
        assert_eq!(direct(&format!("secret\"word{end}")).unwrap(), "secret\"word");
    }
    for (value, expected) in [
        ("\"hush hush\"", "stands in quotes"),
        ("'hush hush'\n", "stands in quotes"),
        ("hush hush ", "space at an end"),
        ("\thush hush", "control character"),
        ("hush\nhush", "line break"),
        ("hush hush\n\n", "line break"),
    ] {
        for (error, variable) in [
            (password(value).unwrap_err(), "WORD"),
            (direct(value).unwrap_err(), "WICARA_AUTH__ADMIN_PASSWORD"),
        ] {
            assert!(
                error.contains(expected) && error.contains(variable) && !error.contains("hush"),
                "{error}"
            );
        }
    }
    let url = load("", &[("WICARA_STORE__URL", "sqlite:wicara.db\n")]).unwrap().store.url;
    assert_eq!(url, "sqlite:wicara.db");
}
