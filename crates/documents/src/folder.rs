//! Reading a folder of documents.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A larger file is refused.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// A folder with more documents is refused.
pub const MAX_FILES: usize = 10_000;
/// A folder whose documents are larger together is refused: the index stands in memory.
pub const MAX_TOTAL_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Markdown,
    Html,
    Text,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "md" | "markdown" => Some(Format::Markdown),
            "html" | "htm" => Some(Format::Html),
            "txt" => Some(Format::Text),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub struct File {
    /// Relative to the folder, with slashes whatever the system.
    pub path: String,
    pub format: Format,
    pub text: String,
}

/// A document as it stands in its folder, unread.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    path: PathBuf,
    bytes: u64,
    /// Where the system does not know, a change is told by the size alone.
    modified: Option<SystemTime>,
}

/// The documents in a folder and below it, ordered by path. Names that begin with a dot are passed over, and so are
/// links to folders, which could lead round in a circle.
///
/// The error says which folder or file it is and what is wrong with it.
pub fn look(folder: &str) -> Result<Vec<Seen>, String> {
    let mut found = find(Path::new(folder)).map_err(|(path, error)| broken(&path, &error))?;
    if found.is_empty() {
        return Err(format!("{folder} has no documents (.md, .markdown, .html, .htm, .txt)"));
    }
    if found.len() > MAX_FILES {
        return Err(format!("{folder} has {} documents; at most {MAX_FILES} are allowed", found.len()));
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// The texts of the documents that [`look`] finds.
pub fn read(folder: &str) -> Result<Vec<File>, String> {
    let mut total = 0;
    let mut files = Vec::new();
    for Seen { path, bytes, .. } in look(folder)? {
        if bytes > MAX_FILE_BYTES {
            return Err(format!("{} is {bytes} bytes; at most {MAX_FILE_BYTES} are allowed", path.display()));
        }
        total += bytes;
        if total > MAX_TOTAL_BYTES {
            return Err(format!("{folder} has more than {MAX_TOTAL_BYTES} bytes of documents"));
        }
        let text = fs::read_to_string(&path).map_err(|error| broken(&path, &error))?;
        let relative = path.strip_prefix(folder).expect("what was found in a folder stands below it");
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        files.push(File {
            path: parts.join("/"),
            format: Format::of(&path).expect("only documents were found"),
            text: text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text),
        });
    }
    Ok(files)
}

fn broken(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
        io::ErrorKind::NotADirectory => format!("{} is not a folder", path.display()),
        io::ErrorKind::InvalidData => format!("{} is not UTF-8 text", path.display()),
        _ => format!("{} cannot be read: {error}", path.display()),
    }
}

fn find(root: &Path) -> Result<Vec<Seen>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let at = |error| (folder.clone(), error);
        for entry in fs::read_dir(&folder).map_err(at)? {
            let entry = entry.map_err(at)?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            if entry.file_type().map_err(at)?.is_dir() {
                folders.push(path);
            } else if Format::of(&path).is_some()
                && let Ok(file) = fs::metadata(&path)
                && file.is_file()
            {
                found.push(Seen { path, bytes: file.len(), modified: file.modified().ok() });
            }
        }
    }
    Ok(found)
}
