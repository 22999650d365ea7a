-- The queue by activity. While each conversation that people have was looked at, a list of the queue and its count took 15 to
-- 20 ms with 10,000 of these. Conversations that people do not have pay nothing for it.
CREATE INDEX activity_queue ON conversation_activity (minute, conversation_id)
    WHERE handler = 'human' AND assignee_id IS NULL;
CREATE INDEX activity_queue_by_bot ON conversation_activity (bot_id, minute, conversation_id)
    WHERE handler = 'human' AND assignee_id IS NULL;
