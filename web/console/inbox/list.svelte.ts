import { untrack } from "svelte";
import { SvelteSet } from "svelte/reactivity";
import type { Conversation, StoredEvent } from "../../shared/api";
import { conversationList } from "../api/calls";
import { ApiError } from "../api/http";
import type { Conversations } from "../conversations.svelte";
import type { Live } from "../live/live.svelte";
import { type Filters, filtersMatch, filtersParameters, filtersQuery, noFilters } from "./filters";

const PAGE = 50;
/** A page may be empty though more follow; so many are walked before the reader has to ask for more. */
const EMPTY_PAGES = 5;
/** Where only the server can tell what belongs to the list, it is asked at most so often. */
const PROBE_MILLISECONDS = 2_000;
const PROBE_ROWS = 20;
/** So many rows are loaded anew after events were missed. */
const RELOAD_ROWS = 100;

export interface Row {
  id: string;
  excerpt?: string;
  highlights?: number[][];
}

export type ListStatus = "loading" | "ready" | "failed";

/** The inbox's list: loaded page by page, and live without a row moving until the reader wants it. */
export class ConversationList {
  rows = $state.raw<Row[]>([]);
  status = $state<ListStatus>("loading");
  more = $state<"idle" | "loading" | "failed" | "end">("idle");
  error = $state<ApiError | null>(null);
  total = $state(0);
  exact = $state(true);
  indexedFrom = $state<string | undefined>();
  /** What has news that no visible row shows. */
  readonly fresh = new SvelteSet<string>();
  filters: Filters = noFilters;

  private known = new Set<string>();
  private cursor: string | null = null;
  private controller = new AbortController();
  private probeTimer: ReturnType<typeof setTimeout> | undefined;
  /** The rows that are on the screen, by index. */
  private visible: [number, number] = [0, 0];
  private query: string | null = null;

  constructor(
    private readonly me: string,
    private readonly conversations: Conversations,
    private readonly live: Live,
    /** The conversation that is open, if any. */
    private readonly open: () => string | null,
  ) {}

  /** Shows what the filters ask for; nothing is loaded where they are the same. */
  show(filters: Filters): void {
    const query = filtersQuery(filters);
    if (query === this.query) return;
    this.query = query;
    this.filters = filters;
    untrack(() => {
      this.rows = [];
      this.known.clear();
      this.status = "loading";
      void this.load(PAGE);
    });
  }

  retry(): void {
    this.status = "loading";
    void this.load(PAGE);
  }

  /** Brings what is new to the top. Where that fails, what is shown stays, and `error` says why. */
  async refresh(): Promise<void> {
    await this.load(PAGE, this.status === "ready");
  }

  async loadMore(): Promise<void> {
    if (this.more === "loading" || this.more === "end" || this.status !== "ready") return;
    this.more = "loading";
    const { signal } = this.controller;
    try {
      for (let walked = 0; walked < EMPTY_PAGES && this.cursor; walked += 1) {
        const { body, events } = await this.page(this.cursor, PAGE, signal);
        if (signal.aborted) return;
        this.cursor = body.pagination.nextCursor ?? null;
        const added = body.data.filter((conversation) => !this.known.has(conversation.id));
        this.take(added);
        this.rows = [...this.rows, ...added.map(rowOf)];
        this.apply(events);
        if (added.length > 0) break;
      }
      this.more = this.cursor ? "idle" : "end";
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.more = "failed";
    }
  }

  look(first: number, last: number): void {
    this.visible = [first, last];
    for (let index = first; index <= last; index += 1) {
      const id = this.rows[index]?.id;
      if (id) this.fresh.delete(id);
    }
  }

  /** Takes a row out at once: only for what its reader has deleted. */
  remove(id: string): void {
    this.rows = this.rows.filter((row) => row.id !== id);
    this.known.delete(id);
    this.fresh.delete(id);
  }

  /** Whether the row still belongs here: one that does not stays in its place until the list is refreshed. */
  belongs(id: string): boolean {
    const conversation = this.conversations.get(id);
    return !conversation || filtersMatch(this.filters, conversation, this.me) !== false;
  }

  apply(events: StoredEvent[]): void {
    for (const event of events) {
      if (event.kind === "conversation.deleted") {
        this.fresh.delete(event.conversation.id);
      } else if (event.kind === "message.created" || event.kind === "conversation.created") {
        if (event.conversation) this.consider(event.conversation);
      } else if (event.kind === "conversation.updated" && !this.known.has(event.conversation.id)) {
        this.consider(event.conversation);
      }
    }
  }

  /** Events were missed: what is shown is read again in its place. */
  async reload(limit = RELOAD_ROWS): Promise<void> {
    if (this.status !== "ready") return this.retry();
    const { signal } = this.controller;
    try {
      const { body } = await this.page(undefined, limit, signal);
      if (signal.aborted) return;
      for (const conversation of body.data) {
        if (this.known.has(conversation.id)) this.conversations.put(conversation);
        else this.fresh.add(conversation.id);
      }
    } catch (error) {
      if (!(error instanceof ApiError) && !signal.aborted) throw error;
    }
  }

  close(): void {
    this.controller.abort();
    clearTimeout(this.probeTimer);
  }

  private consider(conversation: Conversation): void {
    const { id } = conversation;
    if (id === this.open() && this.known.has(id)) return;
    const index = this.known.has(id) ? this.rows.findIndex((row) => row.id === id) : -1;
    if (index >= this.visible[0] && index <= this.visible[1] && index >= 0) return;
    const match = filtersMatch(this.filters, conversation, this.me);
    if (match === undefined) this.probe();
    if (!match) return;
    if (this.rows.length === 0 && this.status === "ready") this.insert(conversation);
    else this.fresh.add(id);
  }

  /** Into an empty list nothing can be pushed under the pointer. */
  private insert(conversation: Conversation): void {
    this.take([conversation]);
    this.rows = [rowOf(conversation)];
    this.total = 1;
  }

  private probe(): void {
    this.probeTimer ??= setTimeout(() => {
      this.probeTimer = undefined;
      void this.reload(PROBE_ROWS);
    }, PROBE_MILLISECONDS);
  }

  private take(conversations: Conversation[]): void {
    for (const conversation of conversations) {
      this.known.add(conversation.id);
      this.conversations.put(conversation);
    }
  }

  private async load(limit: number, keep = false): Promise<void> {
    this.controller.abort();
    const { signal } = (this.controller = new AbortController());
    try {
      const { body, events } = await this.page(undefined, limit, signal);
      if (signal.aborted) return;
      this.cursor = body.pagination.nextCursor ?? null;
      this.known = new Set();
      this.take(body.data);
      this.rows = body.data.map(rowOf);
      this.fresh.clear();
      this.total = body.pagination.totalItems;
      this.exact = body.pagination.totalIsExact !== false;
      this.indexedFrom = body.pagination.indexedFrom;
      this.more = this.cursor ? "idle" : "end";
      this.error = null;
      this.status = "ready";
      this.apply(events);
      if (this.rows.length === 0 && this.cursor) await this.loadMore();
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
      if (!keep) this.status = "failed";
    }
  }

  private async page(cursor: string | undefined, limit: number, signal: AbortSignal) {
    const parameters = { ...filtersParameters(this.filters), limit: String(limit), cursor };
    return this.live.load(() => conversationList(parameters, signal));
  }
}

function rowOf({ id, excerpt, highlights }: Conversation): Row {
  return { id, excerpt, highlights };
}
