import { afterEach, expect, test, vi } from "vitest";

import { dice } from "./dice.ts";
import { eventParser, readEvents, type StreamEvent } from "./stream.ts";

afterEach(() => void vi.useRealTimers());

const STREAM = [
  "retry: 1267",
  ": a comment",
  "event: hello\nid: a.1\ndata: {}\n",
  "id: a.2\n",
  'event: token\r\ndata: {"text":"Halo 😊, é"}\r\n',
  "data: one\rdata:two\rdata\r\n",
  "event: nothing\r\r",
  "data: {}\n",
  ": \n",
  "event: cut off\ndata: never",
].join("\n");

const EVENTS: StreamEvent[] = [
  { event: "hello", data: "{}", id: "a.1" },
  { event: "message", data: "", id: "a.2" },
  { event: "token", data: '{"text":"Halo 😊, é"}', id: "" },
  { event: "message", data: "one\ntwo\n", id: "" },
  { event: "message", data: "{}", id: "" },
];

test("a stream cut anywhere has the same events", () => {
  for (let seed = 1; seed <= 500; seed++) {
    const roll = dice(seed);
    const found: StreamEvent[] = [];
    const parse = eventParser((event) => found.push(event));
    for (let at = 0; at < STREAM.length;) {
      const end = at + roll(6);
      parse(STREAM.slice(at, end));
      at = end;
    }
    expect(found, `seed ${seed}`).toEqual(EVENTS);
  }
});

test("bytes cut within a letter are the letter", async () => {
  const bytes = new TextEncoder().encode(STREAM);
  for (let seed = 1; seed <= 50; seed++) {
    const roll = dice(seed);
    const found: StreamEvent[] = [];
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < bytes.length;) {
          const end = at + 1 + roll(4);
          controller.enqueue(bytes.slice(at, end));
          at = end;
        }
        controller.close();
      },
    });
    await readEvents(new Response(body), (event) => found.push(event), 1000);
    expect(found, `seed ${seed}`).toEqual(EVENTS);
  }
});

test("a stream that falls silent is given up, and its connection closed", async () => {
  vi.useFakeTimers();
  let isCancelled = false;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode("data: 1\n\n")),
    cancel: () => void (isCancelled = true),
  });
  const found: StreamEvent[] = [];
  const read = readEvents(new Response(body), (event) => found.push(event), 45_000);
  const refused = expect(read).rejects.toThrow("silent");
  await vi.advanceTimersByTimeAsync(45_000);
  await refused;
  expect(found).toHaveLength(1);
  expect(isCancelled).toBe(true);
});
