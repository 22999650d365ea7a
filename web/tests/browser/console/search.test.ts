/* The search of the inbox. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { type Bot, startBot } from "../widget/bot";
import { startConsole, type Wicara } from "./server";

let bot: Bot;
let wicara: Wicara;

beforeAll(async () => {
  bot = await startBot();
  wicara = await startConsole(bot.url);
  await wicara.ask(
    "echo Untuk mengurus **akta kelahiran** Anda perlu membawa surat keterangan dari rumah sakit atau bidan",
  );
  for (let index = 0; index < 30; index += 1)
    await wicara.ask(`echo Pertanyaan nomor ${index} tentang pajak`);
});
afterAll(async () => {
  await wicara?.close();
  bot?.close();
});

test("hits are shown with their words marked, and cleared again", async () => {
  const { page, context } = await wicara.open();
  await page.locator("[data-conversation]").first().waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("bidan");
  await page.waitForURL("**/inbox?q=bidan");
  await page.getByText("1 result", { exact: true }).waitFor();
  await expect.poll(() => page.locator("[data-conversation]").count()).toBe(1);
  const mark = page.locator("[data-conversation] mark");
  await expect.poll(() => mark.allTextContents()).toEqual(["bidan"]);
  await mark.waitFor();

  await page.locator("[data-conversation]").click();
  await page.getByRole("log").getByText("akta kelahiran").first().waitFor();
  await page.getByLabel("Search conversations").fill("zzz");
  await page.getByText("Nothing matches").waitFor();
  await page.getByRole("button", { name: "Clear search" }).click();
  await page.waitForFunction(() => document.querySelectorAll("[data-conversation]").length > 5);
  await context.close();
});

test("what finds nothing by itself is explained", async () => {
  const { page, context } = await wicara.open();
  await page.getByLabel("Search conversations").fill("-pajak");
  await page.getByText("Add at least one word to find.").waitFor();
  await page.getByLabel("Search conversations").fill("-pajak akta");
  await page.locator("[data-conversation] mark").first().waitFor();
  await context.close();
});

test("typing asks once it pauses, and shows what was typed last", async () => {
  const { page, context } = await wicara.open();
  await page.locator("[data-conversation]").first().waitFor();
  const asked: string[] = [];
  page.on("request", (request) => {
    const q = new URL(request.url()).searchParams.get("q");
    if (q) asked.push(q);
  });
  // However long the letters take here, no time passes between them for the page.
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 60_000);
  await page.getByLabel("Search conversations").pressSequentially("pertanyaan nomor 7");
  await page.clock.resume();
  await page.getByText("1 result", { exact: true }).waitFor();
  expect(asked).toEqual(["pertanyaan nomor 7"]);
  await context.close();
});
