import { createContext } from "svelte";
import type { Account, Bot, StoredEvent } from "../shared/api";
import { botList } from "./api/calls";
import { ApiError } from "./api/http";
import { Conversations } from "./conversations.svelte";
import { ViewCounts } from "./inbox/counts.svelte";
import { ConversationList } from "./inbox/list.svelte";
import { Live } from "./live/live.svelte";
import { Outbox } from "./conversation/outbox.svelte";
import { router } from "./router.svelte";
import { session } from "./session/session.svelte";

/** No event tells how bots are, so they are looked at so often. */
const BOTS_MILLISECONDS = 30_000;

/** What the pages behind the login share, for as long as one person is logged in. */
export class Workspace {
  readonly live: Live;
  readonly conversations = new Conversations();
  readonly counts = new ViewCounts();
  readonly list: ConversationList;
  readonly outbox: Outbox;
  bots = $state.raw<Bot[]>([]);
  private readonly botTimer: ReturnType<typeof setInterval>;

  constructor(readonly account: Account) {
    this.live = new Live({ account: account.id, refused: () => void session.ask() });
    const open = () => (router.route.page === "inbox" ? router.route.conversation : null);
    this.list = new ConversationList(account.id, this.conversations, this.live, open);
    this.outbox = new Outbox(account.id);
    this.live.listen({
      stored: (events) => this.stored(events),
      reload: () => {
        // A new role or other bots are among the reasons.
        void session.ask();
        void this.list.reload();
        this.counts.refresh();
      },
    });
    this.counts.refresh();
    void this.loadBots();
    this.botTimer = setInterval(() => void this.loadBots(), BOTS_MILLISECONDS);
  }

  close(): void {
    clearInterval(this.botTimer);
    this.live.close();
    this.list.close();
    this.counts.close();
    this.outbox.close();
  }

  private stored(events: StoredEvent[]): void {
    for (const event of events) this.conversations.apply(event);
    this.list.apply(events);
    this.counts.refresh();
  }

  private async loadBots(): Promise<void> {
    if (document.hidden && this.bots.length > 0) return;
    try {
      this.bots = await botList();
    } catch (error) {
      // Without the list, the filter by bot offers what the person is limited to.
      if (!(error instanceof ApiError)) throw error;
      if (this.bots.length > 0) return;
      this.bots = (this.account.bots ?? []).map((id) => ({ id, breaker: "closed" }));
    }
  }
}

export const [workspace, setWorkspace] = createContext<Workspace>();
