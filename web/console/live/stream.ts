import { openStream } from "../api/http";
import { readEvents, type StreamEvent } from "../../shared/stream";

/** The server sends something every 15 seconds; a connection that is silent for longer than this is dead. */
const SILENCE_MILLISECONDS = 40_000;
const FIRST_RETRY_MILLISECONDS = 500;
const LONGEST_RETRY_MILLISECONDS = 20_000;

export type StreamStatus = "connecting" | "open" | "lost";

export interface StreamListener {
  /** What came at once, so that it is applied together. */
  events(events: StreamEvent[]): void;
  status(status: StreamStatus): void;
  /** The server does not let the caller read any more: whoever listens finds out why, and stops the stream. */
  refused(): void;
}

/**
 * A stream of server-sent events that comes back by itself. It reads with fetch and not with EventSource, which shows
 * neither the status of an answer nor the heartbeats that tell a silent connection from a dead one.
 */
export class EventStream {
  private controller: AbortController | null = null;
  private stopped = false;
  private failures = 0;
  private wake: (() => void) | null = null;

  /** `address` is asked before each attempt: it holds the position to go on from. */
  constructor(
    private readonly address: () => string,
    private readonly listener: StreamListener,
  ) {
    addEventListener("online", this.hurry);
    void this.run();
  }

  stop(): void {
    this.stopped = true;
    removeEventListener("online", this.hurry);
    this.controller?.abort();
    this.wake?.();
  }

  private readonly hurry = (): void => this.wake?.();

  private async run(): Promise<void> {
    this.listener.status("connecting");
    while (!this.stopped) {
      let wait = 0;
      try {
        wait = await this.read();
      } catch {
        // The connection broke or was silent for too long: the next attempt goes on from the position.
      }
      if (this.stopped) return;
      if (wait < 0) {
        this.listener.refused();
        wait = LONGEST_RETRY_MILLISECONDS;
      }
      this.failures += 1;
      // One end in a row is ordinary (a restarted server, a proxy's limit) and not worth a notice.
      this.listener.status(this.failures > 1 ? "lost" : "connecting");
      const backoff = Math.min(
        FIRST_RETRY_MILLISECONDS * 2 ** (this.failures - 1),
        LONGEST_RETRY_MILLISECONDS,
      );
      await this.pause(Math.max(wait, backoff * (0.75 + Math.random() / 2)));
    }
  }

  /** Reads one connection to its end. Returns how long to wait at least, or -1 where the server refuses the caller. */
  private async read(): Promise<number> {
    const controller = (this.controller = new AbortController());
    const response = await openStream(this.address(), controller.signal);
    if (response.status === 401 || response.status === 403) return -1;
    if (!response.ok || !response.body) return Number(response.headers.get("Retry-After") ?? 0) * 1000;
    let waiting: StreamEvent[] = [];
    const flush = () => {
      const events = waiting;
      waiting = [];
      if (this.stopped) return;
      this.failures = 0;
      this.listener.status("open");
      this.listener.events(events);
    };
    const take = (event: StreamEvent) => {
      if (waiting.push(event) === 1) queueMicrotask(flush);
    };
    await readEvents(response, take, SILENCE_MILLISECONDS);
    return 0;
  }

  private pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.wake = null;
        resolve();
      };
      const timer = setTimeout(end, milliseconds);
      this.wake = end;
    });
  }
}
