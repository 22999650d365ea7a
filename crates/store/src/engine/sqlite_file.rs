//! The file of a SQLite database: its one path, the locks between processes, and folding its log (WAL) at the end.
//!
//! SQLite derives the paths of the log and the shared memory from the path of the database. With two paths to one file
//! each process writes its own log and loses what the other wrote:
//! <https://sqlite.org/howtocorrupt.html#multiple_links>.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError, metadata, remove_file};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, OFlags, access};
use tokio::sync::oneshot;

use super::sqlite_connection::{failure, open};
use super::{Error, Result};

/// How long closing the connections may take, and folding the log as long again: each may write the whole log.
pub const CLOSE_TIME: Duration = Duration::from_secs(20);
/// How long folding the log waits for another process that reads or writes.
const FOLD_WAIT: Duration = Duration::from_secs(2);

/// Creates the folder and the file where they are missing. Returns the file's path without symbolic links, as SQLite
/// takes it too. A file with a second hard link is refused.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    create_folders(path)?;
    // Opened only where it is missing: closing any descriptor of a file drops the POSIX locks that SQLite holds on it
    // in this process.
    if !exists(path)? {
        open_private(path).map_err(|error| cannot("create", path, &error))?;
    }
    check_file(path)
}

/// Checks what [`resolve`] and SQLite need, and leaves nothing behind: the path of a file that is there, `None` for one that
/// a start creates.
pub fn find(path: &Path) -> Result<Option<PathBuf>> {
    if exists(path)? {
        let path = check_file(path)?;
        check_folder(folder_of(&path))?;
        return Ok(Some(path));
    }
    // The start creates the folders above the file from here on.
    for folder in folders(path) {
        if exists(folder)? {
            check_folder(folder)?;
            break;
        }
    }
    Ok(None)
}

/// The folders that a file or a folder is in, from the innermost one on.
fn folders(path: &Path) -> impl Iterator<Item = &Path> {
    let named = |folder| if folder == Path::new("") { Path::new(".") } else { folder };
    path.ancestors().skip(1).map(named)
}

/// The folder that a file or a folder is in; `.` for a name alone.
fn folder_of(path: &Path) -> &Path {
    folders(path).next().unwrap_or(path)
}

fn exists(path: &Path) -> Result<bool> {
    match path.try_exists() {
        // A file stands where the path has a folder; creating that folder names it.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        found => found.map_err(|error| cannot("open", path, &error)),
    }
}

/// Whether files can be created in a folder, as SQLite does beside its database. Only creating one tells: rights, read-only
/// disks and the folders of `/proc` differ.
fn check_folder(folder: &Path) -> Result<()> {
    let probe = folder.join(format!(".wicara-check-{}", std::process::id()));
    let created = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&probe);
    let removed = created.and_then(|_| remove_file(&probe));
    removed.map_err(|error| cannot("create files in", folder, &error))
}

/// Creates the folders that are missing above a file. Conversations are confidential: other users of the machine must not read them.
fn create_folders(path: &Path) -> Result<()> {
    let missing: Vec<_> = folders(path).take_while(|folder| !folder.is_dir()).collect();
    for folder in missing.into_iter().rev() {
        let created = match DirBuilder::new().mode(0o700).create(folder) {
            // No link is followed: see `open_private`.
            Ok(()) => OpenOptions::new()
                .read(true)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(folder)
                .and_then(|created| give_to_owner_of_folder(&created, folder)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
            Err(error) => Err(error),
        };
        created.map_err(|error| cannot("create", folder, &error))?;
    }
    Ok(())
}

/// What root creates belongs to whom the folder belongs to: a service that runs as another user must be able to open what
/// a command of root has created.
fn give_to_owner_of_folder(created: &File, path: &Path) -> io::Result<()> {
    let folder = metadata(folder_of(path))?;
    if created.metadata()?.uid() == 0 && folder.uid() != 0 {
        fchown(created, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(())
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ". It belongs to another user, or one of its folders does: run wicara as that user, or change the owner"
        }
        _ => "",
    };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Error::Setup(format!("cannot {what} {}: {error}{advice}", path.display()))
}

/// The path without symbolic links of a file that SQLite may use.
fn check_file(path: &Path) -> Result<PathBuf> {
    let failed = |error| cannot("open", path, &error);
    let path = path.canonicalize().map_err(failed)?;
    let found = metadata(&path).map_err(failed)?;
    if found.is_dir() {
        return Err(Error::Setup(format!(
            "{0} is a directory: name a file in it, such as sqlite:{0}/wicara.db",
            path.display()
        )));
    }
    if !found.is_file() {
        return Err(Error::Setup(format!("{} is no regular file", path.display())));
    }
    access(&path, Access::READ_OK | Access::WRITE_OK)
        .map_err(|error| cannot("open", &path, &error.into()))?;
    if found.nlink() > 1 {
        return Err(Error::Setup(format!(
            "{} has another name, a hard link (find DIRECTORY -samefile {0} shows it): under two names SQLite loses \
             messages. Remove the others, or copy the file instead of linking it",
            path.display()
        )));
    }
    Ok(path)
}

/// Opens a file, and creates a missing one that only its owner can read. SQLite gives its other files the same mode and
/// owner.
fn open_private(path: &Path) -> io::Result<File> {
    // Only a file that was not there is given away, and no link is followed to it: in a folder of another user root
    // would be led to a file of its own.
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(file) => give_to_owner_of_folder(&file, path).map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
        }
        Err(error) => Err(error),
    }
}

/// Waits for the migrations of other processes, and makes those wait for this one while the returned file is open.
pub fn lock_schema(path: &Path) -> Result<File> {
    let path = path.with_added_extension("lock");
    open_private(&path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| Error::Setup(format!("cannot lock {}: {error}", path.display())))
}

/// Takes the lock of the one server on a database, held while the returned files are open. They must be opened before
/// SQLite opens the database and closed after it closes it: closing them drops SQLite's own locks too (see
/// [`resolve`]). `taken`: the sentence of the error where another process has it.
pub fn lock_server(path: &Path, taken: &str) -> Result<Vec<File>> {
    let beside = path.with_added_extension("server");
    let mut held = vec![lock(&beside, open_private(&beside), taken)?];
    // Also a lock on the database itself, since its path may differ for another server (renamed, or mounted elsewhere).
    // This is a flock, and SQLite's own locks are of fcntl: on Linux the two kinds ignore each other; on BSD and macOS
    // they exclude each other.
    if cfg!(target_os = "linux") {
        held.push(lock(path, File::open(path), taken)?);
    }
    Ok(held)
}

fn lock(path: &Path, opened: io::Result<File>, taken: &str) -> Result<File> {
    let failed = |error| Error::Setup(format!("cannot lock {}: {error}", path.display()));
    let file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Setup(taken.into())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Folds the log into the database, if there is one. SQLite does so itself when the last connection closes, and removes
/// the log: it is left only where another process, such as a command, has the database open.
pub async fn fold(path: PathBuf) {
    let log = path.with_file_name({
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push("-wal");
        name
    });
    let shown = log.display().to_string();
    let folded = within_close_time(move || match metadata(&log) {
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

/// Runs blocking work in a new thread and waits at most [`CLOSE_TIME`] for it; `None` after that. Not a thread of the
/// runtime, since a blocked one would keep the process from ending.
pub async fn within_close_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, finished) = oneshot::channel();
    let thread = std::thread::Builder::new().name("sqlite-close".into());
    thread.spawn(move || drop(done.send(work()))).ok()?;
    tokio::time::timeout(CLOSE_TIME, finished).await.ok()?.ok()
}
