-- What version 1 of the schema held when a server had worked on it for a while and was then killed, as that server wrote
-- it. It says `bytes'00'` and `uuid'…'` for what each database writes in its own way, and `{now}` for the time at which it
-- is filled in, in milliseconds since 1970.

INSERT INTO users (email, password_hash, role, bots, created_at) VALUES
    ('admin@localhost', '$argon2id$v=19$m=19456,t=2,p=1$Z1H3GAsUerfFY4pNvPm/7w$/a1/qezjO8LQiOsh/kPL9/Bok19/mQpDIl7UuGp5flc', 'admin', NULL, 1790000000000),
    ('viewer@example.org', '$argon2id$v=19$m=19456,t=2,p=1$WQt/oerSV4LNUGxecN2dsg$v+8L3bWy5JntLZnvq1UmAGQYEzwwXAu8b2ptCP0x6a4', 'viewer', '["guide","echo"]', 1790000001000);

INSERT INTO sessions (token_hash, user_id, created_at, expires_at) VALUES
    (bytes'e49cd46e3f9227c2dfe077caa70dc0f3406fadf313b6baf2ad988dd702b1b21d', 1, 1790000001000, {now} + 3600000);

INSERT INTO keys (name, hash, role, bots, api, created_at) VALUES
    ('agent', bytes'611bdd2f331648abdc050eeb5a0e8390b8e54aa418de69bdf5c854c8600e056a', 'agent', NULL, 'chatbot', 1790000000000),
    ('viewer', bytes'c82f24ae5a39502480307f83b9649b2129bf9d332172b5f42e896b81e7fbd2c5', 'viewer', '["guide"]', 'conversation', 1790000001000);

INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, user_id, handler, next_seq, message_count, note_count, message_bytes, created_at, updated_at) VALUES
    (1, uuid'9f534a11-1c17-453e-a126-05c63efc25af', 1, 'website-1', 'website', 'echo', NULL, 'bot', 7, 6, 1, 247, 1790000002000, 1790000004000),
    (2, uuid'a2eecf24-af67-4e89-9f1f-24cd0c459112', 0, 'room-7', 'whatsapp', 'guide', 'u-1', 'bot', 2, 1, 0, 6, 1790000005000, 1790000007000),
    (3, uuid'25c6d54a-ce0c-4774-9c64-6fe06f1c491c', 1, 'website-3', 'website', 'echo', NULL, 'bot', 2, 1, 0, 10, 1790000008000, 1790000008000),
    (301, uuid'4a0d0f21-38fe-48cd-ae4c-5c04ce8bd6bc', 0, 'moved', 'website', 'guide', 'key-1', 'human', 5, 3, 0, 15, 1790000010000, 1790000015000),
    (302, uuid'a3446395-0c1a-4234-a213-de3b920a9708', 1, 'website-302', 'website', 'echo', NULL, 'bot', 2, 1, 0, 10, 1790000016000, 1790000016000);

INSERT INTO messages (id, conversation_id, seq, role, kind, text, payload, bytes, reply_to, failure, failed_at, created_at, updated_at) VALUES
    (1, 1, 1, 'client', 'text', 'hello', NULL, 5, NULL, NULL, NULL, 1790000002000, 1790000002000),
    (2, 1, 2, 'bot', 'text', 'echo: hello', '{"text":"echo: hello"}', 33, 1, NULL, NULL, 1790000002000, 1790000002000),
    (3, 1, 3, 'client', 'text', 'say [{"text": "two", "z": 1.00, "a": 1e3, "n": "\u0000"}, {"text": "and 👩‍👩‍👧"}]', NULL, 93, NULL, NULL, NULL, 1790000003000, 1790000003000),
    (4, 1, 4, 'bot', 'text', 'two', '{"text": "two", "z": 1.00, "a": 1e3, "n": "\u0000"}', 54, 3, NULL, NULL, 1790000003000, 1790000003000),
    (5, 1, 5, 'bot', 'text', 'and 👩‍👩‍👧', '{"text": "and 👩‍👩‍👧"}', 56, 3, NULL, NULL, 1790000003000, 1790000003000),
    (6, 1, 6, 'note', 'text', 'a note', NULL, 6, NULL, NULL, NULL, 1790000004000, 1790000004000),
    (7, 2, 1, 'client', 'text', 'edited', NULL, 6, NULL, NULL, NULL, 1790000006000, 1790000007000),
    (8, 3, 1, 'client', 'text', 'asked once', NULL, 10, NULL, 'rejected', 1790000008000, 1790000008000, 1790000008000),
    (8191, 301, 1, 'agent', 'image', 'far 0', NULL, 5, NULL, NULL, NULL, 1790000011000, 1790000011000),
    (8193, 301, 3, 'agent', 'image', 'far 2', NULL, 5, NULL, NULL, NULL, 1790000013000, 1790000013000),
    (8194, 301, 4, 'agent', 'image', 'far 3', NULL, 5, NULL, NULL, NULL, 1790000014000, 1790000014000),
    (8195, 302, 1, 'client', 'text', 'still open', NULL, 10, NULL, NULL, NULL, 1790000016000, 1790000016000);

INSERT INTO asks (message_id, node, asked_at) VALUES
    (8195, -1815609662, 1790000016000);

INSERT INTO totals (what, level, bucket, bot_id, integration_type, count) VALUES
    ('conversations', 0, 0, 'echo', 'website', 2),
    ('conversations', 0, 0, 'guide', 'whatsapp', 1),
    ('conversations', 0, 1, 'echo', 'website', 1),
    ('conversations', 0, 1, 'guide', 'website', 1),
    ('conversations', 1, 0, 'echo', 'website', 3),
    ('conversations', 1, 0, 'guide', 'website', 1),
    ('conversations', 1, 0, 'guide', 'whatsapp', 1),
    ('conversations', 2, 0, 'echo', 'website', 3),
    ('conversations', 2, 0, 'guide', 'website', 1),
    ('conversations', 2, 0, 'guide', 'whatsapp', 1),
    ('conversations', 3, 0, 'echo', 'website', 3),
    ('conversations', 3, 0, 'guide', 'website', 1),
    ('conversations', 3, 0, 'guide', 'whatsapp', 1),
    ('messages', 0, 0, 'echo', 'website', 7),
    ('messages', 0, 0, 'guide', 'whatsapp', 1),
    ('messages', 0, 31, 'echo', 'website', 0),
    ('messages', 0, 31, 'guide', 'website', 1),
    ('messages', 0, 32, 'echo', 'website', 1),
    ('messages', 0, 32, 'guide', 'website', 2),
    ('messages', 1, 0, 'echo', 'website', 7),
    ('messages', 1, 0, 'guide', 'website', 1),
    ('messages', 1, 0, 'guide', 'whatsapp', 1),
    ('messages', 1, 1, 'echo', 'website', 1),
    ('messages', 1, 1, 'guide', 'website', 2),
    ('messages', 2, 0, 'echo', 'website', 8),
    ('messages', 2, 0, 'guide', 'website', 3),
    ('messages', 2, 0, 'guide', 'whatsapp', 1),
    ('messages', 3, 0, 'echo', 'website', 8),
    ('messages', 3, 0, 'guide', 'website', 3),
    ('messages', 3, 0, 'guide', 'whatsapp', 1);

INSERT INTO idempotency (scope, key, body, lease_until, conversation_id, message_id, result, created_at) VALUES
    ('visitor POST /api/questions', 'the-first-question-answered', bytes'9b2d43affbf49a367028df2e1414f84c0e099ac98c3d54a8a80157fd7771af25', {now} - 1000, 1, 1, '{"conversation":{"id":1,"session_id":"9f534a11-1c17-453e-a126-05c63efc25af","by_visitor":true,"room":"website-1","integration_type":"website","bot_id":"echo","user_id":null,"handler":"bot","message_count":2,"note_count":0,"message_bytes":38,"created_at":1790000002000,"updated_at":1790000002000},"messages":[{"id":2,"conversation_id":1,"seq":2,"role":"bot","kind":"text","text":"echo: hello","payload":{"text":"echo: hello"},"reply_to":1,"failure":null,"created_at":1790000002000,"updated_at":1790000002000}]}', {now} - 60000),
    ('key-1 POST /api/message', 'a-note', bytes'1d12fff9e4d061c1206cb6f952783c6b22a572b98806ec3d7faae959f1caeac8', 0, 1, 6, '{"conversation":{"id":1,"session_id":"9f534a11-1c17-453e-a126-05c63efc25af","by_visitor":true,"room":"website-1","integration_type":"website","bot_id":"echo","user_id":null,"handler":"bot","message_count":6,"note_count":1,"message_bytes":247,"created_at":1790000002000,"updated_at":1790000004000},"messages":[{"id":6,"conversation_id":1,"seq":6,"role":"note","kind":"text","text":"a note","payload":null,"reply_to":null,"failure":null,"created_at":1790000004000,"updated_at":1790000004000}]}', {now} - 60000),
    ('key-1 POST /api/conversation', 'a-conversation', bytes'44e50f6258579c436ccfd260b16744b8abfc7490541e496a0e1d6ff5056ad02f', 0, 2, NULL, '{"conversation":{"id":2,"session_id":"a2eecf24-af67-4e89-9f1f-24cd0c459112","by_visitor":false,"room":"room-7","integration_type":"whatsapp","bot_id":"guide","user_id":"u-1","handler":"bot","message_count":0,"note_count":0,"message_bytes":0,"created_at":1790000005000,"updated_at":1790000005000},"messages":[]}', {now} - 60000),
    ('visitor POST /api/questions', 'the-first-question-failed', bytes'6fc5e7b1e878ee5a82edb2c13e01420f5c015ae098bc832b369a1410f942b70e', 0, 3, 8, NULL, {now} - 60000),
    ('visitor POST /api/questions', 'the-first-question-deleted', bytes'6a4cbdee9677295e989e9a497ca76649d5f00543068897090b0510715e2d63ec', 0, 4, 9, NULL, {now} - 60000),
    ('visitor POST /api/questions', 'the-first-question-open', bytes'a3ea20865927487a45bbaaef50d25f642c950f88f3ccad2c97ddb93c3b12cdbe', {now} - 1000, 302, 8195, NULL, {now} - 60000);
