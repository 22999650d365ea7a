/* The inbox: what is new is announced and never pushed, long lists, filters, undo, and several tabs. */

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Bot, startBot } from "../widget/bot";
import { startConsole, type Wicara } from "./server";

let bot: Bot;
let wicara: Wicara;

beforeAll(async () => {
  bot = await startBot();
  wicara = await startConsole(bot.url);
});
afterAll(async () => {
  await wicara?.close();
  bot?.close();
});

const rooms = (page: Page) => page.locator("[data-conversation] .room").allTextContents();
const row = (page: Page, id: number | string) => page.locator(`[data-conversation="${id}"]`);

async function conversation(room: string, more: object = {}): Promise<string> {
  const body = { room, integrationType: "website", botId: "office", ...more };
  const { data } = await wicara.operator("POST", "/api/conversation", body);
  await wicara.operator("POST", "/api/message", {
    conversationId: data.id,
    role: "client",
    type: "text",
    message: `A question in ${room}`,
  });
  return data.id;
}

test("the first conversation appears by itself; more are announced and shown when they are asked for", async () => {
  const { page, context } = await wicara.open();
  await page.getByText("No conversations yet").waitFor();
  const first = await conversation("First");
  await row(page, first).waitFor();

  await conversation("Second");
  await conversation("Third");
  await page.getByRole("button", { name: "2 new" }).waitFor();
  await expect.poll(() => rooms(page)).toEqual(["First"]);
  await page.getByRole("button", { name: "2 new" }).click();
  await page.getByText("Third", { exact: true }).waitFor();
  await expect.poll(() => rooms(page)).toEqual(["Third", "Second", "First"]);
  await context.close();
});

test("a row on the screen changes in its place", async () => {
  const { page, context } = await wicara.open();
  const [below, above] = [await conversation("Below"), await conversation("Above")];
  await page.reload();
  await row(page, above).waitFor();
  await wicara.operator("POST", "/api/message", {
    conversationId: below,
    role: "client",
    type: "text",
    message: "Something else",
  });
  await row(page, below).getByText("Something else").waitFor();
  await expect.poll(async () => (await rooms(page)).slice(0, 2)).toEqual(["Above", "Below"]);
  await wicara.operator("POST", `/api/conversation/${below}/claim`);
  await row(page, below).getByText("You", { exact: true }).waitFor();
  await context.close();
});

test("a long list is walked to its end, with few rows in the page", async () => {
  for (let index = 0; index < 180; index += 1)
    await conversation(`Many ${index}`, { integrationType: "telegram" });
  const { page, context } = await wicara.open();
  await page.goto(`${wicara.url}/inbox?channel=telegram`);
  await page.getByText("Many 179", { exact: true }).waitFor();
  await page.waitForFunction(async () => {
    const scroller = document.querySelector("[data-conversation]")?.closest("ul")?.parentElement;
    if (scroller) scroller.scrollTop = scroller.scrollHeight;
    return [...document.querySelectorAll(".room")].some((room) => room.textContent === "Many 0");
  });
  await expect.poll(() => page.locator("[data-conversation]").count()).toBeLessThan(60);
  await context.close();
});

test("filters stand in the address and come back with the back button", async () => {
  await conversation("On the website");
  await conversation("On WhatsApp", { integrationType: "whatsapp", userId: "dewi" });
  const { page, context } = await wicara.open();
  await page.getByRole("button", { name: "Filter" }).click();
  await page.getByLabel("Channel").selectOption("whatsapp");
  await page.waitForURL("**/inbox?channel=whatsapp");
  await page.getByText("On WhatsApp", { exact: true }).waitFor();
  await page.waitForFunction(() => document.querySelectorAll("[data-conversation]").length === 1);
  await page.getByText("On WhatsApp", { exact: true }).click();
  await page.waitForURL("**/inbox/*?channel=whatsapp");
  await page.goBack();
  await page.goBack();
  await page.waitForURL("**/inbox");
  await page.waitForFunction(() => document.querySelectorAll("[data-conversation]").length > 1);
  await context.close();
});

test("the queue counts who waits, and a conversation leaves it when somebody has it", async () => {
  const id = await conversation("Please, a person");
  await wicara.operator("PATCH", `/api/conversation/${id}`, { handler: "human" });
  const { page, context } = await wicara.open();
  await page.getByRole("link", { name: /^Queue 1$/ }).click();
  await row(page, id).getByText("In queue").waitFor();
  await wicara.operator("POST", `/api/conversation/${id}/claim`);
  await row(page, id).getByText("You", { exact: true }).waitFor();
  await page.getByRole("link", { name: /^Queue$/ }).waitFor();
  await context.close();
});

test("two tabs share one connection, and both follow", async () => {
  const before = await conversation("Before");
  const { page, context } = await wicara.open();
  await page.getByText("Live", { exact: true }).waitFor();
  let streams = 0;
  const other = await context.newPage();
  other.on("request", (request) => (streams += Number(request.url().includes("/api/events"))));
  await other.goto(`${wicara.url}/inbox`);
  await other.getByText("Live", { exact: true }).waitFor();
  for (const tab of [page, other]) await row(tab, before).waitFor();
  const id = await conversation("For both");
  for (const tab of [page, other]) await tab.getByRole("button", { name: "1 new" }).waitFor();
  expect(streams).toBe(0);

  await page.close();
  await conversation("For the other");
  await other.getByRole("button", { name: "2 new" }).click();
  await row(other, id).waitFor();
  await context.close();
});

test("signing out in one tab signs out in all", async () => {
  const { page, context } = await wicara.open();
  const other = await context.newPage();
  await other.goto(`${wicara.url}/inbox`);
  await other.getByRole("region", { name: "Conversations" }).waitFor();
  await page.getByRole("button", { name: "Account" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL("**/login");
  await other.waitForURL("**/login");
  await context.close();
});

test("after a restart of the server nothing is missing", async () => {
  const { page, context } = await wicara.open();
  await page.getByText("Live", { exact: true }).waitFor();
  await wicara.kill();
  await page.getByText(/Connecting/).waitFor();
  await wicara.start();
  await conversation("After the restart");
  await page.getByRole("button", { name: "1 new" }).click();
  await page.getByText("After the restart", { exact: true }).waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  await context.close();
});

test("older messages come in above without moving what is read", async () => {
  const id = await conversation("Long");
  for (let index = 0; index < 130; index += 1) {
    await wicara.operator("POST", "/api/message", {
      conversationId: id,
      role: index % 2 ? "client" : "bot",
      type: "text",
      message: `Message ${index}`,
    });
  }
  const { page, context } = await wicara.open();
  await page.goto(`${wicara.url}/inbox/${id}`);
  const log = page.getByRole("log");
  await log.getByText("Message 129", { exact: true }).waitFor();
  expect(await log.getByText("Message 60", { exact: true }).count()).toBe(0);
  const moved = await log.evaluate(async (scroller) => {
    scroller.scrollTop = 200;
    const anchor = [...scroller.querySelectorAll("article")].find(
      (one) => one.getBoundingClientRect().top > 120,
    )!;
    const before = anchor.getBoundingClientRect().top;
    const count = scroller.querySelectorAll("article").length;
    while (scroller.querySelectorAll("article").length === count) await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return anchor.getBoundingClientRect().top - before;
  });
  expect(Math.abs(moved)).toBeLessThan(2);
  await context.close();
});
