import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";

import { startPage } from "./server.ts";
import { messages, onlyConversation, startWorld, Visit, type World } from "./widget.ts";

let world: World;
beforeEach(async () => void (world = await startWorld("", { WICARA_HANDOVER__SHOW_NAMES: "true" })));
afterEach(() => world.close());

test("on a page of another origin with a strict policy an answer is seen as it comes", async () => {
  const { bot } = world;
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.sees("When are you open?");
  await expect.poll(() => visit.stored()).toEqual({});

  await visit.ask("How do I get a card?");
  await bot.say("How do I get a card?", "You need **three");
  // What is not closed yet looks as it will.
  await visit.window.locator("strong", { hasText: "three" }).waitFor();
  await visit.says("How do I get a card?", "You need three");
  await bot.say("How do I get a card?", "** things, see [the form](https://forms.test/a).");
  await bot.finish("How do I get a card?");
  const link = visit.window.getByRole("link", { name: "the form" });
  await link.waitFor();
  expect(await link.getAttribute("rel")).toBe("noopener noreferrer nofollow ugc");
  expect(await link.getAttribute("target")).toBe("_blank");
  await visit.window.locator("time").waitFor();
  await visit.says("How do I get a card?", "You need three things, see the form.");

  expect(await visit.page.context().cookies()).toEqual([]);
  await expect
    .poll(() => messages(world.wicara))
    .toEqual([
      "client How do I get a card?",
      "bot You need **three** things, see [the form](https://forms.test/a).",
    ]);
  visit.isClean();
});

test("the whole chat is small", async () => {
  const visit = await Visit.begin(world);
  await visit.launcher.waitFor();
  const size = () => {
    const files = visit.requested.filter((url) => url.includes("/widget"));
    const bytes = new Set(files.filter((url) => !url.includes("/api/")).map((url) => new URL(url).pathname));
    const dist = process.env.WICARA_WEB_DIST ?? new URL("../../../dist", import.meta.url).pathname;
    return [...bytes].reduce((sum, path) => sum + gzipSync(readFileSync(dist + path)).length, 0);
  };
  expect(size()).toBeGreaterThan(0);
  expect(size()).toBeLessThanOrEqual(15 * 1024);
  await visit.open();
  await visit.ask("echo hi");
  await visit.window.locator("time").waitFor();
  expect(size()).toBeLessThanOrEqual(25 * 1024);
});

test("neither the page's styles nor its shortcuts reach into the widget, nor the widget's out of it", async () => {
  const visit = await Visit.begin(world);
  const heading = () =>
    visit.page.evaluate(() => {
      const { fontFamily, color, marginTop, fontSize } = getComputedStyle(document.querySelector("h1")!);
      return [fontFamily, color, marginTop, fontSize];
    });
  const before = await heading();
  const keys: string[] = [];
  await visit.page.exposeFunction("pressed", (key: string) => keys.push(key));
  await visit.page.evaluate(() => addEventListener("keydown", (event) => (window as any).pressed(event.key)));
  await visit.open();
  await visit.box.press("x");
  const { style } = await visit.window.evaluate((element) => {
    const { letterSpacing, fontFamily, color } = getComputedStyle(element);
    const { backgroundColor } = getComputedStyle(element.querySelector("button")!);
    return { style: [letterSpacing, fontFamily.includes("serif,"), color, backgroundColor] };
  });
  expect(style).toEqual(["normal", false, "rgb(29, 32, 30)", "rgba(0, 0, 0, 0)"]);
  expect(await heading()).toEqual(before);
  expect(keys).toEqual([]);
});

test("a suggestion asks, and an answer is stopped", async () => {
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.button("echo When are you open?").dblclick();
  await visit.window.getByText("When are you open?", { exact: true }).waitFor();
  expect(world.bot.asked).toEqual(["echo When are you open?"]);
  await visit.ask("slowly");
  await world.bot.say("slowly", "Half an answer");
  await visit.sees("Half an answer");
  await visit.button("Stop the answer").click();
  await visit.sees("Stopped here.");
  await visit.button("Send").waitFor();
  visit.isClean();
});

test("a very long message is shown in part until all of it is asked for; what was read as it came stays whole", async () => {
  const { bot } = world;
  const lines = Array.from({ length: 400 }, (_, index) => `${index}. **line** number ${index}`).join("\n");
  const visit = await (await Visit.begin(world)).open();
  await visit.ask("at length");
  await bot.say("at length", lines);
  await visit.sees("number 399");
  await bot.finish("at length");
  await visit.button("Show less").waitFor();
  await visit.sees("number 399");
  await visit.ask(`echo ${"word ".repeat(2_000)}`);
  await visit.window.locator(".mine").getByRole("button", { name: "Show all" }).waitFor();
  await visit.isOpenToAll();

  await visit.page.reload();
  const answer = visit.window.locator(".theirs").first();
  await answer.getByRole("button", { name: "Show all" }).focus();
  expect(await answer.getByText("number 399").count()).toBe(0);
  await visit.page.keyboard.press("Enter");
  await answer.getByText("number 399").waitFor();
  await visit.focuses("Show less");
  await visit.page.keyboard.press("Enter");
  await answer.getByText("number 399").waitFor({ state: "detached" });
  visit.isClean();
});

test("where the bot fails it says so, and asks again as a new question", async () => {
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.ask("fail please");
  await visit.sees("No answer came.");
  await visit.button("Ask again").dblclick();
  await expect.poll(() => messages(world.wicara)).toEqual(["client fail please", "client fail please"]);
  await onlyConversation(world.wicara);
});

test("a person takes over: what they write comes live, typing goes both ways, and what was seen is told", async () => {
  const { wicara } = world;
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.ask("echo hi");
  await visit.button("Talk to a person").click();
  await visit.sees("A person will answer you here.");
  const { id } = await onlyConversation(wicara);
  await wicara.operator("POST", `/api/conversation/${id}/claim`, {});
  await visit.sees("admin answers you here.");
  await wicara.operator("POST", `/api/conversation/${id}/typing`);
  await visit.window.getByRole("img", { name: "Somebody is writing" }).waitFor();
  const said = { conversationId: id, role: "agent", type: "text", message: "Good **morning**" };
  const { data } = (await wicara.operator("POST", "/api/message", said)) as { data: { id: string } };
  await visit.sees("morning");
  await expect.poll(async () => (await onlyConversation(wicara)).seenByVisitorUpTo).toBe(data.id);
  await visit.box.pressSequentially("thanks");
  await expect.poll(() => wicara.requests.some((one) => one.includes("/typing"))).toBe(true);
  await visit.box.press("Enter");
  await expect.poll(() => messages(wicara)).toContain("client thanks");
  expect(world.bot.asked).toEqual(["echo hi"]);
  // Screen readers are told whole messages.
  const told = async () => (await visit.window.locator("[aria-live]").allInnerTexts()).join();
  await expect.poll(told).toContain("Good morning");
  visit.isClean();
});

test("who asks for a person and is not heard is told so, and may try again", async () => {
  const visit = await (await Visit.begin(world)).open();
  await visit.ask("echo hi");
  world.wicara.intercept((_, path, response) => {
    if (!path.endsWith("/handover")) return false;
    response.writeHead(503, { "Access-Control-Allow-Origin": "*" }).end("{}");
    return true;
  });
  await visit.button("Talk to a person").click();
  await visit.sees("That did not work. Please try again.");
  world.wicara.intercept(undefined);
  await visit.button("Talk to a person").click();
  await visit.sees("A person will answer you here.");
});

test("a visitor has several conversations, and forgets them all", async () => {
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.ask("echo first");
  await visit.window.getByText("first", { exact: true }).waitFor();
  await visit.button("Conversations").click();
  await visit.button("New conversation").click();
  await visit.ask("echo second");
  await visit.window.getByText("second", { exact: true }).waitFor();
  await visit.button("Conversations").click();
  await visit.button(/echo first/).click();
  await visit.window.getByText("first", { exact: true }).waitFor();
  await visit.says("echo first", "first");
  await visit.button("Conversations").click();
  await visit.button("Forget everything in this browser").click();
  await visit.button("Forget").click();
  await visit.sees("Hello!");
  await expect.poll(() => visit.stored()).toEqual({});
  await expect.poll(() => messages(world.wicara)).toHaveLength(4);
  visit.isClean();
});

test("an answer is rated, with a word, and the rating is taken back", async () => {
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.ask("echo hi");
  await visit.button("Not helpful").click();
  await visit.window.getByRole("textbox", { name: "What was missing?" }).fill("It is too short");
  await visit.window.getByRole("textbox", { name: "What was missing?" }).press("Enter");
  await visit.sees("Thank you.");
  const feedback = async () => {
    const { data } = (await world.wicara.operator("GET", "/api/message?role=bot")) as {
      data: { feedback: unknown }[];
    };
    return data[0]!.feedback;
  };
  await expect.poll(feedback).toMatchObject({ value: -1, text: "It is too short" });
  await visit.button("Not helpful").click();
  await expect.poll(feedback).toBeNull();
  visit.isClean();
});

test("the word beside a rating is written on, whatever comes of the answer meanwhile", async () => {
  const visit = await (await Visit.begin(world)).open();
  await visit.ask("echo hi");
  await visit.button("Not helpful").waitFor();
  // The rating is on its way: to all others, the answer has none.
  world.wicara.intercept((method, path) => method === "PUT" && path.endsWith("/feedback"));
  await visit.button("Not helpful").click();
  const word = visit.window.getByRole("textbox", { name: "What was missing?" });
  await word.focus();
  await visit.page.keyboard.type("It is ");
  const { data } = (await world.wicara.operator("GET", "/api/message?role=bot")) as {
    data: { id: string }[];
  };
  await world.wicara.operator("PATCH", `/api/message/${data[0]!.id}`, { message: "another" });
  await visit.sees("another");
  await visit.page.keyboard.type("too short");
  await expect.poll(() => word.inputValue()).toBe("It is too short");
});

test("a rating that fails late does not take back the word that came after it", async () => {
  const visit = await (await Visit.begin(world)).open();
  await visit.ask("echo hi");
  await visit.button("Not helpful").waitFor();
  let refuse: (() => void) | undefined;
  world.wicara.intercept((method, path, response) => {
    if (method !== "PUT" || !path.endsWith("/feedback") || refuse) return false;
    refuse = () => void response.writeHead(503, { "Access-Control-Allow-Origin": "*" }).end("{}");
    return true;
  });
  await visit.button("Not helpful").click();
  const word = visit.window.getByRole("textbox", { name: "What was missing?" });
  await word.fill("It is too short");
  await word.press("Enter");
  await visit.sees("Thank you.");
  const stored = async () => JSON.stringify(await world.wicara.operator("GET", "/api/message?role=bot"));
  await expect.poll(stored).toContain("It is too short");
  refuse!();
  await visit.sees("That did not work. Please try again.");
  await visit.sees("Thank you.");
  await expect.poll(() => visit.button("Not helpful").getAttribute("aria-pressed")).toBe("true");
});

test("what the server says of its widget fills what the page leaves out", async () => {
  await world.close();
  const settings = `[bot.widget]\ntitle = "From the server"\ngreeting = "Selamat datang"
suggestions = ["echo apa kabar"]\nlanguages = ["id"]\ncolor = "#7a1fa2"\n`;
  world = await startWorld(settings, {}, `data-title="Town hall"`);
  const visit = await Visit.begin(world);
  await visit.launcher.click();
  await visit.sees("Selamat datang");
  // The page has named its own title.
  await visit.window.getByRole("heading", { name: "Town hall" }).waitFor();
  await visit.window.getByRole("textbox", { name: "Tulis pesan" }).waitFor();
  await visit.button("echo apa kabar").click();
  await visit.window.getByText("apa kabar", { exact: true }).waitFor();
  const bubble = visit.window.locator(".mine .bubble");
  await expect
    .poll(() => bubble.evaluate((element) => getComputedStyle(element).backgroundColor))
    .toBe("rgb(122, 31, 162)");
});

test("what the server says of its widget may come late: nothing that was begun meanwhile is lost", async () => {
  await world.close();
  const settings = `[bot.widget]\ntitle = "From the server"\ngreeting = "Good day"\n`;
  world = await startWorld(settings, {}, "");
  const said = JSON.stringify(await world.wicara.operator("GET", "/api/widget"));
  let answer = () => {};
  world.wicara.intercept((_, path, response) => {
    if (!path.startsWith("/api/widget")) return false;
    const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": "application/json" };
    answer = () => void response.writeHead(200, headers).end(said);
    return true;
  });
  const visit = await (await Visit.begin(world)).open();
  await visit.ask("echo hi");
  await visit.button("Not helpful").click();
  const word = visit.window.getByRole("textbox", { name: "What was missing?" });
  await word.fill("Half a thou");
  answer();
  await visit.window.getByRole("heading", { name: "From the server" }).waitFor();
  await expect.poll(() => word.inputValue()).toBe("Half a thou");
  await visit.button("Conversations").click();
  await visit.button("New conversation").click();
  await visit.sees("Good day");
});

test("a page places the chat itself, says where it stands, and opens it; its style sheet says how it looks", async () => {
  const { wicara } = world;
  const body = `<wicara-chat data-title="Placed" data-position="start"></wicara-chat>`;
  const { url, server } = await startPage(wicara.url, `data-title="Of the script" data-language="id"`, body);
  const context = await world.browser.newContext({ viewport: { width: 1000, height: 700 } });
  const visit = await Visit.begin({ ...world, url }, context);
  await visit.page.evaluate(() => document.documentElement.style.setProperty("--wicara-color", "navy"));
  const opens = () => visit.page.evaluate(() => customElements.get("wicara-chat") !== undefined);
  await expect.poll(opens).toBe(true);
  await expect.poll(() => visit.page.locator("wicara-chat").count()).toBe(1);
  await visit.page.locator("wicara-chat").evaluate((chat) => (chat as HTMLElement & { open(): void }).open());
  await visit.window.getByRole("heading", { name: "Placed" }).waitFor();
  await visit.window.getByRole("textbox", { name: "Tulis pesan" }).fill("echo hi");
  await visit.page.keyboard.press("Enter");
  await visit.window.getByText("hi", { exact: true }).waitFor();
  await expect.poll(async () => (await visit.window.boundingBox())!.x).toBeLessThan(100);
  await visit.page.keyboard.press("Escape");
  await visit.page.emulateMedia({ media: "print" });
  const launcher = visit.page.getByRole("button", { name: "Buka obrolan" });
  await launcher.waitFor({ state: "hidden" });
  await visit.page.emulateMedia({ media: "screen" });
  // The colour is looked for when the theme changes, too.
  await visit.page.emulateMedia({ colorScheme: "dark" });
  await expect
    .poll(() => launcher.evaluate((button) => getComputedStyle(button).backgroundColor))
    .toBe("rgb(0, 0, 128)");
  visit.isClean();
  server.close();
});
