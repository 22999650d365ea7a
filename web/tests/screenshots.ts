/* The pictures of the README. Run with `npm run screenshots`; WICARA_BIN is the program. */

import { mkdirSync, writeFileSync } from "node:fs";
import type { BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startConsole, type Wicara } from "./browser/console/server";
import { type Bot, startBot } from "./browser/widget/bot";
import { chat, office, talks } from "./sample/day";
import { pngReduce } from "./sample/png";

const FOLDER = new URL("../../docs/screenshots/", import.meta.url).pathname;
const LARGEST_BYTES = 150 * 1024;
const MINUTE = 60_000;

let bot: Bot;
let wicara: Wicara;
/** When each conversation and message is said to have been: a server cannot be told to have lived through a day. */
const times = new Map<string, string>();

beforeAll(async () => {
  mkdirSync(FOLDER, { recursive: true });
  bot = await startBot();
  wicara = await startConsole(bot.url, office.bots.main);
  for (const { email, role } of office.staff) wicara.addPerson(email, role);
  wicara.addPerson("ratna.kusuma@arunika.example", "admin");
  for (const talk of [...talks].reverse()) await hold(talk);
});
afterAll(async () => {
  await wicara?.close();
  bot?.close();
});

async function hold(talk: (typeof talks)[number]): Promise<void> {
  const ratna = await wicara.person("ratna.kusuma@arunika.example");
  const staff = await wicara.person(office.staff[0]!.email);
  const { room, channel: integrationType, user: userId } = talk;
  const body = { room, integrationType, botId: office.bots.main, ...(userId ? { userId } : {}) };
  const { data } = await ratna("POST", "/api/conversation", body);
  const by = talk.holder === "staff" ? staff : ratna;
  const end = Date.now() - talk.ago * MINUTE;
  for (const [index, [role, message]] of talk.lines.entries()) {
    if (role === "agent" || role === "note") await by("POST", `/api/conversation/${data.id}/claim`);
    const stored = await by("POST", "/api/message", { conversationId: data.id, role, type: "text", message });
    times.set(
      `m${stored.data.id}`,
      new Date(end - (talk.lines.length - 1 - index) * 2 * MINUTE).toISOString(),
    );
  }
  if (talk.holder === "queue") await ratna("PATCH", `/api/conversation/${data.id}`, { handler: "human" });
  times.set(`c${data.id}`, new Date(end).toISOString());
}

/** Puts the times of the day into what the server answers. */
async function timed(page: Page): Promise<void> {
  const conversation = (one: any) => {
    one.updatedAt = times.get(`c${one.id}`) ?? one.updatedAt;
    return one;
  };
  const message = (one: any) => {
    one.createdAt = times.get(`m${one.id}`) ?? one.createdAt;
    return one;
  };
  await page.route(/\/api\/(conversation|message)(\/\d+)?(\?|$)/, async (route) => {
    const response = await route.fetch();
    const body = await response.json();
    const change = route.request().url().includes("/api/message") ? message : conversation;
    if (Array.isArray(body.data)) body.data.forEach(change);
    else if (body.data) change(body.data);
    await route.fulfill({ response, json: body });
  });
}

async function save(name: string, page: Page): Promise<void> {
  await page.mouse.move(0, 0);
  // The pages do not move; what a click has begun (a menu, a scroll) is over after this.
  await page.waitForTimeout(500);
  const png = pngReduce(await page.screenshot());
  expect(png.length, name).toBeLessThan(LARGEST_BYTES);
  writeFileSync(`${FOLDER}${name}.png`, png);
}

async function picture(name: string, options: BrowserContextOptions, show: (page: Page) => Promise<void>) {
  const { page, context } = await wicara.open("ratna.kusuma@arunika.example", {
    locale: "id-ID",
    ...options,
  });
  await timed(page);
  await page.goto(`${wicara.url}/inbox`);
  await show(page);
  await save(name, page);
  await context.close();
}

async function widget(name: string, options: BrowserContextOptions): Promise<void> {
  const context = await wicara.browser.newContext({ locale: "id-ID", ...options });
  const page = await context.newPage();
  await page.goto(`${wicara.url}/demo?lang=id`);
  await page.getByRole("button", { name: "Tanya sekarang" }).click();
  await page.getByRole("textbox").fill(chat.question);
  await page.keyboard.press("Enter");
  await bot.say(chat.question, chat.answer);
  await bot.finish(chat.question);
  await page.getByText("fotokopi kartu keluarga").first().waitFor();
  await save(name, page);
  await context.close();
}

const desktop = { viewport: { width: 1360, height: 820 } };
const phone = { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true };
const open = (page: Page) => page.getByRole("link", { name: /KTP hilang/ }).click();
const rows = (page: Page) => page.getByText("website-1045").first().waitFor();

for (const colorScheme of ["light", "dark"] as const) {
  test(`the inbox, ${colorScheme}`, () => picture(`inbox-${colorScheme}`, { ...desktop, colorScheme }, rows));
  test(`a conversation, ${colorScheme}`, () =>
    picture(`conversation-${colorScheme}`, { ...desktop, colorScheme }, open));
  test(`the inbox on a phone, ${colorScheme}`, () =>
    picture(`inbox-phone-${colorScheme}`, { ...phone, colorScheme }, rows));
  test(`a conversation on a phone, ${colorScheme}`, () =>
    picture(`conversation-phone-${colorScheme}`, { ...phone, colorScheme }, open));
}

// Last, because what is asked here comes into the inbox.
for (const colorScheme of ["light", "dark"] as const) {
  test(`the widget, ${colorScheme}`, () => widget(`widget-${colorScheme}`, { ...desktop, colorScheme }));
  test(`the widget on a phone, ${colorScheme}`, () =>
    widget(`widget-phone-${colorScheme}`, { ...phone, colorScheme }));
}
