-- Documents have the heads of words as terms too (crates/search), so that prefixes as long as these are looked up. All are made
-- anew, in the background, newest first.
TRUNCATE search_documents;
UPDATE search_index SET messages_below = (SELECT coalesce(max(id) + 1, 0) FROM messages),
    conversations_below = (SELECT coalesce(max(id) + 1, 0) FROM conversations);
DELETE FROM search_moves;

-- Nodes from before would write documents without heads: with the new names they can commit nothing that has events. The
-- functions stay as they are.
DO $$ BEGIN
    EXECUTE replace(replace(pg_get_functiondef(CAST('wicara_append_4' AS regproc)),
        'wicara_append_4', 'wicara_append_5'), 'wicara_feed_3', 'wicara_feed_4');
END $$;
DROP FUNCTION wicara_append_4;
ALTER FUNCTION wicara_feed_3 RENAME TO wicara_feed_4;
