/*
 * Brings questions to the server, each exactly once: a question is written to the store with its key before it is sent, and
 * sent again with the same key and the same bytes until the server has said that it is stored.
 */

import { exclusively } from "./leader.ts";
import { backoff, pause } from "./pause.ts";
import { type Pending, randomKey, type Store } from "./store.ts";
import type { StreamEvent } from "../shared/stream.ts";
import { Refused, type Transport } from "./transport.ts";
import type { QuestionAnswered } from "./types.ts";

/** What keeps a question from being sent. */
export type Obstacle = "offline" | "busy" | "limit" | "refused" | "tooLong" | "unavailable";

export interface Sending {
  obstacle?: Obstacle;
  /** When it is tried again, in milliseconds; without it and with an obstacle, only when the visitor says so. */
  until?: number;
}

export interface OutboxEvents {
  /** The server has stored the question. */
  accepted(pending: Pending, question: number): void;
  token(conversation: string, question: number, offset: number, text: string): void;
  answered(conversation: string, answer: QuestionAnswered): void;
  /** It is stored, and the bot gave no answer, or it is not known which. */
  unanswered(conversation: string, question: number, status: number): void;
  /** The session is unknown to the server. */
  gone(pending: Pending): void;
  changed(): void;
}

/** About two minutes. */
const MAX_ATTEMPTS = 8;
/** A key that is still in use is asked for again so soon, where the server does not say. */
const RUNNING_MILLIS = 2_000;

export class Outbox {
  readonly sendings = new Map<string, Sending>();
  private readonly running = new Map<string, AbortController>();

  constructor(
    private readonly store: Store,
    private readonly transport: Transport,
    private readonly bot: string | undefined,
    private readonly events: OutboxEvents,
  ) {
    addEventListener("online", () => {
      for (const [key, { obstacle, until }] of this.sendings) {
        if (!until && (obstacle === "offline" || obstacle === "unavailable")) this.sendings.delete(key);
      }
      this.send();
    });
  }

  /** Sends what waits: of each conversation one after the other, because the first brings the session. */
  send(): void {
    const busy = new Set<string>();
    for (const pending of this.store.read().pending) {
      if (busy.has(pending.conversation)) continue;
      busy.add(pending.conversation);
      if (this.running.has(pending.key) || this.sendings.get(pending.key)?.obstacle) continue;
      const stop = new AbortController();
      this.running.set(pending.key, stop);
      this.set(pending.key, {});
      void exclusively(`${this.store.name}:${pending.key}`, stop.signal, () =>
        this.insist(pending.key, stop.signal),
      )
        .catch(() => this.set(pending.key, { obstacle: "unavailable" }))
        .finally(() => {
          this.running.delete(pending.key);
          this.send();
        });
    }
  }

  /** The visitor wants it sent now. */
  retry(key: string): void {
    this.running.get(key)?.abort();
    this.running.delete(key);
    this.sendings.delete(key);
    this.send();
  }

  drop(key: string): void {
    this.running.get(key)?.abort();
    this.sendings.delete(key);
    this.store.update((state) => {
      state.pending = state.pending.filter((pending) => pending.key !== key);
    });
  }

  stop(): void {
    for (const stop of this.running.values()) stop.abort();
    this.sendings.clear();
  }

  private set(key: string, sending: Sending): void {
    this.sendings.set(key, sending);
    this.events.changed();
  }

  private async insist(key: string, signal: AbortSignal): Promise<void> {
    let known: Pending | undefined;
    for (let attempt = 0; !signal.aborted; attempt++) {
      // Another tab may have sent it meanwhile, or forgotten all.
      const pending = this.stored(key) ?? this.overwritten(known);
      if (!pending) return;
      known = pending;
      const met = await this.attempt(pending, signal).catch(
        (error) => !signal.aborted && this.obstacle(pending, error),
      );
      if (!met || signal.aborted) return;
      const [obstacle, millis] = met;
      const isOver =
        millis === undefined || (obstacle !== "busy" && obstacle !== "limit" && attempt >= MAX_ATTEMPTS);
      if (isOver) return this.set(key, { obstacle });
      const delay = Math.max(millis, millis ? 0 : backoff(attempt));
      this.set(key, { obstacle: obstacle === "busy" ? undefined : obstacle, until: Date.now() + delay });
      await pause(delay, signal);
    }
  }

  private stored(key: string): Pending | undefined {
    return this.store.read().pending.find((one) => one.key === key);
  }

  /** The question that is being sent, where a tab that wrote at the same moment has lost it. */
  private overwritten(pending: Pending | undefined): Pending | undefined {
    if (!pending || !this.store.conversation(pending.conversation)) return;
    this.store.update((state) => void state.pending.push(pending));
    return pending;
  }

  /** Sends it once. Resolves when the answer is there, or its stream broke after the question was stored. */
  private async attempt(pending: Pending, signal: AbortSignal): Promise<undefined> {
    const body = (pending.body ??= this.body(pending));
    const { key, conversation } = pending;
    let question = 0;
    let offset = 0;
    let isOver = false;
    const accept = (session: string, id: number) => {
      if (!question) this.accept(pending, session, id);
      question = id;
    };
    const onEvent = ({ event, data }: StreamEvent) => {
      if (!data) return;
      const json = JSON.parse(data);
      if (event === "error" && !json.session_id) throw new Refused(json.status, 0, json);
      if (json.session_id) accept(json.session_id, json.question_id);
      if (event === "token") {
        this.events.token(conversation, question, offset, json.text);
        offset += json.text.length;
      } else if (event === "message") {
        isOver = true;
        this.events.answered(conversation, json);
      } else if (event === "error") {
        isOver = true;
        this.events.unanswered(conversation, question, json.status);
      }
    };
    try {
      await this.transport.ask(key, body, onEvent, signal);
      if (!question) throw new TypeError("The stream broke.");
    } catch (error) {
      if (!question || signal.aborted) throw error;
    }
    if (!isOver) this.events.unanswered(conversation, question, 0);
  }

  private body(pending: Pending): string {
    const session = this.store.conversation(pending.conversation)?.session;
    const body = JSON.stringify({
      message: pending.text,
      session_id: session,
      botId: session ? undefined : this.bot,
    });
    this.store.update((state) => {
      for (const one of state.pending) if (one.key === pending.key) one.body = body;
    });
    return body;
  }

  private accept(pending: Pending, session: string, question: number): void {
    this.store.update((state) => {
      state.pending = state.pending.filter(({ key }) => key !== pending.key);
      for (const one of state.conversations) if (one.id === pending.conversation) one.session = session;
    });
    this.sendings.delete(pending.key);
    this.events.accepted(pending, question);
    // The next one need not wait for this one's answer.
    this.running.delete(pending.key);
    this.send();
  }

  /** What went wrong, and after how many milliseconds to try again: 0 as usual, undefined never. */
  private obstacle(pending: Pending, error: unknown): [Obstacle, number | undefined] | undefined {
    if (!(error instanceof Refused)) return ["offline", 0];
    const { status, wait, body } = error;
    const millis = wait * 1000;
    if (body.session_id && body.question_id) {
      this.accept(pending, body.session_id, body.question_id);
      this.events.unanswered(pending.conversation, body.question_id, status === 409 ? 0 : status);
      return;
    }
    if (status === 409) return ["busy", millis || RUNNING_MILLIS];
    if (status === 429) return ["limit", millis];
    if (status >= 500 || status === 408) return ["unavailable", millis];
    if (status === 404 && body.error?.includes("session_id")) {
      this.events.gone(pending);
      return;
    }
    if (status === 422) {
      // The key was used with another body, so that these bytes were never stored: they are sent with a new one.
      this.store.update((state) => {
        for (const one of state.pending) if (one.key === pending.key) one.key = randomKey();
      });
      return;
    }
    return [status === 413 ? "tooLong" : status === 404 ? "unavailable" : "refused", undefined];
  }
}
