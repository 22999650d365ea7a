export interface SseBlock {
  event: string;
  /** Null where the block has none: a block with an id alone moves the position. */
  data: string | null;
  id: string | null;
  retry: number | null;
}

/** Server-sent events from text that comes in pieces of any length. */
export class SseParser {
  private rest = "";
  private block: SseBlock | null = null;

  push(piece: string): SseBlock[] {
    const blocks: SseBlock[] = [];
    this.rest += piece;
    let start = 0;
    for (;;) {
      const end = this.rest.indexOf("\n", start);
      if (end < 0) break;
      const line = this.rest.slice(start, this.rest[end - 1] === "\r" && end > start ? end - 1 : end);
      start = end + 1;
      if (line) this.line(line);
      else if (this.block) {
        blocks.push(this.block);
        this.block = null;
      }
    }
    this.rest = this.rest.slice(start);
    return blocks;
  }

  private line(line: string): void {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    const block = (this.block ??= { event: "message", data: null, id: null, retry: null });
    if (name === "event") block.event = value;
    else if (name === "data") block.data = block.data === null ? value : `${block.data}\n${value}`;
    else if (name === "id") block.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) block.retry = Number(value);
  }
}
