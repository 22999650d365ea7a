//! Databases behind PgBouncer, and such that cannot hold every text.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use wicara_metrics::Metrics;
use wicara_platform::Random;
use wicara_store::{Error, Store};

use crate::support::database::connect;
use crate::support::patience::until;
use crate::support::{Database, Engine};

/// A running PgBouncer.
struct Pooler {
    process: Child,
    _folder: TempDir,
    url: String,
}

impl Pooler {
    /// In front of a database, with more lines for its configuration.
    async fn start(database: &Database, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server: tokio_postgres::Config = database.url.parse().unwrap();
        let [tokio_postgres::config::Host::Tcp(host)] = server.get_hosts() else { panic!("{server:?}") };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "[databases]\n* = host={host} port={} user={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\n{more}",
            server.get_ports().first().unwrap_or(&5432),
            server.get_user().unwrap()
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, config).unwrap();
        // It refuses to run as root, and then must be able to read its file.
        open_to_all(folder.path());
        let is_root =
            fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let mut command = Command::new("pgbouncer");
        command.env("PATH", format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap()));
        command.args(is_root.then_some(["-u", "nobody"]).into_iter().flatten());
        let process = command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.expect("pgbouncer is installed: `cargo xtask test` sees to it");
        let name = server.get_dbname().unwrap();
        let url = format!("postgres://{}@127.0.0.1:{port}/{name}", server.get_user().unwrap());
        let answers = async || tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok();
        until(Duration::from_secs(20), "pgbouncer answers", answers).await;
        Self { process, _folder: folder, url }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}

async fn open(url: &str) -> Result<Store, Error> {
    Store::open(url, Duration::ZERO, &Random::System, &Metrics::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_shares_sessions_is_refused_before_anything_is_written() {
    for more in [
        "pool_mode = transaction\n",
        "pool_mode = transaction\nserver_round_robin = 1\n",
        "pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 3\n",
        "pool_mode = transaction\ndefault_pool_size = 1\n",
        "pool_mode = statement\n",
    ] {
        let database = Database::new(Engine::Postgres).await;
        let pooler = Pooler::start(&database, more).await;
        let Err(Error::Setup(told)) = open(&pooler.url).await else { panic!("{more} is taken") };
        assert!(told.contains("transaction or statement mode") && told.contains("session mode"), "{told}");
        let probed = Store::probe(&pooler.url).await.unwrap_err();
        assert_eq!(probed.to_string(), told);
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        let tables: i64 = connect(&database.url).await.query_one(tables, &[]).await.unwrap().get(0);
        assert_eq!(tables, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_session_mode_serves() {
    let database = Database::new(Engine::Postgres).await;
    let pooler = Pooler::start(&database, "pool_mode = session\n").await;
    let store = open(&pooler.url).await.unwrap();
    store.ping().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let database = Database::new(Engine::Postgres).await;
    let client = connect(&database.url).await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("{}_{}", database.url.rsplit_once('/').unwrap().1, encoding.to_lowercase());
        let create = format!("CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
        client.batch_execute(&create).await.unwrap();
        let url = format!("{}/{name}", database.url.rsplit_once('/').unwrap().0);
        let Err(Error::Setup(told)) = open(&url).await else { panic!("{encoding} is taken") };
        assert!(told.contains(encoding) && told.contains("UTF8"), "{told}");
    }
}
