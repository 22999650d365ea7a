/* The live connection: what happens when it was away for too long, and what it tells somebody who looks elsewhere. */

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

test("where the feed cannot go on from the position, what is shown is loaded again", async () => {
  const { conversation_id, session_id } = await wicara.ask("echo Sebelum");
  const { page, context } = await wicara.open();
  // Every connection breaks, that for answers too; the one after that asks for a position of another feed.
  let away = true;
  await page.route("**/api/events?*", (route) => {
    if (away) return route.abort();
    const url = new URL(route.request().url());
    const after = url.searchParams.get("after");
    if (after && !after.startsWith("0000.")) url.searchParams.set("after", "0000.1");
    return route.continue({ url: url.href });
  });
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  await page.getByRole("log").getByText("Sebelum", { exact: true }).waitFor();
  // The list too is there before anything else is said.
  await page.locator(`[data-conversation="${conversation_id}"]`).getByText("Sebelum").waitFor();
  await page.getByText("Not live. Connecting again…").waitFor();
  await wicara.ask("echo Sesudah", session_id);
  const other = await wicara.ask("echo Yang lain");
  expect(await page.getByText("Sesudah").count()).toBe(0);

  away = false;
  await page.getByRole("log").getByText("Sesudah", { exact: true }).waitFor();
  await page.getByRole("button", { name: "1 new" }).click();
  await page.locator(`[data-conversation="${other.conversation_id}"]`).waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  await context.close();
});

test("the queue notifies who has asked for it and looks elsewhere", async () => {
  const { page, context } = await wicara.open();
  await context.grantPermissions(["notifications"], { origin: wicara.url });
  await page.addInitScript(() => {
    const told: string[] = [];
    class Told {
      static permission = "granted";
      static requestPermission = async () => "granted";
      constructor(title: string, options: NotificationOptions) {
        told.push(`${title}: ${options.body}`);
      }
      close() {}
    }
    Object.assign(window, { Notification: Told, told });
    document.hasFocus = () => false;
  });
  await page.reload();
  await page.getByText("Live", { exact: true }).waitFor();
  const first = await wicara.ask("echo Satu");
  await wicara.visitor("POST", `${first.session_id}/handover`);
  await page.getByRole("link", { name: /^Queue 1$/ }).waitFor();
  const told = () => page.evaluate(() => (window as unknown as { told: string[] }).told);
  expect(await told()).toEqual([]);

  await page.getByRole("button", { name: "Account" }).click();
  await page.getByRole("button", { name: "Notify me of the queue" }).click();
  const second = await wicara.ask("echo Dua");
  await wicara.visitor("POST", `${second.session_id}/handover`);
  await page.getByRole("link", { name: /^Queue 2$/ }).waitFor();
  await page.getByRole("button", { name: /new/ }).click();
  await wicara.operator("PATCH", `/api/conversation/${second.conversation_id}`, { room: "Renamed" });
  await page.locator("[data-conversation]").getByText("Renamed", { exact: true }).waitFor();
  await expect.poll(told).toEqual([`Somebody waits for a person: website-${second.conversation_id}`]);
  await context.close();
});

test("who is removed is signed out at once", async () => {
  wicara.addPerson("bayu@example.org", "agent");
  const { conversation_id } = await wicara.ask("echo Sampai nanti");
  const { page, context } = await wicara.open("bayu@example.org");
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  await page.getByRole("button", { name: "Take over", exact: true }).waitFor();
  wicara.removePerson("bayu@example.org");
  await page.waitForURL(`**/login?next=*`);
  await context.close();
});

test("without locks, as on plain http, only tabs on the screen hold connections, and the others catch up", async () => {
  const { page, context } = await wicara.open();
  await page.addInitScript(() => {
    Object.defineProperty(navigator, "locks", { value: undefined });
    Object.defineProperty(document, "hidden", { get: () => (window as { away?: boolean }).away ?? false });
  });
  const show = (away: boolean) =>
    page.evaluate((value) => {
      Object.assign(window, { away: value });
      document.dispatchEvent(new Event("visibilitychange"));
    }, away);
  await page.reload();
  await page.getByText("Live", { exact: true }).waitFor();
  const ended = page.waitForEvent("requestfailed", (request) => request.url().includes("/api/events"));
  await show(true);
  await ended;
  await wicara.ask("echo Sementara itu");
  await show(false);
  await page.getByRole("button", { name: "1 new" }).waitFor();
  await context.close();
});
