use std::sync::Arc;

use wicara::model::{Answer, Bots, FailureReason, NewMessage, Timestamp};
use wicara::store::{Append, Ask, Claim, Claimed, IdempotencyKey, Outcome, Store, Target};

use super::{append, create, manual, messages, new_conversation, open, stored, total};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    of_equal_claims_at_once_one_is_carried_out,
    a_key_with_another_body_is_refused,
    a_question_runs_until_its_lease_is_over,
    a_failed_question_is_taken_over_and_stored_once,
    a_settled_question_gives_its_answers_again,
    a_claim_on_a_conversation_that_is_gone_is_not_kept,
    a_key_is_forgotten_after_a_day,
);

fn claim(key: &str, body: u8, lease_until: Option<Timestamp>) -> Claim {
    let key = IdempotencyKey { scope: "test".into(), key: key.into() };
    Claim { key, body: [body; 32], lease_until }
}

fn claimed(outcome: Outcome) -> Claimed {
    match outcome {
        Outcome::Claimed(claimed) => claimed,
        other => panic!("not claimed before: {other:?}"),
    }
}

fn question(at: i64, claim: Claim) -> Append {
    Append {
        at: manual(at),
        ask: Ask::Opens,
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
            Outcome::Stored(appended) => first.push(appended.messages),
            Outcome::Claimed(Claimed::Done(appended)) => again.push(appended.messages),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((first.len(), again.len()), (1, 49));
    assert!(again.iter().all(|messages| *messages == first[0]));
    assert_eq!(messages(&store, id).await, first[0]);
}

async fn a_key_with_another_body_is_refused(engine: Engine) {
    let store = open(engine).await;
    stored(store.append(question(1, claim("key", 1, None))).await.unwrap());
    let other = claimed(store.append(question(2, claim("key", 2, None))).await.unwrap());
    assert!(matches!(other, Claimed::OtherBody), "{other:?}");
    assert_eq!(total(&store, &Bots::All).await, (1, 1));
}

async fn a_question_runs_until_its_lease_is_over(engine: Engine) {
    let store = open(engine).await;
    let lease = |until| claim("key", 1, Some(manual(until)));
    let first = stored(store.append(question(10, lease(100))).await.unwrap());
    let running = claimed(store.append(question(99, lease(199))).await.unwrap());
    assert!(matches!(running, Claimed::Running { until } if until == manual(100)), "{running:?}");
    let resumed = claimed(store.append(question(100, lease(200))).await.unwrap());
    let Claimed::Resumed { conversation, question: stored } = resumed else { panic!("{resumed:?}") };
    assert_eq!((conversation, stored), (first.conversation, first.messages[0].clone()));
    let running = claimed(store.append(question(101, lease(201))).await.unwrap());
    assert!(matches!(running, Claimed::Running { until } if until == manual(200)), "{running:?}");
    assert_eq!(total(&store, &Bots::All).await, (1, 1));
}

async fn a_failed_question_is_taken_over_and_stored_once(engine: Engine) {
    let store = open(engine).await;
    let lease = || claim("key", 1, Some(manual(1000)));
    let first = stored(store.append(question(10, lease())).await.unwrap());
    let key = Some(lease().key);
    store.question_fail(first.messages[0].id, FailureReason::Rejected, manual(11), key).await.unwrap();
    let resumed = claimed(store.append(question(12, lease())).await.unwrap());
    assert!(matches!(resumed, Claimed::Resumed { .. }), "{resumed:?}");
    assert_eq!(total(&store, &Bots::All).await, (1, 1));
}

async fn answer(store: &Store, asked: &wicara::store::Appended, claim: &Claim) -> wicara::store::Appended {
    let question = asked.messages[0].id;
    let answer = Append {
        messages: vec![NewMessage::answer(Answer::text("here"), question)],
        ask: Ask::Closes { question, key: Some(claim.key.clone()) },
        ..append(Target::Existing(asked.conversation.id), &[])
    };
    stored(store.append(answer).await.unwrap())
}

async fn a_settled_question_gives_its_answers_again(engine: Engine) {
    let store = open(engine).await;
    let lease = claim("key", 1, Some(manual(100)));
    let asked = stored(store.append(question(10, lease.clone())).await.unwrap());
    let answered = answer(&store, &asked, &lease).await;
    // What happens to the messages later does not change the first answer.
    store.message_delete(asked.conversation.id, answered.messages[0].id, manual(20)).await.unwrap().unwrap();
    let done = claimed(store.append(question(500, lease)).await.unwrap());
    let Claimed::Done(again) = done else { panic!("{done:?}") };
    assert_eq!(again.messages, answered.messages);
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
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let store = open(engine).await;
    stored(store.append(question(10, claim("key", 1, None))).await.unwrap());
    claimed(store.append(question(10 + DAY, claim("key", 1, None))).await.unwrap());
    stored(store.append(question(11 + DAY, claim("key", 2, None))).await.unwrap());
    claimed(store.append(question(11 + DAY, claim("key", 2, None))).await.unwrap());
    store.idempotency_expire(manual(12 + 2 * DAY)).await.unwrap();
    stored(store.append(question(11 + DAY, claim("key", 3, None))).await.unwrap());
}
