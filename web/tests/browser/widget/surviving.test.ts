import { afterEach, beforeEach, expect, test } from "vitest";

import { messages, onlyConversation, startWorld, Visit, type World } from "./widget.ts";

let world: World;
beforeEach(async () => void (world = await startWorld()));
afterEach(() => world.close());

test("the page is loaded anew in the middle of the first answer, and the answer appears", async () => {
  const { bot } = world;
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.ask("slowly");
  await bot.say("slowly", "The first half");
  await visit.sees("The first half");
  await visit.page.reload();
  await visit.sees("slowly");
  await bot.say("slowly", " and the second");
  await visit.sees("The first half and the second");
  await bot.finish("slowly");
  await visit.window.locator("time").waitFor();
  await visit.says("slowly", "The first half and the second");
  expect(bot.asked).toEqual(["slowly"]);
  // So does what was being written.
  await visit.box.fill("echo and then");
  await visit.page.reload();
  await expect.poll(() => visit.box.inputValue()).toBe("echo and then");
  await visit.box.press("Enter");
  await visit.window.getByText("and then", { exact: true }).waitFor();
  await visit.page.reload();
  await visit.sees("and then");
  await expect.poll(() => visit.box.inputValue()).toBe("");
  visit.isClean();
});

test("the page is loaded anew before the server has answered at all: the question is stored once", async () => {
  const { wicara } = world;
  const keys: string[] = [];
  const visit = await Visit.begin(world);
  visit.page.on("request", (request) => {
    if (request.method() === "POST" && request.url().endsWith("/api/questions")) {
      keys.push(`${request.headers()["idempotency-key"]} ${request.postData()}`);
    }
  });
  // The question arrives, and what the server answers is lost.
  wicara.intercept((method, path, response) => {
    if (method !== "POST" || path !== "/api/questions") return false;
    response.write = () => true;
    response.end = () => response;
    return false;
  });
  await visit.open();
  await visit.ask("echo once");
  await expect.poll(() => messages(wicara)).toEqual(["client echo once", "bot once"]);
  wicara.intercept(undefined);
  await visit.page.reload();
  await visit.window.getByText("once", { exact: true }).waitFor();
  await visit.says("echo once", "once");
  await expect.poll(() => messages(wicara)).toHaveLength(2);
  expect(keys).toHaveLength(2);
  expect(keys[0]).toBe(keys[1]);
});

test("the server is killed and comes back: nothing is lost and nothing comes twice", async () => {
  const { wicara, bot } = world;
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.ask("echo before");
  await visit.window.getByText("before", { exact: true }).waitFor();
  await wicara.kill();
  await visit.sees("Connection lost. Reconnecting…");
  await visit.ask("echo meanwhile");
  await visit.sees("No connection.");
  await wicara.start();
  await visit.window.getByText("meanwhile", { exact: true }).waitFor();
  await expect.poll(() => visit.window.getByText("Connection lost").count()).toBe(0);
  await expect
    .poll(() => messages(wicara))
    .toEqual(["client echo before", "bot before", "client echo meanwhile", "bot meanwhile"]);
  await visit.says("echo before", "before", "echo meanwhile", "meanwhile");
  expect(bot.asked).toHaveLength(2);
  // It is live again.
  const { id } = await onlyConversation(wicara);
  await wicara.operator("POST", "/api/message", {
    conversationId: id,
    role: "agent",
    type: "text",
    message: "I am here",
  });
  await visit.sees("I am here");
});

test("a server that dies while it answers: the visitor is told, and may ask again", async () => {
  const { wicara, bot } = world;
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.ask("slowly");
  await bot.say("slowly", "Half");
  await visit.sees("Half");
  await wicara.kill();
  await wicara.start();
  await visit.sees("No answer came.");
  await visit.button("Ask again").waitFor();
  await expect.poll(() => messages(wicara)).toEqual(["client slowly"]);
});

test("a conversation that is gone is begun anew, with what was asked", async () => {
  const { wicara } = world;
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.ask("echo one");
  await visit.window.getByText("one", { exact: true }).waitFor();
  const { id } = await onlyConversation(wicara);
  await visit.button("Close the chat").click();
  await wicara.operator("DELETE", `/api/conversation/${id}`);
  // Only a question can find out now, because nothing can be read.
  wicara.intercept((method, path, response) => {
    if (method !== "GET" || !path.startsWith("/api/questions/")) return false;
    response.writeHead(503, { "Access-Control-Allow-Origin": "*" }).end("{}");
    return true;
  });
  await visit.open();
  await visit.ask("echo two");
  wicara.intercept(undefined);
  await visit.sees("The earlier conversation no longer exists.");
  await visit.window.getByText("two", { exact: true }).waitFor();
  await expect.poll(() => messages(wicara)).toEqual(["client echo two", "bot two"]);
});

test("a conversation that was deleted while its visitor was away is said to be gone", async () => {
  const { wicara } = world;
  const visit = await Visit.begin(world);
  await visit.open();
  await visit.ask("echo one");
  await visit.window.getByText("one", { exact: true }).waitFor();
  const { id } = await onlyConversation(wicara);
  await wicara.operator("DELETE", `/api/conversation/${id}`);
  await visit.sees("The earlier conversation no longer exists.");
  await visit.ask("echo two");
  await visit.window.getByText("two", { exact: true }).waitFor();
  await expect.poll(() => messages(wicara)).toEqual(["client echo two", "bot two"]);
});

test("who asks too much is told how long to wait, and the question goes by itself", async () => {
  const { wicara } = world;
  const visit = await Visit.begin(world);
  await visit.open();
  let refusals = 1;
  wicara.intercept((method, path, response) => {
    if (method !== "POST" || path !== "/api/questions" || !refusals--) return false;
    response.writeHead(429, {
      "Access-Control-Allow-Origin": "*",
      "Access-Control-Expose-Headers": "retry-after",
      "Retry-After": "4",
    });
    response.end('{"status":429,"message":"too many requests","error":"…"}');
    return true;
  });
  await visit.ask("echo hello");
  await visit.sees(/Too many questions at once. It is sent in \d s./);
  await visit.window.getByText("hello", { exact: true }).waitFor();
  await expect.poll(() => messages(wicara)).toHaveLength(2);
});

test.each(["none", "session"])(
  "with data-storage=%s, and where storage is blocked, it works until the page is left",
  async (kind) => {
    const context = await world.browser.newContext();
    await context.addInitScript((blocked) => {
      if (blocked === "session") {
        Object.defineProperty(window, "sessionStorage", { get: () => { throw new DOMException("", "SecurityError"); } }); // prettier-ignore
      }
      document.addEventListener("DOMContentLoaded", () => {
        document.querySelector("script[src]")!.setAttribute("data-storage", blocked);
      });
    }, kind);
    const visit = await Visit.begin(world, context);
    await visit.open();
    await visit.ask("echo one");
    await visit.window.getByText("one", { exact: true }).waitFor();
    await visit.ask("echo two");
    await visit.window.getByText("two", { exact: true }).waitFor();
    await onlyConversation(world.wicara);
    await expect.poll(() => visit.page.evaluate(() => localStorage.length)).toBe(0);
    visit.isClean();
  },
);

test("a chat that could not be loaded is loaded at the next click", async () => {
  const { wicara } = world;
  const visit = await Visit.begin(world);
  wicara.intercept((_, path, response) => {
    if (!path.startsWith("/widget/")) return false;
    response.destroy();
    return true;
  });
  await visit.launcher.click();
  await visit.page.getByRole("alert").getByText("The chat could not be loaded.").waitFor();
  wicara.intercept(undefined);
  await visit.open();
  await visit.page.getByRole("alert").waitFor({ state: "detached" });
  visit.isClean();
});

test("whatever happens to the page, the network and the server, each question is stored once", async () => {
  const { wicara } = world;
  const visit = await (await Visit.begin(world)).open();
  const happens = {
    reload: () => visit.page.reload(),
    cut: async () => wicara.cut(),
    crash: async () => {
      await wicara.kill();
      await visit.page.waitForTimeout(300);
      await wicara.start();
    },
    nothing: async () => {},
  };
  const order = [
    "reload",
    "cut",
    "crash",
    "cut",
    "reload",
    "crash",
    "nothing",
    "crash",
    "reload",
    "cut",
  ] as const;
  const asked: string[] = [];
  for (const [turn, event] of order.entries()) {
    const question = `echo ${turn} ${event}`;
    asked.push(`client ${question}`);
    await visit.ask(question);
    // At another moment of its sending each time.
    await visit.page.waitForTimeout((turn * 7) % 40);
    await happens[event]();
    await visit.box.waitFor();
  }
  const stored = async () => (await messages(wicara)).filter((message) => message.startsWith("client"));
  // A question that a crash cut off stays claimed for the bot's deadline and ten seconds.
  const patience = { timeout: 100_000 };
  await expect.poll(stored, patience).toHaveLength(asked.length);
  await expect.poll(async () => JSON.stringify(await visit.stored()), patience).toContain('\\"pending\\":[]');
  await expect.poll(stored).toEqual(asked);
  await onlyConversation(wicara);
  await expect.poll(() => visit.window.locator(".mine").count()).toBe(asked.length);
}, 180_000);
