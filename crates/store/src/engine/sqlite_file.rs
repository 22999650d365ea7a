//! The file of a SQLite database: its one name, the locks that tell processes of each other, and its log at the end.
//!
//! SQLite names the log and the shared memory after the path of the database, and finds them by it alone. Two names of
//! one file are two logs, of which each process believes its own: <https://sqlite.org/howtocorrupt.html#multiple_links>.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError, metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;

use super::sqlite_connection::{failure, open};
use super::{Error, Result};

/// How long closing the connections may take, and as long again folding the log: each may write all of the log.
pub const CLOSE_TIME: Duration = Duration::from_secs(20);
/// How long a log that is folded waits for another process that reads or writes.
const FOLD_WAIT: Duration = Duration::from_secs(2);

/// The path in a `sqlite:` URL.
pub fn path(url: &str) -> Option<PathBuf> {
    url.strip_prefix("sqlite:").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Creates the folder and the file where they are missing. Returns the file's path without symbolic links, as SQLite
/// takes it too. A file with a second hard link is refused.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        // What people write to an organisation is for its eyes only.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| Error::Setup(format!("cannot create {}: {error}", folder.display())))?;
    }
    let cannot = |error| Error::Setup(format!("cannot create {}: {error}", path.display()));
    // Only where it is missing: closing any descriptor of a file drops the locks that SQLite holds on it in this process.
    if !path.try_exists().map_err(cannot)? {
        private(path).map_err(cannot)?;
    }
    let path = path.canonicalize().map_err(cannot)?;
    let found = metadata(&path).map_err(cannot)?;
    if found.is_dir() {
        return Err(Error::Setup(format!(
            "{0} is a directory: name a file in it, such as sqlite:{0}/wicara.db",
            path.display()
        )));
    }
    if found.nlink() > 1 {
        return Err(Error::Setup(format!(
            "{} has another name, a hard link (find DIRECTORY -samefile {0} shows it): under two names SQLite loses \
             messages. Remove the others, or copy the file instead of linking it",
            path.display()
        )));
    }
    Ok(path)
}

/// Opens a file, made readable for its owner alone where it is missing. SQLite gives its other files the same mode.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// Waits until no other process brings the schema up to date, and keeps others from it while the file is open.
pub fn lock_schema(path: &Path) -> Result<File> {
    let path = path.with_added_extension("lock");
    private(&path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| Error::Setup(format!("cannot lock {}: {error}", path.display())))
}

/// Takes the place of the one server on a database for as long as the files are open. They are opened before SQLite
/// opens the database, and closed after it has closed it: see [`resolve`].
pub fn lock_server(path: &Path) -> Result<Vec<File>> {
    let beside = path.with_added_extension("server");
    let mut held = vec![lock(&beside, private(&beside))?];
    // The file itself too, which may have been renamed or mounted elsewhere since. SQLite's own locks are of the kind
    // of fcntl, which on Linux knows nothing of this one; on BSD and macOS the two exclude each other.
    if cfg!(target_os = "linux") {
        held.push(lock(path, File::open(path))?);
    }
    Ok(held)
}

fn lock(path: &Path, opened: io::Result<File>) -> Result<File> {
    let failed = |error| Error::Setup(format!("cannot lock {}: {error}", path.display()));
    let file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Setup("another server runs on this SQLite database: several need PostgreSQL".into()))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Folds what the log still holds into the database. The last connection that is closed does so and removes the log:
/// there is one only where another process, such as a command, has the database open.
pub async fn fold(path: PathBuf) {
    let log = path.with_file_name({
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push("-wal");
        name
    });
    let shown = log.display().to_string();
    let folded = in_time(move || match metadata(&log) {
        Ok(found) if found.len() > 0 => checkpoint(&path),
        _ => Ok(()),
    });
    let reason = match folded.await {
        Some(Ok(())) => return,
        Some(Err(error)) => error.to_string(),
        None => format!("it took longer than {} s", CLOSE_TIME.as_secs()),
    };
    tracing::warn!(reason, log = shown, "the newest messages stay in the log beside the database: copy both");
}

fn checkpoint(path: &Path) -> Result<()> {
    let connection = open(path)?;
    let run = || {
        connection.busy_timeout(FOLD_WAIT)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
    };
    match run().map_err(|error| failure(&error))? {
        0 => Ok(()),
        _ => Err(Error::Unavailable("another program reads or writes in it".into())),
    }
}

/// Does work that blocks in a thread of its own, and waits no longer than [`CLOSE_TIME`] for it: a thread that does not
/// end keeps no process from ending.
pub async fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, finished) = oneshot::channel();
    let thread = std::thread::Builder::new().name("sqlite-close".into());
    thread.spawn(move || drop(done.send(work()))).ok()?;
    tokio::time::timeout(CLOSE_TIME, finished).await.ok()?.ok()
}
