import { expect, test } from "vitest";
import type { Conversation } from "../../shared/api";
import { type Filters, filtersMatch, filtersOf, filtersParameters, filtersQuery, noFilters } from "./filters";

const conversation: Conversation = {
  id: "7",
  room: "website-7",
  integrationType: "website",
  botId: "guide",
  userId: "dewi",
  handler: "human",
  assignee: null,
  handedOverAt: null,
  handoverReason: null,
  seenByVisitorUpTo: null,
  messageCount: 1,
  lastMessage: {
    id: "9",
    message: "Halo",
    type: "text",
    role: "client",
    createdAt: "2026-11-30T10:00:00.000+00:00",
  },
  createdAt: "2026-11-30T10:00:00.000+00:00",
  updatedAt: "2026-11-30T10:00:00.000+00:00",
};
const matches = (filters: Partial<Filters>) => filtersMatch({ ...noFilters, ...filters }, conversation, "1");

test("an address holds all filters", () => {
  const filters: Filters = {
    view: "queue",
    bot: "a b",
    channel: "whatsapp",
    handler: "human",
    since: "2026-11-01",
    until: "2026-11-30",
    user: "ü&=",
    q: '"kartu keluarga" -hilang',
  };
  expect(filtersOf(filtersQuery(filters))).toEqual(filters);
  expect(filtersQuery(noFilters)).toBe("");
  expect(filtersOf("?view=nonsense&sort=x")).toEqual(noFilters);
});

test("days are asked for as the reader's own, with both ends in them", () => {
  const { since, until } = filtersParameters({ ...noFilters, since: "2026-11-30", until: "2026-11-30" });
  expect(Date.parse(until!) - Date.parse(since!)).toBe(86_400_000 - 1);
  expect(new Date(since!).getHours()).toBe(0);
  expect(filtersParameters({ ...noFilters, since: "yesterday" }).since).toBeUndefined();
});

test("what is certain is decided here, what only the server knows is not", () => {
  expect(matches({})).toBe(true);
  expect(matches({ view: "queue" })).toBe(true);
  expect(matches({ view: "mine" })).toBe(false);
  expect(matches({ bot: "other" })).toBe(false);
  expect(matches({ channel: "telegram" })).toBe(false);
  expect(matches({ user: "dewi", handler: "human" })).toBe(true);
  expect(matches({ handler: "bot" })).toBe(false);
  expect(matches({ until: "2026-11-01" })).toBe(false);
  expect(matches({ since: "2026-12-24" })).toBe(false);
  expect(matches({ q: "halo" })).toBeUndefined();
  expect(matches({ view: "unanswered" })).toBeUndefined();
  const answered = { ...conversation, lastMessage: { ...conversation.lastMessage!, role: "bot" } };
  expect(filtersMatch({ ...noFilters, view: "failed" }, answered, "1")).toBe(false);
});
