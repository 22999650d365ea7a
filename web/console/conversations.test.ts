import { expect, test } from "vitest";
import type { Conversation, StoredEvent } from "../shared/api";
import { Conversations } from "./conversations.svelte";

const conversation = (handler: string, lastId: string) =>
  ({ id: "5", handler, lastMessage: { id: lastId } }) as Conversation;
const said = (role: string, handler: string, id: string) =>
  ({
    kind: "message.created",
    cursor: "e.1",
    at: "",
    message: { id, role },
    conversation: conversation(handler, id),
  }) as StoredEvent;

test("the public's messages count as unread where people have the conversation, or it was opened", () => {
  const conversations = new Conversations();
  conversations.put(conversation("human", "1"));
  conversations.apply(said("client", "human", "2"));
  conversations.apply(said("agent", "human", "3"));
  expect(conversations.get("5")?.unreadCount).toBe(1);
  conversations.apply({ kind: "conversation.seen", at: "", cursor: "e.2", conversationId: "5", upTo: "3" });
  expect(conversations.get("5")?.unreadCount).toBe(0);
  conversations.apply(said("client", "bot", "4"));
  expect(conversations.get("5")?.unreadCount).toBe(0);
  conversations.open("5");
  conversations.apply(said("client", "bot", "5"));
  expect(conversations.get("5")?.unreadCount).toBe(1);
});

test("what is shown nowhere is not kept, and what is deleted is forgotten", () => {
  const conversations = new Conversations();
  conversations.apply(said("client", "human", "2"));
  expect(conversations.get("5")).toBeUndefined();
  conversations.put(conversation("human", "1"));
  conversations.apply({ kind: "conversation.deleted", at: "", cursor: "e.3", conversation: { id: "5" } });
  expect(conversations.get("5")).toBeUndefined();
});
