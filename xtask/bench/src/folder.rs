//! Where everything of a run lives, and that nothing of it stays.

use std::collections::hash_map::RandomState;
use std::env;
use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, Hasher};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A temporary folder. However this process ends, it goes, and with it the processes that were noted in it.
#[derive(Debug)]
pub struct Folder {
    pub path: PathBuf,
    guard: Child,
}

/// A process that ends with this one; to be dropped once it has ended by itself, before its number is used again.
#[derive(Debug)]
pub struct Note(PathBuf);

impl Folder {
    pub fn new() -> Result<Self> {
        let random = RandomState::new().build_hasher().finish();
        let path = env::temp_dir().join(format!("wicara-bench-{random:016x}"));
        DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
        fs::create_dir(path.join("processes"))?;
        // It sits on a pipe from this process, which closes with it. In a group of its own, Ctrl-C does not reach it.
        const SCRIPT: &str =
            r#"cat; cd "$0/processes"; for one in *; do kill -9 "$one"; done; cd /; rm -rf "$0""#;
        let mut guard = Command::new("sh");
        guard.arg("-c").arg(SCRIPT).arg(&path).process_group(0);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { path, guard: guard.spawn().context("sh cannot be started")? })
    }

    pub fn note(&self, process: &Child) -> Result<Note> {
        self.note_id(process.id())
    }

    /// The same of a process that another one started.
    pub fn note_id(&self, process: u32) -> Result<Note> {
        let path = self.path.join("processes").join(process.to_string());
        File::create(&path)?;
        Ok(Note(path))
    }

    /// Writes a file and says where it is.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// An empty folder in it.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(path)
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// What the command wrote, or what it said when it failed.
pub fn run(command: &mut Command) -> Result<String> {
    let name = Path::new(command.get_program()).display().to_string();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{name} cannot be started"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{name}: {}\n{said}{complained}", output.status);
    Ok(said)
}
