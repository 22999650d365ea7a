use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use wicara_model::{Api, Bots, Role};

use super::{Cli, Command, config, key, user};

fn parse(line: &[&str]) -> Cli {
    Cli::try_parse_from(["wicara"].iter().chain(line)).unwrap()
}

fn refuse(line: &[&str]) -> clap::Error {
    Cli::try_parse_from(["wicara"].iter().chain(line)).unwrap_err()
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn without_a_command_the_server_starts() {
    assert!(parse(&[]).command.is_none());
    assert!(matches!(parse(&["serve"]).command, Some(Command::Serve)));
    assert_eq!(parse(&["--config", "a.toml"]).config.unwrap().to_str(), Some("a.toml"));
}

#[test]
fn the_configuration_file_may_be_named_anywhere() {
    for line in [
        ["--config", "a.toml", "user", "list"],
        ["user", "--config", "a.toml", "list"],
        ["user", "list", "--config", "a.toml"],
        ["config", "show", "--config=a.toml", "--json"],
    ] {
        assert_eq!(parse(&line).config.unwrap().to_str(), Some("a.toml"), "{line:?}");
    }
}

#[test]
fn people_and_keys_see_all_bots_as_viewers_unless_told_otherwise() {
    let Some(Command::User(user::Command::Add { email, grant })) = parse(&["user", "add", "a@h"]).command
    else {
        panic!("another command");
    };
    assert_eq!((email.as_str(), grant.role, grant.bots()), ("a@h", Role::Viewer, Bots::All));

    let line = ["key", "add", "web", "--role", "agent", "--bots", "a,b c", "--api", "conversation"];
    let Some(Command::Key(key::Command::Add { name, grant, api })) = parse(&line).command else {
        panic!("another command");
    };
    assert_eq!((name.as_str(), grant.role, api), ("web", Role::Agent, Api::Conversation));
    assert_eq!(grant.bots(), Bots::Only(vec!["a".to_owned(), "b c".to_owned()]));

    let Some(Command::Key(key::Command::Add { api, .. })) = parse(&["key", "add", "web"]).command else {
        panic!("another command");
    };
    assert_eq!(api, Api::Chatbot);
}

#[test]
fn every_form_is_taken() {
    for line in [
        &["user", "password", "a@h"] as &[_],
        &["user", "list"],
        &["user", "list", "--json"],
        &["user", "remove", "a@h"],
        &["key", "list"],
        &["key", "list", "--json"],
        &["key", "remove", "web"],
        &["config", "check"],
        &["backup", "a.backup"],
        &["restore", "a.backup"],
        &["copy", "--to", "sqlite:a.db"],
        &["ask", "Halo?"],
        &["ask", "Halo?", "--session", "1309C142-3535-45b2-acdf-8bfbe59c3b9a", "--bot", "guide", "--json"],
        &["ask", "Halo?", "--server", "http://127.0.0.1:3333"],
        &["watch"],
        &["watch", "--json", "--server", "http://127.0.0.1:3333"],
        &["search", "lost card"],
        &[
            "search",
            "lost -card",
            "--bot",
            "guide",
            "--limit",
            "5",
            "--json",
            "--server",
            "http://127.0.0.1:3333",
        ],
        &["search", "-card lost", "--json"],
    ] {
        parse(line);
    }
    let Some(Command::Config(command)) = parse(&["config", "show", "--json"]).command else {
        panic!("another command");
    };
    assert_eq!(command, config::Command::Show { json: true });
}

#[test]
fn wrong_usage_is_refused_with_exit_code_2_and_what_is_allowed() {
    for (line, expected) in [
        (&["user", "add", "a@h", "--role", "boss"] as &[_], "viewer, agent, admin"),
        (&["key", "add", "web", "--api", "both"], "chatbot, conversation"),
        (&["user", "add", "a@h", "--bots", "a,,b"], "write --bots a,b"),
        (&["ask", "x", "--session", "5"], "--session"),
        (&["ask", "x", "--server", "localhost:3333"], "an address such as http://127.0.0.1:3333 is expected"),
        (&["watch", "--server", "localhost:3333"], "an address such as http://127.0.0.1:3333 is expected"),
        (&["ask"], "<QUESTION>"),
        (&["search"], "<QUERY>"),
        (&["search", ""], "<QUERY>"),
        (&["search", "card", "--limit", "0"], "--limit <N>"),
        (&["backup"], "<FILE>"),
        (&["restore"], "<FILE>"),
        (&["copy"], "--to <URL>"),
        (&["user", "ad", "a@h"], "'add'"),
        (&["serv"], "'serve'"),
    ] {
        let error = refuse(line);
        assert_eq!(error.exit_code(), 2, "{line:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn every_command_has_help_with_examples() {
    fn walk(command: &mut clap::Command) {
        let help = command.render_help().to_string();
        assert!(help.contains("Example"), "{help}");
        for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            walk(command);
        }
    }
    let mut command = Cli::command();
    command.build();
    walk(&mut command);
    assert_eq!(refuse(&["user", "add", "--help"]).kind(), ErrorKind::DisplayHelp);
}
