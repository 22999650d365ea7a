/* The console for people who use a keyboard, a screen reader or a phone. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { type Bot, startBot } from "../widget/bot";
import { isOpenToAll } from "./access";
import { startConsole, type Wicara } from "./server";

let bot: Bot;
let wicara: Wicara;
let failed: number;
let human: number;

beforeAll(async () => {
  bot = await startBot();
  wicara = await startConsole(bot.url);
  await wicara.ask("echo **Selamat** datang, [baca ini](https://example.org/)");
  failed = (await wicara.ask("fail now")).conversation_id;
  const asked = await wicara.ask("echo Silakan");
  human = asked.conversation_id;
  await wicara.visitor("POST", `${asked.session_id}/handover`);
  await wicara.operator("POST", `/api/conversation/${human}/claim`);
  for (const role of ["agent", "note", "client"]) {
    const body = { conversationId: String(human), role, type: "text", message: `Written as ${role}` };
    await wicara.operator("POST", "/api/message", body);
  }
});
afterAll(async () => {
  await wicara?.close();
  bot?.close();
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`nothing keeps anybody out, ${colorScheme}`, { timeout: 120_000 }, async () => {
    const login = await wicara.browser.newPage({ colorScheme, bypassCSP: true });
    await login.goto(`${wicara.url}/login`);
    await login.getByRole("button", { name: "Sign in" }).click();
    await isOpenToAll(login);
    await login.context().close();

    const { page, context } = await wicara.open(undefined, { colorScheme, bypassCSP: true });
    await page.locator("[data-conversation]").first().waitFor();
    await isOpenToAll(page);
    await page.getByRole("button", { name: "Filter" }).click();
    await page.getByLabel("Channel").selectOption("website");
    await page.getByRole("button", { name: "Channel: website" }).waitFor();
    await isOpenToAll(page);
    await page.goto(`${wicara.url}/inbox?channel=none`);
    await page.getByText("Nothing matches").waitFor();
    await isOpenToAll(page);

    await page.goto(`${wicara.url}/inbox/${failed}`);
    await page.getByText("The bot answered with an error.").waitFor();
    await isOpenToAll(page);
    await page.goto(`${wicara.url}/inbox/${human}`);
    await page.getByText("Written as client").first().waitFor();
    await page.getByRole("group", { name: "Reply" }).getByRole("button", { name: "Note" }).click();
    await page.getByLabel("Note", { exact: true }).waitFor();
    await isOpenToAll(page);

    await page.getByRole("button", { name: "More" }).click();
    await page.getByRole("button", { name: "Delete" }).waitFor();
    await isOpenToAll(page);
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Account" }).click();
    await page.getByRole("button", { name: "Keyboard shortcuts" }).waitFor();
    await isOpenToAll(page);
    await page.getByRole("button", { name: "Keyboard shortcuts" }).click();
    await page.getByRole("dialog").waitFor();
    await isOpenToAll(page);
    await page.keyboard.press("Escape");

    const { conversation_id } = await wicara.ask("echo To be deleted");
    await page.goto(`${wicara.url}/inbox/${conversation_id}`);
    await page.getByRole("button", { name: "More" }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("button", { name: "Undo" }).waitFor();
    await isOpenToAll(page);
    await context.close();

    const phone = await wicara.open(undefined, {
      colorScheme,
      bypassCSP: true,
      viewport: { width: 360, height: 700 },
    });
    await phone.page.getByRole("button", { name: "Menu" }).click();
    await phone.page.getByRole("dialog").waitFor();
    await isOpenToAll(phone.page);
    await phone.context.close();
  });
}

test("everything is done with the keyboard alone", async () => {
  const { conversation_id } = await wicara.ask("echo Lewat papan ketik");
  const { page, context } = await wicara.open();
  const keys = page.keyboard;
  await page.locator("[data-conversation]").first().waitFor();
  await keys.press("?");
  await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
  await keys.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });

  const row = page.locator(`[data-conversation="${conversation_id}"]:focus`);
  await keys.press("j");
  await row.waitFor();
  await keys.press("j");
  await row.waitFor({ state: "detached" });
  await keys.press("k");
  await row.waitFor();
  await keys.press("Enter");
  await page.waitForURL(`**/inbox/${conversation_id}`);
  await page.getByText("office answers", { exact: true }).waitFor();
  await keys.press("c");
  await page.getByText("You have it", { exact: true }).waitFor();
  await keys.press("r");
  await keys.type("jck/?");
  await keys.press("Enter");
  await page.getByRole("log").getByText("jck/?", { exact: true }).waitFor();
  await keys.press("Escape");
  await keys.press("n");
  await keys.type("a note");
  await keys.press("Enter");
  await page.getByRole("log").getByText("a note", { exact: true }).waitFor();
  await keys.press("Escape");
  await keys.press("e");
  await page.getByText("office answers", { exact: true }).waitFor();
  await keys.press("/");
  await page.locator("input[type=search]:focus").waitFor();
  await keys.press("Escape");
  await keys.press("Escape");
  await page.waitForURL("**/inbox");
  await context.close();
});

test("a key counts that is pressed just when a dialog has closed", async () => {
  const { page, context } = await wicara.open();
  await page.locator("[data-conversation]").first().waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  // On a busy machine it comes before the event that tells of the closing: the focus is still in there.
  await page.evaluate(() => {
    document.querySelector("dialog")!.close();
    const key = new KeyboardEvent("keydown", { key: "j", bubbles: true, cancelable: true });
    document.activeElement!.dispatchEvent(key);
  });
  await page.locator("[data-conversation]:focus").waitFor();
  await context.close();
});

test("on a phone there is one thing at a time, and nothing wider than the screen", async () => {
  const { page, context } = await wicara.open(undefined, {
    viewport: { width: 360, height: 700 },
    hasTouch: true,
    isMobile: true,
  });
  const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
  await page.locator(`[data-conversation="${human}"]`).tap();
  await page.getByText("Written as agent").first().waitFor();
  await page.getByRole("region", { name: "Conversations" }).waitFor({ state: "hidden" });
  await expect.poll(fits).toBe(true);
  for (const button of await page.locator("main button:visible").all()) {
    const box = await button.boundingBox();
    expect(Math.min(box!.width, box!.height), await button.innerText()).toBeGreaterThanOrEqual(44);
  }
  await page.getByLabel("Reply to the visitor").tap();
  await page.keyboard.type("one");
  await page.keyboard.press("Enter");
  await page.keyboard.type("two");
  await page.getByRole("button", { name: "Send" }).tap();
  await page
    .locator("article")
    .filter({ hasText: /one\s*two/ })
    .waitFor();
  await page.getByRole("button", { name: "Details" }).tap();
  await page.getByRole("dialog", { name: "Details" }).getByText("Unknown visitor").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).tap();
  await page.getByRole("button", { name: "Back", exact: true }).tap();
  await page.getByRole("region", { name: "Conversations" }).waitFor();
  await expect.poll(fits).toBe(true);
  await page.getByRole("button", { name: "Menu" }).tap();
  await page
    .getByRole("dialog")
    .getByRole("link", { name: /Unanswered/ })
    .tap();
  await page.waitForURL("**/inbox?view=unanswered");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await context.close();
});
