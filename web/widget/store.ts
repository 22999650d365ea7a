/*
 * What the visitor's browser keeps: the sessions of its conversations, which are keys to them, and the questions that no
 * server has acknowledged yet. Nothing is written before the first question. Where storage is blocked or full, memory
 * stands in for it until the page is left.
 */

export interface Conversation {
  /** Of this browser alone; the server's is `session`. */
  id: string;
  /** Unknown until the server has stored the first question. */
  session?: string;
  title: string;
  at: number;
}

/** A question that is not acknowledged. */
export interface Pending {
  /** Its Idempotency-Key: whatever happens, it is sent with this key only, so that it is stored once. */
  key: string;
  conversation: string;
  text: string;
  /** The body exactly as it was first sent; a retry sends the same bytes. Unknown while a question before it waits. */
  body?: string;
  /** The newest message that was known when it was asked. */
  after: number;
}

export interface State {
  conversations: Conversation[];
  current?: string;
  pending: Pending[];
}

export type StorageKind = "local" | "session" | "none";

const MAX_CONVERSATIONS = 50;

export class Store {
  private readonly area: Storage | undefined;
  private memory: State | undefined;
  /** The conversations that this tab has written, as it wrote them. */
  private readonly own = new Map<string, Conversation>();
  private readonly listeners = new Set<() => void>();

  constructor(
    readonly name: string,
    kind: StorageKind,
  ) {
    this.area = storageArea(kind);
    addEventListener("storage", (event) => {
      if (event.key !== name && event.key !== null) return;
      this.memory = undefined;
      if (event.newValue) this.restore();
      else this.own.clear();
      this.changed();
    });
  }

  read(): State {
    if (this.memory) return this.memory;
    try {
      const state = JSON.parse(this.area!.getItem(this.name)!) as State;
      if (Array.isArray(state.conversations) && Array.isArray(state.pending)) return state;
    } catch {
      // Nothing there, blocked, or written by something else.
    }
    return { conversations: [], pending: [] };
  }

  /** Reads anew before it changes, because other tabs write too. */
  update(change: (state: State) => void): void {
    const state = this.read();
    const before = new Map(state.conversations.map((one) => [one.id, JSON.stringify(one)]));
    change(state);
    while (state.conversations.length > MAX_CONVERSATIONS) {
      const oldest = state.conversations.reduce((least, one) => (one.at < least.at ? one : least));
      state.conversations.splice(state.conversations.indexOf(oldest), 1);
    }
    for (const one of state.conversations) {
      if (before.get(one.id) !== JSON.stringify(one)) this.own.set(one.id, { ...one });
      before.delete(one.id);
    }
    for (const removed of before.keys()) this.own.delete(removed);
    try {
      this.area!.setItem(this.name, JSON.stringify(state));
      this.memory = undefined;
    } catch {
      this.memory = state;
    }
    this.changed();
  }

  conversation(id: string | undefined): Conversation | undefined {
    return this.read().conversations.find((conversation) => conversation.id === id);
  }

  forget(): void {
    this.memory = undefined;
    this.own.clear();
    try {
      this.area?.removeItem(this.name);
    } catch {
      // Blocked, so that nothing is there.
    }
    this.changed();
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Two tabs that write at the same moment overwrite each other: conversations that this one lost it writes again. */
  private restore(): void {
    const { conversations } = this.read();
    const isThere = (own: Conversation) =>
      conversations.some(({ id, session }) => id === own.id && (session || !own.session));
    const lost = [...this.own.values()].filter((own) => !isThere(own));
    if (!lost.length) return;
    this.update((state) => {
      const kept = state.conversations.filter(({ id }) => !lost.some((own) => own.id === id));
      state.conversations = [...kept, ...lost];
    });
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}

export function storageArea(kind: StorageKind): Storage | undefined {
  try {
    // Reading the property throws where the browser blocks storage.
    return kind === "local" ? localStorage : kind === "session" ? sessionStorage : undefined;
  } catch {
    return undefined;
  }
}

/** 128 random bits. `crypto.randomUUID` is missing on pages without https. */
export function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
