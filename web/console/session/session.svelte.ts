import type { Account } from "../../shared/api";
import { login, logout, me } from "../api/calls";
import { ApiError, onUnauthenticated } from "../api/http";
import { store } from "../storage";

/** Other tabs hear of a login and a logout by a change of this key. */
const SIGNAL = "wicara-session";

export type SessionState = "asking" | "out" | "in" | "unreachable";

/** Who is logged in. Logging out in one tab logs out in all. */
class Session {
  state = $state<SessionState>("asking");
  account = $state<Account | null>(null);
  readonly canWrite = $derived(this.account !== null && this.account.role !== "viewer");
  readonly isAdmin = $derived(this.account?.role === "admin");

  constructor() {
    onUnauthenticated(() => this.leave());
    addEventListener("storage", (event) => {
      if (event.key === SIGNAL) void this.ask();
    });
    addEventListener("online", () => {
      if (this.state === "unreachable") this.retry();
    });
    addEventListener("pageshow", (event) => {
      if (event.persisted) void this.ask();
    });
  }

  async ask(): Promise<void> {
    try {
      this.enter(await me());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401 || error.status === 403) this.leave();
      else if (this.state === "asking") this.state = "unreachable";
    }
  }

  retry(): void {
    this.state = "asking";
    void this.ask();
  }

  async login(email: string, password: string): Promise<void> {
    this.enter(await login(email, password));
    store(SIGNAL, Date.now());
  }

  async logout(): Promise<void> {
    await logout();
    this.leave();
    store(SIGNAL, Date.now());
  }

  private enter(account: Account): void {
    const same =
      this.account?.id === account.id &&
      this.account.role === account.role &&
      String(this.account.bots) === String(account.bots);
    if (!same) this.account = account;
    this.state = "in";
  }

  private leave(): void {
    this.account = null;
    this.state = "out";
  }
}

export const session = new Session();
