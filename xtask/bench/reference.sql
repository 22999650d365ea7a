-- The table of messages that the server has, with ids that the database gives.
DROP TABLE IF EXISTS messages;
CREATE TABLE messages (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL,
    seq             bigint NOT NULL,
    role            text   NOT NULL,
    kind            text   NOT NULL,
    text            text   NOT NULL,
    payload         text,
    bytes           bigint NOT NULL,
    reply_to        bigint,
    failure         text,
    failed_at       bigint,
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL
);
CREATE INDEX messages_by_conversation ON messages (conversation_id, id);
