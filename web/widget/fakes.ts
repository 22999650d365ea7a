/* What a browser has and Node.js has not, for tests. */

import { vi } from "vitest";

export class FakeStorage {
  readonly items = new Map<string, string>();
  isFull = false;

  getItem(name: string): string | null {
    return this.items.get(name) ?? null;
  }

  setItem(name: string, value: string): void {
    if (this.isFull) throw new DOMException("full", "QuotaExceededError");
    this.items.set(name, value);
  }

  removeItem(name: string): void {
    this.items.delete(name);
  }
}

/** Locks of one browser; each call waits for those before it under the same name. */
export class FakeLocks {
  private readonly queues = new Map<string, Promise<unknown>>();

  async request(
    name: string,
    { signal }: { signal?: AbortSignal },
    work: () => Promise<void>,
  ): Promise<void> {
    const before = this.queues.get(name) ?? Promise.resolve();
    let release = () => {};
    const after = new Promise<void>((done) => (release = done));
    this.queues.set(name, after);
    try {
      const aborted = new Promise<never>((_, fail) =>
        signal?.addEventListener("abort", () => fail(signal.reason)),
      );
      await Promise.race([before, aborted]);
      await work();
    } finally {
      void before.then(release);
    }
  }
}

export interface FakeWindow {
  local: FakeStorage;
  locks: FakeLocks;
  dispatch(event: Event): void;
}

/** `hasLocks: false`: a page without https. */
export function fakeWindow({ hasLocks = true } = {}): FakeWindow {
  const target = new EventTarget();
  const local = new FakeStorage();
  const locks = new FakeLocks();
  vi.stubGlobal("localStorage", local);
  vi.stubGlobal("sessionStorage", new FakeStorage());
  vi.stubGlobal("navigator", hasLocks ? { locks } : {});
  vi.stubGlobal("addEventListener", target.addEventListener.bind(target));
  vi.stubGlobal("removeEventListener", target.removeEventListener.bind(target));
  return { local, locks, dispatch: (event) => void target.dispatchEvent(event) };
}
