-- What searches read: a document for each message, and one for the names of each conversation (its room and its user). Kept
-- as an effect of every command. `rowid`: the message's id, or 2^56 and the conversation's, so that names come before
-- messages where documents are walked from the highest id down. `terms`: the words and stems that crates/search makes of the
-- text, the same on both databases. `scope`: the document's bot, and whether it is a note, so that a search looks at its
-- caller's documents alone. No text is stored a second time, and what is replaced is deleted first: a REPLACE would read it.
CREATE VIRTUAL TABLE search_documents USING fts5(
    terms, scope, conversation_id UNINDEXED,
    content = '', contentless_delete = 1, contentless_unindexed = 1, tokenize = "ascii tokenchars '_'"
);

-- One row: messages and conversations with ids below these may not be searchable yet. They become so in steps, newest first.
CREATE TABLE search_index (
    messages_below      INTEGER NOT NULL,
    conversations_below INTEGER NOT NULL
) STRICT;
INSERT INTO search_index (messages_below, conversations_below)
SELECT (SELECT coalesce(max(id) + 1, 0) FROM messages), (SELECT coalesce(max(id) + 1, 0) FROM conversations);

-- Conversations that have another bot now: documents of their messages below this one still name the one before.
CREATE TABLE search_moves (
    conversation_id INTEGER PRIMARY KEY,
    below           INTEGER NOT NULL
) STRICT;
