/*
 * How fast the console is, whose server has many conversations. `cargo xtask bench` runs it:
 *
 *     node tests/bench/console.mjs ADDRESS COOKIE WORD OPENINGS
 *
 * It opens the inbox so many times in Chromium (WICARA_CHROMIUM), each time with nothing in the cache, presses a key, and
 * searches for the word, letter by letter. It prints a line of JSON for each opening, all in milliseconds: from the
 * navigation to `shown`, when 20 rows are on the screen, and to `answered`, when the key has moved the focus to one of them,
 * and the `longest` task since the search box was there; 0: none took 50, of which the browser tells no more.
 */

import { chromium } from "playwright-core";

const [address, cookie, word, openings] = process.argv.slice(2);
/** As high as 20 rows and what is above them. */
const SCREEN = { width: 1360, height: 1800 };
const LETTER_MILLISECONDS = 80;

/** Runs in the page before anything of it. */
function watch() {
  const seen = (window.seen = { box: 0, shown: 0, answered: 0, longest: 0 });
  // A timer that is set in a frame runs after its paint.
  const paint = (what) =>
    requestAnimationFrame(() => setTimeout(() => (seen[what] = seen[what] || performance.now())));
  const changes = new MutationObserver(() => {
    if (!seen.box && document.querySelector("input[type=search]")) paint("box");
    if (document.querySelectorAll("[data-conversation]").length < 20) return;
    changes.disconnect();
    paint("shown");
  });
  changes.observe(document, { childList: true, subtree: true });
  addEventListener("focusin", (event) => {
    if (event.target.closest("[data-conversation]")) paint("answered");
  });
  const take = (tasks) => {
    for (const { startTime, duration } of tasks)
      if (seen.box && startTime >= seen.box) seen.longest = Math.max(seen.longest, duration);
  };
  const tasks = new PerformanceObserver((list) => take(list.getEntries()));
  tasks.observe({ type: "longtask" });
  seen.end = () => take(tasks.takeRecords());
}

const browser = await chromium.launch({
  executablePath: process.env.WICARA_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
for (let opening = 0; opening < Number(openings); opening += 1) {
  // A context has a cache of its own.
  const context = await browser.newContext({ viewport: SCREEN });
  const [name, value] = cookie.split("=");
  await context.addCookies([{ name, value, url: address }]);
  const page = await context.newPage();
  await page.addInitScript(watch);
  await page.goto(`${address}/inbox`, { waitUntil: "commit" });
  await page.waitForFunction(() => window.seen.shown);
  await page.keyboard.press("j");
  await page.waitForFunction(() => window.seen.answered);
  await page.keyboard.press("/");
  await page.keyboard.type(word, { delay: LETTER_MILLISECONDS });
  await page.waitForURL(`**/inbox?q=${word}`);
  await page.locator(".results").waitFor();
  const { shown, answered, longest } = await page.evaluate(() => {
    window.seen.end();
    return { ...window.seen, end: null };
  });
  console.log(JSON.stringify({ shown, answered, longest }));
  await context.close();
}
await browser.close();
