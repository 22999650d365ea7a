//! How often PostgreSQL is spoken to for what people say.

use futures_util::future::join_all;
use wicara_model::{Answer, MessageId, NewMessage};
use wicara_store::{Append, Ask, Outcome, Stored, Target};

use super::together::{ProxiedStore, WRITERS, in_one_batch};
use super::{append, asks, attempt, create, new_conversation, stored};
use crate::support::PostgresProxy;

/// The statements that went over connections which have stored what people say, each in a round trip of its own.
fn written(proxy: &PostgresProxy) -> Vec<String> {
    let trips = proxy.round_trips();
    let is_append = |sql: &String| sql.contains("wicara_append_");
    let is_writer = |connection| {
        trips.iter().any(|trip| trip.connection == connection && trip.statements.iter().any(is_append))
    };
    let mut written = Vec::new();
    for trip in trips.iter().filter(|trip| is_writer(trip.connection)) {
        assert_eq!(trip.statements.len(), 1, "{trip:?}");
        written.extend(trip.statements.clone());
    }
    let transactions = trips.iter().flat_map(|trip| &trip.statements);
    let mut transactions = transactions.filter(|sql| sql.contains("BEGIN") || sql.contains("COMMIT"));
    assert_eq!(transactions.next(), None, "nothing waits for this node with a transaction open");
    assert!(written.iter().all(is_append), "{written:?}");
    written
}

fn question() -> Append {
    Append {
        ask: asks(attempt(MessageId(0)).id),
        ..append(Target::New(new_conversation("guide")), &["halo"])
    }
}

fn answer(asked: &Stored) -> Append {
    let attempt = attempt(asked.messages[0].id);
    Append {
        messages: vec![NewMessage::answer(Answer::text("here"), attempt.question)],
        ask: Ask::Answers { attempt },
        ..append(Target::Existing(asked.conversation_id), &[])
    }
}

fn all_stored(outcomes: Vec<Result<Outcome, wicara_store::Error>>) -> Vec<Stored> {
    outcomes.into_iter().map(|outcome| stored(outcome.unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_a_question_and_its_answer_are_one_statement_each() {
    let ProxiedStore { store, proxy, database: _database } = ProxiedStore::open().await;
    // Connects, and prepares the statement, on every connection that appends go over.
    join_all((0..4).map(|_| create(&store, "guide", &["halo"]))).await;
    all_stored(in_one_batch(&store, &proxy, vec![]).await);
    let id = create(&store, "guide", &[]).await.conversation.id;

    proxy.record();
    stored(store.append(append(Target::Existing(id), &["halo"])).await.unwrap());
    assert_eq!(written(&proxy).len(), 1, "a message");
    proxy.record();
    let asked = stored(store.append(question()).await.unwrap());
    assert_eq!(written(&proxy).len(), 1, "a question");
    proxy.record();
    stored(store.append(answer(&asked)).await.unwrap());
    assert_eq!(written(&proxy).len(), 1, "an answer");

    proxy.record();
    let asked = all_stored(in_one_batch(&store, &proxy, (0..200).map(|_| question()).collect()).await);
    assert_eq!(written(&proxy).len(), 2 * WRITERS, "each writer's that is under way, and one for its share");
    proxy.record();
    let answered = all_stored(in_one_batch(&store, &proxy, asked.iter().map(answer).collect()).await);
    assert_eq!((answered.len(), written(&proxy).len()), (200, 2 * WRITERS));
    proxy.record();
    let more = |_| append(Target::Existing(id), &["one", "two"]);
    all_stored(in_one_batch(&store, &proxy, (0..200).map(more).collect()).await);
    assert_eq!(written(&proxy).len(), WRITERS + 1, "all of one conversation go to one writer");
}
