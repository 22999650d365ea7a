import { afterEach, beforeEach, expect, test } from "vitest";

import { messages, onlyConversation, startWorld, Visit, type World } from "./widget.ts";

let world: World;
beforeEach(async () => void (world = await startWorld()));
afterEach(() => world.close());

const streams = () => [...world.wicara.open].filter((request) => request.includes("/events?"));

test("eight tabs share one stream, and show the same conversation; when the leading one goes, another leads", async () => {
  const { wicara } = world;
  const context = await world.browser.newContext();
  const visits: Visit[] = [];
  for (let tab = 0; tab < 8; tab++) visits.push(await (await Visit.begin(world, context)).open());
  await visits[0]!.ask("echo hello");
  for (const visit of visits) await visit.window.getByText("hello", { exact: true }).waitFor();
  await expect.poll(streams).toHaveLength(1);

  const { id } = await onlyConversation(wicara);
  const say = (message: string) =>
    wicara.operator("POST", "/api/message", { conversationId: id, role: "agent", type: "text", message });
  await say("Good morning");
  for (const visit of visits) await visit.sees("Good morning");
  await visits[7]!.ask("echo from the last");
  for (const visit of visits) await visit.window.getByText("from the last", { exact: true }).waitFor();
  await expect.poll(() => messages(wicara)).toHaveLength(5);

  // Whichever leads: all but the last are closed, one after the other.
  for (const visit of visits.slice(0, 7)) await visit.page.close();
  await expect.poll(() => streams().length).toBe(1);
  await say("Still there?");
  await visits[7]!.sees("Still there?");
  visits[7]!.isClean();
});

test("forgetting in one tab is forgetting in all", async () => {
  const context = await world.browser.newContext();
  const [one, other] = [
    await (await Visit.begin(world, context)).open(),
    await (await Visit.begin(world, context)).open(),
  ];
  await one.ask("echo hello");
  await other.window.getByText("hello", { exact: true }).waitFor();
  await one.button("Conversations").click();
  await one.button("Forget everything in this browser").click();
  await one.button("Forget").click();
  await other.sees("Hello!");
  await expect.poll(() => streams().length).toBe(0);
});

test("nothing is followed while the window is closed", async () => {
  const visit = await (await Visit.begin(world)).open();
  await visit.ask("echo hello");
  await visit.window.getByText("hello", { exact: true }).waitFor();
  await expect.poll(() => streams().length).toBe(1);
  await visit.button("Close the chat").click();
  await expect.poll(() => streams().length).toBe(0);
});

test("on a page without https, where browsers have no locks, tabs work each for itself", async () => {
  const { wicara } = world;
  const url = world.url.replace("127.0.0.1", "plain.test");
  const context = await world.browser.newContext();
  const one = await (await Visit.begin(world, context, url)).open();
  const other = await (await Visit.begin(world, context, url)).open();
  expect(await one.page.evaluate(() => [isSecureContext, "locks" in navigator])).toEqual([false, false]);
  await one.ask("echo hello");
  await other.window.getByText("hello", { exact: true }).waitFor();
  const { id } = await onlyConversation(wicara);
  await wicara.operator("POST", "/api/message", {
    conversationId: id,
    role: "agent",
    type: "text",
    message: "Good day",
  });
  await one.sees("Good day");
  await other.sees("Good day");
  await other.ask("echo bye");
  await one.window.getByText("bye", { exact: true }).waitFor();
  await expect.poll(() => messages(wicara)).toHaveLength(5);
});
