import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { fakeWindow } from "./fakes.ts";
import { follow } from "./live.ts";
import { Refused, type Transport } from "./transport.ts";
import type { StreamEvent } from "../shared/stream.ts";

type Stream = (tell: (event: object | undefined, id?: string) => void, signal: AbortSignal) => Promise<void>;

let calls: string[];
let told: string[];
let streams: Stream[];
let threads: (() => void)[];
let stop: AbortController;

const forever: Stream = (_, signal) => new Promise((_done, fail) => signal.addEventListener("abort", fail));

function begin(): Promise<void> {
  const transport = {
    thread: async () => {
      calls.push("thread");
      threads.shift()?.();
      return [{ handler: "bot", handover: true, messages: [] }, `read.${calls.length}`];
    },
    follow: async (_: string, after: string, onEvent: (event: StreamEvent) => void, signal: AbortSignal) => {
      calls.push(`follow ${after}`);
      const tell = (event: object | undefined, id = "") =>
        onEvent({ event: "", data: event ? JSON.stringify(event) : "", id });
      await (streams.shift() ?? forever)(tell, signal);
    },
  } as unknown as Transport;
  return follow({
    transport,
    session: "s",
    name: "w",
    signal: stop.signal,
    onThread: () => told.push("thread"),
    onEvent: ({ kind }) => told.push(kind),
    onConnection: (isThere) => told.push(isThere ? "there" : "lost"),
    onGone: () => told.push("gone"),
  });
}

beforeEach(() => {
  vi.unstubAllGlobals();
  vi.useFakeTimers();
  vi.stubGlobal("BroadcastChannel", undefined);
  fakeWindow();
  stop = new AbortController();
  [calls, told, streams, threads] = [[], [], [], []];
});
afterEach(() => {
  stop.abort();
  vi.useRealTimers();
});

const settle = (millis = 60_000) => vi.advanceTimersByTimeAsync(millis);

test("a stream that breaks is gone on with from its last position, which a heartbeat may have brought", async () => {
  streams = [
    async (tell) => {
      tell({ kind: "hello" }, "a.1");
      tell({ kind: "message.created" }, "a.2");
      tell({ kind: "answer.delta" });
      tell(undefined, "a.3");
    },
    async () => {
      throw new TypeError("network error");
    },
  ];
  void begin();
  await settle();
  expect(calls).toEqual(["thread", "follow read.1", "follow a.3", "follow a.3"]);
  expect(told).toContain("lost");
});

test("where the position cannot be gone on from, the conversation is read anew", async () => {
  streams = [
    async (tell) => {
      tell({ kind: "hello" }, "a.1");
      tell({ kind: "resync" }, "b.1");
    },
  ];
  void begin();
  await settle();
  expect(calls).toEqual(["thread", "follow read.1", "thread", "follow read.3"]);
  expect(told).not.toContain("resync");
});

test("where streams are refused, what is new is read at the server's pace", async () => {
  const refuses: Stream = async () => {
    throw new Refused(429, 30, {});
  };
  streams = [refuses, refuses];
  void begin();
  await settle(59_999);
  expect(calls).toEqual(["thread", "follow read.1", "thread", "follow read.3"]);
  await settle(1);
  expect(calls.slice(4)).toEqual(["thread", "follow read.5"]);
});

test.each([
  ["when it is read", () => (threads = [() => { throw new Refused(404, 0, {}); }])], // prettier-ignore
  ["in the stream", () => (streams = [async (tell) => tell({ kind: "conversation.deleted" }, "a.1")])],
])("a conversation that is gone is told once, %s", async (_, set) => {
  set();
  const following = begin();
  await settle();
  await following;
  expect(told.filter((kind) => kind === "gone")).toHaveLength(1);
});

test("nothing is asked any more once it is stopped", async () => {
  const following = begin();
  await settle();
  stop.abort();
  await following;
  const before = calls.length;
  await settle();
  expect(calls).toHaveLength(before);
});
