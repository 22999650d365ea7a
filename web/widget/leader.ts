/*
 * Several tabs of a browser share its conversations. Web Locks let one of them do what only one should: follow a
 * conversation, or send a question. Pages without https have no Web Locks; there each tab does it for itself, which costs
 * connections and nothing else.
 */

/** Runs `work` once no other tab is at work under this name; not at all if `signal` aborts before. */
export async function exclusively(
  name: string,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  const locks = navigator.locks as LockManager | undefined;
  if (signal.aborted) return;
  if (!locks) return work();
  let started = false;
  try {
    await locks.request(name, { signal }, () => {
      started = true;
      return work();
    });
  } catch (error) {
    if (started) throw error;
    // A page of an opaque origin, such as a sandboxed frame, has the locks and may not use them.
    if (!signal.aborted) return work();
  }
}

/** Tells the other tabs. Without BroadcastChannel nothing is sent and nothing comes. */
export class Channel<T> {
  private readonly channel: BroadcastChannel | undefined;

  constructor(name: string, onMessage: (message: T) => void) {
    if (typeof BroadcastChannel === "undefined") return;
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = (event) => onMessage(event.data as T);
  }

  send(message: T): void {
    this.channel?.postMessage(message);
  }

  close(): void {
    this.channel?.close();
  }
}
