-- What lists by activity and by filters read: a narrow row for each conversation, kept as an effect of every command.
-- `minute`: its last activity (`updated_at` of `conversation_states`), in whole minutes, so that a conversation in which
-- people talk changes its row once a minute and not with each message. `state`: 0 where nothing waits for an answer or a bot
-- is answering, 1 where the newest message that is no note is the public's, 2 where that message has a failure.
CREATE TABLE conversation_activity (
    conversation_id  bigint PRIMARY KEY,
    minute           bigint NOT NULL,
    state            bigint NOT NULL,
    bot_id           text   NOT NULL,
    integration_type text   NOT NULL,
    handler          text   NOT NULL,
    assignee_id      text
) WITH (fillfactor = 80);

-- Each serves one kind of list in its order, for all bots or for one. The partial ones cost nothing where a bot answers.
CREATE INDEX activity_by_minute ON conversation_activity (minute, conversation_id);
CREATE INDEX activity_by_bot ON conversation_activity (bot_id, minute, conversation_id);
CREATE INDEX activity_with_people ON conversation_activity (minute, conversation_id) WHERE handler = 'human';
CREATE INDEX activity_with_people_by_bot ON conversation_activity (bot_id, minute, conversation_id)
    WHERE handler = 'human';
CREATE INDEX activity_unanswered ON conversation_activity (minute, conversation_id) WHERE state >= 1;
CREATE INDEX activity_unanswered_by_bot ON conversation_activity (bot_id, minute, conversation_id) WHERE state >= 1;
CREATE INDEX activity_failed ON conversation_activity (minute, conversation_id) WHERE state = 2;
CREATE INDEX activity_failed_by_bot ON conversation_activity (bot_id, minute, conversation_id) WHERE state = 2;
CREATE INDEX activity_by_assignee ON conversation_activity (assignee_id, minute, conversation_id)
    WHERE assignee_id IS NOT NULL;

-- One row: conversations with ids below `below` may have no row above yet. They get theirs in steps, newest first.
CREATE TABLE activity_index (
    below bigint NOT NULL
);
INSERT INTO activity_index (below) SELECT coalesce(max(id) + 1, 0) FROM conversations;

-- Brings the rows of conversations up to date that the transaction has locked; returns how many of them differed, and were
-- written. Subqueries with a limit make the planner look conversations up one by one; that it does so by indexes, the settings
-- of the connection say.
CREATE FUNCTION wicara_activity_1(p_conversations bigint[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_written bigint;
BEGIN
    INSERT INTO conversation_activity (conversation_id, minute, state, bot_id, integration_type, handler, assignee_id)
    SELECT present.* FROM (
        SELECT touched.id, conversation.updated_at / 60000 AS minute,
            CAST(CASE WHEN said.role IS DISTINCT FROM 'client' THEN 0
                WHEN (SELECT 1 FROM asks WHERE asks.conversation_id = touched.id LIMIT 1) IS NOT NULL THEN 0
                WHEN said.failure IS NULL THEN 1 ELSE 2 END AS bigint) AS state,
            conversation.bot_id, conversation.integration_type, conversation.handler, conversation.assignee_id
        FROM unnest(p_conversations) AS touched (id)
        CROSS JOIN LATERAL (
            SELECT updated_at, bot_id, integration_type, handler, assignee_id FROM conversation_states
            WHERE conversation_states.id = touched.id LIMIT 1
        ) AS conversation
        LEFT JOIN LATERAL (
            SELECT role, failure FROM messages WHERE messages.conversation_id = touched.id AND role <> 'note'
            ORDER BY messages.conversation_id DESC, messages.id DESC LIMIT 1
        ) AS said ON true
    ) AS present
    LEFT JOIN LATERAL (
        SELECT * FROM conversation_activity WHERE conversation_activity.conversation_id = present.id LIMIT 1
    ) AS stored ON true
    WHERE (stored.minute, stored.state, stored.bot_id, stored.integration_type, stored.handler, stored.assignee_id)
        IS DISTINCT FROM (present.minute, present.state, present.bot_id, present.integration_type, present.handler,
            present.assignee_id)
    ON CONFLICT (conversation_id) DO UPDATE SET minute = excluded.minute, state = excluded.state,
        bot_id = excluded.bot_id, integration_type = excluded.integration_type, handler = excluded.handler,
        assignee_id = excluded.assignee_id;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;

-- Gives the next conversations their rows; returns what `below` is then, 0 at the end. Null: another node is at it. A
-- statement that commits by itself, so that nobody waits for a client while conversations are locked.
CREATE FUNCTION wicara_activity_build_1(p_count bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_below bigint;
    v_ids bigint[];
BEGIN
    SELECT below INTO v_below FROM activity_index FOR UPDATE SKIP LOCKED;
    IF v_below IS NULL OR v_below = 0 THEN
        RETURN v_below;
    END IF;
    v_ids := ARRAY(SELECT id FROM conversations WHERE id < v_below ORDER BY id DESC LIMIT p_count);
    PERFORM 1 FROM conversations WHERE id = ANY(v_ids) ORDER BY id FOR NO KEY UPDATE;
    -- In a statement of its own, for what was committed while a lock was waited for.
    PERFORM wicara_activity_1(v_ids);
    UPDATE activity_index SET below = coalesce(v_ids[cardinality(v_ids)], 0) RETURNING below INTO v_below;
    RETURN v_below;
END
$$;

-- The feed's function stays as it is. With its new name, nodes from before can commit nothing that has events: they would
-- leave rows of `conversation_activity` behind.
ALTER FUNCTION wicara_feed_1 RENAME TO wicara_feed_2;

CREATE TYPE wicara_state_2 AS (
    id bigint, handler text, bot_id text, integration_type text, newest_id bigint, next_seq bigint,
    message_count bigint, note_count bigint, message_bytes bigint, updated_at bigint
);

-- The append, version 3: version 2 with the activity of its conversations.
--
-- Locks, in this order: keys (advisory, never waited for), conversations by id, asks, and nothing that another batch of
-- any node touches, but for a key that is forgotten and being deleted; last the feed's, which all batches wait for. A
-- command's outcome is a number of `outcome` in crates/store/src/commands/append_call.rs:
--   0 stored   1 stored, and a person answers   2 the conversation is gone   3 the key is taken   4 the key is being taken
--   5 the attempt is not under way   6 the conversation is locked   7 the conversation has another bot now
--   8 people have the conversation, or the answer was stopped
--
-- The order of rows is that of the arrays that they come from: what is joined to them is joined row by row.
CREATE FUNCTION wicara_append_3(
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
    v_states wicara_state_2[];
    -- One element a message that is stored.
    v_command bigint[];
    v_is_shown bigint[];
    v_target bigint[];
    v_at bigint[];
    -- 0 a note, 1 the public's, 2 any other.
    v_says bigint[];
    -- Conversations whose activity is looked up, and those of which it is known, with what it is.
    v_looked_up bigint[];
    v_active bigint[];
    v_minutes bigint[];
    v_waiting bigint[];
    -- One element a conversation: its last activity before the batch.
    v_updated bigint[];
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
                message_bytes, updated_at) AS wicara_state_2))
            INTO v_states
            FROM (SELECT * FROM conversations WHERE id = ANY(p_known) ORDER BY id FOR NO KEY UPDATE) AS locked;
        ELSE
            SELECT array_agg(CAST(ROW(id, handler, bot_id, integration_type, newest_id, next_seq, message_count, note_count,
                message_bytes, updated_at) AS wicara_state_2))
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
                newest.message_count, newest.note_count, newest.message_bytes,
                greatest(state.updated_at, newest.created_at)) AS wicara_state_2)
            ELSE state END)
        INTO v_states
        FROM unnest(v_states) AS state
        LEFT JOIN LATERAL (
            SELECT id, seq, message_count, note_count, message_bytes, created_at FROM messages
            WHERE conversation_id = state.id AND messages.id > state.newest_id
            ORDER BY conversation_id DESC, id DESC LIMIT 1
        ) AS newest ON true;
    END IF;
    IF p_opened IS NOT NULL THEN
        v_states := v_states || ARRAY(
            SELECT CAST(ROW(0, 'bot', bot_id, integration_type, 0, 1, 0, 0, 0, at) AS wicara_state_2)
            FROM unnest(p_opened));
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
                (p_commands[command]).at AS at, target
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
        SELECT array_agg(id), array_agg(seq), array_agg(command), array_agg(CASE role WHEN 'note' THEN 0 ELSE 1 END),
            array_agg(target), array_agg(at), array_agg(CASE role WHEN 'note' THEN 0 WHEN 'client' THEN 1 ELSE 2 END)
        INTO o_messages, o_seqs, v_command, v_is_shown, v_target, v_at, v_says FROM numbered;
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

    -- The activity. What messages are added tells the state after them; only a note leaves it as it is. Where an attempt
    -- begins or ends with nothing but notes, and where there is no row yet, it is looked up.
    IF p_closes <> 0 THEN
        SELECT array_agg(o_conversations[(p_commands[ordinal]).target]) INTO v_looked_up
        FROM (
            SELECT ordinal FROM unnest(p_commands) WITH ORDINALITY AS closes (target, at, asks, attempt, question, failure,
                scope, key, body, lease, is_cut_off, ordinal)
            WHERE question IS NOT NULL AND o_outcomes[ordinal] <= 1
            EXCEPT SELECT unnest(v_command)
        ) AS quiet;
    END IF;
    v_updated := ARRAY(SELECT state.updated_at FROM unnest(v_states) AS state);
    SELECT array_agg(id) FILTER (WHERE NOT is_looked_up), array_agg(minute) FILTER (WHERE NOT is_looked_up),
        array_agg(state) FILTER (WHERE NOT is_looked_up), v_looked_up || array_agg(id) FILTER (WHERE is_looked_up)
    INTO v_active, v_minutes, v_waiting, v_looked_up
    FROM (
        SELECT said.target, said.id, said.minute, coalesce(said.state, stored.state) AS state,
            stored.minute AS stored_minute, stored.state AS stored_state,
            stored.minute IS NULL OR said.state IS NULL AND p_opens + p_closes > 0 AS is_looked_up
        FROM (
            SELECT target, o_conversations[target] AS id, greatest(v_updated[target], v_at[last]) / 60000 AS minute,
                CASE WHEN last_said IS NULL THEN NULL WHEN v_says[last_said] <> 1 THEN 0
                    WHEN p_opens <> 0 AND o_outcomes[v_command[last_said]] = 0
                        AND (p_commands[v_command[last_said]]).asks IS NOT NULL THEN 0
                    WHEN (SELECT 1 FROM asks WHERE asks.conversation_id = o_conversations[target] LIMIT 1) IS NULL THEN 1
                    ELSE 0 END AS state
            FROM (
                SELECT target, max(ordinal) AS last, max(ordinal) FILTER (WHERE says > 0) AS last_said
                FROM unnest(v_target, v_says) WITH ORDINALITY AS new (target, says, ordinal)
                WHERE target <= v_known GROUP BY target
            ) AS newest
        ) AS said
        LEFT JOIN LATERAL (
            SELECT minute, state FROM conversation_activity WHERE conversation_id = said.id LIMIT 1
        ) AS stored ON true
    ) AS compared
    WHERE is_looked_up OR (minute, state) IS DISTINCT FROM (stored_minute, stored_state);
    IF v_active IS NOT NULL THEN
        UPDATE conversation_activity SET minute = active.minute, state = active.state
        FROM unnest(v_active, v_minutes, v_waiting) AS active (id, minute, state)
        WHERE conversation_activity.conversation_id = active.id;
    END IF;
    IF p_opened IS NOT NULL THEN
        INSERT INTO conversation_activity (conversation_id, minute, state, bot_id, integration_type, handler)
        SELECT o_conversations[v_known + ordinal], at / 60000,
            CASE WHEN v_says[last_said] = 1 AND (p_commands[v_command[last_said]]).asks IS NULL THEN 1 ELSE 0 END, bot_id,
            integration_type, 'bot'
        FROM unnest(p_opened) WITH ORDINALITY
            AS opened (session_id, by_visitor, room, integration_type, bot_id, user_id, at, ordinal)
        LEFT JOIN (
            SELECT target, max(nth) AS last_said FROM unnest(v_target, v_says) WITH ORDINALITY AS new (target, says, nth)
            WHERE target > v_known AND says > 0 GROUP BY target
        ) AS newest ON newest.target = v_known + ordinal
        WHERE o_conversations[v_known + ordinal] IS NOT NULL;
    END IF;
    IF v_looked_up IS NOT NULL THEN
        PERFORM wicara_activity_1(ARRAY(SELECT DISTINCT unnest(v_looked_up)));
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

    PERFORM wicara_feed_2(0, array_agg(kind ORDER BY part, ordinal), array_agg(conversation_id ORDER BY part, ordinal),
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

-- Nodes from before keep no activity: what they would write is refused.
DROP FUNCTION wicara_append_2;
DROP TYPE wicara_state_1;
