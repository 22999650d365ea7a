import { beforeEach, expect, test, vi } from "vitest";
import type { Conversation, StoredEvent } from "../../shared/api";
import { conversationList } from "../api/calls";
import { Conversations } from "../conversations.svelte";
import type { Live } from "../live/live.svelte";
import { type Filters, noFilters } from "./filters";
import { ConversationList } from "./list.svelte";

vi.mock("../api/calls", () => ({ conversationList: vi.fn() }));

type Query = Record<string, string | undefined>;

let pages: Map<string | undefined, [ids: number[], next: string | null]>;
let asked: Query[];
let list: ConversationList;
let conversations: Conversations;

function conversation(id: number, more: Partial<Conversation> = {}): Conversation {
  const at = "2026-11-30T10:00:00.000+00:00";
  return {
    id: String(id),
    room: `website-${id}`,
    integrationType: "website",
    botId: "guide",
    userId: null,
    handler: "bot",
    assignee: null,
    handedOverAt: null,
    handoverReason: null,
    unreadCount: 0,
    seenByVisitorUpTo: null,
    messageCount: 1,
    lastMessage: { id: "1", message: "Halo", type: "text", role: "bot", createdAt: at },
    createdAt: at,
    updatedAt: at,
    ...more,
  } as Conversation;
}

const created = (one: Conversation) =>
  ({ kind: "conversation.created", at: "", cursor: "e.1", conversation: one }) as StoredEvent;
const ids = () => list.rows.map((row) => Number(row.id));
const settled = () => vi.waitFor(() => expect(list.status).not.toBe("loading"));

beforeEach(() => {
  pages = new Map();
  asked = [];
  vi.mocked(conversationList).mockImplementation(async (query: Query) => {
    asked.push(query);
    const [found, nextCursor] = pages.get(query.cursor) ?? [[], null];
    const pagination = { page: 1, pageSize: 50, totalPages: 1, totalItems: found.length, nextCursor };
    return { body: { data: found.map((id) => conversation(id)), pagination }, cursor: "e.0" } as never;
  });
  conversations = new Conversations();
  const live = {
    load: async (read: () => Promise<{ body: unknown }>) => ({ body: (await read()).body, events: [] }),
  } as unknown as Live;
  list = new ConversationList("1", conversations, live, () => null);
});

async function show(filters: Partial<Filters> = {}): Promise<void> {
  list.show({ ...noFilters, ...filters });
  await settled();
}

test("pages are walked by their cursors, over empty ones, to the end; what moved up meanwhile is not shown twice", async () => {
  pages.set(undefined, [[9, 8], "a"]);
  pages.set("a", [[], "b"]);
  pages.set("b", [[8, 7], "c"]);
  pages.set("c", [[6], null]);
  await show();
  await list.loadMore();
  expect(ids()).toEqual([9, 8, 7]);
  await list.loadMore();
  expect(ids()).toEqual([9, 8, 7, 6]);
  expect(list.more).toBe("end");
  await list.loadMore();
  expect(asked.map((query) => query.cursor)).toEqual([undefined, "a", "b", "c"]);
});

test("what is new waits until it is asked for; what does not belong here is not announced", async () => {
  pages.set(undefined, [[9, 8], null]);
  await show({ channel: "website" });
  list.apply([created(conversation(10)), created(conversation(10)), created(conversation(11))]);
  list.apply([created(conversation(12, { integrationType: "telegram" }))]);
  expect(ids()).toEqual([9, 8]);
  expect([...list.fresh]).toEqual(["10", "11"]);
  pages.set(undefined, [[11, 10, 9, 8], null]);
  await list.refresh();
  expect(ids()).toEqual([11, 10, 9, 8]);
  expect(list.fresh.size).toBe(0);
});

test("what is on the screen is not announced, what was scrolled away is", async () => {
  pages.set(undefined, [[9, 8, 7, 6], null]);
  await show();
  list.look(0, 1);
  const said = (id: number) => ({ ...created(conversation(id)), kind: "message.created" }) as StoredEvent;
  list.apply([said(8), said(6)]);
  expect([...list.fresh]).toEqual(["6"]);
  list.look(2, 3);
  expect(list.fresh.size).toBe(0);
});

test("an answer to earlier filters does not come over the newer ones", async () => {
  let answer = () => {};
  vi.mocked(conversationList).mockImplementationOnce(
    (_query: Query, signal?: AbortSignal) =>
      new Promise((resolve, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason));
        answer = () => resolve({ body: { data: [conversation(1)], pagination: {} }, cursor: null } as never);
      }),
  );
  pages.set(undefined, [[2], null]);
  list.show({ ...noFilters, q: "first" });
  list.show({ ...noFilters, q: "second" });
  await settled();
  answer();
  await Promise.resolve();
  expect(ids()).toEqual([2]);
});

test("a row that leaves the view stays in its place, and is known to have left", async () => {
  pages.set(undefined, [[9], null]);
  await show({ view: "queue" });
  conversations.put(conversation(9, { handler: "human" }));
  expect(list.belongs("9")).toBe(true);
  conversations.put(
    conversation(9, { handler: "human", assignee: { id: "2", kind: "person", name: "Sari" } }),
  );
  expect(list.belongs("9")).toBe(false);
  expect(ids()).toEqual([9]);
});
