-- Documents have the heads of words as terms too (crates/search), so that prefixes as long as these are looked up. All are made
-- anew, in the background, newest first.
DROP TABLE search_documents;
-- FTS5 leaves it behind for a table of this kind.
DROP TABLE IF EXISTS search_documents_content;
CREATE VIRTUAL TABLE search_documents USING fts5(
    terms, scope, conversation_id UNINDEXED,
    content = '', contentless_delete = 1, contentless_unindexed = 1, tokenize = "ascii tokenchars '_'"
);
UPDATE search_index SET messages_below = (SELECT coalesce(max(id) + 1, 0) FROM messages),
    conversations_below = (SELECT coalesce(max(id) + 1, 0) FROM conversations);
DELETE FROM search_moves;
