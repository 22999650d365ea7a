//! The console and the widget: what the build of `web/` leaves, inside the binary.
//!
//! Without the feature `web` there are no files, and the server has no pages but the guide and the API's document.

#[cfg(debug_assertions)]
mod unbuilt;

use std::sync::LazyLock;

// `EMBEDDED`, written by the build script.
include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// A file of the pages with its encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Below the root, with slashes and without one in front.
    pub path: &'static str,
    /// Of the content: another one where anything in it is different.
    pub hash: u64,
    pub plain: &'static [u8],
    /// `None` where compressing saves too little.
    pub gzip: Option<&'static [u8]>,
    pub brotli: Option<&'static [u8]>,
}

static FILES: LazyLock<&[File]> = LazyLock::new(|| {
    #[cfg(debug_assertions)]
    if let Some(files) = unbuilt::files() {
        return files;
    }
    EMBEDDED
});

#[must_use]
pub fn file(path: &str) -> Option<&'static File> {
    let files: &'static [File] = &FILES;
    files.binary_search_by(|file| file.path.cmp(path)).ok().map(|place| &files[place])
}

/// Whether this program has pages.
#[must_use]
pub fn are_there() -> bool {
    !FILES.is_empty()
}
