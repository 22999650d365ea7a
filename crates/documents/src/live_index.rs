//! The index that questions are answered from, and its replacement when a file of the folder changes.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use crate::Settings;
use crate::document_index::DocumentIndex;
use crate::folder::{self, FileStamp};

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
    /// The files that the current index was built from.
    stamps: Vec<FileStamp>,
    current: Arc<RwLock<Arc<DocumentIndex>>>,
    /// The error of the last poll: the same error again is not reported again.
    last_error: Option<String>,
}

impl FolderWatcher {
    /// Reads and indexes the folder for the first time. The error names the folder or file and its fault.
    pub fn open(bot_id: &str, settings: &Settings) -> Result<Self, String> {
        // The full path, which errors show: a relative one depends on where the program was started.
        let folder = std::path::absolute(&settings.folder)
            .map_err(|error| format!("the folder {:?} cannot be read: {error}", settings.folder))?;
        let settings = Settings { folder: folder.display().to_string(), ..settings.clone() };
        let stamps = folder::scan(&settings.folder)?;
        let index = DocumentIndex::folder(bot_id, &settings.folder, &settings.link_base)?;
        Ok(Self {
            bot_id: bot_id.to_owned(),
            settings,
            stamps,
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
            Ok(Some((stamps, index))) => {
                let replaced =
                    std::mem::replace(&mut *self.current.write().expect(NEVER_POISONED), Arc::new(index));
                // Freeing a large index takes long, so it is dropped after the write lock is released.
                drop(replaced);
                self.stamps = stamps;
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

    fn read_if_changed(&self) -> Result<Option<(Vec<FileStamp>, DocumentIndex)>, String> {
        // The stamps are taken before the files are read, so that the next poll finds a change made in between.
        let stamps = folder::scan(&self.settings.folder)?;
        if stamps == self.stamps {
            return Ok(None);
        }
        let index = DocumentIndex::folder(&self.bot_id, &self.settings.folder, &self.settings.link_base)?;
        Ok(Some((stamps, index)))
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
    fn documents_that_break_leave_the_last_good_ones_in_force_and_are_told_once() {
        let folder = TestFolder::new(&[("a.md", "# Zebra\n\nThe zebra is in Africa.\n")]);
        let mut watcher = FolderWatcher::open("zoo", &folder.settings("")).unwrap();
        let first = current(&watcher);
        assert_eq!(watcher.poll(), None);
        assert!(Arc::ptr_eq(&first, &current(&watcher)), "nothing changed");

        folder.write("a.md", "# Zebra\n\nThe zebra has moved.\n");
        folder.write("b.txt", b"caf\xe9");
        let Some(Reload::Failed(error)) = watcher.poll() else { panic!("it cannot be read") };
        assert!(error.contains("b.txt is not UTF-8 text"), "{error}");
        assert_eq!(watcher.poll(), None);
        assert!(Arc::ptr_eq(&first, &current(&watcher)));

        folder.write("b.txt", "café");
        assert_eq!(watcher.poll(), Some(Reload::Done));
        assert!(!Arc::ptr_eq(&first, &current(&watcher)));
    }
}
