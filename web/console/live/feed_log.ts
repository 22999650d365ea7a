import type { StoredEvent } from "../../shared/api";
import { compareCursors } from "./cursor";

/** So many of the newest events are kept for answers that were read before them and arrive after them. */
const KEPT_EVENTS = 2000;
/** So many batches are kept until the first answer says where this page begins. */
const EARLY_BATCHES = 500;

export interface Batch {
  /** The position before the first event, and after the last. */
  from: string;
  to: string;
  events: StoredEvent[];
}

/**
 * How far this page has read the feed. Batches come from the tab that leads; none may be missed, and none counts twice.
 */
export class FeedLog {
  position: string | undefined;
  private start: string | undefined;
  private readonly kept: StoredEvent[] = [];
  private early: Batch[] = [];

  /** Sets the position where there is none yet. Returns the events that came before it was known. */
  begin(cursor: string): StoredEvent[] {
    if (this.position !== undefined) return [];
    this.position = this.start = cursor;
    const early = this.early;
    this.early = [];
    return early.flatMap((batch) => this.add(batch) ?? []);
  }

  /** Takes a batch. Returns its events that are new here, or undefined where some before them were missed. */
  add(batch: Batch): StoredEvent[] | undefined {
    if (this.position === undefined) {
      if (this.early.length < EARLY_BATCHES) this.early.push(batch);
      return [];
    }
    const ahead = compareCursors(batch.from, this.position);
    if (ahead === undefined || ahead > 0) return undefined;
    const position = this.position;
    const events = batch.events.filter((event) => (compareCursors(event.cursor, position) ?? 1) > 0);
    if ((compareCursors(batch.to, position) ?? 1) > 0) this.position = batch.to;
    this.kept.push(...events);
    if (this.kept.length > KEPT_EVENTS) {
      const dropped = this.kept.splice(0, this.kept.length - KEPT_EVENTS);
      this.start = dropped.at(-1)?.cursor;
    }
    return events;
  }

  /** Begins anew at a position: what is shown has to be loaded again. */
  restart(cursor: string): void {
    this.position = this.start = cursor;
    this.kept.length = 0;
    this.early = [];
  }

  /** The events after a position, or undefined where they are not all kept. */
  since(cursor: string): StoredEvent[] | undefined {
    if (this.start === undefined) return [];
    const before = compareCursors(cursor, this.start);
    if (before === undefined || before < 0) return undefined;
    return this.kept.filter((event) => (compareCursors(event.cursor, cursor) ?? 1) > 0);
  }
}
