-- Times are milliseconds since 1970-01-01T00:00:00Z. Flags are 0 or 1.

CREATE SEQUENCE conversation_ids;
CREATE SEQUENCE message_ids;

CREATE TABLE conversations (
    id               bigint PRIMARY KEY,
    session_id       uuid   NOT NULL UNIQUE,
    by_visitor       bigint NOT NULL,
    room             text   NOT NULL,
    integration_type text   NOT NULL,
    bot_id           text   NOT NULL,
    user_id          text,
    handler          text   NOT NULL,
    next_seq         bigint NOT NULL,
    message_count    bigint NOT NULL,
    note_count       bigint NOT NULL,
    message_bytes    bigint NOT NULL,
    created_at       bigint NOT NULL,
    updated_at       bigint NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX conversations_by_bot ON conversations (bot_id, id);
CREATE INDEX conversations_by_user ON conversations (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX conversations_by_room ON conversations (room, id);
CREATE INDEX conversations_by_integration ON conversations (integration_type, id);

-- A message is written under its conversation's lock, and a conversation is deleted with its messages: references
-- that the database checks for each row would cost a third of storing it.
CREATE TABLE messages (
    id              bigint PRIMARY KEY,
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

-- Questions that a bot is answering now, and the node that asked.
CREATE TABLE asks (
    message_id bigint PRIMARY KEY,
    node       bigint NOT NULL,
    asked_at   bigint NOT NULL
);

-- Exact totals of conversations and messages by bucket of ids, so that no list has to count: src/store/totals.rs.
CREATE TABLE totals (
    what             text    NOT NULL,
    level            bigint  NOT NULL,
    bucket           bigint  NOT NULL,
    bot_id           text    NOT NULL,
    integration_type text    NOT NULL,
    count            integer NOT NULL,
    PRIMARY KEY (what, level, bucket, bot_id, integration_type)
) WITH (fillfactor = 80);

-- The last batch of each writer, and those whose commit was in doubt. SQLite is never in doubt.
CREATE TABLE batches (
    id uuid PRIMARY KEY
);

CREATE TABLE idempotency (
    scope           text   NOT NULL,
    key             text   NOT NULL,
    body            bytea  NOT NULL,
    lease_until     bigint NOT NULL,
    conversation_id bigint,
    message_id      bigint,
    result          text,
    created_at      bigint NOT NULL,
    PRIMARY KEY (scope, key)
);

CREATE INDEX idempotency_by_age ON idempotency (created_at);
CREATE INDEX idempotency_by_conversation ON idempotency (conversation_id);

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email         text   NOT NULL UNIQUE,
    password_hash text   NOT NULL,
    role          text   NOT NULL,
    bots          text,
    created_at    bigint NOT NULL
);

CREATE TABLE sessions (
    token_hash bytea  PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);

CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE keys (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text   NOT NULL UNIQUE,
    hash       bytea  NOT NULL UNIQUE,
    role       text   NOT NULL,
    bots       text,
    api        text   NOT NULL,
    created_at bigint NOT NULL
);
