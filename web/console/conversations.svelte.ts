import { SvelteMap } from "svelte/reactivity";
import type { Conversation, StoredEvent } from "../shared/api";
import { compareNumbers } from "./live/cursor";

/** The conversations that are shown anywhere, by id: a change is seen in the list and in the thread alike. */
export class Conversations {
  private readonly byId = new SvelteMap<string, Conversation>();
  /** Opened by this person on this page: the public's messages there count as unread though the bot has it. */
  private readonly opened = new Set<string>();

  get(id: string): Conversation | undefined {
    return this.byId.get(id);
  }

  /** Takes what a request was answered with. */
  put(conversation: Conversation): void {
    const { excerpt: _excerpt, highlights: _highlights, ...rest } = conversation;
    const unreadCount = conversation.unreadCount ?? this.byId.get(conversation.id)?.unreadCount ?? 0;
    this.byId.set(conversation.id, { ...rest, unreadCount });
  }

  open(id: string): void {
    this.opened.add(id);
  }

  /** Whether anything is known of it afterwards; what is not shown anywhere is not kept. */
  apply(event: StoredEvent): void {
    if (event.kind === "conversation.deleted") {
      this.byId.delete(event.conversation.id);
    } else if (event.kind === "conversation.seen") {
      this.seen(event.conversationId, event.upTo);
    } else if (event.conversation && this.byId.has(event.conversation.id)) {
      const { conversation } = event;
      const before = this.byId.get(conversation.id)?.unreadCount ?? 0;
      const counts = conversation.handler === "human" || before > 0 || this.opened.has(conversation.id);
      const more = event.kind === "message.created" && event.message.role === "client" && counts ? 1 : 0;
      this.put({ ...conversation, unreadCount: before + more });
    }
  }

  seen(id: string, upTo: string): void {
    const known = this.byId.get(id);
    if (!known?.unreadCount) return;
    if (compareNumbers(upTo, known.lastMessage?.id ?? "0") >= 0)
      this.byId.set(id, { ...known, unreadCount: 0 });
  }
}
