//! Questions that nobody is answering any more, and answers that come all the same.

use std::time::Duration;

use futures_util::future::{join, join_all};
use uuid::Uuid;
use wicara_metrics::Metrics;
use wicara_model::{Answer, ConversationPatch, FailureReason, NewMessage};
use wicara_store::{Append, Ask, Attempt, Claim, IdempotencyKey, Outcome, PriorClaim, Store, Stored, Target};

use super::totals::totals_are_exact;
use super::{
    append, asks, attempt, create, execute, fail, get, handled, manual, messages, new_conversation, node,
    open, operator, stored,
};
use crate::support::database::connect;
use crate::support::{Database, Engine, PATIENCE, on_both_engines, until};

on_both_engines!(
    a_dead_nodes_questions_are_interrupted_and_a_living_ones_are_not,
    a_living_node_settles_what_it_does_not_answer_itself,
    many_questions_are_interrupted,
    an_answer_that_comes_after_all_is_stored,
    an_answer_to_a_question_that_is_asked_again_is_dropped,
    an_interrupted_question_is_asked_again_at_once,
);

/// Another server on the database.
async fn other(database: &Database, number: u64) -> Store {
    Store::open(&database.url, Duration::ZERO, &node(number), &Metrics::default()).await.unwrap()
}

fn claim(attempt: u128) -> Claim {
    Claim {
        key: IdempotencyKey { scope: "test".into(), key: "key".into() },
        body: [1; 32],
        lease: Some(Duration::from_secs(3600)),
        attempt: Some(Uuid::from_u128(attempt)),
    }
}

async fn ask(store: &Store) -> (Stored, Attempt) {
    let ask = asks(Uuid::from_u128(1));
    let question = Append { ask, ..append(Target::New(new_conversation("guide")), &["halo"]) };
    let asked = stored(store.append(question).await.unwrap());
    let attempt = attempt(asked.messages[0].id);
    (asked, attempt)
}

async fn answer(store: &Store, asked: &Stored, attempt: Attempt, text: &str) -> Outcome {
    let answer = Append {
        messages: vec![NewMessage::answer(Answer::text(text), attempt.question)],
        ask: Ask::Answers { attempt },
        ..append(Target::Existing(asked.conversation_id), &[])
    };
    store.append(answer).await.unwrap()
}

async fn failure(store: &Store, asked: &Stored) -> Option<FailureReason> {
    messages(store, asked.conversation_id).await[0].failure.map(|failure| failure.reason)
}

async fn a_dead_nodes_questions_are_interrupted_and_a_living_ones_are_not(engine: Engine) {
    let first = open(engine).await;
    first.node_renew().await.unwrap();
    let (dead, _) = ask(&first).await;
    let (answered, its_attempt) = ask(&first).await;
    stored(answer(&first, &answered, its_attempt, "here").await);
    let second = other(&first.database, 2).await;
    second.node_renew().await.unwrap();
    let (living, _) = ask(&second).await;
    let is_open = |_| true;
    if engine == Engine::Postgres {
        assert_eq!(
            second.question_interrupt(manual(8), is_open).await.unwrap(),
            0,
            "the first node is alive"
        );
        // By the database's clock, whatever a node's own says.
        execute(&first.database, "UPDATE nodes SET renewed_at = renewed_at - 50000").await;
        assert_eq!(second.question_interrupt(manual(8), is_open).await.unwrap(), 0, "and still is");
        execute(&first.database, "UPDATE nodes SET renewed_at = renewed_at - 12000").await;
        second.node_renew().await.unwrap();
    }
    assert_eq!(second.question_interrupt(manual(9), is_open).await.unwrap(), 1);
    let failed = messages(&second, dead.conversation_id).await[0].failure.unwrap();
    assert_eq!((failed.reason, failed.at), (FailureReason::Interrupted, manual(9)));
    for asked in [&answered, &living] {
        assert_eq!(failure(&second, asked).await, None);
    }
    if engine == Engine::Postgres {
        let third = other(&first.database, 3).await;
        assert_eq!(third.question_interrupt(manual(10), is_open).await.unwrap(), 0);
        second.close().await;
        assert_eq!(third.question_interrupt(manual(11), is_open).await.unwrap(), 1, "it said that it ends");
    }
}

async fn a_living_node_settles_what_it_does_not_answer_itself(engine: Engine) {
    let store = open(engine).await;
    store.node_renew().await.unwrap();
    let (asked, attempt) = ask(&store).await;
    let open = |id| id == attempt.id;
    assert_eq!(store.question_interrupt(manual(8), open).await.unwrap(), 0);
    assert_eq!(failure(&store, &asked).await, None);
    assert_eq!(store.question_interrupt(manual(9), |_| false).await.unwrap(), 1);
    assert_eq!(failure(&store, &asked).await, Some(FailureReason::Interrupted));
    assert_eq!(store.question_interrupt(manual(10), |_| false).await.unwrap(), 0, "only once");
}

async fn many_questions_are_interrupted(engine: Engine) {
    let store = open(engine).await;
    for hundred in 0..12 {
        let ask = async |number: u128| {
            let ask = asks(Uuid::from_u128(hundred * 100 + number));
            let question = Append { ask, ..append(Target::New(new_conversation("guide")), &["halo"]) };
            stored(store.append(question).await.unwrap());
        };
        join_all((0..100).map(ask)).await;
    }
    // Those between that are being answered hide none behind them.
    let is_open = |attempt: Uuid| attempt.as_u128() < 1000;
    assert_eq!(store.question_interrupt(manual(9), is_open).await.unwrap(), 200);
    assert_eq!(store.question_interrupt(manual(9), |_| false).await.unwrap(), 1000);
}

async fn an_answer_that_comes_after_all_is_stored(engine: Engine) {
    let store = open(engine).await;
    let (asked, attempt) = ask(&store).await;
    assert_eq!(store.question_interrupt(manual(9), |_| false).await.unwrap(), 1);
    stored(answer(&store, &asked, attempt, "after all").await);
    assert_eq!(failure(&store, &asked).await, None);
    let again = answer(&store, &asked, attempt, "once more").await;
    assert!(matches!(again, Outcome::Superseded), "{again:?}");
    assert_eq!(get(&store, asked.conversation_id).await.message_count, 2);
}

async fn an_answer_to_a_question_that_is_asked_again_is_dropped(engine: Engine) {
    let store = open(engine).await;
    let question = || Append {
        ask: asks(Uuid::from_u128(1)),
        claim: Some(claim(1)),
        ..append(Target::New(new_conversation("guide")), &["halo"])
    };
    let asked = stored(store.append(question()).await.unwrap());
    let first = attempt(asked.messages[0].id);
    store.question_interrupt(manual(9), |_| false).await.unwrap();
    let resumed = store.append(Append { claim: Some(claim(2)), ..question() }).await.unwrap();
    assert!(matches!(resumed, Outcome::Claimed(PriorClaim::Resumed { .. })), "{resumed:?}");
    assert_eq!(failure(&store, &asked).await, None, "it is being answered");

    let late = answer(&store, &asked, first, "late").await;
    assert!(matches!(late, Outcome::Superseded), "{late:?}");
    assert!(!fail(&store, asked.conversation_id, first, FailureReason::Timeout, manual(10)).await);
    let second = Attempt { id: Uuid::from_u128(2), ..first };
    let answered = stored(answer(&store, &asked, second, "asked again").await);
    assert_eq!(
        store.message_answers(asked.conversation_id, first.question).await.unwrap(),
        answered.messages
    );
    let late = answer(&store, &asked, first, "later still").await;
    assert!(matches!(late, Outcome::Superseded), "{late:?}");
    assert_eq!(get(&store, asked.conversation_id).await.message_count, 2);
}

async fn an_interrupted_question_is_asked_again_at_once(engine: Engine) {
    let store = open(engine).await;
    let question = |number| Append {
        ask: asks(Uuid::from_u128(number)),
        claim: Some(claim(number)),
        ..append(Target::New(new_conversation("guide")), &["halo"])
    };
    let asked = stored(store.append(question(1)).await.unwrap());
    let running = store.append(question(2)).await.unwrap();
    assert!(matches!(running, Outcome::Claimed(PriorClaim::Running { .. })), "{running:?}");
    assert_eq!(store.question_interrupt(manual(9), |_| false).await.unwrap(), 1);
    let resumed = store.append(question(3)).await.unwrap();
    let Outcome::Claimed(PriorClaim::Resumed { question, .. }) = resumed else { panic!("{resumed:?}") };
    assert_eq!(question.id, asked.messages[0].id);
    let running = store
        .append(Append { claim: Some(claim(4)), ..append(Target::Existing(asked.conversation_id), &[]) });
    assert!(matches!(running.await.unwrap(), Outcome::Claimed(PriorClaim::Running { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_conversation_keeps_no_other_question_open() {
    let first = open(Engine::Postgres).await;
    let (locked, _) = ask(&first).await;
    let (free, _) = ask(&first).await;
    execute(&first.database, "UPDATE nodes SET renewed_at = renewed_at - 61000").await;
    let second = other(&first.database, 2).await;
    second.node_renew().await.unwrap();
    let holder = connect(&first.database.url).await;
    let lock = format!("BEGIN; SELECT 1 FROM conversations WHERE id = {} FOR UPDATE", locked.conversation_id);
    holder.batch_execute(&lock).await.unwrap();
    assert_eq!(second.question_interrupt(manual(9), |_| true).await.unwrap(), 1);
    assert_eq!(failure(&second, &free).await, Some(FailureReason::Interrupted));
    assert_eq!(failure(&second, &locked).await, None);
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(second.question_interrupt(manual(10), |_| true).await.unwrap(), 1);
    assert_eq!(failure(&second, &locked).await, Some(FailureReason::Interrupted));
}

/// A node that was away for long says that it lives while another one forgets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_known_whole_or_not_at_all() {
    let store = open(Engine::Postgres).await;
    create(&store, "guide", &["before"]).await;
    store.node_renew().await.unwrap();
    let url = &store.database.url;
    let (mut forgetting, watching) = (connect(url).await, connect(url).await);
    let forget = forgetting.transaction().await.unwrap();
    forget.batch_execute("DELETE FROM nodes").await.unwrap();
    let renewing = store.node_renew();
    let waits = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
         WHERE NOT granted AND datname = current_database()";
    let forget = async {
        let is_waiting = async || watching.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) > 0;
        until(PATIENCE, "the renewal waits", is_waiting).await;
        forget.batch_execute("DELETE FROM node_folds; DELETE FROM node_batches").await.unwrap();
        forget.commit().await.unwrap();
    };
    join(renewing, forget).await.0.unwrap();
    let known = "SELECT count(*) FROM nodes JOIN node_folds USING (node)";
    assert_eq!(watching.query_one(known, &[]).await.unwrap().get::<_, i64>(0), 1);
}

/// Another node takes this one for dead and folds its batches, while this one asks what became of the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_being_folded_is_not_taken_for_given_up() {
    let store = open(Engine::Postgres).await;
    ask(&store).await;
    let url = &store.database.url;
    let (mut folding, asking, watching) = (connect(url).await, connect(url).await, connect(url).await);
    let last = "SELECT node, number FROM node_batches ORDER BY number DESC LIMIT 1";
    let fold = folding.transaction().await.unwrap();
    let last = fold.query_one(last, &[]).await.unwrap();
    let (node, number): (i64, i64) = (last.get(0), last.get(1));
    fold.query_one("SELECT wicara_fold_1($1, $2)", &[&node, &number]).await.unwrap();

    let looking_up = tokio::spawn(async move {
        let look_up = "SELECT o_committed FROM wicara_look_up_1($1, $2)";
        asking.query_one(look_up, &[&node, &number]).await.unwrap().get::<_, Option<i64>>(0)
    });
    let waits = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
         WHERE NOT granted AND query LIKE '%wicara_look_up%' AND datname = current_database()";
    let is_waiting = async || watching.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) > 0;
    until(PATIENCE, "the look-up waits for the fold", is_waiting).await;
    fold.commit().await.unwrap();
    assert_eq!(looking_up.await.unwrap(), Some(1), "it is committed");
    totals_are_exact(&store.database).await;
}

/// Its call had not arrived when the node was taken for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_number_was_given_up_is_stored_with_another() {
    let store = open(Engine::Postgres).await;
    let id = create(&store, "guide", &[]).await.conversation.id;
    let next = "INSERT INTO node_batches (node, number, void) \
         SELECT node, max(number) + 1, 1 FROM node_batches GROUP BY node";
    execute(&store.database, next).await;
    let patch = ConversationPatch { room: Some("changed".into()), ..ConversationPatch::default() };
    let changed = handled(store.conversation_update(id, patch, operator(), manual(2)).await.unwrap());
    assert_eq!(changed.room, "changed");
    assert_eq!(get(&store, id).await, changed);
}
