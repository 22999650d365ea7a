import { expect, test } from "vitest";

import { Thread } from "./thread.ts";
import type { Message, VisitorEvent } from "./types.ts";

const NOW = Date.parse("2026-05-01T08:00:00Z");
const createdAt = new Date(NOW).toISOString();

function thread(): Thread {
  return new Thread(() => NOW);
}

function message(id: number, role: string, text: string, more: Partial<Message> = {}): Message {
  return { id, role, text, replyTo: null, failure: null, feedback: null, createdAt, ...more };
}

function texts(of: Thread): string[] {
  return of.list().map(({ id, text }) => `${id} ${text}`);
}

const DETAIL = { handler: "bot", handover: true };

test("events in any order, and more than once, end in the same state", () => {
  const events: VisitorEvent[] = [
    { kind: "message.created", message: message(1, "client", "a") },
    { kind: "answer.started", replyTo: 1 },
    { kind: "answer.delta", replyTo: 1, offset: 0, text: "Ha" },
    { kind: "answer.delta", replyTo: 1, offset: 2, text: "lo" },
    { kind: "answer.finished", replyTo: 1 },
    { kind: "message.created", message: message(2, "bot", "Halo", { replyTo: 1 }) },
  ];
  for (let turn = 0; turn < events.length; turn++) {
    const shown = thread();
    const last = events[events.length - 1]!;
    for (const event of [...events.slice(turn), ...events.slice(0, turn), last, ...events])
      shown.apply(event);
    expect(texts(shown)).toEqual(["1 a", "2 Halo"]);
    expect(shown.drafts.size).toBe(0);
    expect(shown.answering).toBeUndefined();
  }
});

test("the live stream and the asker's own bring one draft", () => {
  const shown = thread();
  shown.put(message(1, "client", "a"));
  expect(shown.answering).toBe(1);
  shown.place(1, 0, "Sela");
  shown.apply({ kind: "answer.delta", replyTo: 1, offset: 0, text: "Sela" });
  shown.apply({ kind: "answer.delta", replyTo: 1, offset: 0, text: "Selamat pa" });
  shown.place(1, 4, "mat");
  shown.place(1, 7, " pagi");
  expect(shown.drafts.get(1)).toBe("Selamat pagi");
  // A piece whose beginning was missed says nothing.
  shown.apply({ kind: "answer.delta", replyTo: 1, offset: 40, text: "later" });
  expect(shown.drafts.get(1)).toBe("Selamat pagi");
});

test("the asker's answer and the stored message are one", () => {
  const shown = thread();
  shown.put(message(1, "client", "a"));
  const answer = { session_id: "s", question_id: 1, message_ids: [2], data: [{ text: "b" }] };
  shown.answered(answer);
  shown.apply({
    kind: "message.created",
    message: message(2, "bot", "b", { replyTo: 1, author: { name: "x" } }),
  });
  shown.answered(answer);
  expect(texts(shown)).toEqual(["1 a", "2 b"]);
  expect(shown.messages.get(2)?.author).toEqual({ name: "x" });
  expect(shown.takesFeedback).toBe(true);
});

test("a stop with nothing said marks the question, a hand-over ends the draft", () => {
  const shown = thread();
  shown.put(message(1, "client", "a"));
  shown.place(1, 0, "");
  shown.answered({ session_id: "s", question_id: 1, message_ids: [], data: [], stopped: true });
  expect(shown.messages.get(1)?.failure).toEqual({ reason: "stopped" });
  shown.put(message(3, "client", "b"));
  shown.place(3, 0, "half");
  shown.apply({ kind: "conversation.updated", conversation: { ...DETAIL, handler: "human" } });
  expect(shown.answering).toBeUndefined();
  expect(shown.state.handler).toBe("human");
});

test("what was deleted while nobody looked is gone after the next reading", () => {
  const shown = thread();
  shown.load({ ...DETAIL, messages: [message(1, "client", "a"), message(2, "bot", "b")] });
  shown.load({ ...DETAIL, messages: [message(2, "bot", "b"), message(3, "client", "c")] });
  // 1 is older than what was read, and may be there.
  expect(texts(shown)).toEqual(["1 a", "2 b", "3 c"]);
  shown.load({ ...DETAIL, messages: [message(1, "client", "a"), message(3, "client", "c")] });
  expect(texts(shown)).toEqual(["1 a", "3 c"]);
  shown.apply({ kind: "message.deleted", message: message(3, "client", "") });
  expect(texts(shown)).toEqual(["1 a"]);
});

test("older messages are there as long as pages are full", () => {
  const page = (first: number, count: number) =>
    Array.from({ length: count }, (_, at) => message(first + at, "client", "a"));
  const shown = thread();
  shown.load({ ...DETAIL, messages: page(101, 50) });
  expect(shown.hasOlder).toBe(true);
  shown.load({ ...DETAIL, messages: page(51, 50) }, true);
  expect(shown.hasOlder).toBe(true);
  shown.load({ ...DETAIL, messages: page(41, 10) }, true);
  expect(shown.hasOlder).toBe(false);
  // Reading the newest again says nothing of the oldest.
  shown.load({ ...DETAIL, messages: page(101, 50) });
  expect(shown.hasOlder).toBe(false);
});

test("a question that nobody answers any more is not shown as being answered", () => {
  let now = NOW;
  const shown = new Thread(() => now);
  shown.put(message(1, "client", "a"));
  expect(shown.answering).toBe(1);
  now += 200_000;
  expect(shown.answering).toBeUndefined();
  const old = new Thread(() => NOW + 3_600_000);
  old.put(message(1, "client", "a"));
  expect(old.answering).toBeUndefined();
});
