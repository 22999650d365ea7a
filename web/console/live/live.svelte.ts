import { untrack } from "svelte";
import type { LiveEvent, StoredEvent } from "../../shared/api";
import type { StreamEvent } from "../../shared/stream";
import { type Answer, queryString } from "../api/http";
import { type Batch, FeedLog } from "./feed_log";
import { EventStream, type StreamStatus } from "./stream";
import { Tabs } from "./tabs";

/** A tab says so often which conversation it shows, and is forgotten after three times that. */
const WATCH_MILLISECONDS = 10_000;
/** A stream takes so many conversations. */
const WATCHED_CONVERSATIONS = 20;
/** An answer may be from before the events that are kept: then it is asked for again, so often. */
const LOADS = 4;
const LOAD_PAUSE_MILLISECONDS = 250;

type Note =
  | { type: "batch"; batch: Batch }
  | { type: "live"; events: LiveEvent[] }
  | { type: "resync"; cursor: string }
  | { type: "status"; status: StreamStatus }
  | { type: "watch"; tab: string; conversation: string | null }
  | { type: "joined" }
  | { type: "leads" };

export interface LiveListener {
  stored?(events: StoredEvent[]): void;
  live?(events: LiveEvent[]): void;
  /** What is shown has to be loaded again. */
  reload?(): void;
}

interface LiveOptions {
  /** Whose connection it is: tabs of different people share none. */
  account: string;
  refused(): void;
}

/** All live state of the page comes through here: the feed of what is stored, and live events of what is open. */
export class Live {
  status = $state<StreamStatus>("connecting");
  /** Whether this tab holds the connections: notifications are shown by one tab alone. */
  leads = $state(false);

  private readonly log = new FeedLog();
  private readonly listeners = new Set<LiveListener>();
  private readonly tabs: Tabs<Note>;
  private readonly tab = Math.random().toString(36).slice(2);
  private readonly watches = new Map<string, { conversation: string; at: number }>();
  private readonly timer: ReturnType<typeof setInterval>;
  private watched: string | null = null;
  private feed: EventStream | null = null;
  private answers: EventStream | null = null;
  private answersOf = "";

  constructor(private readonly options: LiveOptions) {
    this.tabs = new Tabs<Note>(`wicara-live-${options.account}`, {
      lead: () => this.lead(),
      rest: () => this.rest(),
      note: (note) => this.note(note),
    });
    this.tabs.tell({ type: "joined" });
    this.timer = setInterval(() => this.watchesRenew(), WATCH_MILLISECONDS);
  }

  close(): void {
    this.watch(null);
    clearInterval(this.timer);
    this.feed?.stop();
    this.answers?.stop();
    this.tabs.close();
    this.listeners.clear();
  }

  listen(listener: LiveListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Reads a list or a detail, and with it the events that it does not have yet: what follows comes to listeners. */
  async load<T>(read: () => Promise<Answer<T>>): Promise<{ body: T; events: StoredEvent[] }> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await read();
      if (!answer.cursor) return { body: answer.body, events: [] };
      this.begin(answer.cursor);
      const events = this.log.since(answer.cursor);
      if (events || attempt === LOADS) return { body: answer.body, events: events ?? [] };
      await new Promise((resolve) => setTimeout(resolve, LOAD_PAUSE_MILLISECONDS));
    }
  }

  /** Asks for the live events of the conversation that this tab shows. */
  watch(conversation: string | null): void {
    this.watched = conversation;
    this.watchTell();
  }

  private begin(cursor: string): void {
    const early = this.log.begin(cursor);
    if (early.length > 0) this.stored(early);
    this.feedOpen();
  }

  private lead(): void {
    untrack(() => {
      this.leads = true;
      this.tabs.tell({ type: "leads" });
      this.watchTell();
      this.feedOpen();
    });
  }

  private rest(): void {
    this.leads = false;
    this.feed?.stop();
    this.answers?.stop();
    this.feed = this.answers = null;
    this.answersOf = "";
  }

  private feedOpen(): void {
    if (!this.leads || this.feed || this.log.position === undefined) return;
    this.feed = new EventStream(() => `/api/events${queryString({ after: this.log.position })}`, {
      events: (events) => this.feedEvents(events),
      status: (status) => {
        if (status === this.status) return;
        this.status = status;
        this.tabs.tell({ type: "status", status });
      },
      refused: () => this.options.refused(),
    });
  }

  private feedEvents(streamed: StreamEvent[]): void {
    let batch: Batch = { from: this.log.position ?? "", to: this.log.position ?? "", events: [] };
    const send = () => {
      if (batch.to === batch.from) return;
      this.tabs.tell({ type: "batch", batch });
      this.batch(batch);
    };
    for (const block of streamed) {
      if (block.event === "resync" && block.id) {
        send();
        this.tabs.tell({ type: "resync", cursor: block.id });
        this.resync(block.id);
        batch = { from: block.id, to: block.id, events: [] };
        continue;
      }
      if (block.event !== "hello" && block.data) batch.events.push(JSON.parse(block.data) as StoredEvent);
      if (block.id) batch.to = block.id;
    }
    send();
  }

  private batch(batch: Batch): void {
    const events = this.log.add(batch);
    if (!events) this.resync(batch.to);
    else if (events.length > 0) this.stored(events);
  }

  private stored(events: StoredEvent[]): void {
    for (const listener of this.listeners) listener.stored?.(events);
  }

  private resync(cursor: string): void {
    this.log.restart(cursor);
    for (const listener of this.listeners) listener.reload?.();
  }

  private note(note: Note): void {
    if (note.type === "batch") this.batch(note.batch);
    else if (note.type === "live") this.liveEvents(note.events);
    else if (note.type === "resync") this.resync(note.cursor);
    else if (note.type === "status") this.status = note.status;
    else if (note.type === "leads") this.watchTell();
    else if (note.type === "watch") this.watchSet(note.tab, note.conversation);
    else if (this.leads) this.tabs.tell({ type: "status", status: this.status });
  }

  private liveEvents(events: LiveEvent[]): void {
    for (const listener of this.listeners) listener.live?.(events);
  }

  private watchTell(): void {
    this.tabs.tell({ type: "watch", tab: this.tab, conversation: this.watched });
    this.watchSet(this.tab, this.watched);
  }

  private watchSet(tab: string, conversation: string | null): void {
    if (conversation) this.watches.set(tab, { conversation, at: Date.now() });
    else this.watches.delete(tab);
    this.answersOpen();
  }

  private watchesRenew(): void {
    const oldest = Date.now() - 3 * WATCH_MILLISECONDS;
    for (const [tab, watch] of this.watches) if (watch.at < oldest) this.watches.delete(tab);
    this.watchTell();
  }

  /** Live events are sent for named conversations alone, so they have a stream beside the feed, while any is open. */
  private answersOpen(): void {
    if (!this.leads) return;
    const open = new Set([...this.watches.values()].map((watch) => watch.conversation));
    const conversations = [...open].sort().slice(0, WATCHED_CONVERSATIONS).join(",");
    if (conversations === this.answersOf) return;
    this.answersOf = conversations;
    this.answers?.stop();
    this.answers = null;
    if (!conversations) return;
    const query = queryString({ conversationId: conversations, kinds: "answer.*,typing" });
    this.answers = new EventStream(() => `/api/events${query}`, {
      events: (streamed) => {
        const events = streamed
          .filter(({ event }) => event.startsWith("answer.") || event === "typing")
          .map(({ data }) => JSON.parse(data) as LiveEvent);
        if (events.length === 0) return;
        this.tabs.tell({ type: "live", events });
        this.liveEvents(events);
      },
      status: () => {},
      refused: () => {},
    });
  }
}
