-- The feed: what changed, in the order of commits and without gaps. `audience`: the bot whose operators may see the change,
-- or the one reader that it is about. `shown`: 1 where visitors may see the message after the change, plus 2 where they
-- could before it. Kinds: crates/store/src/effects/events.rs.
CREATE TABLE events (
    number          INTEGER PRIMARY KEY,
    at              INTEGER NOT NULL,
    kind            INTEGER NOT NULL,
    conversation_id INTEGER,
    message_id      INTEGER,
    audience        TEXT,
    audience_before TEXT,
    shown           INTEGER NOT NULL
) STRICT;

-- One row: the name of this feed, by which readers know that their position is of another one, and the number of the last
-- event that was dropped.
CREATE TABLE feed (
    epoch   TEXT NOT NULL,
    dropped INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO feed (epoch) VALUES (lower(hex(randomblob(16))));

-- Who has a conversation: the person or program that claimed it, since when it is with people, and why. `unclaimed_since`:
-- since when it waits in the queue. `given_back_after`: the newest message at the time when people last gave it back to the
-- bot. `seen_by_visitor`: the newest message that its visitor has seen.
ALTER TABLE conversations ADD COLUMN assignee_id TEXT;
ALTER TABLE conversations ADD COLUMN assignee_kind TEXT;
ALTER TABLE conversations ADD COLUMN assignee_name TEXT;
ALTER TABLE conversations ADD COLUMN handed_over_at INTEGER;
ALTER TABLE conversations ADD COLUMN handover_reason TEXT;
ALTER TABLE conversations ADD COLUMN unclaimed_since INTEGER;
ALTER TABLE conversations ADD COLUMN given_back_after INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN seen_by_visitor INTEGER NOT NULL DEFAULT 0;
UPDATE conversations SET handed_over_at = updated_at, unclaimed_since = updated_at, handover_reason = 'operator'
WHERE handler = 'human';
CREATE INDEX conversations_by_assignee ON conversations (assignee_id, id) WHERE assignee_id IS NOT NULL;
CREATE INDEX conversations_unclaimed ON conversations (unclaimed_since, id)
    WHERE handler = 'human' AND assignee_id IS NULL;

DROP VIEW conversation_states;
CREATE VIEW conversation_states AS
SELECT conversations.id, session_id, by_visitor, room, integration_type, bot_id, user_id, handler,
    assignee_id, assignee_kind, assignee_name, handed_over_at, handover_reason, unclaimed_since, given_back_after,
    seen_by_visitor,
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

-- How far a person or a program has read a conversation.
CREATE TABLE seen_marks (
    reader          TEXT    NOT NULL,
    conversation_id INTEGER NOT NULL,
    up_to           INTEGER NOT NULL,
    PRIMARY KEY (reader, conversation_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_marks_by_conversation ON seen_marks (conversation_id);

-- `stopped`: 1 or 2 where the answer is not wanted any more: 1 after a stop, 2 after a hand-over to people.
ALTER TABLE asks ADD COLUMN conversation_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE asks ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
UPDATE asks SET conversation_id = coalesce((SELECT conversation_id FROM messages WHERE messages.id = asks.message_id), 0);
CREATE INDEX asks_by_conversation ON asks (conversation_id);

-- From now on `done` of `idempotency` says how the request ended: 0 it has not, 1 answered, 2 people have the conversation,
-- 3 the answer was stopped.
