import type { Conversation } from "../../shared/api";
import { queryString } from "../api/http";

export const views = ["all", "queue", "mine", "unread", "unanswered", "failed"] as const;
export type View = (typeof views)[number];

/** What the list shows. It stands in the address, so that a link or the back button brings it back. */
export interface Filters {
  view: View;
  bot: string;
  channel: string;
  handler: string;
  /** Days of the reader's own time, as in 2026-11-30. */
  since: string;
  until: string;
  user: string;
  q: string;
}

export const noFilters: Filters = {
  view: "all",
  bot: "",
  channel: "",
  handler: "",
  since: "",
  until: "",
  user: "",
  q: "",
};

export function filtersOf(search: string): Filters {
  const parameters = new URLSearchParams(search);
  const filters = { ...noFilters };
  for (const name of Object.keys(noFilters) as (keyof Filters)[]) {
    const value = parameters.get(name);
    if (name === "view") filters.view = views.find((view) => view === value) ?? "all";
    else if (value) filters[name] = value;
  }
  return filters;
}

/** The filters as the query of an address. */
export function filtersQuery(filters: Filters): string {
  return queryString({ ...filters, view: filters.view === "all" ? undefined : filters.view });
}

/** How many filters of the form are in force: view and search are shown elsewhere. */
export function filtersCount(filters: Filters): number {
  const { bot, channel, handler, since, until, user } = filters;
  return [bot, channel, handler, since, until, user].filter(Boolean).length;
}

function instant(day: string, endOfDay: boolean): string | undefined {
  const time = new Date(`${day}T${endOfDay ? "23:59:59.999" : "00:00:00"}`);
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString();
}

/** The filters as the parameters of `GET /api/conversation`. */
export function filtersParameters(filters: Filters): Record<string, string | undefined> {
  const { view } = filters;
  return {
    sort: "activity",
    handler: view === "queue" ? "human" : filters.handler,
    assignee: view === "queue" ? "none" : view === "mine" ? "me" : undefined,
    unread: view === "unread" ? "true" : undefined,
    unanswered: view === "unanswered" ? "true" : undefined,
    failed: view === "failed" ? "true" : undefined,
    botId: filters.bot,
    integrationType: filters.channel,
    userId: filters.user,
    since: instant(filters.since, false),
    until: instant(filters.until, true),
    q: filters.q.trim(),
  };
}

/** Whether a conversation belongs to the list. Undefined where only the server can tell. */
export function filtersMatch(filters: Filters, conversation: Conversation, me: string): boolean | undefined {
  const { view } = filters;
  const role = conversation.lastMessage?.role;
  const since = instant(filters.since, false);
  const until = instant(filters.until, true);
  const at = Date.parse(conversation.updatedAt);
  if (filters.bot && conversation.botId !== filters.bot) return false;
  if (filters.channel && conversation.integrationType !== filters.channel) return false;
  if (filters.user && conversation.userId !== filters.user) return false;
  if (filters.handler && conversation.handler !== filters.handler) return false;
  if (since && at < Date.parse(since)) return false;
  if (until && at > Date.parse(until)) return false;
  if (view === "queue" && (conversation.handler !== "human" || conversation.assignee)) return false;
  if (view === "mine" && conversation.assignee?.id !== me) return false;
  if ((view === "unanswered" || view === "failed") && (role === "bot" || role === "agent")) return false;
  if (filters.q.trim() || view === "unread" || view === "unanswered" || view === "failed") return undefined;
  return true;
}
