//! `wicara backup`, `restore` and `copy`, as an operator runs them.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::place::Place;
use super::{PASSWORD, call, log_in};
use crate::support::database::connect;
use crate::support::patience::until;
use crate::support::{Database, Engine, PATIENCE, on_both_engines};

on_both_engines!(a_backup_is_restored_and_a_database_copied_to_the_other_engine);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_backup_leaves_no_file() {
    let database = Database::new(Engine::Postgres).await;
    let place =
        Place::with_config(&format!("server.listen = \"127.0.0.1:0\"\nstore.url = \"{}\"\n", database.url));
    place.serve().terminate();
    // The backup waits for the lock.
    let client = connect(&database.url).await;
    client.batch_execute("BEGIN; LOCK TABLE users").await.unwrap();
    let mut command = place.command(&["backup", "a.backup"]);
    let backup = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let part = place.path().join("a.backup.part");
    until(PATIENCE, "the backup has begun", async || part.exists()).await;
    let id = backup.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(|| backup.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(String::from_utf8(ended.stderr).unwrap().contains("interrupted: nothing was saved"));
    assert!(!part.exists() && !place.path().join("a.backup").exists());
}

async fn a_backup_is_restored_and_a_database_copied_to_the_other_engine(engine: Engine) {
    let place = Place::new(engine, "").await;
    let server = place.serve();
    place.with_password(&["user", "add", "ada@example.org"], PASSWORD).done();
    let key = place.run(&["key", "add", "website"]).done().lines().last().unwrap().to_owned();
    place.run(&["ask", "What is Wicara?", "--server", &server.base]).done();

    // While the server runs.
    let saved = place.run(&["backup", "a.backup"]).done();
    assert!(saved.contains("TABLE") && saved.ends_with("Saved to a.backup.\n"), "{saved}");
    let mode = std::fs::metadata(place.path().join("a.backup")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let told = place.run(&["backup", "a.backup"]).failed(1);
    assert!(told.contains("a.backup exists already"), "{told}");
    let told = place.run(&["backup", "-"]).failed(2);
    assert!(told.contains("stdout") && !place.path().join("-").exists(), "{told}");
    assert!(!place.path().join("a.backup.part").exists());
    let other = match engine {
        Engine::Sqlite => Engine::Postgres,
        Engine::Postgres => Engine::Sqlite,
    };
    let target = Database::new(other).await;
    let told = place.run(&["copy", "--to", &target.url]).failed(1);
    assert!(told.contains("the source: ") && told.contains("stop"), "{told}");
    let told = place.run(&["restore", "a.backup"]).failed(1);
    assert!(told.contains("stop"), "{told}");
    server.terminate();
    let told = place.run(&["restore", "a.backup"]).failed(1);
    assert!(told.contains("not empty"), "{told}");

    let sums = |out: String| out.lines().filter(|line| !line.contains('.')).collect::<Vec<_>>().join("\n");
    let copied = place.run(&["copy", "--to", &target.url]).done();
    assert!(copied.contains("Set store.url to the target"), "{copied}");
    // As if another copy had been cut off.
    let half = "CREATE TABLE unfinished_copy (source text, table_name text, row_count bigint, last_key text); \
                INSERT INTO unfinished_copy VALUES ('another', '', 0, '')";
    crate::store::execute(&target, half).await;
    let told = place.run(&["copy", "--to", &target.url]).failed(1);
    assert!(told.contains("--start-over"), "{told}");
    assert_eq!(sums(place.run(&["copy", "--to", &target.url, "--start-over"]).done()), sums(copied));
    let on = |database: &Database| {
        Place::with_config(&format!("server.listen = \"127.0.0.1:0\"\nstore.url = \"{}\"\n", database.url))
    };
    let empty = Database::new(other).await;
    let restored = on(&empty);
    let file = place.path().join("a.backup");
    let file = file.to_str().unwrap();
    restored.run(&["restore", file]).done();
    crate::store::execute(&empty, half).await;
    let told = restored.run(&["restore", file]).failed(1);
    assert!(told.contains("--start-over"), "{told}");
    let done = restored.run(&["restore", file, "--start-over"]).done();
    assert_eq!(sums(done), sums(saved));

    for place in [&restored, &on(&target)] {
        let server = place.serve();
        assert_eq!(log_in(&server, "ada@example.org", PASSWORD).await.0, 200);
        assert_eq!(call(&server, "/api/auth/me", ("x-api-key", &key), None).await.0, 200);
        place.run(&["ask", "What is Wicara?", "--server", &server.base]).done();
        server.terminate();
    }
}
