/**
 * One tab of a browser leads: it holds the connection and tells the others what comes. The browser hands the lead on when
 * a tab is closed or crashes (Web Locks). Where there are no locks (plain http on another host), each tab leads itself
 * while it is on the screen: a browser has six connections for a server, and streams of hidden tabs would take them all.
 */
export class Tabs<Note> {
  private readonly channel: BroadcastChannel | null;
  private release: (() => void) | null = null;
  private readonly waiting = new AbortController();

  constructor(
    name: string,
    private readonly listener: { lead(): void; rest(): void; note(note: Note): void },
  ) {
    const shared = typeof BroadcastChannel === "function" && !!navigator.locks;
    this.channel = shared ? new BroadcastChannel(name) : null;
    if (!this.channel) {
      queueMicrotask(this.visibility);
      document.addEventListener("visibilitychange", this.visibility);
      return;
    }
    this.channel.onmessage = (event: MessageEvent<Note>) => listener.note(event.data);
    navigator.locks
      .request(name, { signal: this.waiting.signal }, () => {
        listener.lead();
        return new Promise<void>((resolve) => (this.release = resolve));
      })
      .catch(() => {
        // The wait for the lead was ended by close().
      });
  }

  private readonly visibility = (): void => {
    if (document.hidden) this.listener.rest();
    else this.listener.lead();
  };

  /** Tells the other tabs, not this one. */
  tell(note: Note): void {
    this.channel?.postMessage(note);
  }

  close(): void {
    document.removeEventListener("visibilitychange", this.visibility);
    this.waiting.abort();
    this.release?.();
    this.channel?.close();
  }
}
