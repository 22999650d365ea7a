-- What a visitor thought of an answer: 1 or -1, with a text perhaps, and when. Null where it thought nothing.
ALTER TABLE messages ADD COLUMN feedback INTEGER;
ALTER TABLE messages ADD COLUMN feedback_text TEXT;
ALTER TABLE messages ADD COLUMN feedback_at INTEGER;

-- Conversations and messages that were deleted and may be brought back until a time, by the database's clock: the row that
-- was taken out of its table, as JSON by column, so that every read is without it. The messages of such a conversation stay
-- in their table, where no read shows them without the conversation.
CREATE TABLE undos (
    what             TEXT    NOT NULL,
    id               INTEGER NOT NULL,
    conversation_id  INTEGER NOT NULL,
    bot_id           TEXT    NOT NULL,
    integration_type TEXT    NOT NULL,
    until            INTEGER NOT NULL,
    content          TEXT    NOT NULL,
    PRIMARY KEY (what, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX undos_by_time ON undos (until);
