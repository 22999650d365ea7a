//! What `wicara config check --connect` says of a database: it refuses what a start refuses, and leaves nothing behind.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::time::Duration;

use wicara_metrics::Metrics;
use wicara_platform::Random;
use wicara_store::{Error, ServerLock, Store};

use super::{execute, open};
use crate::support::database::connect;
use crate::support::{Database, Engine, on_both_engines};

on_both_engines!(an_unfinished_copy_is_refused);

/// What a start says, and that a check says the same.
async fn refused(url: &str) -> String {
    let probed = Store::probe(url).await.expect_err(url).to_string();
    let locked = ServerLock::take(url);
    let opened = match locked {
        Ok(_) => Store::open(url, Duration::ZERO, &Random::System, &Metrics::default()).await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(opened, Err(Error::Setup(_))), "{url}: {opened:?}");
    probed
}

async fn an_unfinished_copy_is_refused(engine: Engine) {
    let store = open(engine).await;
    store.close().await;
    execute(&store.database, "CREATE TABLE unfinished_copy (source text)").await;
    let told = refused(&store.database.url).await;
    assert!(told.contains("unfinished copy") && told.contains("wicara restore"), "{told}");
}

#[tokio::test]
async fn a_file_that_no_start_can_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a"), "").unwrap();
    fs::write(at("text"), "no database, but a text of some length").unwrap();
    fs::write(at("one"), "").unwrap();
    fs::hard_link(at("one"), at("two")).unwrap();
    for (path, expected) in [
        (at("a/x.db"), "cannot create"),
        (at("one/../x.db"), "cannot create"),
        (at("two"), "hard link"),
        (at("text"), "is not a database"),
        (folder.path().to_owned(), "is a directory"),
        ("/proc/x.db".into(), "cannot create"),
        ("/proc/y/x.db".into(), "cannot create"),
        ("/dev/null".into(), "is no regular file"),
    ] {
        let told = refused(&format!("sqlite:{}", path.display())).await;
        assert!(told.contains(expected), "{}: {told}", path.display());
    }
    for free in ["x.db", "b/c/x.db"] {
        let found = Store::probe(&format!("sqlite:{}", at(free).display())).await.unwrap();
        assert!(found.contains("does not exist yet"), "{found}");
    }
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.retain(|name| !name.ends_with(".lock") && !name.ends_with(".server"));
    left.sort();
    assert_eq!(left, ["a", "one", "text", "two"]);
}

#[tokio::test]
async fn a_postgres_without_the_rights_of_a_start_is_refused_with_what_it_said() {
    let database = Database::new(Engine::Postgres).await;
    let name = database.url.rsplit_once('/').unwrap().1;
    for (options, expected) in [
        ("-csearch_path%3Dnowhere", "no schema has been selected to create in (3F000): search_path"),
        ("-cdefault_transaction_read_only%3Don", "read-only transaction (25006): it is a standby"),
    ] {
        let told = refused(&format!("{}?options={options}", database.url)).await;
        assert!(told.contains(expected), "{told}");
    }
    let client = connect(&database.url).await;
    let role = format!("{name}_role");
    // As from PostgreSQL 15 on.
    let role_alone = format!("REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE {role} LOGIN");
    client.batch_execute(&role_alone).await.unwrap();
    let address: tokio_postgres::Config = database.url.parse().unwrap();
    let url = database.url.replacen(&format!("{}@", address.get_user().unwrap()), &format!("{role}@"), 1);
    let told = refused(&url).await;
    assert!(
        told.contains("permission denied for schema public (42501)") && told.contains("OWNER TO"),
        "{told}"
    );

    let store =
        Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
    store.close().await;
    client.batch_execute(&format!("GRANT CREATE ON SCHEMA public TO {role}")).await.unwrap();
    let told = refused(&url).await;
    assert!(told.contains("permission denied for table refinery_schema_history"), "{told}");
    let grant = format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}");
    client.batch_execute(&grant).await.unwrap();
    let told = Store::probe(&url).await.unwrap_err().to_string();
    assert!(told.contains("permission denied for ") && told.contains("messages"), "{told}");
    let grant = format!("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}");
    client.batch_execute(&grant).await.unwrap();
    assert!(Store::probe(&url).await.unwrap().contains("schema version"));
    client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'wicara_check'";
    assert_eq!(client.query_one(tables, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_port_that_speaks_another_protocol_is_told() {
    for said in [
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "-ERR unknown\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(said.as_bytes()).unwrap();
        });
        let told = Store::probe(&format!("postgres://u@127.0.0.1:{port}/d")).await.unwrap_err().to_string();
        assert!(
            told.contains(&format!("(port {port}) does not speak PostgreSQL's protocol")),
            "{said}: {told}"
        );
        server.join().unwrap();
    }
}

/// Every file and folder below, with who owns it.
fn owners(folder: &Path, found: &mut Vec<(String, u32)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        found.push((entry.path().display().to_string(), metadata.uid()));
        if metadata.is_dir() {
            owners(&entry.path(), found);
        }
    }
}

/// Only root can create what belongs to others.
#[tokio::test]
async fn what_root_creates_belongs_to_whom_the_folder_belongs_to() {
    const SOMEBODY: u32 = 65_534;
    let folder = tempfile::tempdir().unwrap();
    if fs::metadata(folder.path()).unwrap().uid() != 0 {
        return;
    }
    chown(folder.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let url = format!("sqlite:{}/a/b/x.db", folder.path().display());
    let _lock = ServerLock::take(&url).unwrap();
    let store = Store::open(&url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
    store.node_renew().await.unwrap();
    let mut found = Vec::new();
    owners(folder.path(), &mut found);
    assert!(found.len() >= 7 && found.iter().all(|(_, owner)| *owner == SOMEBODY), "{found:?}");
    store.close().await;
}
