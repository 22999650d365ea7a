import { afterEach, beforeEach, expect, test } from "vitest";

import { onlyConversation, startWorld, Visit, type World } from "./widget.ts";

let world: World;
beforeEach(async () => void (world = await startWorld()));
afterEach(() => world.close());

test("everything is done with the keyboard, and the focus is where it should be", async () => {
  const visit = await Visit.begin(world);
  const { page } = visit;
  await visit.launcher.waitFor();
  await page.keyboard.press("Tab");
  await visit.focuses("Another page");
  await page.keyboard.press("Tab");
  await visit.focuses("Open the chat");
  await page.keyboard.press("Enter");
  await visit.box.waitFor();
  await visit.focuses("Write a message…");

  await page.keyboard.type("echo **hi**");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("there");
  await page.keyboard.press("Enter");
  await visit.window.locator("time").waitFor();
  await visit.says("echo **hi**\nthere", "hi\nthere");
  await visit.focuses("Write a message…");

  // From the text box back up to the top, in the order of the window.
  const thumbs = ["Not helpful", "Helpful"];
  for (const stop of ["Talk to a person", ...thumbs, "Messages", "Close the chat", "Conversations"]) {
    await page.keyboard.press("Shift+Tab");
    await visit.focuses(stop);
  }
  await page.keyboard.press("Enter");
  await visit.focuses("New conversation");
  await page.keyboard.press("Escape");
  await visit.focuses("Write a message…");
  await page.keyboard.press("Escape");
  await visit.window.waitFor({ state: "detached" });
  await visit.focuses("Open the chat");
});

test.each(["light", "dark"] as const)(
  "nothing is hard to see or to reach in the %s theme",
  async (colorScheme) => {
    const { wicara } = world;
    const context = await world.browser.newContext({ colorScheme, reducedMotion: "reduce" });
    const visit = await Visit.begin(world, context);
    await visit.launcher.waitFor();
    await visit.isOpenToAll();
    await visit.open();
    await visit.isOpenToAll();
    const text =
      "echo # A\n> **b** [c](https://d.test)\n\n| a | b |\n|-|-|\n| `c` | d |\n\n```\ncode\n```\n1. e";
    await visit.ask(text);
    await visit.window.locator("time").waitFor();
    await visit.ask("fail please");
    await visit.sees("No answer came.");
    await visit.isOpenToAll();
    await visit.button("Talk to a person").click();
    const { id } = await onlyConversation(wicara);
    await wicara.operator("POST", "/api/message", {
      conversationId: id,
      role: "agent",
      type: "text",
      message: "Good day",
    });
    await visit.sees("Good day");
    await wicara.kill();
    await visit.ask("are you there?");
    await visit.sees("No connection.");
    await visit.sees("Connection lost.");
    await visit.isOpenToAll();
    await visit.button("Conversations").click();
    await visit.button("Forget everything in this browser").click();
    await visit.isOpenToAll();
  },
);

test("colours of the page keep their contrast, whatever they are", async () => {
  for (const color of ["#ffe600", "navy", "rgb(120 120 120)", "white", "no colour"]) {
    for (const colorScheme of ["light", "dark"] as const) {
      const context = await world.browser.newContext({ colorScheme });
      await context.addInitScript((wanted) => {
        const set = () => document.querySelector("script[src]")!.setAttribute("data-color", wanted);
        document.addEventListener("DOMContentLoaded", set);
      }, color);
      const visit = await Visit.begin(world, context);
      await visit.open();
      await visit.ask("echo [hi](https://x.test)");
      await visit.window.locator("time").waitFor();
      await visit.isOpenToAll(`${color}, ${colorScheme}`);
      await context.close();
    }
  }
});

test("on a phone the window fills the screen, keeps the focus, and what is touched is large enough", async () => {
  const context = await world.browser.newContext({
    viewport: { width: 360, height: 640 },
    hasTouch: true,
    isMobile: true,
  });
  const visit = await Visit.begin(world, context);
  await visit.launcher.tap();
  await visit.box.waitFor();
  const place = async () => Object.values((await visit.window.boundingBox())!).map(Math.round);
  await expect.poll(place).toEqual([0, 0, 360, 640]);
  await expect.poll(() => visit.window.getAttribute("aria-modal")).toBe("true");
  await visit.ask("echo see https://x.test");
  await visit.window.locator("time").waitFor();
  await visit.ask("fail please");
  await visit.sees("No answer came.");
  for (const target of await visit.window.getByRole("button").all()) {
    const box = await target.boundingBox();
    if (!box) continue;
    const name = await target.getAttribute("aria-label");
    expect(box.height, `${name ?? (await target.innerText())}`).toBeGreaterThanOrEqual(44);
    expect(box.width).toBeGreaterThanOrEqual(44);
  }
  await expect.poll(() => visit.page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
  // The keyboard takes half of the screen: the text box stays visible.
  await visit.page.setViewportSize({ width: 360, height: 330 });
  await expect.poll(place).toEqual([0, 0, 360, 330]);
  const end = async () => {
    const box = (await visit.box.boundingBox())!;
    return box.y + box.height;
  };
  await expect.poll(end).toBeLessThanOrEqual(330);
  for (let stop = 0; stop < 12; stop++) {
    await visit.page.keyboard.press("Tab");
    await expect.poll(() => visit.window.evaluate((one) => one.matches(":focus-within"))).toBe(true);
  }
  visit.isClean();
});

test("on a page that runs from right to left the window stands at the left, and each text runs its own way", async () => {
  const visit = await Visit.begin(world);
  await visit.page.evaluate(() => (document.documentElement.dir = "rtl"));
  await visit.open();
  const panel = (await visit.window.boundingBox())!;
  expect(panel.x).toBeLessThan(100);
  await visit.ask("echo مرحبا");
  await visit.window.getByText("مرحبا", { exact: true }).waitFor();
  const [asked, answered] = await visit.window.locator(".message .bubble").all();
  const side = async (of: typeof asked) => (await of!.boundingBox())!.x - panel.x;
  await expect.poll(async () => (await side(answered)) - (await side(asked))).toBeGreaterThan(0);
  const directions = await visit.window
    .locator(".message .text")
    .evaluateAll((texts) => texts.map((text) => getComputedStyle(text).direction));
  expect(directions).toEqual(["ltr", "rtl"]);
  await visit.isOpenToAll();
});
