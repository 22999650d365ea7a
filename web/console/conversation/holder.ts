import type { Account, Conversation } from "../../shared/api";

/** Who has a conversation, as its reader sees it. */
export type Holder = "bot" | "queue" | "me" | "other";

export function holderOf(conversation: Conversation, account: Account): Holder {
  if (conversation.handler !== "human") return "bot";
  if (!conversation.assignee) return "queue";
  const mine = conversation.assignee.kind === "person" && conversation.assignee.id === account.id;
  return mine ? "me" : "other";
}
