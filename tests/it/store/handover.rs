//! Who has a conversation, and what becomes of the answers that a bot is giving in it.

use std::time::Duration;

use futures_util::future::join_all;
use uuid::Uuid;
use wicara_model::{
    Answer, Author, AuthorKind, Bots, Change, Conversation, ConversationId, ConversationPatch, Ending,
    EventNumber, FailureReason, Handler, HandoverReason, MessageId, NewMessage, NewUser, Role, Timestamp,
};
use wicara_store::{
    Append, Ask, AskState, Attempt, Claim, EventsOf, HandOverAfter, Handling, IdempotencyKey, Operator,
    Outcome, PriorClaim, Store, Stored, Target,
};

use super::{
    append, asks, attempt, create, fail, get, handled, manual, messages, open, operator, reopen, stored,
};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    of_many_claims_at_once_one_wins,
    nobody_claims_who_may_not,
    what_is_claimed_while_somebody_is_removed_is_not_left_with_them,
    an_answer_that_is_not_wanted_is_refused,
    a_question_and_its_stop_may_be_of_one_moment,
    what_had_come_ends_the_request,
    a_dead_servers_questions_end_as_they_would_have,
    a_change_is_told_once,
    so_many_failures_in_a_row_hand_over,
    a_late_answer_that_asks_for_people_hands_over,
);

async fn agent(store: &Store, email: &str, bots: Bots, role: Role) -> Operator {
    let user = NewUser { email: email.into(), name: email.into(), password_hash: "h".into(), role, bots };
    let person = store.user_create(user, manual(1)).await.unwrap().person;
    let author = Author { id: person.id.to_string(), kind: AuthorKind::Person, name: person.name };
    Operator { author, is_admin: role == Role::Admin }
}

/// A question for the guide bot that is being answered.
async fn asked(store: &Store, claim: Option<Claim>) -> (ConversationId, Attempt) {
    let id = create(store, "guide", &[]).await.conversation.id;
    let opens =
        Append { ask: asks(attempt(MessageId(0)).id), claim, ..append(Target::Existing(id), &["halo"]) };
    let Stored { messages, .. } = stored(store.append(opens).await.unwrap());
    (id, attempt(messages[0].id))
}

fn answer(id: ConversationId, attempt: Attempt, ask: Ask) -> Append {
    let messages = vec![NewMessage::answer(Answer::text("Satu."), attempt.question)];
    Append { messages, ask, ..append(Target::Existing(id), &[]) }
}

async fn of_many_claims_at_once_one_wins(engine: Engine) {
    let store = open(engine).await;
    // A second server on PostgreSQL.
    let other = reopen(&store.database).await;
    let mut agents = Vec::new();
    for number in 0..10 {
        agents.push(agent(&store, &format!("a{number}@x"), Bots::All, Role::Agent).await);
    }
    let id = create(&store, "guide", &["halo"]).await.conversation.id;
    let claims = agents.iter().enumerate().map(|(number, agent)| {
        let through = if number % 2 == 0 { &*store } else { &other };
        through.conversation_claim(id, agent.clone(), false, manual(5))
    });
    let outcomes: Vec<_> = join_all(claims).await.into_iter().map(Result::unwrap).collect();
    let has_it = get(&store, id).await.assignee.unwrap();
    let winners = outcomes.iter().filter(|outcome| matches!(outcome, Handling::Done(..))).count();
    assert_eq!(winners, 1, "{outcomes:?}");
    let told = outcomes.iter().filter(|outcome| **outcome == Handling::Claimed(has_it.clone())).count();
    assert_eq!(told, 9, "{outcomes:?}");
}

async fn nobody_claims_who_may_not(engine: Engine) {
    let store = open(engine).await;
    let id = create(&store, "guide", &["halo"]).await.conversation.id;
    let viewer = agent(&store, "viewer@x", Bots::All, Role::Viewer).await;
    let elsewhere = agent(&store, "elsewhere@x", Bots::Only(vec!["other".into()]), Role::Admin).await;
    let removed = agent(&store, "removed@x", Bots::All, Role::Admin).await;
    assert!(store.user_delete("removed@x", manual(2)).await.unwrap());
    let bot = Operator { author: Author::bot("guide"), is_admin: false };
    for by in [viewer, elsewhere, removed, bot] {
        assert_eq!(store.conversation_claim(id, by, false, manual(3)).await.unwrap(), Handling::Gone);
    }
    assert_eq!(get(&store, id).await.handler, Handler::Bot);
    let missing = store.conversation_claim(ConversationId(99), operator(), true, manual(3)).await.unwrap();
    assert_eq!(missing, Handling::Gone);
}

async fn what_is_claimed_while_somebody_is_removed_is_not_left_with_them(engine: Engine) {
    let store = open(engine).await;
    let other = reopen(&store.database).await;
    for round in 0..5 {
        let email = format!("ani{round}@x");
        let ani = agent(&store, &email, Bots::All, Role::Agent).await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(create(&store, "guide", &["halo"]).await.conversation.id);
        }
        let claims =
            join_all(ids.iter().map(|id| store.conversation_claim(*id, ani.clone(), false, manual(2))));
        let (claims, removed) = tokio::join!(claims, other.user_delete(&email, manual(3)));
        assert!(removed.unwrap() && claims.into_iter().all(|claim| claim.is_ok()));
        for id in ids {
            assert_eq!(get(&store, id).await.assignee, None, "round {round}");
        }
    }
}

async fn an_answer_that_is_not_wanted_is_refused(engine: Engine) {
    let store = open(engine).await;
    let human = ConversationPatch { handler: Some(Handler::Human), ..Default::default() };
    let bot = ConversationPatch { handler: Some(Handler::Bot), ..Default::default() };
    for is_handed_over in [false, true] {
        let (id, attempt) = asked(&store, None).await;
        assert_eq!(store.ask_state(id, attempt).await.unwrap(), AskState::Wanted);
        let state = if is_handed_over {
            handled(store.conversation_update(id, human.clone(), operator(), manual(2)).await.unwrap());
            // It stays so when the bot gets the conversation back before its answer comes.
            handled(store.conversation_update(id, bot.clone(), operator(), manual(3)).await.unwrap());
            AskState::HandedOver
        } else {
            assert!(store.answers_stop(id).await.unwrap());
            AskState::Stopped
        };
        assert_eq!(store.ask_state(id, attempt).await.unwrap(), state);
        let refused = store.append(answer(id, attempt, Ask::Answers { attempt })).await.unwrap();
        assert!(matches!(refused, Outcome::Stopped), "{refused:?}");
        let ask = Ask::Fails { attempt, reason: FailureReason::Timeout };
        let failure = Append { ask, ..append(Target::Existing(id), &[]) };
        assert!(matches!(store.append(failure).await.unwrap(), Outcome::Stopped));
        let ask = Ask::CutOff { attempt, failure: None };
        stored(store.append(answer(id, attempt, ask.clone())).await.unwrap());
        let again = store.append(answer(id, attempt, ask)).await.unwrap();
        assert!(matches!(again, Outcome::Superseded), "{again:?}");
        assert_eq!(store.ask_state(id, attempt).await.unwrap(), AskState::Ended);
        let late = store.append(answer(id, attempt, Ask::Answers { attempt })).await.unwrap();
        assert!(matches!(late, Outcome::Superseded), "{late:?}");
        assert_eq!(messages(&store, id).await.len(), 2);
    }
}

/// On SQLite the commands of one moment share a transaction.
async fn a_question_and_its_stop_may_be_of_one_moment(engine: Engine) {
    let store = open(engine).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(create(&store, "guide", &[]).await.conversation.id);
    }
    let store = &*store;
    let pairs = ids.iter().map(|&id| async move {
        let opens = Append { ask: asks(attempt(MessageId(0)).id), ..append(Target::Existing(id), &["halo"]) };
        let handed_over = store.conversation_hand_over(id, HandoverReason::Visitor, manual(2));
        let (question, handed_over) = tokio::join!(store.append(opens), handed_over);
        assert_eq!(handed_over.unwrap().unwrap().handler, Handler::Human);
        stored(question.unwrap())
    });
    for (id, question) in ids.iter().copied().zip(join_all(pairs).await) {
        // Either no bot was asked, or its answer is not wanted, also once the bot has the conversation again.
        let attempt = attempt(question.messages[0].id);
        let is_asked = question.handler == Handler::Bot;
        let back = ConversationPatch { handler: Some(Handler::Bot), ..Default::default() };
        handled(store.conversation_update(id, back, operator(), manual(3)).await.unwrap());
        let expected = if is_asked { AskState::HandedOver } else { AskState::Ended };
        assert_eq!(store.ask_state(id, attempt).await.unwrap(), expected);
    }
}

async fn what_had_come_ends_the_request(engine: Engine) {
    let store = open(engine).await;
    for (number, is_human, failure, expected) in [
        (1, false, Some(FailureReason::Stopped), Ending::Stopped),
        (2, false, None, Ending::Stopped),
        (3, true, None, Ending::ForPeople),
    ] {
        let claim = Claim {
            key: IdempotencyKey { scope: "s".into(), key: format!("{number}") },
            body: [1; 32],
            lease: Some(Duration::from_secs(600)),
            attempt: Some(Uuid::from_u128(9)),
        };
        let (id, attempt) = asked(&store, Some(claim.clone())).await;
        if is_human {
            store.conversation_hand_over(id, HandoverReason::Visitor, manual(2)).await.unwrap();
        } else {
            store.answers_stop(id).await.unwrap();
        }
        let ask = Ask::CutOff { attempt, failure };
        stored(store.append(Append { ask, ..append(Target::Existing(id), &[]) }).await.unwrap());
        let again = Append {
            ask: asks(Uuid::from_u128(9)),
            claim: Some(claim),
            ..append(Target::Existing(id), &["halo"])
        };
        let Outcome::Claimed(PriorClaim::Done { ending, .. }) = store.append(again).await.unwrap() else {
            panic!("{number}: it is not done")
        };
        assert_eq!(ending, expected, "{number}");
        let question = &messages(&store, id).await[0];
        assert_eq!(question.failure.map(|failure| failure.reason), failure, "{number}");
        // No late answer takes that away.
        let late = store.append(answer(id, attempt, Ask::Answers { attempt })).await.unwrap();
        assert!(matches!(late, Outcome::Superseded), "{late:?}");
    }
}

async fn a_dead_servers_questions_end_as_they_would_have(engine: Engine) {
    let store = open(engine).await;
    let (plain, stopped, handed_over) =
        (asked(&store, None).await.0, asked(&store, None).await.0, asked(&store, None).await.0);
    store.answers_stop(stopped).await.unwrap();
    store.conversation_hand_over(handed_over, HandoverReason::Visitor, manual(2)).await.unwrap();
    assert_eq!(store.question_interrupt(Timestamp(3), |_| false).await.unwrap(), 1);
    let mut failures = Vec::new();
    for id in [plain, stopped, handed_over] {
        failures.push(messages(&store, id).await[0].failure.map(|failure| failure.reason));
    }
    assert_eq!(failures, [Some(FailureReason::Interrupted), Some(FailureReason::Stopped), None]);
}

async fn a_change_is_told_once(engine: Engine) {
    let store = open(engine).await;
    let ani = agent(&store, "ani@x", Bots::All, Role::Agent).await;
    let (id, _) = asked(&store, None).await;
    let mut reached = store.event_list(EventNumber(0), EventsOf::All).await.unwrap().reached;
    let mut told = async || {
        let page = store.event_list(reached, EventsOf::All).await.unwrap();
        reached = page.reached;
        page.events.into_iter().map(|event| event.change).collect::<Vec<_>>()
    };
    let updated = || Change::ConversationUpdated { id, bot_before: "guide".into(), bot_id: "guide".into() };
    let stopped = || Change::AnswersStopped { conversation_id: id };
    for expected in [vec![updated(), stopped()], vec![]] {
        store.conversation_claim(id, ani.clone(), false, manual(2)).await.unwrap();
        assert_eq!(told().await, expected);
    }
    store.answers_stop(id).await.unwrap();
    assert_eq!(told().await, [], "it is stopped already");
    for expected in [vec![updated()], vec![]] {
        store.conversation_release(id, ani.clone(), Handler::Human, manual(3)).await.unwrap();
        assert_eq!(told().await, expected);
    }
    for expected in [vec![updated()], vec![]] {
        store.conversation_release(id, ani.clone(), Handler::Bot, manual(3)).await.unwrap();
        assert_eq!(told().await, expected);
    }
    let newest = messages(&store, id).await.last().unwrap().id;
    let reader = ani.author.id.clone();
    for expected in
        [vec![Change::Seen { reader: reader.clone(), conversation_id: id, up_to: newest }], vec![]]
    {
        assert_eq!(store.conversation_seen(id, reader.clone(), newest).await.unwrap(), Some(newest));
        assert_eq!(told().await, expected);
    }
    for expected in [vec![updated()], vec![]] {
        assert_eq!(store.conversation_seen_by_visitor(id, newest).await.unwrap(), Some(newest));
        assert_eq!(told().await, expected);
    }
    assert_eq!(store.conversation_seen(ConversationId(99), reader, newest).await.unwrap(), None);
}

async fn so_many_failures_in_a_row_hand_over(engine: Engine) {
    let store = open(engine).await;
    let id = create(&store, "guide", &[]).await.conversation.id;
    let question = async |number: u128| {
        let attempt = Uuid::from_u128(number);
        let opens = Append { ask: asks(attempt), ..append(Target::Existing(id), &["halo"]) };
        let question = stored(store.append(opens).await.unwrap()).messages[0].id;
        Attempt { question, id: attempt }
    };
    let handler = async || get(&store, id).await.handler;
    // By a stop, and by a server that ended: not the bot's.
    assert!(fail(&store, id, question(1).await, FailureReason::Interrupted, manual(1)).await);
    for (number, expected) in [(2, Handler::Bot), (3, Handler::Human)] {
        let ask = Ask::Fails { attempt: question(number).await, reason: FailureReason::Timeout };
        let failure = Append { ask, ..append(Target::Existing(id), &[]) };
        stored(store.append_hand_over(failure, HandOverAfter::Failures(2)).await.unwrap());
        assert_eq!(handler().await, expected, "after the failure {number}");
    }
    assert_eq!(get(&store, id).await.handover_reason, Some(HandoverReason::BotFailed));
}

async fn a_late_answer_that_asks_for_people_hands_over(engine: Engine) {
    let store = open(engine).await;
    for asks_for_people in [false, true] {
        let (id, attempt) = asked(&store, None).await;
        assert_eq!(store.question_interrupt(manual(8), |_| false).await.unwrap(), 1);
        let late = answer(id, attempt, Ask::Answers { attempt });
        let outcome = match asks_for_people {
            true => store.append_hand_over(late, HandOverAfter::Answer).await,
            false => store.append(late).await,
        };
        stored(outcome.unwrap());
        let conversation = get(&store, id).await;
        let expected = match asks_for_people {
            true => (Handler::Human, Some(HandoverReason::Bot), Some(Timestamp(1_000))),
            false => (Handler::Bot, None, None),
        };
        let Conversation { handler, handover_reason, handed_over_at, .. } = conversation;
        assert_eq!((handler, handover_reason, handed_over_at), expected);
        assert_eq!(conversation.message_count, 2);
    }
}
