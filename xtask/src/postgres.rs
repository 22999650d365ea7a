//! A PostgreSQL of our own, to be thrown away: a fresh cluster in a temporary folder, on a port of its own.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, iter};

use anyhow::{Context, Result, bail, ensure};

/// The folder of the server programs to use instead of looking for one.
pub const BIN: &str = "WICARA_TEST_POSTGRES_BIN";

const NEEDED: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// The tests open many pools at once; fsync stays on, because some of them pull the plug.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 400
";

/// The server programs of one PostgreSQL installation.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Looks where the systems put them, and in a folder of several versions for the newest.
    #[must_use]
    pub fn find() -> Option<Self> {
        let complete = |folder: &PathBuf| NEEDED.iter().all(|name| folder.join(name).is_file());
        places().into_iter().find(complete).map(|folder| Self { folder })
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Another program of the installation; it may stand elsewhere than the server's.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders = iter::once(self.folder.clone()).chain(env::split_paths(&path));
        folders.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()))
    }

    /// The server's version, like `15.18`.
    pub fn version(&self) -> Result<String> {
        let said = run(Command::new(self.folder.join("postgres")).arg("--version"))?;
        let version = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        Ok(version.with_context(|| format!("postgres --version said {said:?}"))?.to_owned())
    }
}

fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = env::var_os(BIN).map(PathBuf::from).into_iter().collect();
    if let Ok(said) = run(Command::new("pg_config").arg("--bindir")) {
        places.push(PathBuf::from(said.trim()));
    }
    places.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    places.extend(versions("/usr/lib/postgresql", ""));
    places.extend(versions("/usr", "pgsql-"));
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
        places.extend(versions(homebrew, "postgresql@"));
        places.push(Path::new(homebrew).join("postgresql/bin"));
    }
    places
}

/// `<parent>/<prefix><version>/bin`, the newest version first.
fn versions(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// A running cluster, empty at the start, with the superuser `wicara` and no password.
///
/// It goes, with its folder, when the value is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    folder: PathBuf,
    owner: Option<Owner>,
    port: u16,
    guard: Child,
}

impl Cluster {
    pub fn start() -> Result<Self> {
        let programs =
            Programs::find().context("no PostgreSQL server programs found: run `cargo xtask test`")?;
        Self::start_with(programs)
    }

    pub fn start_with(programs: Programs) -> Result<Self> {
        let (folder, owner) = new_folder()?;
        let guard = guard(&programs, &folder, owner)?;
        let cluster = Self { programs, folder, owner, port: free_port()?, guard };
        cluster.create()?;
        cluster.restart()?;
        Ok(cluster)
    }

    /// How to reach a database of it as superuser; `postgres` is there from the start.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_at(self.port, database)
    }

    /// The same through a proxy that listens at this port.
    #[must_use]
    pub fn url_at(&self, port: u16, database: &str) -> String {
        format!("postgres://wicara@127.0.0.1:{port}/{database}")
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file that the server writes its log to.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The process that all others of the running server descend from.
    pub fn process_id(&self) -> Result<u32> {
        let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
        file.lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .context("postmaster.pid holds no number")
    }

    /// Where it keeps everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops the server as an operator would.
    pub fn stop(&self) -> Result<()> {
        run(self.pg_ctl("stop").args(["--mode", "fast"])).map(drop)
    }

    /// Stops the server as a crash would, without a checkpoint: the next start recovers.
    pub fn stop_immediately(&self) -> Result<()> {
        run(self.pg_ctl("stop").args(["--mode", "immediate"])).map(drop)
    }

    /// Starts the stopped server again, on the same data and the same port, and waits until it answers.
    pub fn restart(&self) -> Result<()> {
        let log = self.log();
        let start = run(self
            .pg_ctl("start")
            .arg("--log")
            .arg(&log)
            .args(["--options", &format!("-p {}", self.port)]));
        start.map(drop).with_context(|| format!("its log: {}", fs::read_to_string(&log).unwrap_or_default()))
    }

    fn create(&self) -> Result<()> {
        let mut initdb = command(&self.programs, "initdb", &self.folder, self.owner);
        initdb.args([
            "--username",
            "wicara",
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--no-sync",
        ]);
        run(initdb.arg("--pgdata").arg(self.data()))?;
        let mut settings = OpenOptions::new().append(true).open(self.data().join("postgresql.conf"))?;
        Ok(settings.write_all(SETTINGS.as_bytes())?)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn pg_ctl(&self, action: &str) -> Command {
        let mut pg_ctl = command(&self.programs, "pg_ctl", &self.folder, self.owner);
        pg_ctl.arg(action).args(["--wait", "--timeout", "120", "--pgdata"]).arg(self.data());
        pg_ctl
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// A process that sits on a pipe from this one. When the pipe closes, by us or because this process is no more, it
/// stops the server and removes the folder. Ctrl-C does not reach it, since it is in a group of its own.
fn guard(programs: &Programs, folder: &Path, owner: Option<Owner>) -> Result<Child> {
    const SCRIPT: &str = r#"cat; "$0" stop --mode immediate --pgdata "$1/data"; cd /; rm -rf "$1""#;
    let mut guard = Command::new("sh");
    guard.arg("-c").arg(SCRIPT).arg(programs.folder.join("pg_ctl")).arg(folder);
    guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    lower(&mut guard, folder, owner);
    guard.spawn().context("sh cannot be started")
}

/// Whom the cluster belongs to where we are root, since PostgreSQL refuses to run as root.
#[derive(Debug, Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    fn find() -> Result<Self> {
        let id = |option, name| {
            run(Command::new("id").args([option, name]))?.trim().parse().context("id gave no number")
        };
        let user = ["postgres", "nobody"].into_iter().find(|name| id("-u", name).is_ok());
        let user =
            user.context("PostgreSQL does not run as root, and there is no user postgres or nobody")?;
        Ok(Self { user: id("-u", user)?, group: id("-g", user)? })
    }
}

fn new_folder() -> Result<(PathBuf, Option<Owner>)> {
    let folder = env::temp_dir().join(format!("wicara-postgres-{:016x}", random()));
    DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    // The folder that we have just made tells who we are.
    let owner = if fs::metadata(&folder)?.uid() == 0 { Some(Owner::find()?) } else { None };
    if let Some(Owner { user, group }) = owner {
        chown(&folder, Some(user), Some(group))?;
    }
    Ok((folder, owner))
}

/// A port below those that the system hands out by itself: while the server is stopped, nothing else is given it.
pub fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let port = 20_000 + (random() % 10_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between 20000 and 30000")
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn command(programs: &Programs, name: &str, folder: &Path, owner: Option<Owner>) -> Command {
    let mut command = Command::new(programs.folder.join(name));
    lower(&mut command, folder, owner);
    command
}

/// Runs it as the cluster's owner, in a folder that the owner may enter.
fn lower(command: &mut Command, folder: &Path, owner: Option<Owner>) {
    command.current_dir(folder);
    if let Some(Owner { user, group }) = owner {
        command.uid(user).gid(group);
    }
}

/// What the command wrote, or what it said when it failed.
fn run(command: &mut Command) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{program} cannot be started"))?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{program}: {}\n{said}{complained}", output.status);
    Ok(said.into_owned())
}
