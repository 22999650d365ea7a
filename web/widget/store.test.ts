import { beforeEach, expect, test, vi } from "vitest";

import { type FakeWindow, fakeWindow } from "./fakes.ts";
import { randomKey, Store } from "./store.ts";

let page: FakeWindow;
beforeEach(() => {
  vi.unstubAllGlobals();
  page = fakeWindow();
});

function add(store: Store, id: string): void {
  store.update((state) => void state.conversations.push({ id, title: id, at: Number(id) }));
}

test("nothing is written by reading, and what is written survives a reload", () => {
  const store = new Store("a", "local");
  expect(store.read().conversations).toEqual([]);
  expect(page.local.items.size).toBe(0);
  add(store, "1");
  expect(new Store("a", "local").conversation("1")?.title).toBe("1");
  expect(new Store("b", "local").conversation("1")).toBeUndefined();
});

test("where storage is full, memory stands in", () => {
  const store = new Store("a", "local");
  add(store, "1");
  page.local.isFull = true;
  add(store, "2");
  expect(store.read().conversations.map(({ id }) => id)).toEqual(["1", "2"]);
  page.local.isFull = false;
  add(store, "3");
  expect(new Store("a", "local").read().conversations.map(({ id }) => id)).toEqual(["1", "2", "3"]);
});

test("where storage is blocked, memory stands in", () => {
  Object.defineProperty(globalThis, "localStorage", {
    configurable: true,
    get: () => {
      throw new DOMException("blocked", "SecurityError");
    },
  });
  const store = new Store("a", "local");
  add(store, "1");
  expect(store.conversation("1")?.title).toBe("1");
  store.forget();
  expect(store.read().conversations).toEqual([]);
});

test("with none, nothing is stored", () => {
  const store = new Store("a", "none");
  add(store, "1");
  expect(store.conversation("1")?.title).toBe("1");
  expect(page.local.items.size).toBe(0);
});

test.each(["", "null", "7", "{", '{"conversations":{}}', '{"conversations":[]}'])(
  "%j in it is as nothing",
  (text) => {
    page.local.items.set("a", text);
    const store = new Store("a", "local");
    expect(store.read()).toEqual({ conversations: [], pending: [] });
    add(store, "1");
    expect(store.conversation("1")?.id).toBe("1");
  },
);

test("what another tab writes is read, and told", () => {
  const store = new Store("a", "local");
  add(store, "1");
  let told = 0;
  store.onChange(() => told++);
  add(new Store("a", "local"), "2");
  page.dispatch(Object.assign(new Event("storage"), { key: "a", newValue: page.local.getItem("a") }));
  expect(told).toBe(1);
  add(store, "3");
  expect(store.read().conversations.map(({ id }) => id)).toEqual(["1", "2", "3"]);
});

test("a session that another tab has overwritten at the same moment is written again, and no forgotten one", () => {
  const store = new Store("a", "local");
  add(store, "1");
  const stale = page.local.getItem("a")!;
  store.update((state) => (state.conversations[0]!.session = "s"));
  add(store, "2");
  const write = (newValue: string | null) => {
    if (newValue) page.local.items.set("a", newValue);
    else page.local.items.delete("a");
    page.dispatch(Object.assign(new Event("storage"), { key: "a", newValue }));
  };
  write(stale);
  expect(store.conversation("1")?.session).toBe("s");
  expect(store.conversation("2")).toBeDefined();
  write(null);
  write('{"conversations":[],"pending":[]}');
  expect(store.read()).toEqual({ conversations: [], pending: [] });
});

test("the oldest conversations are forgotten, so that the list has an end", () => {
  const store = new Store("a", "local");
  for (let id = 1; id <= 60; id++) add(store, String(id));
  expect(store.read().conversations.length).toBe(50);
  expect(store.conversation("60")).toBeDefined();
  expect(store.conversation("10")).toBeUndefined();
});

test("a key is as long as the server wants it, and no two are the same", () => {
  const keys = new Set(Array.from({ length: 1000 }, randomKey));
  expect(keys.size).toBe(1000);
  for (const key of keys) expect(key).toMatch(/^[0-9a-f]{32}$/);
});
