//! The file of a SQLite database: what a stop leaves in it, copies of it, and its one name.

use std::fs::{self, metadata, read_dir};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, Role};
use wicara_platform::{Clock, Random};
use wicara_service::People;
use wicara_store::Store;

use super::process::Server;
use super::writers::{Writer, assert_nothing_lost_or_doubled};
use crate::store::create;
use crate::support::{until, within};

/// For what has no reason to take long.
const DEADLINE: Duration = Duration::from_secs(30);

/// A folder with a database, and what writes to it.
struct Place {
    folder: TempDir,
    key: String,
    conversation: i64,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("data/wicara.db")).await;
        let people = People::new(store.clone(), Clock::System, Random::System);
        let (_, key) = people.key_create("writers", Role::Agent, Bots::All, Api::Chatbot).await.unwrap();
        let conversation = create(&store, "guide", &[]).await.conversation.id.0;
        store.close().await;
        Self { folder, key, conversation }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path("data/wicara.db")
    }

    fn log(&self) -> PathBuf {
        self.path("data/wicara.db-wal")
    }

    fn writer(&self, number: usize) -> Writer {
        Writer::new(number, self.conversation, self.key.clone())
    }

    fn start(&self) -> Server {
        Server::start(&self.config(&self.database()))
    }

    /// A configuration with the database under this name.
    fn config(&self, database: &Path) -> PathBuf {
        let config = self.path("wicara.toml");
        let database = database.display();
        fs::write(&config, format!("server.listen = '127.0.0.1:0'\nstore.url = 'sqlite:{database}'\n"))
            .unwrap();
        config
    }

    /// Runs a command on the database under this name. One that does not end by itself, as a server that starts, is
    /// ended.
    async fn run(&self, database: &Path, command: &[&str]) -> Output {
        let mut wicara = Command::new(env!("CARGO_BIN_EXE_wicara"));
        wicara.arg("--config").arg(self.config(database)).args(command);
        let mut running = wicara.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let ended = tokio::time::timeout(DEADLINE, async {
            while running.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        if ended.await.is_err() {
            running.kill().unwrap();
            panic!("{command:?} {} does not end", database.display());
        }
        running.wait_with_output().unwrap()
    }

    async fn refused(&self, database: &Path, command: &[&str]) -> String {
        let output = self.run(database, command).await;
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?} {}: {told}", database.display());
        assert!(told.contains("store.url"), "{told}");
        told
    }
}

async fn open(path: &Path) -> Store {
    let url = format!("sqlite:{}", path.display());
    Store::open(&url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap()
}

async fn send(writer: &mut Writer, server: &Server, messages: usize) {
    for _ in 0..messages {
        assert!(writer.send(&server.base).await);
    }
}

async fn terminate(server: Server) {
    let stopped = tokio::task::spawn_blocking(move || server.terminate());
    tokio::time::timeout(DEADLINE, stopped).await.expect("the server stops").unwrap();
}

/// What a copy of the one file holds.
async fn assert_all_in(database: &Path, writers: &[Writer]) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    fs::copy(database, &copy).unwrap();
    let found: String =
        Connection::open(&copy).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
    assert_nothing_lost_or_doubled(&open(&copy).await, writers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_leaves_everything_in_one_file() {
    let place = Place::new().await;
    let mut writer = place.writer(0);
    for _ in 0..2 {
        let server = place.start();
        send(&mut writer, &server, 20).await;
        terminate(server).await;
        for ending in ["-wal", "-shm"] {
            let path = place.path(&format!("data/wicara.db{ending}"));
            assert!(!path.exists(), "{} is left", path.display());
        }
    }
    // A command at rest leaves no more than a server does.
    for name in ["a", "b", "c", "d", "e"] {
        assert!(place.run(&place.database(), &["key", "add", name]).await.status.success());
        assert!(!place.log().exists());
    }
    assert_all_in(&place.database(), &[writer]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_leaves_an_empty_log_where_a_command_has_the_database_open() {
    let place = Place::new().await;
    let server = place.start();
    let mut writer = place.writer(0);
    let command = Connection::open(place.database()).unwrap();
    command.query_row("SELECT count(*) FROM messages", [], |row| row.get::<_, i64>(0)).unwrap();
    send(&mut writer, &server, 20).await;
    terminate(server).await;
    assert_eq!(metadata(place.log()).unwrap().len(), 0);
    drop(command);
    assert_all_in(&place.database(), &[writer]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_command_that_reads() {
    let place = Place::new().await;
    let server = place.start();
    let mut writer = place.writer(0);
    let command = Connection::open(place.database()).unwrap();
    command.execute_batch("BEGIN; SELECT count(*) FROM messages").unwrap();
    send(&mut writer, &server, 20).await;
    terminate(server).await;
    assert!(metadata(place.log()).unwrap().len() > 0, "the command reads from before");
    drop(command);
    assert_all_in(&place.database(), &[writer]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_is_refused_under_any_name() {
    let place = Place::new().await;
    let server = place.start();
    let mut writer = place.writer(0);
    fs::create_dir(place.path("elsewhere")).unwrap();
    let names = ["elsewhere/link.db", "linked/wicara.db", "data/../data/./wicara.db", "elsewhere/again.db"];
    let [to_file, to_folder, roundabout, to_link] = names.map(|name| place.path(name));
    symlink("../data/wicara.db", &to_file).unwrap();
    symlink("data", place.path("linked")).unwrap();
    symlink("link.db", &to_link).unwrap();
    for name in [&place.database(), &to_file, &to_folder, &roundabout, &to_link] {
        let told = place.refused(name, &["serve"]).await;
        assert!(told.contains("another server runs on this SQLite database"), "{told}");
        assert!(
            place.run(name, &["key", "list"]).await.status.success(),
            "a command works beside the server"
        );
        send(&mut writer, &server, 1).await;
    }

    for name in ["data/second.db", "elsewhere/second.db"] {
        let name = place.path(name);
        fs::hard_link(place.database(), &name).unwrap();
        for command in [&["serve"][..], &["key", "list"]] {
            let told = place.refused(&name, command).await;
            assert!(told.contains("another name, a hard link"), "{told}");
        }
        let log = format!("{}-wal", name.display());
        assert!(!Path::new(&log).exists(), "nothing was opened");
        fs::remove_file(&name).unwrap();
        send(&mut writer, &server, 1).await;
    }

    if cfg!(target_os = "linux") {
        // The same file, with one link, under a name that it did not have before.
        let renamed = place.path("elsewhere/renamed.db");
        fs::rename(place.database(), &renamed).unwrap();
        let told = place.refused(&renamed, &["serve"]).await;
        assert!(told.contains("another server runs on this SQLite database"), "{told}");
        fs::rename(&renamed, place.database()).unwrap();
    }
    send(&mut writer, &server, 1).await;
    terminate(server).await;
    assert_all_in(&place.database(), &[writer]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_stands_for_its_file_when_the_schema_is_made_too() {
    let place = Place::new().await;
    for folder in ["links", "files"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    // There is no file yet.
    let link = place.path("links/wicara.db");
    symlink("../files/real.db", &link).unwrap();
    let store = open(&link).await;
    create(&store, "guide", &["halo"]).await;
    store.close().await;
    let names = |folder| {
        let mut names: Vec<_> =
            read_dir(place.path(folder)).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("links"), ["wicara.db"], "two names have one lock");
    assert_eq!(names("files"), ["real.db", "real.db.lock"]);
}

const WRITERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_busy_server_is_whole() {
    let place = Place::new().await;
    let server = place.start();
    let count = Arc::new(AtomicUsize::new(0));
    let writing: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (writer, base) = (place.writer(number), server.base.clone());
            tokio::spawn(writer.send_until_refused(base, Arc::clone(&count)))
        })
        .collect();
    let mut backups = Vec::new();
    for number in 0..3 {
        let before = count.load(Ordering::SeqCst) + 100;
        until(DEADLINE, "all writers go on", async || {
            assert!(writing.iter().all(|writer| !writer.is_finished()), "nobody is refused");
            count.load(Ordering::SeqCst) >= before
        })
        .await;
        let (database, backup) = (place.database(), place.path(&format!("backup-{number}.db")));
        let acknowledged = count.load(Ordering::SeqCst);
        let into = format!("VACUUM INTO '{}'", backup.display());
        let made =
            tokio::task::spawn_blocking(move || Connection::open(database).unwrap().execute_batch(&into));
        tokio::time::timeout(DEADLINE, made).await.expect("a backup ends").unwrap().unwrap();
        backups.push((backup, acknowledged));
    }
    terminate(server).await;
    let mut writers = Vec::new();
    for writer in writing {
        writers.push(within(DEADLINE, "a writer is refused", writer).await.unwrap());
    }
    assert_all_in(&place.database(), &writers).await;

    let mut more = writers.into_iter().next().unwrap();
    for (backup, acknowledged) in backups {
        let read = |sql| {
            Connection::open(&backup).unwrap().query_row(sql, [], |row| row.get::<_, String>(0)).unwrap()
        };
        assert_eq!(read("PRAGMA integrity_check"), "ok");
        let held: usize = read("SELECT CAST(count(*) AS text) FROM messages").parse().unwrap();
        assert!(held >= acknowledged, "{held} of {acknowledged}");
        // In the place of the old one, as the guide has it.
        fs::rename(&backup, place.database()).unwrap();
        let server = place.start();
        send(&mut more, &server, 1).await;
        terminate(server).await;
    }
}
