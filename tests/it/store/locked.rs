//! Appends to a conversation that another session has locked.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::join;
use uuid::Uuid;
use wicara_model::NewConversation;
use wicara_store::{Error, Target};

use super::together::{ProxiedStore, WRITERS, in_one_batch};
use super::{append, create, messages, new_conversation, stored};
use crate::support::database::connect;
use crate::support::{Fault, PATIENCE, Passing, is_append, until};

/// Calls until the second half of the batch may be tried: those that the writers are busy with, the batch, the batch past
/// the lock, its first half, and either command of that.
const CALLS_BEFORE: usize = WRITERS + 2 + 1 + 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_overtakes_what_is_locked_where_a_batch_is_halved() {
    let ProxiedStore { store, proxy, database } = ProxiedStore::open().await;
    let id = create(&store, "guide", &[]).await.conversation.id;
    // Opened by the same writer, and there already.
    let session_id = Uuid::from_u128(u128::try_from(id.0).unwrap());
    let new = NewConversation { session_id, ..new_conversation("guide") };
    let taken = || append(Target::New(new.clone()), &["halo"]);
    stored(store.append(taken()).await.unwrap());
    let say = |text| append(Target::Existing(id), &[text]);
    let batch = vec![say("first"), taken(), say("second"), say("third")];

    let holder = connect(&database.url).await;
    let lock = format!("BEGIN; SELECT 1 FROM conversations WHERE id = {id} FOR UPDATE");
    holder.batch_execute(&lock).await.unwrap();
    let calls = AtomicUsize::new(0);
    let is_next = move |statement: &Passing| {
        is_append(statement) && calls.fetch_add(1, Ordering::SeqCst) == CALLS_BEFORE
    };
    let next = proxy.at(is_next, 1, Fault::Held);
    let release = async {
        until(PATIENCE, "the second half is tried", async || next.sprung() == 1).await;
        holder.batch_execute("ROLLBACK").await.unwrap();
        proxy.thaw();
    };
    let (outcomes, ()) = join!(in_one_batch(&store, &proxy, batch), release);
    let is_refused = |outcome: &Result<_, _>| matches!(outcome, Err(Error::Conflict(_)));
    assert_eq!(outcomes.iter().map(is_refused).collect::<Vec<_>>(), [false, true, false, false]);
    let texts: Vec<_> = messages(&store, id).await.into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["first", "second", "third"]);
}
