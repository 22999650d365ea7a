/* Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream). */

export interface StreamEvent {
  event: string;
  data: string;
  /** The position, where the block has one. Such a block may have no data: it is a heartbeat. */
  id: string;
}

/** Takes the text of a stream in pieces cut anywhere, and calls `onEvent` for each block with data or a position. */
export function eventParser(onEvent: (event: StreamEvent) => void): (text: string) => void {
  let rest = "";
  let event = "";
  let id = "";
  let data: string[] = [];
  // A line break that was cut in two: the \n that follows belongs to the \r before.
  let skipsNewline = false;

  const line = (text: string) => {
    if (!text) {
      if (data.length || id) onEvent({ event: event || "message", data: data.join("\n"), id });
      event = id = "";
      data = [];
      return;
    }
    const colon = text.indexOf(":");
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (field === "data") data.push(value);
    else if (field === "event") event = value;
    else if (field === "id") id = value;
  };

  return (text) => {
    if (!text) return;
    if (skipsNewline && text[0] === "\n") text = text.slice(1);
    skipsNewline = text.endsWith("\r");
    if (!/[\r\n]/.test(text)) {
      rest += text;
      return;
    }
    const lines = (rest + text).split(/\r\n|\r|\n/);
    rest = lines.pop()!;
    lines.forEach(line);
  };
}

/**
 * Reads a response's stream to its end. The stream is given up when it is silent for `silence` milliseconds: the server
 * sends a heartbeat every 15 seconds, so that this one is dead.
 */
export async function readEvents(
  response: Response,
  onEvent: (event: StreamEvent) => void,
  silence: number,
): Promise<void> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  const parse = eventParser(onEvent);
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    for (;;) {
      const dead = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error("silent")), silence);
      });
      const { done, value } = await Promise.race([reader.read(), dead]);
      clearTimeout(timer);
      if (done) return;
      parse(decoder.decode(value, { stream: true }));
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
}
