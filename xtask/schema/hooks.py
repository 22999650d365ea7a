"""A check of our own beside Schemathesis's."""

import schemathesis

UNKNOWN_IDS = ("ConversationId is Invalid", "MessageId is Invalid")
# A bot that is not there or not for visitors, a visitor's first question, whose key has to be longer, an id in
# a list that is too large, a search for too many words or with a minus before each of them, and relevance without a search.
UNKNOWABLE_RULES = (
    ("exists", "botId"),
    ("exists", "bot"),
    ("minLength", "Idempotency-Key"),
    ("range", "conversationId"),
    ("query", "q"),
    ("enum", "sort"),
    # Another one than the caller's.
    ("password", "old"),
)


@schemathesis.check
def well_formed_and_refused_for_a_reason(ctx, response, case):
    """The 400 that schemathesis.toml lets pass is for what no schema can say."""
    well_formed = case.meta is not None and case.meta.generation.mode.is_positive
    if not well_formed or response.status_code != 400:
        return
    # To JSON Schema 5.0 is an integer; an id is digits alone, and so is a value.
    if isinstance(case.body, dict) and any(isinstance(case.body.get(name), float) for name in ("upTo", "value")):
        return
    body = response.json()
    broken = [(error["rule"], error["field"]) for error in body.get("errors", [])]
    unknowable = broken and all(rule in UNKNOWABLE_RULES for rule in broken)
    assert unknowable or body.get("error") in UNKNOWN_IDS, "a well-formed request was refused"
