//! Of a debug build, `WICARA_WEB_DIST` names a folder when it runs too: whoever works on the pages tries them out without
//! building the program anew.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use crate::File;

/// What is in the folder, read once; `None` where none is named. The files live as long as the process.
pub fn files() -> Option<&'static [File]> {
    let folder = env::var_os("WICARA_WEB_DIST").filter(|folder| !folder.is_empty())?;
    let mut files = Vec::new();
    read(Path::new(&folder), "", &mut files);
    files.sort_by_key(|file| file.path);
    Some(files.leak())
}

/// What cannot be read is left out.
fn read(folder: &Path, below: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{path}/"), files);
        } else if let Ok(plain) = fs::read(entry.path()) {
            let mut hasher = DefaultHasher::new();
            plain.hash(&mut hasher);
            let (path, plain) = (path.leak(), plain.leak());
            files.push(File { path, hash: hasher.finish(), plain, gzip: None, brotli: None });
        }
    }
}
