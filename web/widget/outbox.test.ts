import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { type FakeWindow, fakeWindow } from "./fakes.ts";
import { Outbox, type OutboxEvents } from "./outbox.ts";
import { Store } from "./store.ts";
import type { StreamEvent } from "../shared/stream.ts";
import { Refused, type Transport } from "./transport.ts";

type Reply = (tell: (event: string, data: object) => void, signal: AbortSignal) => Promise<void> | void;

let page: FakeWindow;
let store: Store;
let sent: { key: string; body: string }[];
let replies: Reply[];
let told: string[];

const SESSION = { session_id: "s-1", conversation_id: 1, question_id: 7 };
const ANSWER = { ...SESSION, message_ids: [8], data: [{ text: "b" }] };
const answers: Reply = (tell) => {
  tell("session", SESSION);
  tell("token", { text: "b" });
  tell("message", ANSWER);
};
const refuses =
  (status: number, wait = 0, body = {}): Reply =>
  () => {
    throw new Refused(status, wait, body);
  };
const breaks: Reply = () => {
  throw new TypeError("Failed to fetch");
};

function outbox(): Outbox {
  const transport = {
    ask: async (key: string, body: string, onEvent: (event: StreamEvent) => void, signal: AbortSignal) => {
      // It is kept before it is sent.
      expect(JSON.stringify(store.read().pending)).toContain(JSON.stringify(body).slice(1, -1));
      sent.push({ key, body });
      const reply = replies.shift() ?? answers;
      await reply((event, data) => onEvent({ event, data: JSON.stringify(data), id: "" }), signal);
    },
  } as Transport;
  const events: OutboxEvents = {
    accepted: (pending, question) => told.push(`accepted ${pending.text} ${question}`),
    token: (_, question, offset, text) => told.push(`token ${question} ${offset} ${text}`),
    answered: () => told.push("answered"),
    unanswered: (_, question, status) => told.push(`unanswered ${question} ${status}`),
    gone: (pending) => told.push(`gone ${pending.text}`),
    changed: () => {},
  };
  return new Outbox(store, transport, "guide", events);
}

function ask(text: string, key: string, session?: string): void {
  store.update((state) => {
    if (!state.conversations.length) state.conversations.push({ id: "c", title: text, at: 1, session });
    state.pending.push({ key, conversation: "c", text, after: 0 });
  });
}

beforeEach(() => {
  vi.unstubAllGlobals();
  vi.useFakeTimers();
  page = fakeWindow();
  store = new Store("w", "local");
  sent = [];
  replies = [];
  told = [];
});
afterEach(() => void vi.useRealTimers());

const settle = (millis = 0) => vi.advanceTimersByTimeAsync(millis);

test("a question is sent, and its session kept as soon as it is told", async () => {
  let finish = () => {};
  replies = [
    async (tell) => {
      tell("session", SESSION);
      await new Promise<void>((done) => (finish = done));
      tell("message", ANSWER);
    },
  ];
  ask("a", "k1");
  outbox().send();
  await settle();
  expect(sent).toEqual([{ key: "k1", body: '{"message":"a","botId":"guide"}' }]);
  expect(new Store("w", "local").read()).toMatchObject({ conversations: [{ session: "s-1" }], pending: [] });
  finish();
  await settle();
  expect(told).toEqual(["accepted a 7", "answered"]);
});

test("until it is acknowledged it is sent again with the same key and the same bytes", async () => {
  replies = [breaks, refuses(503, 2), () => {}, refuses(502), answers];
  ask("a", "k1");
  outbox().send();
  await settle(60_000);
  expect(sent).toHaveLength(5);
  expect(new Set(sent.map((one) => JSON.stringify(one))).size).toBe(1);
  expect(told).toEqual(["accepted a 7", "token 7 0 b", "answered"]);
});

test("a page that is loaded anew sends it with the same key and the same bytes", async () => {
  ask("a", "k1");
  replies = [() => new Promise(() => {})];
  outbox().send();
  await settle();
  store.update((state) => (state.conversations[0]!.session = "told to another tab"));
  page = Object.assign(page, { locks: undefined });
  vi.stubGlobal("navigator", {});
  outbox().send();
  await settle();
  expect(sent).toHaveLength(2);
  expect(sent[1]).toEqual(sent[0]);
  expect(told).toContain("answered");
});

test("a question that another tab has overwritten while it was sent is sent on, as it was", async () => {
  replies = [breaks, answers];
  ask("a", "k1");
  outbox().send();
  await settle();
  new Store("w", "local").update((state) => (state.pending = []));
  await settle(10_000);
  expect(sent).toHaveLength(2);
  expect(sent[1]).toEqual(sent[0]);
  expect(told).toContain("answered");
  expect(store.read().pending).toEqual([]);
});

test("two tabs send it once", async () => {
  ask("a", "k1");
  outbox().send();
  outbox().send();
  await settle();
  expect(sent).toHaveLength(1);
});

test("what a server does not take for long is shown as not sent, and goes when the visitor wants it or the network is back", async () => {
  replies = Array.from({ length: 9 }, () => breaks);
  ask("a", "k1");
  const box = outbox();
  box.send();
  await settle(600_000);
  expect(sent).toHaveLength(9);
  expect(box.sendings.get("k1")).toEqual({ obstacle: "offline" });
  replies = [breaks];
  box.retry("k1");
  await settle();
  expect(box.sendings.get("k1")?.until).toBeDefined();
  page.dispatch(new Event("online"));
  await settle();
  expect(told).toContain("answered");
  expect(sent).toHaveLength(11);
});

test("after 429 it waits as long as the server says", async () => {
  replies = [refuses(429, 20), answers];
  ask("a", "k1");
  const box = outbox();
  box.send();
  await settle();
  expect(box.sendings.get("k1")).toEqual({ obstacle: "limit", until: Date.now() + 20_000 });
  await settle(19_999);
  expect(sent).toHaveLength(1);
  await settle(1);
  expect(told).toContain("answered");
});

test("a first question that is being answered already names its session", async () => {
  replies = [refuses(409, 30, SESSION)];
  ask("a", "k1");
  outbox().send();
  await settle();
  expect(told).toEqual(["accepted a 7", "unanswered 7 0"]);
  expect(store.read()).toMatchObject({ conversations: [{ session: "s-1" }], pending: [] });
});

test("a later one waits until it is settled", async () => {
  replies = [refuses(409, 3), refuses(409, 3), answers];
  ask("a", "k1", "s-1");
  outbox().send();
  await settle(10_000);
  expect(sent.map(({ body }) => body)).toEqual(Array(3).fill('{"message":"a","session_id":"s-1"}'));
  expect(told).toContain("answered");
});

test.each([
  ["before the stream", refuses(502, 0, SESSION)],
  [
    "in the stream",
    ((tell) => {
      tell("session", SESSION);
      tell("error", { status: 502, ...SESSION });
    }) as Reply,
  ],
])("where the bot fails %s the question is stored, and not sent again", async (_, reply) => {
  replies = [reply];
  ask("a", "k1");
  outbox().send();
  await settle(60_000);
  expect(sent).toHaveLength(1);
  expect(told).toEqual(["accepted a 7", "unanswered 7 502"]);
});

test("a stream that breaks after the question was stored is not asked again", async () => {
  replies = [
    (tell) => {
      tell("session", SESSION);
      throw new TypeError("network error");
    },
  ];
  ask("a", "k1");
  outbox().send();
  await settle(60_000);
  expect(sent).toHaveLength(1);
  expect(told).toEqual(["accepted a 7", "unanswered 7 0"]);
});

test("a session that is gone is told, and nothing is sent there again", async () => {
  replies = [refuses(404, 0, { error: "Conversation with your session_id is not found" })];
  ask("a", "k1", "s-1");
  outbox().send();
  await settle();
  expect(told[0]).toBe("gone a");
});

test("questions of a conversation go one after the other, and do not wait for answers", async () => {
  let finish = () => {};
  replies = [
    async (tell) => {
      tell("session", SESSION);
      await new Promise<void>((done) => (finish = done));
    },
  ];
  ask("a", "k1");
  ask("b", "k2");
  outbox().send();
  await settle();
  expect(sent.map(({ body }) => body)).toEqual([
    '{"message":"a","botId":"guide"}',
    '{"message":"b","session_id":"s-1"}',
  ]);
  finish();
});

test("what cannot be sent as it is waits for the visitor", async () => {
  replies = [refuses(400)];
  ask("a", "k1");
  const box = outbox();
  box.send();
  await settle(60_000);
  expect(sent).toHaveLength(1);
  expect(box.sendings.get("k1")).toEqual({ obstacle: "refused" });
  box.drop("k1");
  expect(store.read().pending).toEqual([]);
});

test("who forgets everything is not written about afterwards", async () => {
  replies = [
    (_, signal) => new Promise((_done, fail) => signal.addEventListener("abort", () => fail(signal.reason))),
  ];
  ask("a", "k1");
  const box = outbox();
  box.send();
  await settle();
  box.stop();
  store.forget();
  await settle(60_000);
  expect(page.local.items.size).toBe(0);
  expect(told).toEqual([]);
});
