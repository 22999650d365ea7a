//! Finds and reads the files of a folder of documents.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::decoding;

/// A larger file is left out.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// How much of a folder is answered from: texts and index are kept in memory.
pub const LIMITS: Limits = Limits { documents: 10_000, bytes: 64 << 20 };

const NO_TEXT: &str = "is no text";

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

/// How many documents are read, and how many bytes they have together. What is beyond either, by the order of the paths,
/// is left out, so that the same files are answered from at every start.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub documents: usize,
    pub bytes: u64,
}

/// A document as it was read.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to the folder, with `/` on every operating system.
    pub path: String,
    pub format: Format,
    pub text: String,
}

/// A file or folder that the bot does not answer from although it is one of the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Relative to the folder, with `/`.
    pub path: String,
    /// A sentence for the operator, without the path.
    pub reason: String,
}

/// What tells whether a file changed, without reading it.
#[derive(Debug, PartialEq, Eq)]
pub struct FileStamp {
    path: PathBuf,
    bytes: u64,
    /// `None` where the file system keeps no such time: then only a new size tells a change.
    modified: Option<SystemTime>,
    /// The file's number and the time of its last change of any kind, which no program can set: a file that is replaced by
    /// one of the same size and time is another one.
    identity: (u64, i64, i64),
}

/// A folder as it was looked through.
#[derive(Debug, PartialEq, Eq)]
pub struct Scan {
    /// Ordered by path.
    files: Vec<FileStamp>,
    left_out: Vec<LeftOut>,
}

/// The documents of a folder, as they were read.
#[derive(Debug)]
pub struct Files {
    pub documents: Vec<SourceFile>,
    pub left_out: Vec<LeftOut>,
}

/// The documents of a folder and its subfolders. Skips names that begin with a dot, and symbolic links to folders, which
/// could form a cycle. Subfolders that cannot be read are left out.
///
/// The error names the folder and its fault.
pub fn scan(folder: &str) -> Result<Scan, String> {
    let root = Path::new(folder);
    let mut scan = Scan { files: Vec::new(), left_out: Vec::new() };
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        if let Err(error) = scan_one(&folder, &mut folders, &mut scan.files) {
            if folder == root {
                return Err(format!("{} {}", folder.display(), describe(&error)));
            }
            scan.left_out.push(LeftOut { path: relative(root, &folder), reason: describe(&error) });
        }
    }
    if scan.files.is_empty() {
        return Err(format!("{folder} has no documents (.md, .markdown, .html, .htm, .txt)"));
    }
    scan.files.sort_by(|one, other| one.path.cmp(&other.path));
    scan.left_out.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(scan)
}

/// Reads the documents of a scan for which `wanted` says yes, by their paths relative to the folder, as far as the limits
/// allow. What cannot be read is left out.
pub fn read(folder: &str, scan: &Scan, limits: Limits, wanted: impl Fn(&str) -> bool) -> Files {
    let mut files = Files { documents: Vec::new(), left_out: scan.left_out.clone() };
    let mut within = Vec::new();
    for FileStamp { path, bytes, .. } in &scan.files {
        let relative = relative(Path::new(folder), path);
        if !wanted(&relative) {
            continue;
        }
        if *bytes > MAX_FILE_BYTES {
            let reason = format!("is {bytes} bytes; at most {MAX_FILE_BYTES} are allowed");
            files.left_out.push(LeftOut { path: relative, reason });
        } else {
            within.push((relative, path, *bytes));
        }
    }
    files.left_out.extend(cut(&mut within, limits));
    for (relative, path, _) in within {
        let format = Format::of(path).expect("scan returns documents alone");
        let text = fs::read(path).map_err(|error| describe(&error)).and_then(|bytes| {
            decoding::text(&bytes, format == Format::Html).ok_or_else(|| NO_TEXT.to_owned())
        });
        match text {
            Ok(text) => files.documents.push(SourceFile { path: relative, format, text }),
            Err(reason) => files.left_out.push(LeftOut { path: relative, reason }),
        }
    }
    files
}

/// Keeps the documents from the first one on, by path, that are within the limits. One entry stands for all others: a line
/// for each of thousands would hide what else is left out.
fn cut(documents: &mut Vec<(String, &PathBuf, u64)>, limits: Limits) -> Option<LeftOut> {
    let mut total = 0;
    let beyond = documents.iter().enumerate().position(|(at, (_, _, bytes))| {
        total += bytes;
        at >= limits.documents || total > limits.bytes
    })?;
    let limit = if beyond == limits.documents {
        format!("beyond the limit of {} documents", limits.documents)
    } else {
        format!("beyond the limit of {} bytes for all documents", limits.bytes)
    };
    let others = documents.split_off(beyond);
    let reason = match others.len() {
        1 => format!("is {limit}"),
        count => format!("and all after it by path, {count} documents, are {limit}"),
    };
    Some(LeftOut { path: others.into_iter().next()?.0, reason })
}

/// The text of the file at a path of the folder. The error says what is wrong with it.
pub fn read_text(folder: &str, path: &str) -> Result<String, String> {
    let bytes = fs::read(Path::new(folder).join(path)).map_err(|error| describe(&error))?;
    decoding::text(&bytes, false).ok_or_else(|| NO_TEXT.to_owned())
}

/// A path below the folder, with `/` on every operating system.
fn relative(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).expect("every path found begins with the folder");
    let names: Vec<_> = relative.iter().map(|name| name.to_string_lossy()).collect();
    names.join("/")
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::NotADirectory => "is not a folder".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Adds the documents right in a folder, and the folders in it.
fn scan_one(folder: &Path, folders: &mut Vec<PathBuf>, files: &mut Vec<FileStamp>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            folders.push(path);
        } else if Format::of(&path).is_some()
            && let Ok(file) = fs::metadata(&path)
            && file.is_file()
        {
            let identity = identity(&file);
            files.push(FileStamp { path, bytes: file.len(), modified: file.modified().ok(), identity });
        }
    }
    Ok(())
}

#[cfg(unix)]
fn identity(file: &fs::Metadata) -> (u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (file.ino(), file.ctime(), file.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> (u64, i64, i64) {
    (0, 0, 0)
}
