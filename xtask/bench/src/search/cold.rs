//! A start with nothing of the database in memory.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise};

use crate::bench::Bench;
use crate::server::{Database, Engine, Server};

/// Starts the server, and PostgreSQL, after the system has forgotten the files of the database. No server runs on it before.
pub fn start(bench: &Bench, database: &Database) -> Result<Server> {
    match database.engine {
        Engine::Sqlite => forget(database.folder())?,
        Engine::Postgres => {
            let cluster = &bench.place.cluster;
            cluster.stop()?;
            forget(cluster.folder())?;
            cluster.restart()?;
        }
    }
    bench.start(database)
}

/// Takes the files of a folder out of the page cache: these alone, so that it needs no rights and harms nothing else. Only
/// what is on the disk can go.
fn forget(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() {
            forget(&path)?;
        } else if kind.is_file() {
            let file = File::open(&path).with_context(|| path.display().to_string())?;
            file.sync_data()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}
