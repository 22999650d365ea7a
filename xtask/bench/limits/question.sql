-- The statements of one question in a new session, in the five round trips that they take: for BENCHMARKS.md, "Limits".
\startpipeline
BEGIN;
INSERT INTO batches (id) VALUES (gen_random_uuid());
SELECT nextval('conversation_ids'), nextval('message_ids');
\endpipeline
\startpipeline
INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, handler, next_seq, message_count, note_count, message_bytes, created_at, updated_at) VALUES (currval('conversation_ids'), gen_random_uuid(), 1, 'website', 'website', 'instant', 'bot', 2, 1, 0, 57, 1780000000000, 1780000000000);
INSERT INTO messages (id, conversation_id, seq, role, kind, text, bytes, created_at, updated_at) VALUES (currval('message_ids'), currval('conversation_ids'), 1, 'client', 'text', 'When is the office open, and what has to be brought along?', 57, 1780000000000, 1780000000000);
INSERT INTO totals (what, level, bucket, bot_id, integration_type, count) SELECT what, level, 1, 'instant', 'website', 1 FROM (VALUES ('conversations'), ('messages')) AS counted (what), generate_series(0, 3) AS levels (level) ON CONFLICT (what, level, bucket, bot_id, integration_type) DO UPDATE SET count = totals.count + 1;
INSERT INTO asks (message_id, node, asked_at) VALUES (currval('message_ids'), 1, 1780000000000);
COMMIT;
\endpipeline
\startpipeline
BEGIN;
INSERT INTO batches (id) VALUES (gen_random_uuid());
DELETE FROM asks WHERE message_id = (SELECT currval('message_ids')) RETURNING message_id;
\endpipeline
\startpipeline
UPDATE conversations SET next_seq = next_seq + 1, message_count = message_count + 1, message_bytes = message_bytes + 57, updated_at = 1780000000001 WHERE id = (SELECT currval('conversation_ids')) RETURNING next_seq;
SELECT nextval('message_ids');
\endpipeline
\startpipeline
INSERT INTO messages (id, conversation_id, seq, role, kind, text, bytes, reply_to, created_at, updated_at) VALUES (currval('message_ids'), currval('conversation_ids'), 2, 'bot', 'text', 'Hello! I am well, thank you.', 57, currval('message_ids') - 1, 1780000000000, 1780000000000);
INSERT INTO totals (what, level, bucket, bot_id, integration_type, count) SELECT 'messages', level, 1, 'instant', 'website', 1 FROM generate_series(0, 3) AS levels (level) ON CONFLICT (what, level, bucket, bot_id, integration_type) DO UPDATE SET count = totals.count + 1;
COMMIT;
\endpipeline
