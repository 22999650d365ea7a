-- What a batch of 20 messages cannot do without, in one round trip: for BENCHMARKS.md, "Limits".
\set first random(1, 900)
\startpipeline
BEGIN;
UPDATE conversations SET next_seq = next_seq + 1, message_count = message_count + 1, message_bytes = message_bytes + 57, updated_at = 1780000000001 FROM generate_series(CAST(:first AS bigint), :first + 19) AS new (of_id) WHERE id = of_id;
INSERT INTO messages (id, conversation_id, seq, role, kind, text, bytes, created_at, updated_at) SELECT nextval('message_ids'), of_id, 1, 'client', 'text', 'When is the office open, and what has to be brought along?', 57, 1780000000000, 1780000000000 FROM generate_series(CAST(:first AS bigint), :first + 19) AS new (of_id);
COMMIT;
\endpipeline
