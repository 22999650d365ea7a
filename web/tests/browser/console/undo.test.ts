/* What can be taken back: a deletion, and a question that its bot failed. */

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

test("a deleted conversation is gone at once for everybody, and comes back with its messages", async () => {
  const { conversation_id } = await wicara.ask("echo Jangan hapus saya");
  const { page, context } = await wicara.open();
  const colleague = await wicara.open();
  const row = `[data-conversation="${conversation_id}"]`;
  await colleague.page.locator(row).click();
  await page.locator(row).click();
  await page.getByRole("button", { name: "More" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.locator(row).waitFor({ state: "detached" });
  await colleague.page.getByText("This conversation was deleted.").waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await page.locator(row).click();
  await page.getByRole("log").getByText("Jangan hapus saya", { exact: true }).waitFor();
  await colleague.page.getByRole("log").getByText("Jangan hapus saya", { exact: true }).waitFor();
  await context.close();
  await colleague.context.close();
});

test("it stays deleted when the tab is closed, and can be brought back from the next one", async () => {
  const { conversation_id } = await wicara.ask("echo Sampai jumpa");
  const { page, context } = await wicara.open();
  const row = `[data-conversation="${conversation_id}"]`;
  await page.locator(row).click();
  await page.getByRole("button", { name: "More" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Undo" }).waitFor();
  await page.close();
  const gone = await wicara.operator("GET", `/api/conversation/${conversation_id}`);
  expect(gone.error).toBe("ConversationId is Invalid");

  const next = await context.newPage();
  await next.goto(`${wicara.url}/inbox`);
  await next.getByRole("button", { name: "Undo" }).click();
  await next.locator(row).click();
  await next.getByRole("log").getByText("Sampai jumpa", { exact: true }).waitFor();
  await context.close();
});

test("a failed question is asked again, and its answer is seen", async () => {
  const asked = await wicara.ask("fail the first time");
  const { page, context } = await wicara.open();
  await page.goto(`${wicara.url}/inbox/${asked.conversation_id}`);
  await page.getByText("The bot answered with an error.").waitFor();
  await wicara.operator("PATCH", `/api/message/${asked.question_id}`, { message: "echo This time it works" });
  await page.getByRole("button", { name: "Ask again" }).click();
  await page.getByRole("log").getByText("This time it works", { exact: true }).waitFor();
  await page.getByText("The bot answered with an error.").waitFor({ state: "detached" });
  await context.close();
});

test("what a visitor thinks of an answer is seen beside it", async () => {
  const asked: any = await wicara.ask("echo Semoga membantu");
  const { page, context } = await wicara.open();
  await page.goto(`${wicara.url}/inbox/${asked.conversation_id}`);
  await page.getByRole("log").getByText("Semoga membantu", { exact: true }).waitFor();
  const answer = `${asked.session_id}/messages/${asked.message_ids[0]}/feedback`;
  await wicara.visitor("PUT", answer, { value: -1, text: "Jamnya salah" });
  await page.getByRole("log").getByText("Jamnya salah").waitFor();
  await page.getByText("The visitor did not find this helpful").waitFor();
  await context.close();
});
