import type { LiveEvent, Message, StoredEvent } from "../../shared/api";
import { conversationDetail, conversationSeen, messageList } from "../api/calls";
import { ApiError } from "../api/http";
import type { Conversations } from "../conversations.svelte";
import { compareNumbers } from "../live/cursor";
import type { Live } from "../live/live.svelte";
import { type Answers, answersApply, messagesMerge } from "./messages";

const PAGE = 50;
/** Typing is forgotten after so long; who types says so again before. */
const TYPING_MILLISECONDS = 6_000;
/** What was shown of an answer stays so long after its end for what is stored of it to come: it may be nothing. */
const FINISHED_MILLISECONDS = 3_000;

export type ThreadStatus = "loading" | "ready" | "failed" | "gone" | "deleted";

/** One conversation's messages: the newest, older ones on demand, and what comes. */
export class Thread {
  messages = $state.raw<Message[]>([]);
  answers = $state.raw<Answers>(new Map());
  status = $state<ThreadStatus>("loading");
  older = $state<"idle" | "loading" | "failed" | "none">("idle");
  typing = $state<{ visitor: boolean; agent: boolean }>({ visitor: false, agent: false });
  /** Messages that were read while a bot wrote them. */
  readonly followed = new Set<string>();
  /** When this operator has just typed: the event about that is not shown to them. */
  typedAt = 0;

  private readonly controller = new AbortController();
  private readonly unlisten: () => void;
  private readonly timers: Partial<Record<"visitor" | "agent", ReturnType<typeof setTimeout>>> = {};
  private seenUpTo = "0";

  constructor(
    readonly id: string,
    private readonly live: Live,
    private readonly conversations: Conversations,
  ) {
    this.unlisten = live.listen({
      stored: (events) => this.stored(events),
      live: (events) => this.liveEvents(events.filter((event) => event.conversationId === id)),
      reload: () => void this.load(),
    });
    live.watch(id);
    conversations.open(id);
    void this.load();
  }

  close(): void {
    this.controller.abort();
    this.unlisten();
    this.live.watch(null);
    Object.values(this.timers).forEach(clearTimeout);
  }

  async load(): Promise<void> {
    const { signal } = this.controller;
    try {
      const [detail, page] = await Promise.all([
        this.live.load(() => conversationDetail(this.id, signal)),
        this.live.load(() => messageList(this.query(), signal)),
      ]);
      if (signal.aborted) return;
      this.conversations.put(detail.body.data);
      for (const event of detail.events) this.conversations.apply(event);
      this.messages = [...page.body.data].reverse();
      this.older = page.body.data.length < PAGE ? "none" : "idle";
      this.status = "ready";
      this.stored(page.events);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 400 || error.status === 404) this.status = "gone";
      else if (this.status === "loading") this.status = "failed";
    }
  }

  retry(): void {
    this.status = "loading";
    void this.load();
  }

  async loadOlder(): Promise<void> {
    const oldest = this.messages[0]?.id;
    if (!oldest || this.older === "loading" || this.older === "none") return;
    this.older = "loading";
    const { signal } = this.controller;
    try {
      const { body } = await messageList({ ...this.query(), before: oldest }, signal);
      this.messages = messagesMerge(this.messages, body.data);
      this.older = body.data.length < PAGE ? "none" : "idle";
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.older = "failed";
    }
  }

  /** Takes a message that this page has sent or changed. */
  add(message: Message): void {
    if (message.conversationId === this.id) this.messages = messagesMerge(this.messages, [message]);
  }

  /** Takes a message out that this page has deleted. */
  remove(id: string): void {
    this.messages = this.messages.filter((message) => message.id !== id);
  }

  /** Tells the server how far this operator has read. */
  async see(): Promise<void> {
    const newest = this.messages.at(-1)?.id;
    if (!newest || compareNumbers(newest, this.seenUpTo) <= 0) return;
    const before = this.seenUpTo;
    this.seenUpTo = newest;
    this.conversations.seen(this.id, newest);
    try {
      await conversationSeen(this.id, newest);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // With the next message it is told again.
      this.seenUpTo = before;
    }
  }

  private query(): Record<string, string> {
    return { conversationId: this.id, order: "desc", limit: String(PAGE) };
  }

  private stored(events: StoredEvent[]): void {
    for (const event of events) {
      if (event.kind === "conversation.deleted") {
        if (event.conversation.id === this.id) this.status = "deleted";
      } else if (event.kind === "conversation.created") {
        if (event.conversation.id === this.id) void this.load();
      } else if (event.kind === "message.created" || event.kind === "message.updated") {
        if (event.message.conversationId === this.id) this.put(event.message);
      } else if (event.kind === "message.deleted") {
        if (event.message.conversationId === this.id) this.remove(event.message.id);
      }
    }
  }

  private put(message: Message): void {
    const oldest = this.messages[0];
    // A change of a message that is not loaded comes with its page.
    if (oldest && compareNumbers(message.id, oldest.id) < 0 && this.older !== "none") return;
    if (message.replyTo && this.answers.has(message.replyTo)) this.followed.add(message.id);
    this.messages = messagesMerge(this.messages, [message]);
    const question = message.replyTo ?? (message.failure ? message.id : null);
    if (question) this.answerEnd(question);
    if (message.role === "client") this.typingSet("visitor", false);
    if (message.role === "agent") this.typingSet("agent", false);
  }

  private liveEvents(events: LiveEvent[]): void {
    if (events.length === 0) return;
    // What follows an end is what is stored: the text stays until that has come.
    const pieces = events.filter(
      (event) => event.kind !== "answer.finished" || !this.answers.get(event.replyTo),
    );
    this.answers = answersApply(this.answers, pieces);
    for (const event of events) {
      if (event.kind === "answer.finished")
        setTimeout(() => this.answerEnd(event.replyTo), FINISHED_MILLISECONDS);
      if (event.kind !== "typing") continue;
      const by = event.by === "agent" ? "agent" : "visitor";
      if (by === "agent" && Date.now() - this.typedAt < TYPING_MILLISECONDS) continue;
      this.typingSet(by, true);
    }
  }

  private answerEnd(question: string): void {
    if (!this.answers.has(question)) return;
    const answers = new Map(this.answers);
    answers.delete(question);
    this.answers = answers;
  }

  private typingSet(by: "visitor" | "agent", typing: boolean): void {
    clearTimeout(this.timers[by]);
    this.typing[by] = typing;
    if (typing) this.timers[by] = setTimeout(() => (this.typing[by] = false), TYPING_MILLISECONDS);
  }
}
