/* Single messages. */

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Bot, startBot } from "../widget/bot";
import { isOpenToAll } from "./access";
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

const article = (page: Page, text: string) => page.getByRole("log").locator("article", { hasText: text });
async function write(conversationId: number, role: string, message: string) {
  await wicara.operator("POST", "/api/message", {
    conversationId: String(conversationId),
    role,
    type: "text",
    message,
  });
}

test("a very long message is shown in part until all of it is asked for", async () => {
  const lines = Array.from({ length: 400 }, (_, index) => `${index}. **line** number ${index}`);
  const { conversation_id, session_id } = await wicara.ask("echo Panjang");
  await write(conversation_id, "note", lines.join("\n"));
  const { page, context } = await wicara.open(undefined, { bypassCSP: true });
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  const long = article(page, "number 3");
  const button = long.getByRole("button", { name: "Show all" });
  await button.waitFor();
  await isOpenToAll(page);
  expect(await long.getByText("number 399").count()).toBe(0);
  await button.focus();
  await page.keyboard.press("Enter");
  await long.getByText("number 399").waitFor();
  await long.getByRole("button", { name: "Show less" }).and(page.locator(":focus")).waitFor();
  await page.keyboard.press("Enter");
  await long.getByText("number 399").waitFor({ state: "detached" });

  // An answer that is read as it comes does not become shorter at its end.
  const asked = wicara.ask("at length", session_id);
  await bot.say("at length", lines.join("\n"));
  const log = page.getByRole("log");
  await log.getByText("number 399").waitFor();
  await bot.finish("at length");
  await asked;
  await log.getByRole("button", { name: "Show less" }).waitFor();
  await log.getByText("number 399").waitFor();
  await page.reload();
  await log.getByRole("button", { name: "Show all" }).nth(1).waitFor();
  await context.close();
});
