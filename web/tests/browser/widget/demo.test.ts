import { afterEach, beforeEach, expect, test } from "vitest";

import { startWorld, Visit, type World } from "./widget.ts";

let world: World;
beforeEach(async () => void (world = await startWorld()));
afterEach(() => world.close());

test.each([
  ["en-GB", "Ask now", "Write a message"],
  ["id-ID", "Tanya sekarang", "Tulis pesan"],
])("/demo shows the widget and how to have it (%s)", async (locale, button, box) => {
  const context = await world.browser.newContext({
    locale,
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const visit = await Visit.begin(world, context, `${world.wicara.url}/demo`);
  const { page } = visit;
  await page.getByRole("button", { name: button }).click();
  await visit.window.getByRole("textbox", { name: box }).fill("echo hi");
  await page.keyboard.press("Enter");
  await visit.window.getByText("hi", { exact: true }).waitFor();
  await page.keyboard.press("Escape");

  const line = `<script src="${world.wicara.url}/widget.js" async></script>`;
  await page.getByText(line).waitFor();
  await page.locator("#copy").click();
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe(line);
  const links = await page
    .getByRole("link")
    .evaluateAll((all) => all.map((link) => link.getAttribute("href")));
  expect(links).toEqual(expect.arrayContaining(["/", "/guide"]));
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    await visit.isOpenToAll(colorScheme, "body");
  }
  visit.isClean();
});

test("/demo changes its language", async () => {
  const context = await world.browser.newContext({ locale: "en-GB" });
  const visit = await Visit.begin(world, context, `${world.wicara.url}/demo`);
  await visit.page.getByRole("link", { name: "Bahasa Indonesia" }).click();
  await visit.page.getByRole("button", { name: "Tanya sekarang" }).waitFor();
  await visit.page.getByRole("button", { name: "Buka obrolan" }).waitFor();
});

test("/demo says what the operators have set for their bot", async () => {
  await world.close();
  world = await startWorld(`[bot.widget]\ntitle = "Balai Kota"\nsuggestions = ["echo jam buka"]\n`);
  const context = await world.browser.newContext({ locale: "en-GB" });
  const visit = await Visit.begin(world, context, `${world.wicara.url}/demo`);
  await visit.page.getByRole("button", { name: "Ask now" }).click();
  await visit.window.getByRole("heading", { name: "Balai Kota" }).waitFor();
  await visit.button("echo jam buka").waitFor();
  visit.isClean();
});
