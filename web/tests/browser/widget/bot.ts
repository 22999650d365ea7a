/* A bot behind an OpenAI-compatible API that answers as slowly as a test wants. */

import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Bot {
  url: string;
  /** The questions that it was asked, in order. */
  asked: string[];
  /** Sends a piece of the answer to `question`, once that was asked. */
  say(question: string, text: string): Promise<void>;
  /** Ends the answer to `question`. */
  finish(question: string): Promise<void>;
  close(): void;
}

/**
 * A question that begins with "echo " is answered at once with the rest of it, "fail" with an error, and every other one
 * as `say` and `finish` tell.
 */
export async function startBot(): Promise<Bot> {
  const asked: string[] = [];
  const open = new Map<string, ServerResponse>();
  const piece = (text: string) => `data: ${JSON.stringify({ choices: [{ delta: { content: text } }] })}\n\n`;

  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const question = JSON.parse(body).messages.at(-1).content as string;
    asked.push(question);
    if (question.startsWith("fail")) {
      response.writeHead(500).end("{}");
      return;
    }
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.flushHeaders();
    if (question.startsWith("echo ")) response.end(`${piece(question.slice(5))}data: [DONE]\n\n`);
    else open.set(question, response);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;

  const stream = async (question: string): Promise<ServerResponse> => {
    for (;;) {
      const response = open.get(question);
      if (response) return response;
      await new Promise((done) => setTimeout(done, 20));
    }
  };
  return {
    url: `http://127.0.0.1:${port}/v1`,
    asked,
    say: async (question, text) => void (await stream(question)).write(piece(text)),
    finish: async (question) => {
      (await stream(question)).end("data: [DONE]\n\n");
      open.delete(question);
    },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
