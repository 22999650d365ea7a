//! The library that is asked, and its change when the files of its folder do.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use crate::Settings;
use crate::folder::{self, Seen};
use crate::library::Library;

const UNHARMED: &str = "nothing panics while it changes the library";

/// Cheap to ask for its library, also while a new one is made.
pub struct Shelf {
    library: Arc<RwLock<Arc<Library>>>,
    /// Dropped with the shelf: that ends the thread that looks at the folder.
    _looking: Option<Sender<()>>,
}

impl Shelf {
    #[must_use]
    pub fn fixed(library: Library) -> Self {
        Self { library: Arc::new(RwLock::new(Arc::new(library))), _looking: None }
    }

    /// Looks at the folder again and again, in a thread of its own: reading and indexing take their time, and a disk
    /// that hangs must not keep a question waiting.
    pub fn watching(mut watched: Watched, every: Duration) -> Result<Self, String> {
        let library = Arc::clone(&watched.library);
        let (looking, ended) = mpsc::channel();
        thread::Builder::new()
            .name("documents".to_owned())
            .spawn(move || {
                while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    if let Some(news) = watched.look() {
                        watched.log(&news);
                    }
                }
            })
            .map_err(|error| format!("a thread cannot be started: {error}"))?;
        Ok(Self { library, _looking: Some(looking) })
    }

    #[must_use]
    pub fn library(&self) -> Arc<Library> {
        Arc::clone(&self.library.read().expect(UNHARMED))
    }
}

/// What a look at the folder found.
#[derive(Debug, PartialEq)]
enum News {
    Read,
    /// For the operator, once for each fault.
    Broken(String),
}

/// A folder and what was last read of it.
pub struct Watched {
    bot_id: String,
    settings: Settings,
    /// The files that the library was made of.
    seen: Vec<Seen>,
    library: Arc<RwLock<Arc<Library>>>,
    /// What is wrong with the folder now, so that it is told once.
    broken: Option<String>,
}

impl Watched {
    /// The error says what is wrong with it.
    pub fn open(bot_id: &str, settings: &Settings) -> Result<Self, String> {
        let seen = folder::look(&settings.folder)?;
        let library = Library::folder(bot_id, &settings.folder, &settings.link_base)?;
        Ok(Self {
            bot_id: bot_id.to_owned(),
            settings: settings.clone(),
            seen,
            library: Arc::new(RwLock::new(Arc::new(library))),
            broken: None,
        })
    }

    /// Reads the folder again if a file in it changed. While it cannot be used, its last good state stays in force.
    fn look(&mut self) -> Option<News> {
        match self.read_if_changed() {
            Ok(None) => {
                self.broken = None;
                None
            }
            Ok(Some((seen, library))) => {
                let before =
                    std::mem::replace(&mut *self.library.write().expect(UNHARMED), Arc::new(library));
                // A large one takes its time to go: not while questions wait for the lock.
                drop(before);
                self.seen = seen;
                self.broken = None;
                Some(News::Read)
            }
            Err(error) if self.broken.as_ref() == Some(&error) => None,
            Err(error) => {
                self.broken = Some(error.clone());
                Some(News::Broken(error))
            }
        }
    }

    fn log(&self, news: &News) {
        match news {
            News::Read => tracing::info!(bot = self.bot_id, "the documents changed and were read again"),
            News::Broken(error) => tracing::warn!(
                bot = self.bot_id,
                error,
                "the changed documents cannot be used; the bot answers from those before"
            ),
        }
    }

    fn read_if_changed(&self) -> Result<Option<(Vec<Seen>, Library)>, String> {
        // Looked at before it is read: what changes meanwhile is found at the next look.
        let seen = folder::look(&self.settings.folder)?;
        if seen == self.seen {
            return Ok(None);
        }
        let library = Library::folder(&self.bot_id, &self.settings.folder, &self.settings.link_base)?;
        Ok(Some((seen, library)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Documents;
    use super::super::folder_tests::{Folder, text};
    use super::*;

    fn library(watched: &Watched) -> Arc<Library> {
        Arc::clone(&watched.library.read().unwrap())
    }

    #[tokio::test]
    async fn documents_that_change_are_answered_from_without_a_restart() {
        let folder = Folder::new(&[("a.md", "# Zebra\n\nThe zebra is in Africa.\n")]);
        let watched = Watched::open("zoo", &folder.settings("")).unwrap();
        let bot = Documents(Shelf::watching(watched, Duration::from_millis(10)).unwrap());
        let answers = async |question: &str, part: &str| {
            let answered = async {
                while !text(&bot, question).await.contains(part) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), answered).await.expect(part);
        };
        answers("zebra", "in Africa").await;
        // As many bytes as before.
        folder.write("a.md", "# Zebra\n\nThe zebra is in Europe.\n");
        answers("zebra", "in Europe").await;
        folder.write("b.md", "# Okapi\n\nThe okapi sleeps.\n");
        answers("okapi", "sleeps").await;
        folder.remove("b.md");
        answers("okapi", "I found nothing").await;
    }

    #[test]
    fn documents_that_break_leave_the_last_good_ones_in_force_and_are_told_once() {
        let folder = Folder::new(&[("a.md", "# Zebra\n\nThe zebra is in Africa.\n")]);
        let mut watched = Watched::open("zoo", &folder.settings("")).unwrap();
        let first = library(&watched);
        assert_eq!(watched.look(), None);
        assert!(Arc::ptr_eq(&first, &library(&watched)), "nothing changed");

        folder.write("a.md", "# Zebra\n\nThe zebra has moved.\n");
        folder.write("b.txt", b"caf\xe9");
        let Some(News::Broken(fault)) = watched.look() else { panic!("it cannot be read") };
        assert!(fault.contains("b.txt is not UTF-8 text"), "{fault}");
        assert_eq!(watched.look(), None);
        assert!(Arc::ptr_eq(&first, &library(&watched)));

        folder.write("b.txt", "café");
        assert_eq!(watched.look(), Some(News::Read));
        assert!(!Arc::ptr_eq(&first, &library(&watched)));
    }
}
