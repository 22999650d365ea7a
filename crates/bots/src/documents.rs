//! Kind `documents`: answers with the best passage of a folder of documents, or of the guide inside the binary.

use futures_util::stream::{self, StreamExt};
use wicara_documents::Documents;
use wicara_model::Question;

use crate::{AnswerStream, Bot, Error, StreamItem};

/// The earlier messages that a question may refer to ("and where is it?"): four questions with their answers.
const HISTORY: usize = 8;

impl Bot for Documents {
    fn ask(&self, question: Question) -> AnswerStream {
        let index = self.index();
        // A search is CPU-bound, so it runs on the blocking pool, where it delays no other task.
        let answer = async move {
            let answer = tokio::task::spawn_blocking(move || index.answer(&question)).await;
            answer.map(StreamItem::Answer).map_err(|_| Error::Unreadable("the search broke off".to_owned()))
        };
        stream::once(answer).boxed()
    }

    fn history(&self) -> usize {
        HISTORY
    }
}
