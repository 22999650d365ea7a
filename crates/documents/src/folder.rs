//! Finds and reads the files of a folder of documents.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A larger file makes the whole folder an error.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// A folder with more documents is an error.
pub const MAX_FILES: usize = 10_000;
/// A folder whose documents have more bytes together is an error: texts and index are kept in memory.
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

/// A document as it was read.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to the folder, with `/` on every operating system.
    pub path: String,
    pub format: Format,
    pub text: String,
}

/// What tells whether a file changed, without reading it.
#[derive(Debug, PartialEq, Eq)]
pub struct FileStamp {
    path: PathBuf,
    bytes: u64,
    /// `None` where the file system keeps no such time: then only a new size tells a change.
    modified: Option<SystemTime>,
}

/// The documents of a folder and its subfolders, ordered by path. Skips names that begin with a dot, and symbolic links
/// to folders, which could form a cycle.
///
/// The error names the folder or file and its fault.
pub fn scan(folder: &str) -> Result<Vec<FileStamp>, String> {
    let mut found = find(Path::new(folder)).map_err(|(path, error)| describe(&path, &error))?;
    if found.is_empty() {
        return Err(format!("{folder} has no documents (.md, .markdown, .html, .htm, .txt)"));
    }
    if found.len() > MAX_FILES {
        return Err(format!("{folder} has {} documents; at most {MAX_FILES} are allowed", found.len()));
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Reads the documents that [`scan`] finds. The error names the folder or file and its fault.
pub fn read(folder: &str) -> Result<Vec<SourceFile>, String> {
    let mut total = 0;
    let mut files = Vec::new();
    for FileStamp { path, bytes, .. } in scan(folder)? {
        if bytes > MAX_FILE_BYTES {
            return Err(format!("{} is {bytes} bytes; at most {MAX_FILE_BYTES} are allowed", path.display()));
        }
        total += bytes;
        if total > MAX_TOTAL_BYTES {
            return Err(format!("{folder} has more than {MAX_TOTAL_BYTES} bytes of documents"));
        }
        let text = fs::read_to_string(&path).map_err(|error| describe(&path, &error))?;
        let relative = path.strip_prefix(folder).expect("every path found begins with the folder");
        let names: Vec<_> = relative.iter().map(|name| name.to_string_lossy()).collect();
        files.push(SourceFile {
            path: names.join("/"),
            format: Format::of(&path).expect("scan returns documents alone"),
            // Editors on Windows begin a file with a byte order mark.
            text: text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text),
        });
    }
    Ok(files)
}

fn describe(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
        io::ErrorKind::NotADirectory => format!("{} is not a folder", path.display()),
        io::ErrorKind::InvalidData => format!("{} is not UTF-8 text", path.display()),
        _ => format!("{} cannot be read: {error}", path.display()),
    }
}

fn find(root: &Path) -> Result<Vec<FileStamp>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let with_folder = |error| (folder.clone(), error);
        for entry in fs::read_dir(&folder).map_err(with_folder)? {
            let entry = entry.map_err(with_folder)?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            if entry.file_type().map_err(with_folder)?.is_dir() {
                folders.push(path);
            } else if Format::of(&path).is_some()
                && let Ok(file) = fs::metadata(&path)
                && file.is_file()
            {
                found.push(FileStamp { path, bytes: file.len(), modified: file.modified().ok() });
            }
        }
    }
    Ok(found)
}
