//! Kind `documents`: answers with the best passage of a folder of documents, or of the guide inside the binary.

use futures_util::stream::{self, StreamExt};
use wicara_documents::Documents;
use wicara_model::Question;

use crate::{Bot, Error, Part, Parts};

/// Earlier messages that a question may refer to: a few questions with their answers.
const HISTORY: usize = 8;

impl Bot for Documents {
    fn ask(&self, question: Question) -> Parts {
        let library = self.library();
        // Searching keeps a processor busy, so it runs where that does not delay other tasks.
        let answer = async move {
            let answer = tokio::task::spawn_blocking(move || library.answer(&question)).await;
            let answer = answer.map_err(|_| Error::Unreadable("the search broke off".to_owned()))?;
            answer.map(Part::Answer).map_err(|error| Error::Unreadable(format!("the search failed: {error}")))
        };
        stream::once(answer).boxed()
    }

    fn history(&self) -> usize {
        HISTORY
    }
}
