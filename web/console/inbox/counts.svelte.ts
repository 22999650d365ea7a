import type { Counts } from "../../shared/api";
import { conversationCounts } from "../api/calls";
import { ApiError } from "../api/http";

/** However much happens, the counts are asked for at most so often. */
const PAUSE_MILLISECONDS = 2_000;
/** The server counts up to here. */
export const COUNT_LIMIT = 10_000;

/** The numbers beside the views. */
export class ViewCounts {
  counts = $state.raw<Counts | null>(null);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private last = 0;

  /** Asks soon: several changes at once are one request. */
  refresh(): void {
    const wait = Math.max(150, this.last + PAUSE_MILLISECONDS - Date.now());
    this.timer ??= setTimeout(() => void this.load(), wait);
  }

  close(): void {
    clearTimeout(this.timer);
  }

  private async load(): Promise<void> {
    this.timer = undefined;
    this.last = Date.now();
    try {
      this.counts = await conversationCounts();
    } catch (error) {
      // Old numbers stay; the next change asks again.
      if (!(error instanceof ApiError)) throw error;
    }
  }
}
