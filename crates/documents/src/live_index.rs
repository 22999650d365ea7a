//! The index that questions are answered from, and its replacement when a file of the folder changes.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::Settings;
use crate::document_index::DocumentIndex;
use crate::folder::{self, LeftOut, Scan};

const NEVER_POISONED: &str = "nothing panics while it holds the lock of the index";

/// The current index. Reading it is cheap, also while a new one is built: the lock is held for a pointer swap alone.
pub struct LiveIndex {
    current: Arc<RwLock<Arc<DocumentIndex>>>,
    /// Dropping the sender disconnects the channel, which ends the watcher's thread.
    _stop_watcher: Option<Sender<()>>,
}

impl LiveIndex {
    /// An index that never changes.
    #[must_use]
    pub fn fixed(index: DocumentIndex) -> Self {
        Self { current: Arc::new(RwLock::new(Arc::new(index))), _stop_watcher: None }
    }

    /// Polls the folder in a thread of its own: reading and indexing take long, and a disk that hangs must not delay
    /// answers.
    pub fn watching(mut watcher: FolderWatcher, interval: Duration) -> Result<Self, String> {
        let current = Arc::clone(&watcher.current);
        let (stop, stopped) = mpsc::channel();
        thread::Builder::new()
            .name("documents".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    if let Some(reload) = watcher.poll() {
                        watcher.log(&reload);
                    }
                }
            })
            .map_err(|error| format!("a thread cannot be started: {error}"))?;
        Ok(Self { current, _stop_watcher: Some(stop) })
    }

    /// The current index. A question keeps its index to the end, whatever replaces it meanwhile.
    #[must_use]
    pub fn get(&self) -> Arc<DocumentIndex> {
        Arc::clone(&self.current.read().expect(NEVER_POISONED))
    }
}

/// The result of a poll that found a change.
#[derive(Debug, PartialEq)]
enum Reload {
    Done,
    /// The changed folder cannot be used. Reported once for each error, not at each poll.
    Failed(String),
}

/// Polls a folder and replaces the index when a file was added, removed or changed.
pub struct FolderWatcher {
    bot_id: String,
    settings: Settings,
    /// The folder as the current index was built from it.
    scan: Scan,
    /// The synonyms' file as it was then.
    synonyms: Option<SystemTime>,
    /// What was left out then.
    left_out: Vec<LeftOut>,
    current: Arc<RwLock<Arc<DocumentIndex>>>,
    /// The error of the last poll: the same error again is not reported again.
    last_error: Option<String>,
}

impl FolderWatcher {
    /// Reads and indexes the folder for the first time. The error names the folder or file and its fault.
    pub fn open(bot_id: &str, settings: &Settings) -> Result<Self, String> {
        let settings = settings.with_full_path()?;
        let scan = folder::scan(&settings.folder)?;
        let synonyms = modified(&settings);
        let index = DocumentIndex::folder(bot_id, &settings, &scan)?;
        let left_out = index.left_out().to_vec();
        warn_of(bot_id, &left_out);
        Ok(Self {
            bot_id: bot_id.to_owned(),
            settings,
            scan,
            synonyms,
            left_out,
            current: Arc::new(RwLock::new(Arc::new(index))),
            last_error: None,
        })
    }

    /// Reads the folder again if a file in it changed. While the folder has a fault, the last good index stays current.
    fn poll(&mut self) -> Option<Reload> {
        match self.read_if_changed() {
            Ok(None) => {
                self.last_error = None;
                None
            }
            Ok(Some((scan, index))) => {
                let left_out = index.left_out().to_vec();
                let replaced =
                    std::mem::replace(&mut *self.current.write().expect(NEVER_POISONED), Arc::new(index));
                // Freeing a large index takes long, so it is dropped after the write lock is released.
                drop(replaced);
                // What was left out before was warned of then.
                let new: Vec<_> =
                    left_out.iter().filter(|file| !self.left_out.contains(file)).cloned().collect();
                warn_of(&self.bot_id, &new);
                self.left_out = left_out;
                self.scan = scan;
                self.last_error = None;
                Some(Reload::Done)
            }
            Err(error) if self.last_error.as_ref() == Some(&error) => None,
            Err(error) => {
                self.last_error = Some(error.clone());
                Some(Reload::Failed(error))
            }
        }
    }

    fn log(&self, reload: &Reload) {
        match reload {
            Reload::Done => tracing::info!(bot = self.bot_id, "the documents changed and were read again"),
            Reload::Failed(error) => tracing::warn!(
                bot = self.bot_id,
                error,
                "the changed documents cannot be used; the bot answers from those before"
            ),
        }
    }

    fn read_if_changed(&mut self) -> Result<Option<(Scan, DocumentIndex)>, String> {
        // The folder is looked through before the files are read, so that the next poll finds a change made in between.
        let scan = folder::scan(&self.settings.folder)?;
        let synonyms = modified(&self.settings);
        if scan == self.scan && synonyms == self.synonyms {
            return Ok(None);
        }
        let index = DocumentIndex::folder(&self.bot_id, &self.settings, &scan)?;
        self.synonyms = synonyms;
        Ok(Some((scan, index)))
    }
}

/// When the file of synonyms was changed, whose name need not be that of a document.
fn modified(settings: &Settings) -> Option<SystemTime> {
    let path = Path::new(&settings.folder).join(&settings.synonyms);
    fs::metadata(path).and_then(|file| file.modified()).ok().filter(|_| !settings.synonyms.is_empty())
}

fn warn_of(bot: &str, left_out: &[LeftOut]) {
    for LeftOut { path, reason } in left_out {
        tracing::warn!(bot, file = path, reason, "a file is left out of the documents");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Documents;
    use super::super::folder_tests::{TestFolder, text};
    use super::*;

    fn current(watcher: &FolderWatcher) -> Arc<DocumentIndex> {
        Arc::clone(&watcher.current.read().unwrap())
    }

    #[tokio::test]
    async fn documents_that_change_are_answered_from_without_a_restart() {
        let folder = TestFolder::new(&[("a.md", "# Zebra\n\nThe zebra is in Africa.\n")]);
        let watcher = FolderWatcher::open("zoo", &folder.settings("")).unwrap();
        let bot = Documents(LiveIndex::watching(watcher, Duration::from_millis(10)).unwrap());
        let answers = async |question: &str, expected: &str| {
            let answered = async {
                while !text(&bot, question).await.contains(expected) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), answered).await.expect(expected);
        };
        answers("zebra", "in Africa").await;
        // The same length: only the time of modification tells the change.
        folder.write("a.md", "# Zebra\n\nThe zebra is in Europe.\n");
        answers("zebra", "in Europe").await;
        folder.write("b.md", "# Okapi\n\nThe okapi sleeps.\n");
        answers("okapi", "sleeps").await;
        folder.remove("b.md");
        answers("okapi", "I found nothing").await;
    }

    #[test]
    fn a_folder_that_breaks_leaves_the_last_good_documents_in_force_and_is_told_once() {
        let folder = TestFolder::new(&[("a.md", "# Zebra\n\nThe zebra is in Africa.\n")]);
        let mut watcher = FolderWatcher::open("zoo", &folder.settings("")).unwrap();
        let first = current(&watcher);
        assert_eq!(watcher.poll(), None);
        assert!(Arc::ptr_eq(&first, &current(&watcher)), "nothing changed");

        folder.remove("a.md");
        let Some(Reload::Failed(error)) = watcher.poll() else { panic!("it has no documents") };
        assert!(error.contains("has no documents"), "{error}");
        assert_eq!(watcher.poll(), None);
        assert!(Arc::ptr_eq(&first, &current(&watcher)));

        folder.write("b.txt", "café");
        assert_eq!(watcher.poll(), Some(Reload::Done));
        assert!(!Arc::ptr_eq(&first, &current(&watcher)));
    }

    #[test]
    fn a_file_that_cannot_be_used_does_not_keep_new_ones_out() {
        let folder = TestFolder::new(&[("a.md", "# Zebra\n\nThe zebra is in Africa.\n")]);
        let mut watcher = FolderWatcher::open("zoo", &folder.settings("")).unwrap();
        folder.write("b.txt", b"\x00\x01\x02");
        folder.write("c.md", "# Okapi\n\nThe okapi sleeps.\n");
        assert_eq!(watcher.poll(), Some(Reload::Done));
        let left_out: Vec<_> = current(&watcher).left_out().to_vec();
        assert_eq!(left_out, [LeftOut { path: "b.txt".to_owned(), reason: "is no text".to_owned() }]);
        assert_eq!(watcher.poll(), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_the_same_size_and_time_is_read_again() {
        let folder = TestFolder::new(&[("a.md", "# Zebra\n\nThe zebra is in Africa.\n")]);
        let mut watcher = FolderWatcher::open("zoo", &folder.settings("")).unwrap();
        let path = Path::new(&watcher.settings.folder).join("a.md");
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        folder.write("a.md", "# Zebra\n\nThe zebra is in Europe.\n");
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(watcher.poll(), Some(Reload::Done));
    }

    #[test]
    fn the_synonyms_of_a_folder_are_read_again_when_they_change() {
        let folder =
            TestFolder::new(&[("a.md", "# Okapi\n\nThe okapi sleeps.\n"), ("words", "unicorn = zebra\n")]);
        let settings = Settings { synonyms: "words".to_owned(), ..folder.settings("") };
        let mut watcher = FolderWatcher::open("zoo", &settings).unwrap();
        assert_eq!(watcher.poll(), None);
        let path = Path::new(&settings.folder).join("words");
        folder.write("words", "unicorn = okapi\n");
        fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(watcher.poll(), Some(Reload::Done));
        let found = current(&watcher).find(&crate::tests::question("unicorn"));
        assert_eq!(found.places, ["a.md#okapi"]);
    }
}
