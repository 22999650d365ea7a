/* A Wicara of its own for a test, with people, and the browser that they use. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";

const BINARY = process.env.WICARA_BIN ?? "wicara";
/** Set: a debug build shows the pages of this folder, so that it need not be built anew for them. */
const PAGES = process.env.WICARA_WEB_DIST;
export const PASSWORD = "a password of tests";
export const ADMIN = "admin@localhost";

export interface Asked {
  session_id: string;
  conversation_id: number;
  question_id: number;
}

export interface Wicara {
  url: string;
  browser: Browser;
  /** A call of the administrator. */
  operator: Call;
  /** The calls of somebody who is logged in. */
  person(email: string): Promise<Call>;
  /** A question of a visitor; without a session it opens a conversation. */
  ask(message: string, session?: string, bot?: string): Promise<Asked>;
  /** A call of a visitor below /api/questions. */
  visitor(method: string, path: string, body?: unknown): Promise<any>;
  addPerson(email: string, role: string): void;
  removePerson(email: string): void;
  /** A browser of somebody who is logged in; it shows the inbox. */
  open(email?: string, options?: BrowserContextOptions): Promise<{ page: Page; context: BrowserContext }>;
  /** Ends the process as a crash does, and waits until it is gone. */
  kill(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

export type Call = <T = any>(method: string, path: string, body?: unknown) => Promise<T>;

/** `bot`: the address of an OpenAI-compatible API, for the default bot of that name. */
export async function startConsole(bot: string, name = "office"): Promise<Wicara> {
  const folder = mkdtempSync(join(tmpdir(), "wicara-console-"));
  let port = 0;
  writeFileSync(join(folder, "wicara.toml"), settings(bot, name));
  const { WICARA_BIN: _binary, WICARA_CHROMIUM: _browser, ...environment } = process.env;
  environment.WICARA_AUTH__ADMIN_PASSWORD = environment.WICARA_PASSWORD = PASSWORD;
  if (PAGES) environment.WICARA_WEB_DIST = resolve(PAGES);
  let server: ChildProcess;

  const start = async () => {
    server = spawn(BINARY, [], {
      cwd: folder,
      env: { ...environment, WICARA_SERVER__LISTEN: `127.0.0.1:${port}` },
    });
    port = await listening(server);
  };
  await start();
  const url = `http://127.0.0.1:${port}`;
  const browser = await chromium.launch({
    executablePath: process.env.WICARA_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-lcd-text"],
  });

  const call = async (method: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  const person = async (email: string): Promise<Call> => {
    const login = await call("POST", "/api/auth/login", { email, password: PASSWORD });
    const Cookie = login.headers.get("Set-Cookie")!.split(";")[0]!;
    return async (method, path, body) => (await call(method, path, body, { Cookie })).json();
  };
  let operator: Promise<Call> | undefined;
  const kill = async () => {
    if (server.exitCode !== null || server.signalCode) return;
    const gone = new Promise((done) => server.once("exit", done));
    server.kill("SIGKILL");
    await gone;
  };

  return {
    url,
    browser,
    start,
    kill,
    operator: async (method, path, body) => (await (operator ??= person(ADMIN)))(method, path, body),
    person,
    ask: async (message, session, botId) =>
      (await call("POST", "/api/questions", { message, session_id: session, botId })).json(),
    visitor: async (method, path, body) => (await call(method, `/api/questions/${path}`, body)).json(),
    addPerson: (email, role) => {
      execFileSync(BINARY, ["user", "add", email, "--role", role], { cwd: folder, env: environment });
    },
    removePerson: (email) => {
      execFileSync(BINARY, ["user", "remove", email], { cwd: folder, env: environment });
    },
    open: async (email = ADMIN, options = {}) => {
      const context = await browser.newContext({ locale: "en-US", ...options });
      const page = await context.newPage();
      const login = await context.request.post(`${url}/api/auth/login`, {
        data: { email, password: PASSWORD },
      });
      if (!login.ok()) throw new Error(await login.text());
      await page.goto(`${url}/inbox`);
      await page.getByRole("region", { name: /Conversations|Percakapan/ }).waitFor();
      return { page, context };
    },
    close: async () => {
      await browser.close();
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function settings(bot: string, name: string): string {
  return `
    [server]
    drain_seconds = 0
    [limits]
    questions_per_minute = 0
    questions_per_minute_per_address = 0
    logins_per_minute_per_address = 0
    [[bot]]
    id = "${name}"
    kind = "openai"
    url = "${bot}"
    model = "m"
    default = true
    retries = 0
    breaker_failures = 0
    [[bot]]
    id = "guide"
    kind = "documents"
    public = true`;
}

/** Waits for the line that says where the server listens. */
function listening(server: ChildProcess): Promise<number> {
  return new Promise((done, fail) => {
    let text = "";
    const read = (chunk: Buffer) => {
      text += chunk.toString();
      const found = /"address":"127\.0\.0\.1:(\d+)"/.exec(text);
      if (found) done(Number(found[1]));
    };
    server.stdout!.on("data", read);
    server.stderr!.on("data", read);
    server.once("exit", () => fail(new Error(`wicara has ended:\n${text}`)));
    server.once("error", fail);
  });
}
