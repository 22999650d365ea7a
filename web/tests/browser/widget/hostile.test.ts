import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";

import { dice } from "../../../shared/dice.ts";
import { PAYLOADS } from "../../../shared/payloads.ts";
import { startWorld, Visit, type World } from "./widget.ts";

let world: World;
afterEach(() => world.close());

/** What the payloads try to do, and what no payload of theirs may leave behind. */
async function isUnharmed(visit: Visit): Promise<void> {
  const found = await visit.window.evaluate((element) => ({
    hacked: (window as { hacked?: unknown }).hacked,
    elements: [...element.querySelectorAll(".text *, .links *")].map(({ localName }) => localName),
    attributes: [...element.querySelectorAll(".text *, .links *")].flatMap(({ attributes }) =>
      [...attributes].map(({ name }) => name),
    ),
    links: [...element.querySelectorAll<HTMLAnchorElement>(".text a, .links a")].map(
      ({ protocol }) => protocol,
    ),
  }));
  expect(found.hacked).toBeUndefined();
  for (const name of new Set(found.elements)) {
    expect(name).toMatch(
      /^(a|blockquote|br|code|del|em|h[3-6]|hr|li|ol|p|pre|span|strong|svg|path|table|td|th|tr|ul)$/,
    );
  }
  for (const name of new Set(found.attributes)) {
    expect(name).toMatch(/^(href|target|rel|dir|start|tabindex|viewBox|aria-hidden|d|class)$/);
  }
  for (const protocol of new Set(found.links)) expect(protocol).toMatch(/^(https?|mailto):$/);
  visit.isClean();
}

test("nothing runs, and nothing is fetched, whatever a bot or a visitor writes, cut anywhere as it comes", async () => {
  world = await startWorld("", { WICARA_LIMITS__QUESTIONS_PER_MINUTE: "0" });
  const visit = await (await Visit.begin(world)).open();
  expect(PAYLOADS.length).toBeGreaterThan(200);
  const roll = dice(1);
  const size = 40;
  for (let at = 0; at < PAYLOADS.length; at += size) {
    const part = PAYLOADS.slice(at, at + size);
    const question = `${at} ${part[0]}`.replaceAll("\n", " ");
    await visit.ask(question);
    let rest = part.join("\n\n");
    while (rest) {
      const end = 1 + roll(120);
      await world.bot.say(question, rest.slice(0, end));
      rest = rest.slice(end);
    }
    await world.bot.say(question, `\n\nend ${at}`);
    await visit.sees(`end ${at}`);
    await isUnharmed(visit);
    await world.bot.finish(question);
    await visit.button("Send").waitFor();
  }
  await visit.page.reload();
  const all = visit.button("Show all");
  await all.first().waitFor();
  await isUnharmed(visit);
  for (let left = await all.count(); left > 0; left--) await all.first().click();
  await visit.sees("end 0");
  await isUnharmed(visit);
});

test("links that a bot suggests lead to the web or nowhere, and an answer of any shape is shown", async () => {
  const answers = [
    {
      text: "one",
      suggest_links: [
        { title: "<b>bad", url: "javascript:window.hacked=1" },
        { title: 7, url: "https://x.test/" },
      ],
    },
    { text: "two", suggest_links: "javascript:window.hacked=1" },
    {
      text: "three",
      suggest_links: [null, 7, { url: {} }, { title: "good", url: "https://y.test/" }],
      properties: 7,
    },
  ];
  const server = createServer((_, response) => response.end(JSON.stringify({ data: { message: answers } })));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  world = await startWorld(
    `[[bot]]\nid = "shapes"\nkind = "http"\nurl = "http://127.0.0.1:${port}"\npublic = true\n`,
    {},
    `data-bot="shapes"`,
  );
  const visit = await (await Visit.begin(world)).open();
  await visit.ask("hello");
  await visit.sees("three");
  await isUnharmed(visit);
  const links = visit.window.locator(".links a");
  const targets = () => links.evaluateAll((all) => all.map((link) => (link as HTMLAnchorElement).href));
  await expect.poll(targets).toEqual(["https://x.test/", "https://y.test/"]);
  await visit.page.reload();
  await visit.sees("three");
  await isUnharmed(visit);
  server.close();
});
