/* The calls to the server. It is the only file of the widget that fetches. */

import { readEvents, type StreamEvent } from "../shared/stream.ts";
import type { ConversationState, Message, ThreadDetail, WidgetSettings } from "./types.ts";

/** Three heartbeats of the server. */
export const SILENCE_MILLIS = 45_000;

/** An answer with another status than 200. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    /** Seconds of Retry-After; 0 where there are none. */
    readonly wait: number,
    readonly body: { session_id?: string; question_id?: number; error?: string },
  ) {
    super(String(status));
  }
}

export class Transport {
  /** `base`: where the server is, with a slash at the end. */
  constructor(private readonly base: string) {}

  settings(bot: string | undefined): Promise<WidgetSettings> {
    return this.call(`widget${bot ? `?bot=${encodeURIComponent(bot)}` : ""}`);
  }

  /** Asks, and reads the answer's stream to its end. A body that is no stream is given as one event. */
  async ask(
    key: string,
    body: string,
    onEvent: (event: StreamEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.fetch("questions", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream", "Idempotency-Key": key },
      body,
      signal,
    });
    if (isStream(response)) return readEvents(response, onEvent, SILENCE_MILLIS);
    onEvent({ event: "message", data: await response.text(), id: "" });
  }

  /** The newest messages or those before `before`, and the position up to which everything is in them. */
  async thread(session: string, before?: number): Promise<[ThreadDetail, string | null]> {
    const response = await this.fetch(`questions/${session}${before ? `?before=${before}` : ""}`);
    return [(await response.json()).data, response.headers.get("X-Wicara-Cursor")];
  }

  async follow(session: string, after: string, onEvent: (event: StreamEvent) => void, signal: AbortSignal) {
    const path = `questions/${session}/events?after=${encodeURIComponent(after)}`;
    const response = await this.fetch(path, { headers: { Accept: "text/event-stream" }, signal });
    return readEvents(response, onEvent, SILENCE_MILLIS);
  }

  handover(session: string): Promise<ConversationState> {
    return this.call(`questions/${session}/handover`, "POST");
  }

  stop(session: string): Promise<ConversationState> {
    return this.call(`questions/${session}/answer`, "DELETE");
  }

  seen(session: string, upTo: number): Promise<unknown> {
    return this.call(`questions/${session}/seen`, "POST", { upTo });
  }

  typing(session: string): Promise<unknown> {
    return this.call(`questions/${session}/typing`, "POST");
  }

  feedback(session: string, message: number, value: number, text?: string): Promise<Message | undefined> {
    return this.call(`questions/${session}/messages/${message}/feedback`, "PUT", { value, text });
  }

  private async call<T>(path: string, method = "GET", body?: unknown): Promise<T> {
    const headers = body ? { "Content-Type": "application/json" } : undefined;
    const response = await this.fetch(path, {
      method,
      headers,
      body: body ? JSON.stringify(body) : undefined,
    });
    return (await response.json()).data;
  }

  private async fetch(path: string, options: RequestInit = {}): Promise<Response> {
    const cut = new AbortController();
    if (options.signal?.aborted) cut.abort();
    options.signal?.addEventListener("abort", () => cut.abort());
    const timer = setTimeout(() => cut.abort(), SILENCE_MILLIS);
    const response = await fetch(`${this.base}api/${path}`, {
      ...options,
      signal: cut.signal,
      credentials: "omit",
      cache: "no-store",
      referrerPolicy: "no-referrer",
    }).finally(() => clearTimeout(timer));
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    throw new Refused(response.status, Number(response.headers.get("Retry-After")) || 0, body);
  }
}

function isStream(response: Response): boolean {
  return /^text\/event-stream/i.test(response.headers.get("Content-Type") ?? "");
}
