use std::time::Duration;

use wicara_metrics::Metrics;
use wicara_platform::Random;
use wicara_store::{Error, ServerLock, Store};

use super::{create, execute, get, open, reopen};
use crate::support::{Database, Engine, on_both_engines};

#[tokio::test]
async fn a_sqlite_database_is_its_owners_and_one_servers() {
    use std::os::unix::fs::PermissionsExt;
    let store = open(Engine::Sqlite).await;
    create(&store, "guide", &["halo"]).await;
    let path = std::path::Path::new(store.database.url.strip_prefix("sqlite:").unwrap());
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
    for path in files.chain([path.parent().unwrap().to_owned()]) {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is open to others: {mode:o}", path.display());
    }
    let lock = ServerLock::take(&store.database.url).unwrap();
    assert!(matches!(ServerLock::take(&store.database.url), Err(Error::Setup(_))));
    lock.fold().await;
    drop(lock);
    ServerLock::take(&store.database.url).unwrap();
    let folder = format!("sqlite:{}", path.parent().unwrap().display());
    let Err(Error::Setup(told)) = ServerLock::take(&folder) else { panic!("a folder is no database") };
    assert!(told.contains("is a directory: name a file in it"), "{told}");
}

#[tokio::test]
async fn a_postgres_elsewhere_needs_a_word_on_encryption() {
    for url in ["postgres://user:secret@192.0.2.1/wicara", "postgresql://db.example.org/wicara"] {
        let refused =
            Store::open(url, Duration::ZERO, &Random::System, &Metrics::default()).await.err().unwrap();
        let Error::Setup(message) = refused else { panic!("{refused:?}") };
        assert!(message.contains("sslmode=require") && !message.contains("secret"), "{message}");
    }
}

on_both_engines!(
    stores_that_open_at_once_do_not_collide,
    a_newer_schema_is_refused,
    a_row_that_cannot_be_read_names_its_table_and_column,
);

async fn stores_that_open_at_once_do_not_collide(engine: Engine) {
    let database = Database::new(engine).await;
    let opens = (0..4).map(|_| {
        let url = database.url.clone();
        tokio::spawn(
            async move { Store::open(&url, Duration::ZERO, &Random::System, &Metrics::default()).await },
        )
    });
    for open in opens.collect::<Vec<_>>() {
        create(&open.await.unwrap().unwrap(), "guide", &["halo"]).await;
    }
    assert_eq!(super::total(&reopen(&database).await, &wicara_model::Bots::All).await, (4, 4));
}

async fn a_newer_schema_is_refused(engine: Engine) {
    let store = open(engine).await;
    store.close().await;
    execute(
        &store.database,
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
         VALUES (999, 'later', '2030-01-01T00:00:00Z', '1')",
    )
    .await;
    let refused = Store::open(&store.database.url, Duration::ZERO, &Random::System, &Metrics::default())
        .await
        .err()
        .unwrap();
    let Error::Setup(message) = refused else { panic!("{refused:?}") };
    assert!(message.contains("schema version 999") && message.contains("knows only up to 9"), "{message}");
}

async fn a_row_that_cannot_be_read_names_its_table_and_column(engine: Engine) {
    let store = open(engine).await;
    let id = create(&store, "guide", &["halo"]).await.conversation.id;
    get(&store, id).await;
    execute(&store.database, "UPDATE conversations SET handler = 'robot'").await;
    let error = store.conversation_get(id).await.unwrap_err();
    assert_eq!(error.to_string(), "conversations.handler holds the unknown word \"robot\"");
}
