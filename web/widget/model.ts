/* The visitor's conversations as the window shows them, and all that can be done with them. It knows nothing of the DOM. */

import { follow } from "./live.ts";
import { Outbox } from "./outbox.ts";
import { type Conversation, type Pending, randomKey, type Store } from "./store.ts";
import { Thread } from "./thread.ts";
import { Refused, type Transport } from "./transport.ts";
import type { Message } from "./types.ts";

/** Of a conversation's name, which is its first question. */
const TITLE_LENGTH = 80;
/** The server counts one report of typing in 3 seconds. */
const TYPING_MILLIS = 3_000;
/** What is seen within this time is reported at once. */
const SEEN_MILLIS = 700;

export interface ModelEvents {
  changed(): void;
  /** An answer is whole, or a person has written. */
  arrived(message: Message): void;
}

export class Model {
  readonly outbox: Outbox;
  /** The conversation that is shown; undefined: a new one, without a question yet. */
  current: string | undefined;
  isConnected = true;
  /** The earlier conversation was gone when its visitor wrote on. */
  hasBegunAnew = false;
  private readonly threads = new Map<string, Thread>();
  private readonly blank = new Thread();
  private following: AbortController | undefined;
  private followed = "";
  private isLive = false;
  private isChosen = false;
  private typedAt = 0;
  private readonly seen = new Map<string, number>();
  private seenTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly store: Store,
    private readonly transport: Transport,
    bot: string | undefined,
    private readonly events: ModelEvents,
  ) {
    this.current = store.read().current;
    this.outbox = new Outbox(store, transport, bot, {
      accepted: (pending, question) => {
        this.put(pending.conversation, {
          id: question,
          role: "client",
          text: pending.text,
          replyTo: null,
          createdAt: new Date().toISOString(),
        });
        this.follow();
      },
      token: (conversation, question, offset, text) => {
        this.threadOf(conversation).place(question, offset, text);
        events.changed();
      },
      answered: (conversation, answer) => {
        const thread = this.threadOf(conversation);
        const before = thread.newest;
        thread.answered(answer);
        this.arrivals(conversation, before);
      },
      unanswered: (conversation, question, status) => void this.unanswered(conversation, question, status),
      gone: (pending) => this.beginAnew(pending),
      changed: events.changed,
    });
  }

  /** Sends what was asked before the page was loaded anew. */
  start(): void {
    this.store.onChange(() => this.stored());
    this.outbox.send();
  }

  get thread(): Thread {
    return this.current ? this.threadOf(this.current) : this.blank;
  }

  get conversation(): Conversation | undefined {
    return this.store.conversation(this.current);
  }

  get pending(): Pending[] {
    return this.store.read().pending.filter(({ conversation }) => conversation === this.current);
  }

  get conversations(): Conversation[] {
    return this.store.read().conversations.sort((one, other) => other.at - one.at);
  }

  ask(text: string): void {
    const conversation = this.current ?? randomKey();
    const pending = { key: randomKey(), conversation, text, after: this.thread.newest };
    this.current = conversation;
    this.hasBegunAnew = false;
    this.store.update((state) => {
      const known = state.conversations.find(({ id }) => id === conversation);
      if (known) known.at = Date.now();
      else state.conversations.push({ id: conversation, title: text.slice(0, TITLE_LENGTH), at: Date.now() });
      state.current = conversation;
      state.pending.push(pending);
    });
    this.outbox.send();
  }

  /** Shows a conversation; undefined begins a new one. */
  select(id: string | undefined): void {
    this.isChosen = true;
    this.hasBegunAnew = false;
    this.current = id;
    if (this.store.read().conversations.length) this.store.update((state) => (state.current = id));
    this.follow();
    this.events.changed();
  }

  /** Nothing of the visitor stays in this browser. What was said stays with the server. */
  forget(): void {
    this.outbox.stop();
    this.threads.clear();
    this.select(undefined);
    this.isChosen = false;
    this.store.forget();
  }

  /** Whether the window is open and the page visible: only then a conversation is followed. */
  setLive(isLive: boolean): void {
    this.isLive = isLive;
    this.follow();
  }

  async handover(): Promise<void> {
    const { session, thread } = this.shown();
    if (!session) return;
    try {
      thread.apply({ kind: "conversation.updated", conversation: await this.transport.handover(session) });
    } catch (error) {
      if (error instanceof Refused && error.status === 403)
        thread.state = { ...thread.state, handover: false };
      else throw error;
    } finally {
      this.events.changed();
    }
  }

  async stop(): Promise<void> {
    const { session } = this.shown();
    if (session) await this.transport.stop(session).catch(() => {});
  }

  async feedback(message: Message, value: number, text?: string): Promise<void> {
    const { session, thread } = this.shown();
    if (!session) return;
    const before = message.feedback;
    const given = value ? { value, text } : null;
    thread.put({ ...message, feedback: given });
    this.events.changed();
    try {
      await this.transport.feedback(session, message.id, value, text);
    } catch (error) {
      // Unless another has come meanwhile.
      const now = thread.messages.get(message.id);
      if (now?.feedback === given) thread.put({ ...now, feedback: before });
      // A server that takes none says so by its path or its method.
      if (error instanceof Refused && (error.status === 404 || error.status === 405))
        thread.takesFeedback = false;
      else throw error;
    } finally {
      this.events.changed();
    }
  }

  async older(): Promise<void> {
    const { session, thread } = this.shown();
    const [oldest] = thread.list();
    if (!session || !oldest) return;
    const [detail] = await this.transport.thread(session, oldest.id);
    thread.load(detail, true);
    this.events.changed();
  }

  /** The visitor types; told where people read it. */
  typing(): void {
    const { session, thread } = this.shown();
    if (!session || thread.state.handler !== "human" || Date.now() - this.typedAt < TYPING_MILLIS) return;
    this.typedAt = Date.now();
    this.transport.typing(session).catch(() => {});
  }

  private shown() {
    return { session: this.conversation?.session, thread: this.thread };
  }

  private threadOf(conversation: string): Thread {
    let thread = this.threads.get(conversation);
    if (!thread) this.threads.set(conversation, (thread = new Thread()));
    return thread;
  }

  private put(conversation: string, message: Message): void {
    const thread = this.threadOf(conversation);
    if (!thread.messages.has(message.id)) thread.put(message);
    this.events.changed();
  }

  /** Reports what is new since `before`, unless it is what the thread began with. */
  private arrivals(conversation: string, before: number): void {
    for (const message of this.threadOf(conversation).list()) {
      if (message.id > before && message.role !== "client") this.events.arrived(message);
    }
    this.reportSeen();
    this.events.changed();
  }

  /** The question is stored; what became of it is read, because its stream does not say. */
  private async unanswered(conversation: string, question: number, status: number): Promise<void> {
    const session = this.store.conversation(conversation)?.session;
    const thread = this.threadOf(conversation);
    try {
      const before = thread.newest;
      thread.load((await this.transport.thread(session!))[0]);
      this.arrivals(conversation, before);
    } catch {
      if (status) thread.fail(question, status === 504 ? "timeout" : "unavailable");
    }
    this.events.changed();
  }

  /** The question goes into a conversation of its own, with a key of its own: nobody has stored it yet. */
  private beginAnew(pending: Pending): void {
    const { conversation } = pending;
    const id = randomKey();
    this.hasBegunAnew = this.current === conversation;
    if (this.hasBegunAnew) this.current = id;
    this.threads.delete(conversation);
    this.store.update((state) => {
      const known = state.conversations.find((one) => one.id === conversation);
      state.conversations = state.conversations.filter((one) => one !== known);
      state.conversations.push({ id, title: pending.text.slice(0, TITLE_LENGTH), at: Date.now() });
      if (state.current === conversation) state.current = id;
      for (const one of state.pending) {
        if (one.conversation === conversation)
          Object.assign(one, { conversation: id, key: randomKey(), after: 0, body: undefined });
      }
    });
    this.outbox.send();
    this.events.changed();
  }

  /** The conversation was deleted: the next question opens another. */
  private vanished(conversation: string): void {
    this.threads.delete(conversation);
    if (this.current === conversation) {
      this.current = undefined;
      this.hasBegunAnew = true;
    }
    this.store.update((state) => {
      state.conversations = state.conversations.filter(({ id }) => id !== conversation);
      if (state.current === conversation) state.current = undefined;
    });
  }

  /** The store was changed, here or by another tab. */
  private stored(): void {
    const state = this.store.read();
    const isKnown = state.conversations.some(({ id }) => id === this.current);
    if (this.current && !isKnown) {
      this.threads.delete(this.current);
      this.current = undefined;
    }
    // A tab that shows nothing yet shows what another tab has begun.
    if (!this.current && !this.isChosen && !this.hasBegunAnew) this.current = state.current;
    this.follow();
    this.outbox.send();
    this.events.changed();
  }

  private follow(): void {
    const { current } = this;
    const session = this.isLive ? this.conversation?.session : undefined;
    if (this.followed === (session ?? "")) return;
    this.followed = session ?? "";
    this.following?.abort();
    this.following = undefined;
    this.isConnected = true;
    if (!session || !current) return;
    const { signal } = (this.following = new AbortController());
    const thread = this.threadOf(current);
    void follow({
      transport: this.transport,
      session,
      name: this.store.name,
      signal,
      onThread: (detail) => {
        const before = thread.loaded ? thread.newest : Infinity;
        thread.load(detail);
        this.arrivals(current, before);
      },
      onEvent: (event) => {
        const before = thread.newest;
        thread.apply(event);
        this.arrivals(current, before);
      },
      onConnection: (isThere) => {
        if (this.isConnected === isThere) return;
        this.isConnected = isThere;
        this.events.changed();
      },
      onGone: () => this.vanished(current),
    });
  }

  private reportSeen(): void {
    clearTimeout(this.seenTimer);
    this.seenTimer = setTimeout(() => {
      const { session, thread } = this.shown();
      const last = thread.list().findLast(({ role }) => role !== "client");
      if (!session || !last || !this.isLive || last.id <= (this.seen.get(session) ?? 0)) return;
      this.seen.set(session, last.id);
      this.transport.seen(session, last.id).catch(() => this.seen.delete(session));
    }, SEEN_MILLIS);
  }
}
