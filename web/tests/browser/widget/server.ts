/* A Wicara of its own for a test, and a proxy before it that notes what comes, and can break it off. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A debug build serves these pages instead of those that are in it. */
const DIST = process.env.WICARA_WEB_DIST ?? new URL("../../../dist/", import.meta.url).pathname;
export const PASSWORD = "a password of tests";

export interface Wicara {
  /** Where browsers reach it. */
  url: string;
  /** Every request that came, as `METHOD /path number`. */
  requests: string[];
  /** The requests whose answers have not ended. */
  open: Set<string>;
  /** Ends the process as a crash does, and waits until it is gone. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Breaks off every connection of the browsers. */
  cut(): void;
  /** Answers requests whose path matches before the server sees them. */
  intercept(answer: ((method: string, path: string, response: ServerResponse) => boolean) | undefined): void;
  /** A call of the person who is the administrator. */
  operator(method: string, path: string, body?: unknown): Promise<unknown>;
  close(): Promise<void>;
}

/** `settings`: lines of wicara.toml; `environment`: settings that are no tables. */
export async function startWicara(
  settings: string,
  environment: Record<string, string> = {},
): Promise<Wicara> {
  const folder = mkdtempSync(join(tmpdir(), "wicara-widget-"));
  writeFileSync(join(folder, "wicara.toml"), settings);
  const requests: string[] = [];
  const open = new Set<string>();
  let intercepted: ((method: string, path: string, response: ServerResponse) => boolean) | undefined;
  let process_: ChildProcess;
  let port = 0;
  let cookie = "";

  const start = async () => {
    process_ = spawn(process.env.WICARA_BIN ?? "wicara", [], {
      cwd: folder,
      env: {
        ...process.env,
        WICARA_WEB_DIST: DIST,
        WICARA_SERVER__LISTEN: `127.0.0.1:${port}`,
        WICARA_SERVER__DRAIN_SECONDS: "0",
        WICARA_AUTH__ADMIN_PASSWORD: PASSWORD,
        ...environment,
      },
    });
    port = await listening(process_);
  };

  const front = createServer((incoming, outgoing) => {
    const path = incoming.url!;
    const request_ = `${incoming.method} ${path} ${requests.length}`;
    requests.push(request_);
    open.add(request_);
    outgoing.on("close", () => open.delete(request_));
    if (intercepted?.(incoming.method!, path, outgoing)) return;
    forward(incoming, outgoing, port);
  });
  await new Promise<void>((done) => front.listen(0, "127.0.0.1", done));
  await start();
  const url = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;

  const operator = async (method: string, path: string, body?: unknown) => {
    const call = (path_: string, method_: string, body_: unknown) =>
      fetch(`http://127.0.0.1:${port}${path_}`, {
        method: method_,
        headers: { "Content-Type": "application/json", Cookie: cookie },
        body: body_ === undefined ? undefined : JSON.stringify(body_),
      });
    if (!cookie) {
      const login = await call("/api/auth/login", "POST", { email: "admin@localhost", password: PASSWORD });
      cookie = login.headers.get("Set-Cookie")!.split(";")[0]!;
    }
    return (await call(path, method, body)).json();
  };
  const kill = async () => {
    if (process_.exitCode !== null || process_.signalCode !== null) return;
    const gone = new Promise((done) => process_.once("exit", done));
    process_.kill("SIGKILL");
    await gone;
  };
  return {
    url,
    requests,
    open,
    kill,
    start,
    cut: () => front.closeAllConnections(),
    operator,
    intercept: (answer) => (intercepted = answer),
    close: async () => {
      front.closeAllConnections();
      front.close();
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Waits for the line that says where the server listens. */
function listening(server: ChildProcess): Promise<number> {
  return new Promise((done, fail) => {
    let text = "";
    const read = (chunk: Buffer) => {
      text += chunk.toString();
      const found = /http:\/\/127\.0\.0\.1:(\d+)/.exec(text);
      if (found) done(Number(found[1]));
    };
    server.stdout!.on("data", read);
    server.stderr!.on("data", read);
    server.once("exit", () => fail(new Error(`wicara has ended:\n${text}`)));
    server.once("error", fail);
  });
}

/** What the server breaks off, breaks off for the browser too. */
function forward(incoming: IncomingMessage, outgoing: ServerResponse, port: number): void {
  const { method, headers, url } = incoming;
  const onward = request({ host: "127.0.0.1", port, method, path: url, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode!, answer.headers);
    answer.pipe(outgoing);
    answer.on("error", () => outgoing.destroy());
  });
  onward.on("error", () => outgoing.destroy());
  outgoing.on("close", () => onward.destroy());
  incoming.pipe(onward);
}

/** The page of somebody else that includes the widget: another origin, under a strict policy. */
export async function startPage(
  widget: string,
  attributes: string,
  body = "",
): Promise<{ url: string; server: Server }> {
  const policy = [
    "default-src 'none'",
    `script-src ${widget}`,
    `connect-src ${widget}`,
    "style-src 'self'",
    "base-uri 'none'",
  ].join("; ");
  const html = `<!doctype html><html lang="en"><head><meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1"><title>A page</title>
    <link rel="stylesheet" href="/page.css"></head>
    <body><h1>A page</h1><p>It has a style of its own. <a href="/other">Another page</a></p>${body}
    <script src="${widget}/widget.js" ${attributes} async></script></body></html>`;
  // Rules that a page may well have, and that must not reach into the widget.
  const css = `* { letter-spacing: 2px; } body { font-family: serif; color: purple; }
    button { background: red !important; border-radius: 0 !important; } div, p { margin: 40px; }`;
  const server = createServer((request_, response) => {
    if (request_.url === "/page.css") response.writeHead(200, { "Content-Type": "text/css" }).end(css);
    else
      response.writeHead(200, { "Content-Type": "text/html", "Content-Security-Policy": policy }).end(html);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, server };
}
