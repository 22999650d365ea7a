/* Single messages: edited, deleted and brought back, and very long ones. */

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Bot, startBot } from "../widget/bot";
import { isOpenToAll } from "./access";
import { type Call, startConsole, type Wicara } from "./server";

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
const menu = (page: Page, text: string) =>
  article(page, text).getByRole("button", { name: "Message options" });

async function write(conversationId: number, role: string, message: string, by: Call = wicara.operator) {
  await by("POST", "/api/message", { conversationId: String(conversationId), role, type: "text", message });
}

test("an operator edits their own reply and note with the keyboard, and the visitor sees the new words", async () => {
  const { conversation_id, session_id } = await wicara.ask("echo Selamat siang");
  await wicara.operator("POST", `/api/conversation/${conversation_id}/claim`);
  wicara.addPerson("rekan@example.org", "agent");
  const colleague = await wicara.person("rekan@example.org");
  await write(conversation_id, "note", "By a colleague", colleague);
  await write(conversation_id, "note", "Call the registri");
  await write(conversation_id, "agent", "The office opens at 9.");
  const { page, context } = await wicara.open(undefined, { bypassCSP: true });
  const keys = page.keyboard;
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  await article(page, "opens at 9").waitFor();

  // The newest message's menu is the stop of the Tab key, and the arrows go on from there.
  await page.getByRole("log").focus();
  await keys.press("Tab");
  await menu(page, "opens at 9").and(page.locator(":focus")).waitFor();
  await keys.press("Enter");
  await page.getByRole("button", { name: "Edit" }).waitFor();
  await isOpenToAll(page);
  await keys.press("ArrowDown");
  await keys.press("Enter");
  const box = page.getByRole("log").getByRole("textbox", { name: "Reply" });
  await box.and(page.locator(":focus")).waitFor();
  await isOpenToAll(page);
  await box.fill("The office opens at 8.");
  await keys.press("Enter");
  await article(page, "opens at 8").waitFor();
  await menu(page, "opens at 8").and(page.locator(":focus")).waitFor();
  await expect
    .poll(async () => (await wicara.visitor("GET", session_id)).data.messages.at(-1).text)
    .toBe("The office opens at 8.");

  await keys.press("ArrowUp");
  await menu(page, "registri").and(page.locator(":focus")).waitFor();
  await keys.press("Enter");
  await page.getByRole("button", { name: "Edit" }).click();
  const note = page.getByRole("log").getByRole("textbox", { name: "Note" });
  await note.fill("thrown away");
  await keys.press("Escape");
  await menu(page, "registri").and(page.locator(":focus")).waitFor();
  await keys.press("Enter");
  await page.getByRole("button", { name: "Edit" }).click();
  await note.fill("Call the registry");
  await page.getByRole("button", { name: "Save" }).click();
  await article(page, "registry").waitFor();

  // What others have written is not theirs to change.
  await menu(page, "By a colleague").click();
  await page.getByRole("button", { name: "Delete message" }).waitFor();
  expect(await page.getByRole("button", { name: "Edit" }).count()).toBe(0);
  await context.close();
});

test("a change that the server does not take stays in the editor", async () => {
  const { conversation_id } = await wicara.ask("echo Baik");
  await write(conversation_id, "note", "First words");
  const { page, context } = await wicara.open();
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  await menu(page, "First words").click();
  await page.getByRole("button", { name: "Edit" }).click();
  await page.route("**/api/message/*", (route) => route.abort());
  const note = page.getByRole("log").getByRole("textbox", { name: "Note" });
  await note.fill("Second words");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("The server cannot be reached.").waitFor();
  await page.unroute("**/api/message/*");
  await expect.poll(() => note.inputValue()).toBe("Second words");
  await page.getByRole("button", { name: "Save" }).click();
  await article(page, "Second words").waitFor();
  await context.close();
});

test("a message is deleted for everybody at once, and comes back where it was", async () => {
  const { conversation_id, session_id } = await wicara.ask("echo Nomor telepon saya");
  await write(conversation_id, "note", "And a note");
  const { page, context } = await wicara.open();
  const colleague = await wicara.open();
  for (const each of [page, colleague.page]) {
    await each.goto(`${wicara.url}/inbox/${conversation_id}`);
    await article(each, "And a note").waitFor();
  }
  const all = () => page.getByRole("log").locator("article").allInnerTexts();
  const before = await all();
  await menu(page, "Nomor telepon saya").first().click();
  await page.getByRole("button", { name: "Delete message" }).click();
  for (const each of [page, colleague.page])
    await article(each, "echo Nomor telepon saya").waitFor({ state: "detached" });
  await page.locator("[role=log]:focus").waitFor();
  expect((await wicara.visitor("GET", session_id)).data.messages).toHaveLength(1);

  // It is offered after a reload, too.
  await page.reload();
  await page.getByText("Message deleted.").waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  for (const each of [page, colleague.page]) await article(each, "echo Nomor telepon saya").waitFor();
  await expect.poll(all).toEqual(before);
  await context.close();
  await colleague.context.close();
});

test("who may only read has no menu", async () => {
  wicara.addPerson("pembaca@example.org", "viewer");
  const { conversation_id } = await wicara.ask("echo Hanya baca");
  const { page, context } = await wicara.open("pembaca@example.org");
  await page.goto(`${wicara.url}/inbox/${conversation_id}`);
  await article(page, "Hanya baca").last().waitFor();
  await page.getByText("You can read conversations, not write in them.").waitFor();
  expect(await page.getByRole("button", { name: "Message options" }).count()).toBe(0);
  await context.close();
});

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
