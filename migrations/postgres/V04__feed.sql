-- The feed: what changed, in the order of commits and without gaps. A row holds the events of one batch, in arrays of one
-- length; `last` is the number of its last event. `audience`: the bot whose operators may see the change, or the one reader
-- that it is about. `shown`: 1 where visitors may see the message after the change, plus 2 where they could before it.
-- `for_servers`: whether any of the events is for the servers themselves. Kinds: crates/store/src/effects/events.rs.
CREATE TABLE event_batches (
    last            bigint PRIMARY KEY,
    at              bigint NOT NULL,
    for_servers     bigint NOT NULL,
    kind            bigint[] NOT NULL,
    conversation_id bigint[] NOT NULL,
    message_id      bigint[] NOT NULL,
    audience        text[] NOT NULL,
    audience_before text[] NOT NULL,
    shown           bigint[] NOT NULL
);

-- One row: the name of this feed, by which readers know that their position is of another one, and the number of the last
-- event that was dropped.
CREATE TABLE feed (
    epoch   text NOT NULL,
    dropped bigint NOT NULL DEFAULT 0
);
INSERT INTO feed (epoch) VALUES (replace(CAST(gen_random_uuid() AS text), '-', ''));

-- Adds a batch of events as the last step of its transaction. The lock is held until the commit is visible, so that numbers
-- rise in the order of commits: a reader that sees a number has seen all smaller ones. Only statements that end their
-- transaction by themselves, or are sent together with the COMMIT, may call it: no session waits for a client here.
CREATE FUNCTION wicara_feed_1(
    p_for_servers bigint, p_kind bigint[], p_conversation bigint[], p_message bigint[], p_audience text[],
    p_audience_before text[], p_shown bigint[]
)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_last bigint;
BEGIN
    -- A batch that another node is committing is waited for as long as its disk takes.
    PERFORM set_config('lock_timeout', '5000', true);
    PERFORM pg_advisory_xact_lock(131294522602083);
    SELECT coalesce(max(last), 0) + cardinality(p_kind) INTO v_last FROM event_batches;
    INSERT INTO event_batches (last, at, for_servers, kind, conversation_id, message_id, audience, audience_before,
        shown)
    VALUES (v_last, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint), p_for_servers, p_kind, p_conversation,
        p_message, p_audience, p_audience_before, p_shown);
    RETURN v_last;
END
$$;

-- Who has a conversation: the person or program that claimed it, since when it is with people, and why. `unclaimed_since`:
-- since when it waits in the queue. `given_back_after`: the newest message at the time when people last gave it back to the
-- bot. `seen_by_visitor`: the newest message that its visitor has seen.
ALTER TABLE conversations ADD COLUMN assignee_id text;
ALTER TABLE conversations ADD COLUMN assignee_kind text;
ALTER TABLE conversations ADD COLUMN assignee_name text;
ALTER TABLE conversations ADD COLUMN handed_over_at bigint;
ALTER TABLE conversations ADD COLUMN handover_reason text;
ALTER TABLE conversations ADD COLUMN unclaimed_since bigint;
ALTER TABLE conversations ADD COLUMN given_back_after bigint NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN seen_by_visitor bigint NOT NULL DEFAULT 0;
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
    CASE WHEN newest.seq >= next_seq THEN greatest(conversations.updated_at, newest.created_at)
        ELSE conversations.updated_at END AS updated_at
FROM conversations
LEFT JOIN LATERAL (
    SELECT id, seq, message_count, note_count, message_bytes, created_at FROM messages
    WHERE messages.conversation_id = conversations.id AND messages.id > newest_id
    ORDER BY conversation_id DESC, id DESC LIMIT 1
) AS newest ON true;

-- How far a person or a program has read a conversation.
CREATE TABLE seen_marks (
    reader          text   NOT NULL,
    conversation_id bigint NOT NULL,
    up_to           bigint NOT NULL,
    PRIMARY KEY (reader, conversation_id)
);
CREATE INDEX seen_marks_by_conversation ON seen_marks (conversation_id);

-- `stopped`: 1 or 2 where the answer is not wanted any more and the node that asked is to end it: 1 after a stop, 2 after a
-- hand-over to people.
ALTER TABLE asks ADD COLUMN conversation_id bigint NOT NULL DEFAULT 0;
ALTER TABLE asks ADD COLUMN stopped bigint NOT NULL DEFAULT 0;
UPDATE asks SET conversation_id = messages.conversation_id FROM messages WHERE messages.id = asks.message_id;
CREATE INDEX asks_by_conversation ON asks (conversation_id);

-- From now on `done` of `idempotency` says how the request ended: 0 it has not, 1 answered, 2 people have the conversation,
-- 3 the answer was stopped.

CREATE TYPE wicara_command_2 AS (
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
    lease    bigint,
    -- 1: the messages are what had come of an answer when it was stopped.
    is_cut_off bigint
);

-- The append, version 2: version 1 with its events, and with no bot's answer where people have the conversation or the answer
-- was stopped.
--
-- Locks, in this order: keys (advisory, never waited for), conversations by id, asks, and nothing that another batch of
-- any node touches, but for a key that is forgotten and being deleted; last the feed's, which all batches wait for. A
-- command's outcome is a number of `outcome` in crates/store/src/commands/append_call.rs:
--   0 stored   1 stored, and a person answers   2 the conversation is gone   3 the key is taken   4 the key is being taken
--   5 the attempt is not under way   6 the conversation is locked   7 the conversation has another bot now
--   8 people have the conversation, or the answer was stopped
--
-- The order of rows is that of the arrays that they come from: what is joined to them is joined row by row.
CREATE FUNCTION wicara_append_2(
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
    p_commands wicara_command_2[],
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
    -- Commands whose attempt is under way, but no longer wanted.
    v_stopped bigint[];
    -- One element a conversation, null where it is gone or locked: its state before the batch.
    v_states wicara_state_1[];
    -- One element a message that is stored.
    v_command bigint[];
    v_is_shown bigint[];
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
                key, body, lease, is_cut_off, ordinal)) AS claims;
        -- In a statement of its own: a statement does not see what was committed after it began.
        SELECT array_agg(CASE WHEN v_key[ordinal] = 0 AND key IS NOT NULL AND EXISTS (
                SELECT 1 FROM idempotency WHERE idempotency.scope = claims.scope AND idempotency.key = claims.key
                    AND idempotency.created_at >= v_now - p_remembered_ms) THEN 3 ELSE v_key[ordinal] END)
        INTO v_key
        FROM unnest(p_commands) WITH ORDINALITY AS claims (target, at, asks, attempt, question, failure, scope, key,
            body, lease, is_cut_off, ordinal);
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
        -- What a bot says after it was to stop is not stored, but for the commands that hold what had come until then. The
        -- lock of the conversation keeps both the handler and the mark of a stop.
        SELECT array_agg(ordinal) INTO v_stopped
        FROM unnest(p_commands) WITH ORDINALITY AS commands (target, at, asks, attempt, question, failure, scope, key,
            body, lease, is_cut_off, ordinal)
        JOIN asks ON asks.message_id = commands.question AND asks.attempt = commands.attempt
        WHERE is_cut_off = 0 AND (asks.stopped <> 0 OR (v_states[target]).handler <> 'bot');
        WITH closed AS (
            -- Of two commands that close the same attempt the first does.
            DELETE FROM asks USING (SELECT question, attempt, target, min(ordinal) AS ordinal
                FROM unnest(p_commands) WITH ORDINALITY AS commands (target, at, asks, attempt, question, failure, scope,
                    key, body, lease, is_cut_off, ordinal)
                WHERE question IS NOT NULL AND NOT coalesce(ordinal = ANY(v_stopped), false) GROUP BY 1, 2, 3) AS closes
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
            WHEN ordinal = ANY(v_stopped) THEN 8
            WHEN question IS NOT NULL AND NOT coalesce(ordinal = ANY(v_closed), false) THEN 5
            WHEN (v_states[target]).handler <> 'bot' THEN 1
            WHEN target <= v_known AND (v_states[target]).bot_id <> asks THEN 7
            ELSE 0 END)
    INTO o_outcomes
    FROM unnest(p_commands) WITH ORDINALITY AS commands (target, at, asks, attempt, question, failure, scope, key, body,
        lease, is_cut_off, ordinal);

    o_conversations := p_known;
    IF p_opened IS NOT NULL THEN
        -- The command that opens a conversation is the only one in it.
        SELECT p_known || array_agg(CASE WHEN o_outcomes[ordinal] <= 1 THEN nextval('conversation_ids') END)
        INTO o_conversations
        FROM (SELECT ordinal FROM unnest(p_commands) WITH ORDINALITY AS commands (target, at, asks, attempt, question,
            failure, scope, key, body, lease, is_cut_off, ordinal) WHERE target > v_known ORDER BY target) AS opening;
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
        SELECT array_agg(id), array_agg(seq), array_agg(command), array_agg(CASE role WHEN 'note' THEN 0 ELSE 1 END)
        INTO o_messages, o_seqs, v_command, v_is_shown FROM numbered;
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
        INSERT INTO asks (message_id, node, attempt, asked_at, conversation_id)
        SELECT first.id, p_node, (p_commands[first.command]).attempt, v_now,
            o_conversations[(p_commands[first.command]).target]
        FROM (SELECT min(id) AS id, command FROM unnest(o_messages, v_command) AS new (id, command) GROUP BY command)
            AS first
        WHERE (p_commands[first.command]).asks IS NOT NULL AND o_outcomes[first.command] = 0;
    END IF;

    IF p_closes <> 0 THEN
        UPDATE messages SET failure = closes.failure, failed_at = closes.at, updated_at = closes.at
        FROM unnest(p_commands) WITH ORDINALITY AS closes (target, at, asks, attempt, question, failure, scope, key,
            body, lease, is_cut_off, ordinal)
        WHERE o_outcomes[closes.ordinal] <= 1 AND closes.failure IS NOT NULL AND messages.id = closes.question;
        -- The question's key is done, or the next request with it takes over at once.
        UPDATE idempotency SET lease_until = 0, done = CASE
            WHEN is_cut_off = 1 THEN CASE (v_states[closes.target]).handler WHEN 'bot' THEN 3 ELSE 2 END
            WHEN closes.failure IS NULL THEN 1 ELSE 0 END
        FROM unnest(p_commands) WITH ORDINALITY AS closes (target, at, asks, attempt, question, failure, scope, key,
            body, lease, is_cut_off, ordinal)
        WHERE o_outcomes[closes.ordinal] <= 1 AND closes.question IS NOT NULL AND idempotency.done = 0
            AND idempotency.conversation_id = o_conversations[closes.target]
            AND idempotency.message_id = closes.question;
    END IF;

    IF p_claims <> 0 THEN
        INSERT INTO idempotency (scope, key, body, lease_until, conversation_id, message_id, done, created_at)
        SELECT scope, key, body, coalesce(v_now + lease, 0), o_conversations[target],
            (SELECT min(id) FROM unnest(o_messages, v_command) AS new (id, command) WHERE command = ordinal),
            CASE WHEN lease IS NULL THEN 1 WHEN o_outcomes[ordinal] = 1 THEN 2 ELSE 0 END, v_now
        FROM unnest(p_commands) WITH ORDINALITY AS claims (target, at, asks, attempt, question, failure, scope, key,
            body, lease, is_cut_off, ordinal)
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

    PERFORM wicara_feed_1(0, array_agg(kind ORDER BY part, ordinal), array_agg(conversation_id ORDER BY part, ordinal),
        array_agg(message_id ORDER BY part, ordinal), array_agg(bot_id ORDER BY part, ordinal),
        array_agg(bot_before ORDER BY part, ordinal), array_agg(shown ORDER BY part, ordinal))
    FROM (
        SELECT CAST(1 AS bigint) AS kind, o_conversations[v_known + ordinal] AS conversation_id,
            CAST(NULL AS bigint) AS message_id, bot_id, CAST(NULL AS text) AS bot_before, CAST(1 AS bigint) AS shown,
            1 AS part, ordinal
        FROM unnest(p_opened) WITH ORDINALITY
            AS opened (session_id, by_visitor, room, integration_type, bot_id, user_id, at, ordinal)
        WHERE o_conversations[v_known + ordinal] IS NOT NULL
        UNION ALL
        SELECT 4, o_conversations[(p_commands[command]).target], id, (v_states[(p_commands[command]).target]).bot_id,
            NULL, is_shown, 2, ordinal
        FROM unnest(o_messages, v_command, v_is_shown) WITH ORDINALITY AS new (id, command, is_shown, ordinal)
        UNION ALL
        SELECT 5, o_conversations[target], question, (v_states[target]).bot_id, (v_states[target]).bot_id, 3, 3, ordinal
        FROM unnest(p_commands) WITH ORDINALITY AS closes (target, at, asks, attempt, question, failure, scope, key,
            body, lease, is_cut_off, ordinal)
        WHERE failure IS NOT NULL AND o_outcomes[ordinal] <= 1
    ) AS events
    HAVING count(*) > 0;
END
$$;

-- Nodes from before store no events: what they would write is refused.
DROP FUNCTION wicara_append_1;
DROP TYPE wicara_command_1;
