//! A long conversation that moves to another bot.

use wicara_model::{Bots, ConversationId, ConversationPatch};

use super::totals::totals_are_exact;
use super::{create, execute, handled, manual, open, operator, total};
use crate::support::{Database, Engine, on_both_engines};

on_both_engines!(a_conversation_of_any_length_moves_in_short_statements);

/// More than are moved at once, a few in each bucket, so that a bucket lies on both sides of a step.
const MESSAGES: i64 = 30_000;
const APART: i64 = 100;
/// Rows of the totals: half as many as all messages have.
const ROWS: i64 = 10_000;

/// Adds messages behind the store's back: so many, each `apart` ids from the one before.
async fn fill(
    database: &Database,
    engine: Engine,
    ConversationId(id): ConversationId,
    count: i64,
    apart: i64,
) {
    let numbers = match engine {
        Engine::Postgres => format!("SELECT n FROM generate_series(1, {count}) AS n"),
        Engine::Sqlite => {
            format!(
                "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s"
            )
        }
    };
    let mut sql = format!(
        "INSERT INTO messages (id, conversation_id, seq, role, kind, text, bytes, created_at, updated_at) \
             SELECT n * {apart} + 100000, {id}, n, 'client', 'text', 'x', 1, 1, 1 FROM ({numbers}) AS numbers; \
         UPDATE conversations SET message_count = {count}, message_bytes = {count}, next_seq = {count} + 1 WHERE id = {id};"
    );
    if engine == Engine::Postgres {
        sql += "LOCK TABLE node_folds; UPDATE node_batches SET what = NULL, bucket = NULL, bot_id = NULL, \
             integration_type = NULL, count = NULL;";
    }
    sql += "DELETE FROM totals;";
    for (level, shift) in [(0, 8), (1, 13), (2, 18), (3, 23)] {
        for (what, id, from) in [
            ("messages", "messages.id", "messages JOIN conversations ON conversations.id = conversation_id"),
            ("conversations", "id", "conversations"),
        ] {
            sql += &format!(
                "INSERT INTO totals (what, level, bucket, bot_id, integration_type, count) \
                 SELECT '{what}', {level}, {id} >> {shift}, bot_id, integration_type, count(*) FROM {from} \
                 GROUP BY {id} >> {shift}, bot_id, integration_type;"
            );
        }
    }
    execute(database, &sql).await;
}

/// Has PostgreSQL refuse a statement that changes more rows of the totals, as it refuses one that takes long.
async fn refuse_long_statements(database: &Database) {
    let trigger = |event: &str| {
        format!(
            "CREATE TRIGGER after_{event} AFTER {event} ON totals REFERENCING NEW TABLE AS changed \
                 FOR EACH STATEMENT EXECUTE FUNCTION refuse_many();"
        )
    };
    let refuse = format!(
        "CREATE FUNCTION refuse_many() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF (SELECT count(*) FROM changed) > {ROWS} THEN RAISE 'a long statement'; END IF; RETURN NULL; \
         END $$; {} {}",
        trigger("insert"),
        trigger("update")
    );
    execute(database, &refuse).await;
}

async fn a_conversation_of_any_length_moves_in_short_statements(engine: Engine) {
    let store = open(engine).await;
    let id = create(&store, "often", &[]).await.conversation.id;
    create(&store, "often", &["x"]).await;
    fill(&store.database, engine, id, MESSAGES, APART).await;
    if engine == Engine::Postgres {
        refuse_long_statements(&store.database).await;
    }
    for patch in [
        ConversationPatch { bot_id: Some("seldom".into()), ..Default::default() },
        ConversationPatch { integration_type: Some("telegram".into()), ..Default::default() },
    ] {
        let moved = handled(store.conversation_update(id, patch, operator(), manual(2)).await.unwrap());
        assert_eq!((moved.bot_id.as_str(), moved.message_count), ("seldom", MESSAGES));
        totals_are_exact(&store.database).await;
    }
    let of = async |bot: &str| total(&store, &Bots::Only(vec![bot.into()])).await;
    assert_eq!((of("often").await, of("seldom").await), ((1, 1), (1, MESSAGES)));
}
