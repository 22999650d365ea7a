-- A message carries the state of its conversation with the message in it, so that an append changes no other row. A change
-- of anything else leaves the state in the conversation's row, with `next_seq` and the newest message's id as of then, as
-- every 64th message does, so that there is little to look through after it. The later of the two holds. Rows from before
-- need nothing: their conversations' rows are the later ones.
ALTER TABLE messages ADD COLUMN message_count INTEGER;
ALTER TABLE messages ADD COLUMN note_count INTEGER;
ALTER TABLE messages ADD COLUMN message_bytes INTEGER;
ALTER TABLE conversations ADD COLUMN newest_id INTEGER NOT NULL DEFAULT 0;

-- Set by the server: who wrote a message, and how long a bot took for its first token and for its answer.
ALTER TABLE messages ADD COLUMN author_id TEXT;
ALTER TABLE messages ADD COLUMN author_kind TEXT;
ALTER TABLE messages ADD COLUMN author_name TEXT;
ALTER TABLE messages ADD COLUMN first_token_ms INTEGER;
ALTER TABLE messages ADD COLUMN answer_ms INTEGER;

CREATE VIEW conversation_states AS
SELECT conversations.id, session_id, by_visitor, room, integration_type, bot_id, user_id, handler,
    CASE WHEN newest.seq >= next_seq THEN newest.seq + 1 ELSE next_seq END AS next_seq,
    CASE WHEN newest.seq >= next_seq THEN newest.id ELSE newest_id END AS newest_id,
    CASE WHEN newest.seq >= next_seq THEN newest.message_count ELSE conversations.message_count END AS message_count,
    CASE WHEN newest.seq >= next_seq THEN newest.note_count ELSE conversations.note_count END AS note_count,
    CASE WHEN newest.seq >= next_seq THEN newest.message_bytes ELSE conversations.message_bytes END AS message_bytes,
    conversations.created_at,
    CASE WHEN newest.seq >= next_seq THEN max(conversations.updated_at, newest.created_at)
        ELSE conversations.updated_at END AS updated_at
FROM conversations
LEFT JOIN messages AS newest
    ON newest.id = (SELECT max(id) FROM messages
        WHERE messages.conversation_id = conversations.id AND messages.id > newest_id);

-- What lists add up: on PostgreSQL the totals and what the nodes have not folded into them yet.
CREATE VIEW current_totals AS
SELECT what, level, bucket, bot_id, integration_type, count FROM totals;

-- Conversations that are deleted while their messages follow, in steps.
CREATE TABLE deletions (
    conversation_id  INTEGER PRIMARY KEY,
    bot_id           TEXT    NOT NULL,
    integration_type TEXT    NOT NULL
) STRICT;

-- A key remembers ids; whether its request is done, a flag says. The result of a request is read when it is asked for.
ALTER TABLE idempotency ADD COLUMN done INTEGER NOT NULL DEFAULT 0;
UPDATE idempotency SET done = 1 WHERE result IS NOT NULL;
ALTER TABLE idempotency DROP COLUMN result;
DROP INDEX idempotency_by_conversation;
CREATE INDEX idempotency_by_question ON idempotency (conversation_id, message_id);

ALTER TABLE users ADD COLUMN name TEXT NOT NULL DEFAULT '';
UPDATE users SET name = substr(email, 1, instr(email, '@') - 1);
