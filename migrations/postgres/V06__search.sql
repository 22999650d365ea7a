-- What searches read: a document for each message, and one for the names of each conversation (its room and its user). Kept
-- as an effect of every command. `id`: the message's, or 2^56 and the conversation's, so that names come before messages
-- where documents are walked from the highest id down. `terms`: the words and stems that crates/search makes of the text, the
-- same on both databases. `place`: where it is (`wicara_place_1`).
CREATE TABLE search_documents (
    id              bigint PRIMARY KEY,
    conversation_id bigint   NOT NULL,
    terms           tsvector NOT NULL,
    place           tsvector NOT NULL
);

-- New entries wait in a list that folds clean once a second (crates/store/src/writer/fold.rs), so that a message does not
-- pay for each of its words: a quarter of the processor time. The limit is far above what comes in a second.
CREATE INDEX search_documents_by_term ON search_documents USING gin (terms, place)
    WITH (fastupdate = on, gin_pending_list_limit = 32768);

CREATE FUNCTION wicara_name_document_1(p_conversation bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN 72057594037927936 + p_conversation;

-- The buckets of 2^10, 2^13 and 2^16 ids that a document lies in, its bot, and whether it is a note. They are words of the
-- index, so that a search looks at one bucket after the other, newest first, and at its caller's bots alone.
CREATE FUNCTION wicara_place_1(p_document bigint, p_bot text, p_is_note bigint) RETURNS tsvector LANGUAGE sql IMMUTABLE
    RETURN array_to_tsvector(CASE p_is_note WHEN 0
        THEN ARRAY['k' || (p_document >> 10), 'm' || (p_document >> 13), 'p' || (p_document >> 16), 'b' || p_bot]
        ELSE ARRAY['k' || (p_document >> 10), 'm' || (p_document >> 13), 'p' || (p_document >> 16), 'b' || p_bot, 'note'] END);

-- One row: messages and conversations with ids below these may not be searchable yet. They become so in steps, newest first.
CREATE TABLE search_index (
    messages_below      bigint NOT NULL,
    conversations_below bigint NOT NULL
);
INSERT INTO search_index (messages_below, conversations_below)
SELECT (SELECT coalesce(max(id) + 1, 0) FROM messages), (SELECT coalesce(max(id) + 1, 0) FROM conversations);

-- Conversations that have another bot now: documents of their messages below this one still name the one before.
CREATE TABLE search_moves (
    conversation_id bigint PRIMARY KEY,
    below           bigint NOT NULL
);

-- Finds documents, the highest ids first: those below `p_below`, from `p_from` on, up to `p_most`.
--
-- `p_terms` is what a document has to match, `p_loose` what the index alone can tell of it (phrases as words), `p_place` what
-- its place has to match. It walks from bucket to bucket, in larger ones while there is little in them, so that a common
-- word costs what is found and a rare one a few look-ups. It stops after `p_work` documents that match loosely: their words
-- have to be compared one by one. The settings leave the planner nothing but the index; with a column as an expression, ids
-- are no reason to take another one.
--
-- `o_next`: where to go on; null at the end.
CREATE FUNCTION wicara_search_1(
    p_terms text, p_loose text, p_place text, p_below bigint, p_from bigint, p_most bigint, p_work bigint,
    OUT o_documents bigint[], OUT o_conversations bigint[], OUT o_next bigint
)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_indexscan = off SET enable_indexonlyscan = off SET enable_bitmapscan = on
SET enable_sort = on SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    v_terms tsquery := CAST(p_terms AS tsquery);
    v_loose tsquery := CAST(p_loose AS tsquery);
    v_is_loose boolean := p_terms <> p_loose;
    -- For the beginning of a word the index collects every document that has it, for each bucket anew: few buckets are looked at.
    v_least_shift integer := CASE WHEN p_loose LIKE '%:*%' THEN 16 ELSE 10 END;
    v_shift integer := v_least_shift;
    -- Buckets of the largest kind that are looked at together, where there is little even in these.
    v_buckets bigint := 1;
    v_low bigint;
    v_place tsquery;
    v_documents bigint[];
    v_conversations bigint[];
    v_last bigint;
    v_matching bigint;
    v_looked bigint := 0;
    v_missing bigint := p_most;
BEGIN
    o_documents := ARRAY[]::bigint[];
    o_conversations := ARRAY[]::bigint[];
    o_next := p_below;
    WHILE o_next > p_from AND v_missing > 0 AND v_looked < p_work LOOP
        v_low := greatest(((o_next - 1) >> v_shift) - v_buckets + 1, p_from >> v_shift);
        SELECT CAST('(' || string_agg(CASE v_shift WHEN 10 THEN 'k' WHEN 13 THEN 'm' ELSE 'p' END || bucket, ' | ') || ')'
            || p_place AS tsquery)
        INTO v_place FROM generate_series(v_low, (o_next - 1) >> v_shift) AS buckets (bucket);
        v_low := v_low << v_shift;
        IF v_is_loose THEN
            SELECT array_agg(id) FILTER (WHERE fits), array_agg(conversation_id) FILTER (WHERE fits), min(id), count(*)
            INTO v_documents, v_conversations, v_last, v_matching
            FROM (
                SELECT id, conversation_id, terms @@ v_terms AS fits FROM (
                    SELECT id, conversation_id, terms FROM search_documents
                    WHERE terms @@ v_loose AND place @@ v_place AND id + 0 < o_next AND id + 0 >= p_from
                    ORDER BY id DESC LIMIT p_work - v_looked
                ) AS loose
            ) AS found;
        ELSE
            SELECT array_agg(id), array_agg(conversation_id), min(id), count(*)
            INTO v_documents, v_conversations, v_last, v_matching
            FROM (
                SELECT id, conversation_id FROM search_documents
                WHERE terms @@ v_terms AND place @@ v_place AND id + 0 < o_next AND id + 0 >= p_from
                ORDER BY id DESC LIMIT v_missing
            ) AS found;
        END IF;
        IF cardinality(v_documents) > v_missing THEN
            v_documents := v_documents[:v_missing];
            v_conversations := v_conversations[:v_missing];
            v_last := v_documents[v_missing];
        END IF;
        o_documents := o_documents || coalesce(v_documents, '{}');
        o_conversations := o_conversations || coalesce(v_conversations, '{}');
        v_missing := v_missing - coalesce(cardinality(v_documents), 0);
        IF v_is_loose THEN
            v_looked := v_looked + v_matching;
        END IF;
        -- Where a limit ended the step, the rest of the bucket follows.
        o_next := CASE WHEN v_missing = 0 OR v_looked >= p_work THEN v_last ELSE v_low END;
        IF v_matching < 64 AND v_shift < 16 THEN
            v_shift := v_shift + 3;
        ELSIF v_matching < 64 THEN
            v_buckets := least(2 * v_buckets, 16);
        ELSIF v_matching > 4096 AND v_buckets > 1 THEN
            v_buckets := 1;
        ELSIF v_matching > 4096 AND v_shift > v_least_shift THEN
            v_shift := v_shift - 3;
        END IF;
    END LOOP;
    IF o_next <= p_from THEN
        o_next := NULL;
    END IF;
END
$$;

-- With its new name, nodes from before can commit nothing that has events: they would leave documents behind.
ALTER FUNCTION wicara_feed_2 RENAME TO wicara_feed_3;

CREATE TYPE wicara_opened_2 AS (
    session_id uuid, by_visitor bigint, room text, integration_type text, bot_id text, user_id text, at bigint,
    -- Of its names; in two parts where the id that it gets stands between them.
    terms tsvector, terms_after_id tsvector
);
CREATE TYPE wicara_message_2 AS (
    -- The place of its command, from 1.
    command bigint, role text, kind text, text text, payload text, bytes bigint, reply_to bigint, author_id text,
    author_kind text, author_name text, first_token_ms bigint, answer_ms bigint, terms tsvector
);

-- The append, version 4: version 3 with what is searched.
--
-- Locks, in this order: keys (advisory, never waited for), conversations by id, asks, and nothing that another batch of
-- any node touches, but for a key that is forgotten and being deleted; last the feed's, which all batches wait for. A
-- command's outcome is a number of `outcome` in crates/store/src/commands/append_call.rs:
--   0 stored   1 stored, and a person answers   2 the conversation is gone   3 the key is taken   4 the key is being taken
--   5 the attempt is not under way   6 the conversation is locked   7 the conversation has another bot now
--   8 people have the conversation, or the answer was stopped
--
-- The order of rows is that of the arrays that they come from: what is joined to them is joined row by row.
CREATE FUNCTION wicara_append_4(
    p_node bigint, p_number bigint,
    -- Whether conversations that another session has locked are passed over.
    p_skip_locked bigint,
    -- Keys from before this time, by the database's clock, are forgotten.
    p_remembered_ms bigint,
    -- Whether any command has a key, opens an ask, closes an attempt.
    p_claims bigint, p_opens bigint, p_closes bigint,
    -- The conversations that are there already, by id, each once.
    p_known bigint[],
    p_opened wicara_opened_2[],
    p_commands wicara_command_2[],
    -- In the order of conversations and commands.
    p_messages wicara_message_2[],
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
            AS opened (session_id, by_visitor, room, integration_type, bot_id, user_id, at, terms, terms_after_id, ordinal)
        WHERE o_conversations[v_known + ordinal] IS NOT NULL;
        -- Where the room is made of the id, the id is a word between the others.
        INSERT INTO search_documents (id, conversation_id, terms, place)
        SELECT wicara_name_document_1(id), id,
            CASE WHEN terms_after_id IS NULL THEN terms
                ELSE terms || CAST(id || ':1' AS tsvector) || terms_after_id END,
            wicara_place_1(wicara_name_document_1(id), bot_id, 0)
        FROM unnest(p_opened) WITH ORDINALITY
            AS opened (session_id, by_visitor, room, integration_type, bot_id, user_id, at, terms, terms_after_id, ordinal)
        CROSS JOIN LATERAL (SELECT o_conversations[v_known + ordinal] AS id) AS given
        WHERE id IS NOT NULL;
    END IF;

    IF p_messages IS NOT NULL THEN
        -- Numbers them in the order of conversations and commands, so that ids rise with the places.
        WITH numbered AS MATERIALIZED (
            SELECT nextval('message_ids') AS id, o_conversations[target] AS conversation_id,
                (v_states[target]).next_seq + nth - 1 AS seq, command, role, kind, text, payload, bytes, reply_to,
                author_id, author_kind, author_name, first_token_ms, answer_ms, terms,
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
                        author_id, author_kind, author_name, first_token_ms, answer_ms, terms, ordinal)
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
        ), searched AS (
            INSERT INTO search_documents (id, conversation_id, terms, place)
            SELECT id, conversation_id, terms,
                wicara_place_1(id, (v_states[target]).bot_id, CASE role WHEN 'note' THEN 1 ELSE 0 END)
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
            AS opened (session_id, by_visitor, room, integration_type, bot_id, user_id, at, terms, terms_after_id, ordinal)
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
                AS opened (session_id, by_visitor, room, integration_type, bot_id, user_id, at, terms, terms_after_id, ordinal)
            WHERE o_conversations[v_known + ordinal] IS NOT NULL GROUP BY 2, 3, 4
        ) AS counted
    ) AS sums
    WHERE nodes.node = p_node;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'node % is not registered', p_node USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    PERFORM wicara_feed_3(0, array_agg(kind ORDER BY part, ordinal), array_agg(conversation_id ORDER BY part, ordinal),
        array_agg(message_id ORDER BY part, ordinal), array_agg(bot_id ORDER BY part, ordinal),
        array_agg(bot_before ORDER BY part, ordinal), array_agg(shown ORDER BY part, ordinal))
    FROM (
        SELECT CAST(1 AS bigint) AS kind, o_conversations[v_known + ordinal] AS conversation_id,
            CAST(NULL AS bigint) AS message_id, bot_id, CAST(NULL AS text) AS bot_before, CAST(1 AS bigint) AS shown,
            1 AS part, ordinal
        FROM unnest(p_opened) WITH ORDINALITY
            AS opened (session_id, by_visitor, room, integration_type, bot_id, user_id, at, terms, terms_after_id, ordinal)
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

-- Nodes from before keep no documents: what they would write is refused.
DROP FUNCTION wicara_append_3;
DROP TYPE wicara_opened_1;
DROP TYPE wicara_message_1;
