-- A message carries the state of its conversation with the message in it, so that an append changes no other row. A change
-- of anything else leaves the state in the conversation's row, with `next_seq` and the newest message's id as of then, as
-- every 64th message does, so that there is little to look through after it. The later of the two holds. Rows from before
-- need nothing: their conversations' rows are the later ones.
ALTER TABLE messages ADD COLUMN message_count bigint;
ALTER TABLE messages ADD COLUMN note_count bigint;
ALTER TABLE messages ADD COLUMN message_bytes bigint;
ALTER TABLE conversations ADD COLUMN newest_id bigint NOT NULL DEFAULT 0;

-- Set by the server: who wrote a message, and how long a bot took for its first token and for its answer.
ALTER TABLE messages ADD COLUMN author_id text;
ALTER TABLE messages ADD COLUMN author_kind text;
ALTER TABLE messages ADD COLUMN author_name text;
ALTER TABLE messages ADD COLUMN first_token_ms bigint;
ALTER TABLE messages ADD COLUMN answer_ms bigint;

CREATE VIEW conversation_states AS
SELECT conversations.id, session_id, by_visitor, room, integration_type, bot_id, user_id, handler,
    CASE WHEN newest.seq >= next_seq THEN newest.seq + 1 ELSE next_seq END AS next_seq,
    CASE WHEN newest.seq >= next_seq THEN newest.id ELSE newest_id END AS newest_id,
    CASE WHEN newest.seq >= next_seq THEN newest.message_count ELSE conversations.message_count END AS message_count,
    CASE WHEN newest.seq >= next_seq THEN newest.note_count ELSE conversations.note_count END AS note_count,
    CASE WHEN newest.seq >= next_seq THEN newest.message_bytes ELSE conversations.message_bytes END AS message_bytes,
    conversations.created_at,
    CASE WHEN newest.seq >= next_seq THEN greatest(conversations.updated_at, newest.created_at)
        ELSE conversations.updated_at END AS updated_at
FROM conversations
LEFT JOIN LATERAL (
    SELECT id, seq, message_count, note_count, message_bytes, created_at FROM messages
    WHERE messages.conversation_id = conversations.id AND messages.id > newest_id
    ORDER BY conversation_id DESC, id DESC LIMIT 1
) AS newest ON true;

-- Nodes from before name each of their batches in the table `batches`: without it the database refuses all that they would
-- write, and they answer 503.
DROP TABLE batches;

-- Every batch of a node has a number, whose row says that it is committed and holds what it adds to the totals: the lowest
-- level's bucket, bot and integration type, in arrays. The rows of all nodes together are the part of the totals that is
-- not folded yet; no two nodes, and no two batches, write to the same row. Until then it also keeps what the batch
-- returned, for a node that did not get it. A void row stands for a batch that was given up: should it arrive late, its
-- number is taken.
CREATE TABLE node_batches (
    node             bigint NOT NULL,
    number           bigint NOT NULL,
    void             bigint NOT NULL,
    what             text[],
    bucket           bigint[],
    bot_id           text[],
    integration_type text[],
    count            bigint[],
    outcomes         bigint[],
    conversations    bigint[],
    messages         bigint[],
    seqs             bigint[],
    PRIMARY KEY (node, number)
);

-- The number up to which a node's batches are in `totals`. Not in `nodes`: every batch reads that row, and every fold leaves
-- a dead version of this one.
CREATE TABLE node_folds (
    node   bigint PRIMARY KEY,
    folded bigint NOT NULL
);
INSERT INTO node_folds (node, folded) SELECT node, 0 FROM nodes;

CREATE VIEW current_totals AS
SELECT what, level, bucket, bot_id, integration_type, count FROM totals
UNION ALL
SELECT pending.what, levels.level, pending.bucket >> levels.bits, pending.bot_id, pending.integration_type,
    CAST(pending.count AS integer)
FROM node_folds
JOIN node_batches ON node_batches.node = node_folds.node AND node_batches.number > node_folds.folded
CROSS JOIN LATERAL unnest(node_batches.what, node_batches.bucket, node_batches.bot_id,
    node_batches.integration_type, node_batches.count)
    AS pending (what, bucket, bot_id, integration_type, count)
CROSS JOIN (VALUES (CAST(0 AS bigint), 0), (1, 5), (2, 10), (3, 15)) AS levels (level, bits);

-- Conversations that are deleted while their messages follow, in steps.
CREATE TABLE deletions (
    conversation_id  bigint PRIMARY KEY,
    bot_id           text   NOT NULL,
    integration_type text   NOT NULL
);

-- A key remembers ids; whether its request is done, a flag says. The result of a request is read when it is asked for.
ALTER TABLE idempotency ADD COLUMN done bigint NOT NULL DEFAULT 0;
UPDATE idempotency SET done = 1 WHERE result IS NOT NULL;
ALTER TABLE idempotency DROP COLUMN result;
DROP INDEX idempotency_by_conversation;
CREATE INDEX idempotency_by_question ON idempotency (conversation_id, message_id);

ALTER TABLE users ADD COLUMN name text NOT NULL DEFAULT '';
UPDATE users SET name = split_part(email, '@', 1);

-- What an append gets and works with. Arrays of rows, not an array for each column: each array that a statement reads is
-- taken apart by itself, which cost a third of a batch.
CREATE TYPE wicara_opened_1 AS (
    session_id uuid, by_visitor bigint, room text, integration_type text, bot_id text, user_id text, at bigint
);
CREATE TYPE wicara_command_1 AS (
    -- The place of its conversation, from 1: first those that are there already, then those that are opened.
    target   bigint,
    at       bigint,
    -- The bot that is to be asked: opens an ask with the attempt.
    asks     text,
    -- With a question the attempt is closed: by the messages, or by the failure.
    attempt  uuid,
    question bigint,
    failure  text,
    scope    text,
    key      text,
    body     bytea,
    lease    bigint
);
CREATE TYPE wicara_message_1 AS (
    -- The place of its command, from 1.
    command bigint, role text, kind text, text text, payload text, bytes bigint, reply_to bigint, author_id text,
    author_kind text, author_name text, first_token_ms bigint, answer_ms bigint
);
CREATE TYPE wicara_state_1 AS (
    id bigint, handler text, bot_id text, integration_type text, newest_id bigint, next_seq bigint,
    message_count bigint, note_count bigint, message_bytes bigint
);

-- The append, version 1: a whole batch in one statement, which commits by itself, so that no transaction waits for a client.
-- src/store/commands/append.rs says the same for SQLite; tests/it/store/histories holds both against one model.
--
-- Locks, in this order: keys (advisory, never waited for), conversations by id, asks, and nothing that another batch of
-- any node touches, but for a key that is forgotten and being deleted. A command's outcome is a number of `outcome` in src/store/commands/append_call.rs:
--   0 stored   1 stored, and a person answers   2 the conversation is gone   3 the key is taken   4 the key is being taken
--   5 the attempt is not under way   6 the conversation is locked   7 the conversation has another bot now
--
-- The order of rows is that of the arrays that they come from: what is joined to them is joined row by row.
CREATE FUNCTION wicara_append_1(
    p_node bigint, p_number bigint,
    -- Whether conversations that another session has locked are passed over.
    p_skip_locked bigint,
    -- Keys from before this time, by the database's clock, are forgotten.
    p_remembered_ms bigint,
    -- Whether any command has a key, opens an ask, closes an attempt.
    p_claims bigint, p_opens bigint, p_closes bigint,
    -- The conversations that are there already, by id, each once.
    p_known bigint[],
    p_opened wicara_opened_1[],
    p_commands wicara_command_1[],
    -- In the order of conversations and commands.
    p_messages wicara_message_1[],
    -- One element a command, a conversation, and for the last two a message that is stored.
    OUT o_outcomes bigint[], OUT o_conversations bigint[], OUT o_messages bigint[], OUT o_seqs bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now bigint := CAST(extract(epoch FROM statement_timestamp()) * 1000 AS bigint);
    v_known bigint := coalesce(cardinality(p_known), 0);
    -- One element a command: 0 free, 3 taken, 4 being taken.
    v_key bigint[];
    v_closed bigint[];
    -- One element a conversation, null where it is gone or locked: its state before the batch.
    v_states wicara_state_1[];
    -- One element a message that is stored.
    v_command bigint[];
    -- Messages whose state is noted in their conversation's row.
    v_noted bigint[];
BEGIN
    IF p_claims <> 0 THEN
        SELECT array_agg(CASE WHEN key IS NULL THEN 0 WHEN nth > 1 THEN 3
                WHEN pg_try_advisory_xact_lock(hashtextextended(scope || ' ' || key, 0)) THEN 0 ELSE 4 END
            ORDER BY ordinal)
        INTO v_key
        FROM (SELECT scope, key, ordinal, row_number() OVER (PARTITION BY scope, key ORDER BY ordinal) AS nth
            FROM unnest(p_commands) WITH ORDINALITY AS commands (target, at, asks, attempt, question, failure, scope,
                key, body, lease, ordinal)) AS claims;
        -- In a statement of its own: a statement does not see what was committed after it began.
        SELECT array_agg(CASE WHEN v_key[ordinal] = 0 AND key IS NOT NULL AND EXISTS (
                SELECT 1 FROM idempotency WHERE idempotency.scope = claims.scope AND idempotency.key = claims.key
                    AND idempotency.created_at >= v_now - p_remembered_ms) THEN 3 ELSE v_key[ordinal] END)
        INTO v_key
        FROM unnest(p_commands) WITH ORDINALITY AS claims (target, at, asks, attempt, question, failure, scope, key,
            body, lease, ordinal);
    END IF;

    IF v_known > 0 THEN
        IF p_skip_locked = 0 THEN
            SELECT array_agg(CAST(ROW(id, handler, bot_id, integration_type, newest_id, next_seq, message_count, note_count,
                message_bytes) AS wicara_state_1))
            INTO v_states
            FROM (SELECT * FROM conversations WHERE id = ANY(p_known) ORDER BY id FOR NO KEY UPDATE) AS locked;
        ELSE
            SELECT array_agg(CAST(ROW(id, handler, bot_id, integration_type, newest_id, next_seq, message_count, note_count,
                message_bytes) AS wicara_state_1))
            INTO v_states
            FROM (SELECT * FROM conversations WHERE id = ANY(p_known) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
                AS locked;
        END IF;
        IF cardinality(v_states) IS DISTINCT FROM v_known THEN
            -- Some are gone or locked: the others move to their places.
            SELECT array_agg(state) INTO v_states
            FROM unnest(p_known) AS known (id)
            LEFT JOIN LATERAL (SELECT state FROM unnest(v_states) AS state WHERE state.id = known.id) AS locked ON true;
        END IF;
        -- In a statement of its own, for what was committed while a lock was waited for.
        SELECT array_agg(CASE WHEN newest.seq >= state.next_seq
            THEN CAST(ROW(state.id, state.handler, state.bot_id, state.integration_type, newest.id, newest.seq + 1,
                newest.message_count, newest.note_count, newest.message_bytes) AS wicara_state_1)
            ELSE state END)
        INTO v_states
        FROM unnest(v_states) AS state
        LEFT JOIN LATERAL (
            SELECT id, seq, message_count, note_count, message_bytes FROM messages
            WHERE conversation_id = state.id AND messages.id > state.newest_id
            ORDER BY conversation_id DESC, id DESC LIMIT 1
        ) AS newest ON true;
    END IF;
    IF p_opened IS NOT NULL THEN
        v_states := v_states || ARRAY(
            SELECT CAST(ROW(0, 'bot', bot_id, integration_type, 0, 1, 0, 0, 0) AS wicara_state_1) FROM unnest(p_opened));
    END IF;

    IF p_closes <> 0 THEN
        WITH closed AS (
            -- Of two commands that close the same attempt the first does.
            DELETE FROM asks USING (SELECT question, attempt, target, min(ordinal) AS ordinal
                FROM unnest(p_commands) WITH ORDINALITY AS commands (target, at, asks, attempt, question, failure, scope,
                    key, body, lease, ordinal)
                WHERE question IS NOT NULL GROUP BY 1, 2, 3) AS closes
            WHERE asks.message_id = closes.question AND asks.attempt = closes.attempt
                AND (v_states[closes.target]).id IS NOT NULL
            RETURNING closes.ordinal
        )
        SELECT array_agg(ordinal) INTO v_closed FROM closed;
    END IF;

    -- Decides: from here on a command is stored or not.
    SELECT array_agg(CASE
            WHEN v_key[ordinal] > 0 THEN v_key[ordinal]
            WHEN (v_states[target]).id IS NULL THEN CASE
                WHEN p_skip_locked <> 0 AND EXISTS (SELECT 1 FROM conversations WHERE id = p_known[target])
                    THEN 6 ELSE 2 END
            WHEN question IS NOT NULL AND NOT coalesce(ordinal = ANY(v_closed), false) THEN 5
            WHEN (v_states[target]).handler <> 'bot' THEN 1
            WHEN target <= v_known AND (v_states[target]).bot_id <> asks THEN 7
            ELSE 0 END)
    INTO o_outcomes
    FROM unnest(p_commands) WITH ORDINALITY AS commands (target, at, asks, attempt, question, failure, scope, key, body,
        lease, ordinal);

    o_conversations := p_known;
    IF p_opened IS NOT NULL THEN
        -- The command that opens a conversation is the only one in it.
        SELECT p_known || array_agg(CASE WHEN o_outcomes[ordinal] <= 1 THEN nextval('conversation_ids') END)
        INTO o_conversations
        FROM (SELECT ordinal FROM unnest(p_commands) WITH ORDINALITY AS commands (target, at, asks, attempt, question,
            failure, scope, key, body, lease, ordinal) WHERE target > v_known ORDER BY target) AS opening;
        INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, user_id, handler,
            next_seq, message_count, note_count, message_bytes, created_at, updated_at)
        SELECT o_conversations[v_known + ordinal], session_id, by_visitor,
            coalesce(room, integration_type || '-' || o_conversations[v_known + ordinal]), integration_type, bot_id,
            user_id, 'bot', 1, 0, 0, 0, at, at
        FROM unnest(p_opened) WITH ORDINALITY
            AS opened (session_id, by_visitor, room, integration_type, bot_id, user_id, at, ordinal)
        WHERE o_conversations[v_known + ordinal] IS NOT NULL;
    END IF;

    IF p_messages IS NOT NULL THEN
        -- Numbers them in the order of conversations and commands, so that ids rise with the places.
        WITH numbered AS MATERIALIZED (
            SELECT nextval('message_ids') AS id, o_conversations[target] AS conversation_id,
                (v_states[target]).next_seq + nth - 1 AS seq, command, role, kind, text, payload, bytes, reply_to,
                author_id, author_kind, author_name, first_token_ms, answer_ms,
                (v_states[target]).message_count + nth AS message_count,
                (v_states[target]).note_count + notes AS note_count,
                (v_states[target]).message_bytes + sum_bytes AS message_bytes,
                (p_commands[command]).at AS at
            FROM (
                SELECT *, row_number() OVER conversation AS nth,
                    count(*) FILTER (WHERE role = 'note') OVER conversation AS notes,
                    CAST(sum(bytes) OVER conversation AS bigint) AS sum_bytes
                FROM (
                    SELECT *, (p_commands[command]).target AS target
                    FROM unnest(p_messages) WITH ORDINALITY AS new (command, role, kind, text, payload, bytes, reply_to,
                        author_id, author_kind, author_name, first_token_ms, answer_ms, ordinal)
                    WHERE o_outcomes[command] <= 1
                ) AS stored
                WINDOW conversation AS (PARTITION BY target ORDER BY ordinal)
            ) AS counted
        ), inserted AS (
            INSERT INTO messages (id, conversation_id, seq, role, kind, text, payload, bytes, reply_to, author_id,
                author_kind, author_name, first_token_ms, answer_ms, message_count, note_count, message_bytes,
                created_at, updated_at)
            SELECT id, conversation_id, seq, role, kind, text, payload, bytes, reply_to, author_id, author_kind,
                author_name, first_token_ms, answer_ms, message_count, note_count, message_bytes, at, at
            FROM numbered
        )
        SELECT array_agg(id), array_agg(seq), array_agg(command) INTO o_messages, o_seqs, v_command FROM numbered;
        v_noted := ARRAY(SELECT id FROM unnest(o_messages, o_seqs) AS new (id, seq) WHERE seq % 64 = 0);
        IF cardinality(v_noted) > 0 THEN
            UPDATE conversations SET newest_id = noted.id, next_seq = noted.seq + 1,
                message_count = noted.message_count, note_count = noted.note_count,
                message_bytes = noted.message_bytes, updated_at = greatest(conversations.updated_at, noted.created_at)
            FROM messages AS noted
            WHERE noted.id = ANY(v_noted) AND conversations.id = noted.conversation_id;
        END IF;
    END IF;

    IF p_opens <> 0 THEN
        INSERT INTO asks (message_id, node, attempt, asked_at)
        SELECT first.id, p_node, (p_commands[first.command]).attempt, v_now
        FROM (SELECT min(id) AS id, command FROM unnest(o_messages, v_command) AS new (id, command) GROUP BY command)
            AS first
        WHERE (p_commands[first.command]).asks IS NOT NULL AND o_outcomes[first.command] = 0;
    END IF;

    IF p_closes <> 0 THEN
        UPDATE messages SET failure = closes.failure, failed_at = closes.at, updated_at = closes.at
        FROM unnest(p_commands) WITH ORDINALITY AS closes (target, at, asks, attempt, question, failure, scope, key,
            body, lease, ordinal)
        WHERE o_outcomes[closes.ordinal] <= 1 AND closes.failure IS NOT NULL AND messages.id = closes.question;
        -- The question's key is done, or the next request with it takes over at once.
        UPDATE idempotency SET done = CASE WHEN closes.failure IS NULL THEN 1 ELSE 0 END, lease_until = 0
        FROM unnest(p_commands) WITH ORDINALITY AS closes (target, at, asks, attempt, question, failure, scope, key,
            body, lease, ordinal)
        WHERE o_outcomes[closes.ordinal] <= 1 AND closes.question IS NOT NULL AND idempotency.done = 0
            AND idempotency.conversation_id = o_conversations[closes.target]
            AND idempotency.message_id = closes.question;
    END IF;

    IF p_claims <> 0 THEN
        INSERT INTO idempotency (scope, key, body, lease_until, conversation_id, message_id, done, created_at)
        SELECT scope, key, body, coalesce(v_now + lease, 0), o_conversations[target],
            (SELECT min(id) FROM unnest(o_messages, v_command) AS new (id, command) WHERE command = ordinal),
            CASE WHEN lease IS NULL OR o_outcomes[ordinal] = 1 THEN 1 ELSE 0 END, v_now
        FROM unnest(p_commands) WITH ORDINALITY AS claims (target, at, asks, attempt, question, failure, scope, key,
            body, lease, ordinal)
        WHERE key IS NOT NULL AND o_outcomes[ordinal] <= 1
        ON CONFLICT (scope, key) DO UPDATE SET body = excluded.body, lease_until = excluded.lease_until,
            conversation_id = excluded.conversation_id, message_id = excluded.message_id, done = excluded.done,
            created_at = excluded.created_at;
    END IF;

    INSERT INTO node_batches (node, number, void, what, bucket, bot_id, integration_type, count, outcomes,
        conversations, messages, seqs)
    SELECT p_node, p_number, 0, sums.what, sums.bucket, sums.bot_id, sums.integration_type, sums.count, o_outcomes,
        o_conversations, o_messages, o_seqs
    FROM nodes CROSS JOIN (
        SELECT array_agg(what) AS what, array_agg(bucket) AS bucket, array_agg(bot_id) AS bot_id,
            array_agg(integration_type) AS integration_type, array_agg(count) AS count
        FROM (
            SELECT 'messages' AS what, id >> 8 AS bucket, (v_states[(p_commands[command]).target]).bot_id AS bot_id,
                (v_states[(p_commands[command]).target]).integration_type AS integration_type, count(*) AS count
            FROM unnest(o_messages, v_command) AS new (id, command) GROUP BY 2, 3, 4
            UNION ALL
            SELECT 'conversations', o_conversations[v_known + ordinal] >> 8, bot_id, integration_type, count(*)
            FROM unnest(p_opened) WITH ORDINALITY
                AS opened (session_id, by_visitor, room, integration_type, bot_id, user_id, at, ordinal)
            WHERE o_conversations[v_known + ordinal] IS NOT NULL GROUP BY 2, 3, 4
        ) AS counted
    ) AS sums
    WHERE nodes.node = p_node;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'node % is not registered', p_node USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;

-- What became of a batch whose answer got lost. One that is being committed is waited for; one that has not arrived is
-- given up: should it be on its way still, its number is taken. `o_committed` is null where that cannot be said any more,
-- and what the batch returned is null once another node has folded it.
CREATE FUNCTION wicara_look_up_1(
    p_node bigint, p_number bigint, OUT o_committed bigint,
    OUT o_outcomes bigint[], OUT o_conversations bigint[], OUT o_messages bigint[], OUT o_seqs bigint[]
)
LANGUAGE plpgsql AS $$
BEGIN
    -- What is being folded is waited for: its row is about to go.
    PERFORM 1 FROM node_folds WHERE node = p_node FOR UPDATE;
    INSERT INTO node_batches (node, number, void)
    SELECT node, p_number, 1 FROM node_folds WHERE node = p_node AND folded < p_number
    ON CONFLICT DO NOTHING;
    SELECT 1 - void, outcomes, conversations, messages, seqs
    INTO o_committed, o_outcomes, o_conversations, o_messages, o_seqs
    FROM node_batches WHERE node = p_node AND number = p_number;
    IF NOT FOUND THEN
        SELECT 1 INTO o_committed FROM node_folds WHERE node = p_node AND folded >= p_number;
    END IF;
END
$$;

-- Adds a node's batches up to a number to the totals. Those of them that have not arrived are given up, as above. Returns
-- null where the node is not registered (any more).
CREATE FUNCTION wicara_fold_1(p_node bigint, p_upto bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_folded bigint;
BEGIN
    -- One at a time for each node.
    SELECT folded INTO v_folded FROM node_folds WHERE node = p_node FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF p_upto > v_folded THEN
        INSERT INTO node_batches (node, number, void)
        SELECT p_node, number, 1 FROM generate_series(v_folded + 1, p_upto) AS number ON CONFLICT DO NOTHING;

        INSERT INTO totals (what, level, bucket, bot_id, integration_type, count)
        SELECT what, level, bucket, bot_id, integration_type, count
        FROM (
            SELECT added.what, levels.level, added.bucket >> levels.bits AS bucket, added.bot_id,
                added.integration_type, CAST(sum(added.count) AS integer) AS count
            FROM node_batches
            CROSS JOIN LATERAL unnest(what, bucket, bot_id, integration_type, count)
                AS added (what, bucket, bot_id, integration_type, count)
            CROSS JOIN (VALUES (CAST(0 AS bigint), 0), (1, 5), (2, 10), (3, 15)) AS levels (level, bits)
            WHERE node = p_node AND number > v_folded AND number <= p_upto
            GROUP BY 1, 2, 3, 4, 5
        ) AS sums
        WHERE count <> 0
        -- The order in which rows of the totals are locked everywhere.
        ORDER BY what, level, bucket, bot_id COLLATE "C", integration_type COLLATE "C"
        ON CONFLICT (what, level, bucket, bot_id, integration_type)
            DO UPDATE SET count = totals.count + excluded.count;

        DELETE FROM node_batches
        WHERE node = p_node AND number > v_folded AND number <= p_upto AND void = 0;
        UPDATE node_folds SET folded = p_upto WHERE node = p_node;
    END IF;
    RETURN 1;
END
$$;
