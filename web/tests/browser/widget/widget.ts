/* A browser that visits a page with the widget. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Browser, type BrowserContext, chromium, type Locator, type Page } from "playwright-core";
import { expect, vi } from "vitest";

import { type Bot, startBot } from "./bot.ts";
import { startPage, startWicara, type Wicara } from "./server.ts";

export const PATIENCE = 30_000;

export interface World {
  bot: Bot;
  wicara: Wicara;
  browser: Browser;
  /** The page of somebody else that has the widget. */
  url: string;
  close(): Promise<void>;
}

/** A server whose default bot is the one that tests speak for. `settings` may add bots and tables. */
export async function startWorld(
  settings = "",
  environment: Record<string, string> = {},
  attributes = `data-title="Town hall" data-suggestions="echo When are you open?|echo Where are you?"`,
): Promise<World> {
  const bot = await startBot();
  const model = `[[bot]]\nid = "model"\nkind = "openai"\nurl = "${bot.url}"\nmodel = "m"\ndefault = true\nretries = 0\n`;
  const wicara = await startWicara(`${model}breaker_failures = 0\n${settings}`, environment);
  const page = await startPage(wicara.url, attributes);
  const browser = await chromium.launch({
    executablePath: process.env.WICARA_CHROMIUM ?? "/usr/bin/chromium",
    // A name that is not this machine's: a page there has no https, and so neither locks nor a clipboard.
    args: ["--no-sandbox", "--host-resolver-rules=MAP plain.test 127.0.0.1"],
  });
  const close = async () => {
    await browser.close();
    page.server.closeAllConnections();
    page.server.close();
    bot.close();
    await wicara.close();
  };
  return { bot, wicara, browser, url: page.url, close };
}

/** A visit, with everything noted that must not happen: errors, broken policies, and requests to anywhere else. */
export class Visit {
  readonly faults: string[] = [];
  readonly requested: string[] = [];

  private constructor(
    readonly world: World,
    readonly page: Page,
  ) {
    const own = [new URL(world.url).origin, world.wicara.url];
    page.on("pageerror", (error) => this.faults.push(String(error)));
    page.on("console", (message) => {
      if (/Content Security Policy|Refused/.test(message.text())) this.faults.push(message.text());
    });
    page.on("request", (request) => {
      const { origin } = new URL(request.url());
      this.requested.push(request.url());
      if (!own.includes(origin) && !origin.includes("plain.test"))
        this.faults.push(`request to ${request.url()}`);
    });
  }

  static async begin(world: World, context?: BrowserContext, url = world.url): Promise<Visit> {
    const page = await (context ?? (await world.browser.newContext())).newPage();
    page.setDefaultTimeout(PATIENCE);
    const visit = new Visit(world, page);
    await page.goto(url);
    return visit;
  }

  get launcher(): Locator {
    return this.page.getByRole("button", { name: "Open the chat" });
  }

  get window(): Locator {
    return this.page.getByRole("dialog");
  }

  get box(): Locator {
    return this.window.getByRole("textbox", { name: "Write a message" });
  }

  button(name: string | RegExp): Locator {
    return this.window.getByRole("button", { name });
  }

  async open(): Promise<this> {
    await this.launcher.click();
    await this.box.waitFor();
    return this;
  }

  async ask(text: string): Promise<void> {
    await this.box.fill(text);
    await this.box.press("Enter");
  }

  /** Waits until the text is shown. */
  async sees(text: string | RegExp): Promise<void> {
    await this.window.getByText(text).first().waitFor();
  }

  /** What the browser keeps for the page. */
  async stored(): Promise<Record<string, string>> {
    return this.page.evaluate(() => ({ ...localStorage, ...sessionStorage }));
  }

  /** Waits until the log shows just this, from the oldest to the newest. */
  async says(...texts: string[]): Promise<void> {
    await expect.poll(() => this.window.locator(".message .text").allInnerTexts()).toEqual(texts);
  }

  /** Waits until what has this accessible name has the focus. */
  async focuses(name: string): Promise<void> {
    await expect.poll(() => this.focused()).toBe(name);
  }

  /** The accessible name of what has the focus, within the widget too. */
  async focused(): Promise<string> {
    return this.page.evaluate(() => {
      const inner = document.activeElement?.shadowRoot?.activeElement ?? document.activeElement;
      return inner?.getAttribute("aria-label") ?? inner?.textContent ?? "";
    });
  }

  /** Waits until nothing within the widget makes use hard for somebody: the rest of the page is not ours to judge. */
  async isOpenToAll(note = "", within = "wicara-chat"): Promise<void> {
    await expect.poll(() => this.obstacles(within), { message: note }).toEqual([]);
  }

  private async obstacles(within: string): Promise<string[]> {
    const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
    await this.page.evaluate(`${source}; undefined`);
    const found = await this.page.evaluate(
      `axe.run(${JSON.stringify(within)}, { resultTypes: ["violations"] })`,
    );
    const { violations } = found as {
      violations: { id: string; impact: string; nodes: { html: string }[] }[];
    };
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  }

  /** Nothing went wrong all the time. */
  isClean(): void {
    expect(this.faults).toEqual([]);
  }
}

/** The only conversation there is, as operators see it; waits until there is just one. */
export async function onlyConversation(
  wicara: Wicara,
): Promise<{ id: string; seenByVisitorUpTo: string | null }> {
  const read = async () => {
    const { data } = (await wicara.operator("GET", "/api/conversation")) as {
      data: { id: string; seenByVisitorUpTo: string | null }[];
    };
    expect(data).toHaveLength(1);
    return data[0]!;
  };
  return vi.waitFor(read, { timeout: PATIENCE });
}

/** What was stored, as `role text`. */
export async function messages(wicara: Wicara): Promise<string[]> {
  const { data } = (await wicara.operator("GET", "/api/message?limit=100")) as {
    data: { role: string; message: string }[];
  };
  return data.map(({ role, message }) => `${role} ${message}`);
}
