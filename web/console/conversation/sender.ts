import type { Conversation, Message } from "../../shared/api";
import { t } from "../i18n/language.svelte";

/**
 * Whose a message is. A program that brings messages from a channel is the author of both sides: then the conversation
 * says whose they are.
 */
export function senderName(message: Message, conversation: Conversation | undefined): string {
  const { role, author } = message;
  if (role === "client") return conversation?.userId ?? t().visitor;
  if (role === "bot" && author?.kind !== "bot") return conversation?.botId ?? t().bot;
  return author?.name ?? (role === "agent" ? t().operator : role);
}
