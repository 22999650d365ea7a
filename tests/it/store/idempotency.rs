use std::sync::Arc;
use std::time::Duration;

use wicara_model::{Answer, Bots, FailureReason, MessageId, NewMessage};
use wicara_store::{Append, Ask, Claim, IdempotencyKey, Outcome, PriorClaim, Store, Stored, Target};

use super::{
    append, asks, attempt, create, execute, fail, manual, messages, new_conversation, open, stored, total,
};
use crate::support::{Database, Engine, on_both_engines};

on_both_engines!(
    of_equal_claims_at_once_one_is_carried_out,
    a_key_with_another_body_is_refused,
    a_question_runs_until_its_lease_is_over,
    a_failed_question_is_taken_over_and_stored_once,
    a_settled_question_gives_its_answers_again,
    a_claim_on_a_conversation_that_is_gone_is_not_kept,
    a_key_is_forgotten_after_a_day,
);

fn claim(key: &str, body: u8, lease_seconds: Option<u64>) -> Claim {
    let key = IdempotencyKey { scope: "test".into(), key: key.into() };
    let lease = lease_seconds.map(Duration::from_secs);
    Claim { key, body: [body; 32], lease, attempt: Some(attempt(MessageId(0)).id) }
}

/// Lets time pass by the database's clock, as far as keys go.
async fn pass(database: &Database, seconds: i64) {
    let millis = seconds * 1000;
    let sql = format!(
        "UPDATE idempotency SET created_at = created_at - {millis}, lease_until = lease_until - {millis}"
    );
    execute(database, &sql).await;
}

fn claimed(outcome: Outcome) -> PriorClaim {
    match outcome {
        Outcome::Claimed(claimed) => claimed,
        other => panic!("not claimed before: {other:?}"),
    }
}

fn question(claim: Claim) -> Append {
    Append {
        ask: asks(attempt(MessageId(0)).id),
        claim: Some(claim),
        ..append(Target::New(new_conversation("guide")), &["halo"])
    }
}

async fn of_equal_claims_at_once_one_is_carried_out(engine: Engine) {
    let store = Arc::new(open(engine).await);
    let id = create(&store, "guide", &[]).await.conversation.id;
    let requests = (0..50).map(|_| {
        let store = Arc::clone(&store);
        let claim = Some(claim("same", 1, None));
        tokio::spawn(async move {
            store.append(Append { claim, ..append(Target::Existing(id), &["halo"]) }).await.unwrap()
        })
    });
    let mut first = Vec::new();
    let mut again = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        match request.await.unwrap() {
            Outcome::Stored(stored) => first.push(stored.messages),
            Outcome::Claimed(PriorClaim::Done { message_id, .. }) => again.push(message_id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((first.len(), again.len()), (1, 49));
    assert!(again.iter().all(|id| *id == Some(first[0][0].id)));
    assert_eq!(messages(&store, id).await, first[0]);
}

async fn a_key_with_another_body_is_refused(engine: Engine) {
    let store = open(engine).await;
    stored(store.append(question(claim("key", 1, None))).await.unwrap());
    let other = claimed(store.append(question(claim("key", 2, None))).await.unwrap());
    assert!(matches!(other, PriorClaim::OtherBody), "{other:?}");
    assert_eq!(total(&store, &Bots::All).await, (1, 1));
}

async fn a_question_runs_until_its_lease_is_over(engine: Engine) {
    let store = open(engine).await;
    let lease = || claim("key", 1, Some(100));
    let first = stored(store.append(question(lease())).await.unwrap());
    let assert_running = async || {
        let running = claimed(store.append(question(lease())).await.unwrap());
        let PriorClaim::Running { lease_left, .. } = running else { panic!("{running:?}") };
        assert!(lease_left <= Duration::from_secs(100), "{lease_left:?}");
        lease_left
    };
    assert!(assert_running().await > Duration::from_secs(50));
    pass(&store.database, 50).await;
    assert!(assert_running().await <= Duration::from_secs(50));
    pass(&store.database, 50).await;
    let resumed = claimed(store.append(question(lease())).await.unwrap());
    let PriorClaim::Resumed { conversation, question: stored } = resumed else { panic!("{resumed:?}") };
    assert_eq!((conversation.id, stored), (first.conversation_id, first.messages[0].clone()));
    assert!(assert_running().await > Duration::from_secs(50));
    assert_eq!(total(&store, &Bots::All).await, (1, 1));
}

async fn a_failed_question_is_taken_over_and_stored_once(engine: Engine) {
    let store = open(engine).await;
    let lease = || claim("key", 1, Some(1000));
    let first = stored(store.append(question(lease())).await.unwrap());
    let failed = attempt(first.messages[0].id);
    assert!(fail(&store, first.conversation_id, failed, FailureReason::Rejected, manual(11)).await);
    let resumed = claimed(store.append(question(lease())).await.unwrap());
    assert!(matches!(resumed, PriorClaim::Resumed { .. }), "{resumed:?}");
    assert_eq!(total(&store, &Bots::All).await, (1, 1));
}

async fn answer(store: &Store, asked: &Stored) -> Stored {
    let attempt = attempt(asked.messages[0].id);
    let answer = Append {
        messages: vec![NewMessage::answer(Answer::text("here"), attempt.question)],
        ask: Ask::Answers { attempt },
        ..append(Target::Existing(asked.conversation_id), &[])
    };
    stored(store.append(answer).await.unwrap())
}

async fn a_settled_question_gives_its_answers_again(engine: Engine) {
    let store = open(engine).await;
    let lease = claim("key", 1, Some(100));
    let asked = stored(store.append(question(lease.clone())).await.unwrap());
    answer(&store, &asked).await;
    let done = claimed(store.append(question(lease)).await.unwrap());
    let PriorClaim::Done { conversation_id, message_id, .. } = done else { panic!("{done:?}") };
    assert_eq!((conversation_id, message_id), (asked.conversation_id, Some(asked.messages[0].id)));
    assert_eq!(total(&store, &Bots::All).await, (1, 2));
}

async fn a_claim_on_a_conversation_that_is_gone_is_not_kept(engine: Engine) {
    let store = open(engine).await;
    let gone = create(&store, "guide", &[]).await.conversation.id;
    store.conversation_delete(gone).await.unwrap().unwrap();
    for _ in 0..2 {
        let late = Append { claim: Some(claim("key", 1, None)), ..append(Target::Existing(gone), &["late"]) };
        let outcome = store.append(late).await.unwrap();
        assert!(matches!(outcome, Outcome::Gone), "{outcome:?}");
    }
    let other = create(&store, "guide", &[]).await.conversation.id;
    let next = Append { claim: Some(claim("key", 2, None)), ..append(Target::Existing(other), &["next"]) };
    stored(store.append(next).await.unwrap());
}

async fn a_key_is_forgotten_after_a_day(engine: Engine) {
    const DAY: i64 = 24 * 60 * 60;
    let store = open(engine).await;
    // What a node's own clock says counts for nothing: those of several nodes differ.
    let at = |millis, number| Append { at: manual(millis), ..question(claim("key", number, None)) };
    stored(store.append(at(10, 1)).await.unwrap());
    pass(&store.database, DAY - 60).await;
    claimed(store.append(at(i64::MAX / 2, 1)).await.unwrap());
    pass(&store.database, 61).await;
    stored(store.append(at(11, 2)).await.unwrap());
    claimed(store.append(at(11, 2)).await.unwrap());
    pass(&store.database, DAY + 1).await;
    store.idempotency_expire().await.unwrap();
    stored(store.append(at(11, 3)).await.unwrap());
}
