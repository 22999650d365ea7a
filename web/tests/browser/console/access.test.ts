/* The console for people who use a keyboard, a screen reader or a phone. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Bot, startBot } from "../widget/bot";
import { startConsole, type Wicara } from "./server";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

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

/** What axe finds that keeps somebody out. */
async function faults(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => (window as any).axe.run());
  return violations
    .filter(({ impact }: any) => impact === "serious" || impact === "critical")
    .map(
      ({ id, nodes }: any) =>
        `${id}: ${nodes.map((node: any) => `${node.html} ${node.failureSummary}`).join("; ")}`,
    );
}

for (const colorScheme of ["light", "dark"] as const) {
  test(`nothing keeps anybody out, ${colorScheme}`, { timeout: 120_000 }, async () => {
    const login = await wicara.browser.newPage({ colorScheme, bypassCSP: true });
    await login.goto(`${wicara.url}/login`);
    await login.getByRole("button", { name: "Sign in" }).click();
    expect(await faults(login)).toEqual([]);
    await login.context().close();

    const { page, context } = await wicara.open(undefined, { colorScheme, bypassCSP: true });
    await page.locator("[data-conversation]").first().waitFor();
    expect(await faults(page)).toEqual([]);
    await page.getByRole("button", { name: "Filter" }).click();
    await page.getByLabel("Channel").selectOption("website");
    await page.getByRole("button", { name: "Channel: website" }).waitFor();
    expect(await faults(page)).toEqual([]);
    await page.goto(`${wicara.url}/inbox?channel=none`);
    await page.getByText("Nothing matches").waitFor();
    expect(await faults(page)).toEqual([]);

    await page.goto(`${wicara.url}/inbox/${failed}`);
    await page.getByText("The bot answered with an error.").waitFor();
    expect(await faults(page)).toEqual([]);
    await page.goto(`${wicara.url}/inbox/${human}`);
    await page.getByText("Written as client").first().waitFor();
    await page.getByRole("group", { name: "Reply" }).getByRole("button", { name: "Note" }).click();
    expect(await faults(page)).toEqual([]);

    await page.getByRole("button", { name: "More" }).click();
    expect(await faults(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Account" }).click();
    expect(await faults(page)).toEqual([]);
    await page.getByRole("button", { name: "Keyboard shortcuts" }).click();
    await page.getByRole("dialog").waitFor();
    expect(await faults(page)).toEqual([]);
    await page.keyboard.press("Escape");

    const { conversation_id } = await wicara.ask("echo To be deleted");
    await page.goto(`${wicara.url}/inbox/${conversation_id}`);
    await page.getByRole("button", { name: "More" }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("button", { name: "Undo" }).waitFor();
    expect(await faults(page)).toEqual([]);
    await context.close();

    const phone = await wicara.open(undefined, {
      colorScheme,
      bypassCSP: true,
      viewport: { width: 360, height: 700 },
    });
    await phone.page.getByRole("button", { name: "Menu" }).click();
    expect(await faults(phone.page)).toEqual([]);
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

  await keys.press("j");
  expect(await page.evaluate(() => (document.activeElement as HTMLElement).dataset.conversation)).toBe(
    String(conversation_id),
  );
  await keys.press("j");
  await keys.press("k");
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
  expect(await page.evaluate(() => document.activeElement?.getAttribute("type"))).toBe("search");
  await keys.press("Escape");
  await keys.press("Escape");
  await page.waitForURL("**/inbox");
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
  expect(await page.getByRole("region", { name: "Conversations" }).isVisible()).toBe(false);
  expect(await fits()).toBe(true);
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
  expect(await fits()).toBe(true);
  await page.getByRole("button", { name: "Menu" }).tap();
  await page
    .getByRole("dialog")
    .getByRole("link", { name: /Unanswered/ })
    .tap();
  await page.waitForURL("**/inbox?view=unanswered");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await context.close();
});
