import { beforeEach, expect, test, vi } from "vitest";

import { fakeWindow } from "./fakes.ts";
import { exclusively } from "./leader.ts";

beforeEach(() => void vi.unstubAllGlobals());

/** Work that ends when it is told to. */
function work() {
  let end = () => {};
  let isRunning = false;
  const run = () => {
    isRunning = true;
    return new Promise<void>((done) => (end = done)).finally(() => (isRunning = false));
  };
  return { run, end: () => end(), isRunning: () => isRunning };
}

const settle = () => new Promise((done) => setTimeout(done, 5));

test("one tab leads, and the next when it ends", async () => {
  fakeWindow();
  const { signal } = new AbortController();
  const [one, other, third] = [work(), work(), work()];
  const leaves = new AbortController();
  void exclusively("a", signal, one.run);
  const left = exclusively("a", leaves.signal, third.run);
  void exclusively("a", signal, other.run);
  void exclusively("b", signal, work().run);
  await settle();
  expect([one.isRunning(), third.isRunning(), other.isRunning()]).toEqual([true, false, false]);
  leaves.abort();
  await left;
  one.end();
  await settle();
  expect([one.isRunning(), third.isRunning(), other.isRunning()]).toEqual([false, false, true]);
});

test("without locks each tab works for itself", async () => {
  fakeWindow({ hasLocks: false });
  const { signal } = new AbortController();
  const [one, other] = [work(), work()];
  void exclusively("a", signal, one.run);
  void exclusively("a", signal, other.run);
  expect([one.isRunning(), other.isRunning()]).toEqual([true, true]);
});

test("where locks are refused the tab works for itself", async () => {
  vi.stubGlobal("navigator", {
    locks: { request: () => Promise.reject(new DOMException("no", "SecurityError")) },
  });
  let ran = 0;
  await exclusively("a", new AbortController().signal, async () => void ran++);
  expect(ran).toBe(1);
});

test("an error of the work is the caller's, and it is not repeated", async () => {
  fakeWindow();
  let ran = 0;
  const failing = exclusively("a", new AbortController().signal, async () => {
    ran++;
    throw new Error("mine");
  });
  await expect(failing).rejects.toThrow("mine");
  expect(ran).toBe(1);
});
