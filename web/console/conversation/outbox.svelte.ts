import type { Message } from "../../shared/api";
import { messageCreate } from "../api/calls";
import { ApiError } from "../api/http";
import { store, stored, storedKeys } from "../storage";

const ATTEMPTS = 4;
const FIRST_PAUSE_MILLISECONDS = 1_000;
/** The server knows a key for 24 hours; what is older is not sent again by itself. */
const KEY_MILLISECONDS = 24 * 3_600_000;

export interface Sending {
  key: string;
  conversationId: string;
  role: "agent" | "note";
  text: string;
  /** The JSON text: every attempt sends the same bytes with the same key. */
  body: string;
  at: number;
  state: "sending" | "failed" | "rejected";
  error: string;
}

/**
 * Messages on their way to the server. One is kept in the browser until the server has it, and each attempt carries the
 * same key, so that none is lost and none is stored twice.
 */
export class Outbox {
  list = $state<Sending[]>([]);
  /** Told of what was stored. */
  sent: (message: Message) => void = () => {};
  private readonly prefix: string;
  private closed = false;

  constructor(account: string) {
    this.prefix = `wicara-outbox-${account}-`;
    for (const key of storedKeys(this.prefix)) {
      const sending = stored<Sending>(key);
      if (!sending) continue;
      const fresh = Date.now() - sending.at < KEY_MILLISECONDS;
      this.list.push({ ...sending, state: fresh ? "sending" : "failed", error: "" });
    }
    this.list.sort((a, b) => a.at - b.at);
    for (const sending of this.list) if (sending.state === "sending") void this.deliver(sending.key);
    addEventListener("online", this.retryAll);
  }

  close(): void {
    this.closed = true;
    removeEventListener("online", this.retryAll);
  }

  send(conversationId: string, role: Sending["role"], text: string): void {
    const body = JSON.stringify({ conversationId, role, type: "text", message: text });
    const key = randomKey();
    const sending: Sending = {
      key,
      conversationId,
      role,
      text,
      body,
      at: Date.now(),
      state: "sending",
      error: "",
    };
    this.list.push(sending);
    store(this.prefix + key, sending);
    void this.deliver(key);
  }

  retry(key: string): void {
    const sending = this.find(key);
    if (!sending || sending.state === "sending") return;
    sending.state = "sending";
    void this.deliver(key);
  }

  drop(key: string): void {
    this.list = this.list.filter((sending) => sending.key !== key);
    store(this.prefix + key, null);
  }

  private readonly retryAll = (): void => {
    for (const sending of this.list) if (sending.state === "failed") this.retry(sending.key);
  };

  private find(key: string): Sending | undefined {
    return this.list.find((sending) => sending.key === key);
  }

  private async deliver(key: string): Promise<void> {
    for (let attempt = 1; !this.closed; attempt += 1) {
      const sending = this.find(key);
      if (!sending) return;
      try {
        const { body } = await messageCreate(sending.body, key);
        this.drop(key);
        return this.sent(body.data);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        // 409: an earlier attempt is still running.
        const passing = error.passing || error.status === 409;
        if (!passing || attempt === ATTEMPTS) {
          sending.state = passing || error.status === 401 ? "failed" : "rejected";
          sending.error = error.body.errors?.[0]?.message ?? error.body.error ?? "";
          return;
        }
        const pause = FIRST_PAUSE_MILLISECONDS * 2 ** (attempt - 1);
        await new Promise((resolve) =>
          setTimeout(resolve, Math.max(pause, (error.retryAfterSeconds ?? 0) * 1000)),
        );
      }
    }
  }
}

/** Not crypto.randomUUID, which browsers have on https alone. */
function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
