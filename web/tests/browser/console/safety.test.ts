/* What strangers and bots write is shown as text: nothing of it runs, and nothing is fetched for it. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { PAYLOADS } from "../../../shared/payloads";
import { type Bot, startBot } from "../widget/bot";
import { startConsole, type Wicara } from "./server";

const ROOMS = 40;

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

test(
  "hostile text in messages, answers, notes, names and links does nothing",
  { timeout: 180_000 },
  async () => {
    expect(PAYLOADS.length).toBeGreaterThanOrEqual(200);
    const open = {
      room: "Hostile",
      integrationType: `<img src=x onerror="window.hacked=1">`,
      botId: "office",
    };
    const { data } = await wicara.operator("POST", "/api/conversation", open);
    const conversationId = data.id;
    for (const [index, message] of PAYLOADS.entries()) {
      const role = ["client", "bot", "agent", "note"][index % 4];
      await wicara.operator("POST", "/api/message", { conversationId, role, type: "text", message });
    }
    for (const type of ["image", "voice"]) {
      const message = "javascript:window.hacked=1";
      await wicara.operator("POST", "/api/message", { conversationId, role: "client", type, message });
    }
    for (const room of PAYLOADS.slice(-ROOMS)) {
      await wicara.operator("POST", "/api/conversation", {
        ...open,
        room,
        userId: `u"><svg onload=window.hacked=1>`,
      });
    }

    const { page, context } = await wicara.open();
    const elsewhere: string[] = [];
    const violations: string[] = [];
    const errors: string[] = [];
    context.on("request", (request) => {
      if (!request.url().startsWith(wicara.url)) elsewhere.push(request.url());
    });
    page.on("dialog", (dialog) => void elsewhere.push(dialog.message()));
    page.on("pageerror", (error) => void errors.push(error.message));
    page.on("console", (message) => {
      if (message.text().includes("Content Security Policy")) violations.push(message.text());
    });

    await page.goto(`${wicara.url}/inbox`);
    await page.locator("[data-conversation]").first().waitFor();
    await page.goto(`${wicara.url}/inbox/${conversationId}`);
    const log = page.getByRole("log");
    await log.locator("article").first().waitFor();
    await log.evaluate(async (scroller, count) => {
      while (scroller.querySelectorAll("article").length < count) {
        scroller.scrollTop = 0;
        await new Promise(requestAnimationFrame);
      }
    }, PAYLOADS.length + 2);

    // Whatever could be clicked or come into focus.
    const links = await page.locator("main a").evaluateAll((all) =>
      all.map((link) => {
        link.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
        (link as HTMLElement).focus();
        return (link as HTMLAnchorElement).protocol;
      }),
    );
    expect(links.filter((protocol) => !["http:", "https:", "mailto:"].includes(protocol))).toEqual([]);
    const foreign =
      "script, iframe, object, embed, img, video, form[action], link, style, [onerror], [onload]";
    expect(await page.locator(`main :is(${foreign})`).count()).toBe(0);
    expect(await page.evaluate(() => (window as { hacked?: number }).hacked)).toBeUndefined();
    expect({ elsewhere, violations, errors }).toEqual({ elsewhere: [], violations: [], errors: [] });

    // The same while an answer comes in, piece by piece.
    const { conversation_id, session_id } = await wicara.ask("echo hello");
    await page.goto(`${wicara.url}/inbox/${conversation_id}`);
    await log.getByText("hello", { exact: true }).waitFor();
    const asked = wicara.ask("stream", session_id);
    for (const payload of PAYLOADS.slice(0, 60)) {
      await bot.say("stream", payload.slice(0, 7));
      await bot.say("stream", `${payload.slice(7)}\n\n`);
    }
    await bot.finish("stream");
    await asked;
    await log.locator("article").nth(3).waitFor();
    expect(await page.evaluate(() => (window as { hacked?: number }).hacked)).toBeUndefined();
    expect({ elsewhere, violations, errors }).toEqual({ elsewhere: [], violations: [], errors: [] });
    await context.close();
  },
);
