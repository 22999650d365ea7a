-- Times are milliseconds since 1970-01-01T00:00:00Z. Flags are 0 or 1.

-- The last ids given. Ids of what was deleted are not given again.
CREATE TABLE sequences (
    name TEXT    PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;

INSERT INTO sequences (name, last) VALUES ('conversation_ids', 0), ('message_ids', 0);

CREATE TABLE conversations (
    id               INTEGER PRIMARY KEY,
    session_id       BLOB    NOT NULL UNIQUE,
    by_visitor       INTEGER NOT NULL,
    room             TEXT    NOT NULL,
    integration_type TEXT    NOT NULL,
    bot_id           TEXT    NOT NULL,
    user_id          TEXT,
    handler          TEXT    NOT NULL,
    next_seq         INTEGER NOT NULL,
    message_count    INTEGER NOT NULL,
    note_count       INTEGER NOT NULL,
    message_bytes    INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL
) STRICT;

CREATE INDEX conversations_by_bot ON conversations (bot_id, id);
CREATE INDEX conversations_by_user ON conversations (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX conversations_by_room ON conversations (room, id);
CREATE INDEX conversations_by_integration ON conversations (integration_type, id);

-- A message is written under its conversation's lock, and a conversation is deleted with its messages: references
-- that the database checks for each row would cost a third of storing it.
CREATE TABLE messages (
    id              INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    role            TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    text            TEXT    NOT NULL,
    payload         TEXT,
    bytes           INTEGER NOT NULL,
    reply_to        INTEGER,
    failure         TEXT,
    failed_at       INTEGER,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX messages_by_conversation ON messages (conversation_id, id);

-- Questions that a bot is answering now, and the node that asked.
CREATE TABLE asks (
    message_id INTEGER PRIMARY KEY,
    node       INTEGER NOT NULL,
    asked_at   INTEGER NOT NULL
) STRICT;

-- Exact totals of conversations and messages by bucket of ids, so that no list has to count: src/store/totals.rs.
CREATE TABLE totals (
    what             TEXT    NOT NULL,
    level            INTEGER NOT NULL,
    bucket           INTEGER NOT NULL,
    bot_id           TEXT    NOT NULL,
    integration_type TEXT    NOT NULL,
    count            INTEGER NOT NULL,
    PRIMARY KEY (what, level, bucket, bot_id, integration_type)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    scope           TEXT    NOT NULL,
    key             TEXT    NOT NULL,
    body            BLOB  NOT NULL,
    lease_until     INTEGER NOT NULL,
    conversation_id INTEGER,
    message_id      INTEGER,
    result          TEXT,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT;

CREATE INDEX idempotency_by_age ON idempotency (created_at);
CREATE INDEX idempotency_by_conversation ON idempotency (conversation_id);

CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    email         TEXT    NOT NULL UNIQUE,
    password_hash TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    bots          TEXT,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    token_hash BLOB  PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE keys (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    hash       BLOB  NOT NULL UNIQUE,
    role       TEXT    NOT NULL,
    bots       TEXT,
    api        TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
