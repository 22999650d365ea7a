\set conversation random(1, 1000)
INSERT INTO messages (conversation_id, seq, role, kind, text, bytes, created_at, updated_at) VALUES (:conversation, 1, 'client', 'text', 'When is the office open, and what has to be brought along?', 57, 1780000000000, 1780000000000);
