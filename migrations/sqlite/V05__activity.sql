-- What lists by activity and by filters read: a narrow row for each conversation, kept as an effect of every command.
-- `minute`: its last activity (`updated_at` of `conversation_states`), in whole minutes, so that a conversation in which
-- people talk changes its row once a minute and not with each message. `state`: 0 where nothing waits for an answer or a bot
-- is answering, 1 where the newest message that is no note is the public's, 2 where that message has a failure.
CREATE TABLE conversation_activity (
    conversation_id  INTEGER PRIMARY KEY,
    minute           INTEGER NOT NULL,
    state            INTEGER NOT NULL,
    bot_id           TEXT    NOT NULL,
    integration_type TEXT    NOT NULL,
    handler          TEXT    NOT NULL,
    assignee_id      TEXT
) STRICT;

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
    below INTEGER NOT NULL
) STRICT;
INSERT INTO activity_index (below) SELECT coalesce(max(id) + 1, 0) FROM conversations;
