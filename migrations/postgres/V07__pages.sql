-- What a visitor thought of an answer: 1 or -1, with a text perhaps, and when. Null where it thought nothing.
ALTER TABLE messages ADD COLUMN feedback bigint;
ALTER TABLE messages ADD COLUMN feedback_text text;
ALTER TABLE messages ADD COLUMN feedback_at bigint;

-- Conversations and messages that were deleted and may be brought back until a time, by the database's clock: the row that
-- was taken out of its table, as JSON by column, so that every read is without it. The messages of such a conversation stay
-- in their table, where no read shows them without the conversation.
CREATE TABLE undos (
    what             text   NOT NULL,
    id               bigint NOT NULL,
    conversation_id  bigint NOT NULL,
    bot_id           text   NOT NULL,
    integration_type text   NOT NULL,
    until            bigint NOT NULL,
    content          text   NOT NULL,
    PRIMARY KEY (what, id)
);

CREATE INDEX undos_by_time ON undos (until);
