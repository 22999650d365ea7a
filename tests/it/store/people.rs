use wicara_model::{Api, Bots, NewUser, Role, Timestamp};
use wicara_platform::{Clock, Random};
use wicara_service::{Error, Missing, People};

use super::{manual, open};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    people_and_keys_are_made_listed_and_removed,
    a_session_ends_by_time_password_or_removal,
    only_the_first_person_is_made_at_start,
);

fn new_user(email: &str) -> NewUser {
    NewUser {
        email: email.into(),
        name: "a name".into(),
        password_hash: "hash".into(),
        role: Role::Agent,
        bots: Bots::All,
    }
}

async fn people_and_keys_are_made_listed_and_removed(engine: Engine) {
    let store = open(engine).await;
    let people = People::new(store.store.clone(), Clock::System, Random::System);
    let bots = Bots::Only(vec!["a".into(), "b,\"c".into()]);
    let ani = people
        .user_create(" Ani@Example.org ", "a password".into(), Role::Agent, bots.clone())
        .await
        .unwrap();
    assert_eq!((ani.person.email.as_str(), &ani.person.bots), ("ani@example.org", &bots));
    let again = people.user_create("ANI@example.org", "a password".into(), Role::Viewer, Bots::All).await;
    assert!(matches!(again, Err(Error::Exists)), "{again:?}");
    for (email, password) in
        [("ani", "a password"), ("@", "a password"), ("b@x", "short"), ("b c@x", "a password")]
    {
        let refused = people.user_create(email, password.into(), Role::Viewer, Bots::All).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{email} {password}: {refused:?}");
    }
    assert_eq!(people.user_list().await.unwrap().len(), 1);
    people.user_create("admin@example.org", "a password".into(), Role::Admin, Bots::All).await.unwrap();
    let last = people.user_delete("Admin@example.org", false).await;
    assert!(matches!(last, Err(Error::LastAdministrator)), "{last:?}");
    // One of some bots cannot make up for it.
    people.user_create("some@example.org", "a password".into(), Role::Admin, bots.clone()).await.unwrap();
    let last = people.user_delete("admin@example.org", false).await;
    assert!(matches!(last, Err(Error::LastAdministrator)), "{last:?}");
    people.user_create("other@example.org", "a password".into(), Role::Admin, Bots::All).await.unwrap();
    people.user_delete("some@example.org", false).await.unwrap();
    people.user_delete("admin@example.org", false).await.unwrap();
    people.user_delete("other@example.org", true).await.unwrap();
    people.user_delete("ani@example.org", false).await.unwrap();
    let gone = people.user_delete("ani@example.org", false).await;
    assert!(matches!(gone, Err(Error::NotFound(Missing::User))), "{gone:?}");

    let (key, secret) = people.key_create("site", Role::Viewer, bots, Api::Conversation).await.unwrap();
    assert!(secret.starts_with("wicara_") && secret.len() > 60);
    let again = people.key_create("site", Role::Viewer, Bots::All, Api::Chatbot).await;
    assert!(matches!(again, Err(Error::Exists)), "{again:?}");
    let listed = people.key_list().await.unwrap();
    assert_eq!(format!("{listed:?}"), format!("{:?}", [key]));
    people.key_delete("site").await.unwrap();
    assert!(people.key_list().await.unwrap().is_empty());
}

async fn a_session_ends_by_time_password_or_removal(engine: Engine) {
    let store = open(engine).await;
    let hash = |number| [number; 32];
    let ani = store.user_create(new_user("ani@x"), manual(1)).await.unwrap().person.id;
    let session = |number, expires| store.session_create(ani, hash(number), manual(1), manual(expires));
    let is_open =
        async |number, now| store.session_get(hash(number), Timestamp(now)).await.unwrap().is_some();

    session(1, 100).await.unwrap();
    assert!(is_open(1, 99).await);
    assert!(!is_open(1, 100).await);
    store.session_expire(manual(100)).await.unwrap();
    assert!(!is_open(1, 99).await);

    session(2, 1000).await.unwrap();
    session(3, 1000).await.unwrap();
    store.session_delete(hash(2)).await.unwrap();
    assert!(!is_open(2, 5).await);
    assert!(is_open(3, 5).await);
    assert!(store.user_password("ani@x", "other".into()).await.unwrap());
    assert!(!is_open(3, 5).await);

    session(4, 1000).await.unwrap();
    assert!(store.user_delete("ani@x", Timestamp(9)).await.unwrap());
    assert!(!is_open(4, 5).await);
    assert!(!store.user_password("ani@x", "other".into()).await.unwrap());
}

async fn only_the_first_person_is_made_at_start(engine: Engine) {
    let store = open(engine).await;
    assert!(store.user_create_first(new_user("first@x"), manual(1)).await.unwrap().is_some());
    assert!(store.user_create_first(new_user("first@x"), manual(1)).await.unwrap().is_none());
    assert!(store.user_create_first(new_user("second@x"), manual(1)).await.unwrap().is_none());
    assert_eq!(store.user_list().await.unwrap().len(), 1);
}
