import { expect, test } from "vitest";
import type { StoredEvent } from "../../shared/api";
import { compareCursors, compareNumbers } from "./cursor";
import { type Batch, FeedLog } from "./feed_log";

const event = (number: number) =>
  ({
    kind: "conversation.deleted",
    at: "",
    cursor: `e.${number}`,
    conversation: { id: `${number}` },
  }) as StoredEvent;
const batch = (from: number, to: number, ...numbers: number[]): Batch => ({
  from: `e.${from}`,
  to: `e.${to}`,
  events: numbers.map(event),
});
const numbers = (events: StoredEvent[] | undefined) =>
  events?.map(({ cursor }) => Number(cursor.split(".")[1]));

test("ids and positions are compared as numbers, whatever their length", () => {
  expect(compareNumbers("9", "10")).toBeLessThan(0);
  expect(compareNumbers("9223372036854775807", "9223372036854775806")).toBeGreaterThan(0);
  expect(compareCursors("e.9", "e.10")).toBeLessThan(0);
  expect(compareCursors("e.9", "f.10")).toBeUndefined();
});

test("events that came before this page knew its position are replayed from there", () => {
  const log = new FeedLog();
  log.add(batch(3, 5, 4, 5));
  log.add(batch(5, 7, 6, 7));
  expect(numbers(log.begin("e.5"))).toEqual([6, 7]);
  expect(log.position).toBe("e.7");
});

test("an event counts once, also when another tab takes over and sends some again", () => {
  const log = new FeedLog();
  log.begin("e.5");
  expect(numbers(log.add(batch(5, 7, 6, 7)))).toEqual([6, 7]);
  expect(numbers(log.add(batch(6, 8, 7, 8)))).toEqual([8]);
  expect(log.position).toBe("e.8");
});

test("a gap and another feed are noticed", () => {
  const log = new FeedLog();
  log.begin("e.5");
  expect(log.add(batch(6, 7, 7))).toBeUndefined();
  expect(log.add({ from: "f.1", to: "f.2", events: [] })).toBeUndefined();
  log.restart("e.7");
  expect(numbers(log.add(batch(7, 8, 8)))).toEqual([8]);
});

test("an answer gets what came after it, or is told that this is not known any more", () => {
  const log = new FeedLog();
  log.begin("e.5");
  log.add(batch(5, 8, 6, 7, 8));
  expect(numbers(log.since("e.6"))).toEqual([7, 8]);
  expect(numbers(log.since("e.9"))).toEqual([]);
  expect(log.since("e.4")).toBeUndefined();
  expect(log.since("f.6")).toBeUndefined();
  for (let number = 9; number < 3000; number += 1) log.add(batch(number - 1, number, number));
  expect(log.since("e.8")).toBeUndefined();
  expect(numbers(log.since("e.2998"))).toEqual([2999]);
});
