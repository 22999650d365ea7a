/* What an operator does all day: reading what the bot answers, taking over, replying and giving back. */

import type { Route } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Bot, startBot } from "../widget/bot";
import { ADMIN, PASSWORD, startConsole, type Wicara } from "./server";

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

test("somebody logs in for the first time, and comes to where the link led", async () => {
  const { conversation_id } = await wicara.ask("echo Selamat datang");
  const page = await wicara.browser.newPage({ locale: "en-US" });
  await page.goto(`${wicara.url}/inbox/${conversation_id}?view=unanswered`);
  await page.getByLabel("E-mail").fill(ADMIN);
  await page.getByLabel("Password", { exact: true }).fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("E-mail or password is wrong.").waitFor();
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/inbox/${conversation_id}?view=unanswered`);
  await page.getByRole("log").getByText("Selamat datang", { exact: true }).waitFor();
  await page.context().close();
});

test("an answer is seen while it is given, and can be stopped", async () => {
  const { page, context } = await wicara.open();
  const { conversation_id, session_id } = await wicara.ask("echo Halo");
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  const log = page.getByRole("log");
  await log.getByText("Halo", { exact: true }).waitFor();

  const asked = wicara.ask("stop me", session_id);
  await bot.say("stop me", "The **first** half");
  await log.locator("strong", { hasText: "first" }).waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await log.getByText("Stopped before the end").waitFor();
  await asked;
  await expect.poll(() => log.getByText("half").count()).toBe(1);
  await context.close();
});

test("an operator takes over, replies, and gives the conversation back", async () => {
  const { page, context } = await wicara.open();
  const { conversation_id, session_id } = await wicara.ask("echo Apa kabar");
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  await page.getByRole("button", { name: "Take over", exact: true }).click();
  await page.getByText("You have it", { exact: true }).waitFor();

  await page.getByLabel("Reply to the visitor").fill("I will *look* into it");
  await page.getByRole("button", { name: "Send" }).click();
  const log = page.getByRole("log");
  await log.locator("em", { hasText: "look" }).waitFor();
  const thread = await wicara.visitor("GET", session_id);
  expect(thread.data.messages.at(-1)).toMatchObject({ role: "agent", text: "I will *look* into it" });

  await page.getByRole("group", { name: "Reply" }).getByRole("button", { name: "Note" }).click();
  await page.getByLabel("Note", { exact: true }).fill("Ask the registry first");
  await page.getByRole("button", { name: "Add note" }).click();
  await log.getByText("Ask the registry first").waitFor();
  const messages = async () => (await wicara.visitor("GET", session_id)).data.messages;
  await expect.poll(messages).toHaveLength(3);

  const newest = thread.data.messages.at(-1).id;
  await wicara.visitor("POST", `${session_id}/seen`, { upTo: newest });
  await log.getByText("Seen by the visitor").waitFor();
  await wicara.visitor("POST", `${session_id}/typing`);
  await log.getByText("Visitor is typing…").waitFor();

  await page.getByRole("button", { name: "Give back to bot" }).click();
  await page.getByText("office answers", { exact: true }).waitFor();
  const { data } = await wicara.operator("GET", `/api/conversation/${conversation_id}`);
  expect(data.handler).toBe("bot");
  await context.close();
});

test("of two operators who claim at once one has it, and the other is told who", async () => {
  wicara.addPerson("sari@example.org", "agent");
  const { conversation_id, session_id } = await wicara.ask("echo Tolong");
  await wicara.visitor("POST", `${session_id}/handover`);
  const [sari, admin] = await Promise.all([wicara.open("sari@example.org"), wicara.open()]);
  const pages = [sari.page, admin.page];
  for (const page of pages) await page.goto(`${wicara.url}/inbox/${conversation_id}?view=queue`);
  const claims = pages.map((page) => page.getByRole("button", { name: "Claim" }));
  // Nobody has it before both have asked for it.
  const held: Route[] = [];
  for (const page of pages)
    await page.route("**/claim", async (route) => {
      held.push(route);
      if (held.length === pages.length) for (const one of held) void one.continue();
    });
  for (const claim of claims) await claim.click();
  for (const page of pages) await page.getByText(/^(You have|\w+ has) it$/).waitFor();

  const { data } = await wicara.operator("GET", `/api/conversation/${conversation_id}`);
  const winner = data.assignee.name === "sari" ? 0 : 1;
  await pages[winner]!.getByText("You have it", { exact: true }).waitFor();
  await pages[1 - winner]!.getByText(`${data.assignee.name} has it`, { exact: true }).waitFor();
  await pages[1 - winner]!.getByText(`${data.assignee.name} has it already.`).waitFor();
  await sari.context.close();
  await admin.context.close();
});

test("a viewer reads, and is offered nothing to write with", async () => {
  wicara.addPerson("tamu@example.org", "viewer");
  const { conversation_id } = await wicara.ask("fail please");
  const { page, context } = await wicara.open("tamu@example.org");
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  await page.getByText("The bot answered with an error.").waitFor();
  await page.getByText("You can read conversations, not write in them.").waitFor();
  expect(await page.getByRole("button", { name: /Take over|Ask again|Send/ }).count()).toBe(0);
  await page.getByRole("button", { name: "More" }).click();
  await page.getByRole("button", { name: "Copy link" }).waitFor();
  expect(await page.getByRole("button", { name: /Delete|Rename/ }).count()).toBe(0);
  await context.close();
});

test("a reply is neither lost nor doubled when the server goes away, and a draft survives a reload", async () => {
  const { page, context } = await wicara.open();
  const { conversation_id } = await wicara.ask("echo Baik");
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  await page.getByRole("button", { name: "Take over", exact: true }).click();
  await page.getByText("You have it", { exact: true }).waitFor();
  await page.getByLabel("Reply to the visitor").fill("half a thought");
  await page.reload();
  await page.waitForFunction(() => document.querySelector("textarea")?.value === "half a thought");

  await wicara.kill();
  await page.getByLabel("Reply to the visitor").fill("sent into the dark");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByText("Sending…").waitFor();
  await wicara.start();
  await page.getByText("Sending…").waitFor({ state: "detached" });
  const { data } = await wicara.operator("GET", `/api/message?conversationId=${conversation_id}`);
  const sent = data.filter((message: { message: string }) => message.message === "sent into the dark");
  expect(sent).toHaveLength(1);
  await expect.poll(() => page.getByRole("log").getByText("sent into the dark").count()).toBe(1);
  await page.getByText("Live", { exact: true }).waitFor();
  await context.close();
});

test("a reply whose answer was lost on the way is sent again and stored once", async () => {
  const { page, context } = await wicara.open();
  const { conversation_id } = await wicara.ask("echo Sekali saja");
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  await page.getByRole("button", { name: "Take over", exact: true }).click();
  await page.getByText("You have it", { exact: true }).waitFor();
  let lost = 0;
  await page.route("**/api/message", async (route) => {
    if (lost > 0) return route.continue();
    lost += 1;
    await route.fetch();
    await route.abort();
  });
  await page.getByLabel("Reply to the visitor").fill("only once");
  await page.keyboard.press("Enter");
  const resent = page.waitForResponse((response) => response.url().endsWith("/api/message") && response.ok());
  await page.getByRole("log").getByText("only once").waitFor();
  await resent;
  await expect.poll(() => page.getByRole("log").getByText("only once").count()).toBe(1);
  const { data } = await wicara.operator("GET", `/api/message?conversationId=${conversation_id}`);
  expect(data.filter((message: { message: string }) => message.message === "only once")).toHaveLength(1);
  await context.close();
});

test("a reply that cannot be sent says so, and is sent when it is asked for", async () => {
  const { page, context } = await wicara.open();
  const { conversation_id } = await wicara.ask("echo Nanti");
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  await page.getByRole("button", { name: "Take over", exact: true }).click();
  await page.getByText("You have it", { exact: true }).waitFor();
  await page.route("**/api/message", (route) =>
    route.fulfill({ status: 400, json: { status: 400, error: "No." } }),
  );
  await page.getByLabel("Reply to the visitor").fill("refused");
  await page.keyboard.press("Enter");
  await page.getByText("Not accepted: No.").waitFor();
  await page.getByRole("button", { name: "Discard" }).click();
  await page.getByText("refused").waitFor({ state: "detached" });

  await page.unroute("**/api/message");
  await page.route("**/api/message", (route) => route.abort());
  await page.getByLabel("Reply to the visitor").fill("later");
  await page.keyboard.press("Enter");
  await page.getByText("Not sent.").waitFor();
  await page.unroute("**/api/message");
  const stored = page.waitForResponse((response) => response.url().endsWith("/api/message") && response.ok());
  await page.getByRole("button", { name: "Send again" }).click();
  await stored;
  await page.getByText("Not sent.").waitFor({ state: "detached" });
  const { data } = await wicara.operator("GET", `/api/message?conversationId=${conversation_id}`);
  expect(data.at(-1).message).toBe("later");
  await context.close();
});
