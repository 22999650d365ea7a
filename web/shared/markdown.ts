/*
 * Markdown of bots and operators, as nodes: text is tokenised into pieces, and pieces become DOM nodes. No string ever
 * becomes HTML. What is understood is the part of CommonMark and of GitHub's tables that bots write; HTML in it stays
 * text, an image becomes a link, and a line break is one, because people expect that in a chat. Time and memory are
 * linear in the length of the text, whatever it holds: every search is bounded or consumes what it looked at.
 */

import { inline } from "./markdown-inline.ts";

export type Piece = string | Element;
export interface Element {
  tag: Tag;
  children: Piece[];
  /** Of `a`: an address that `safeUrl` let through. */
  href?: string;
  /** Of `ol`: its first number. */
  start?: number;
}
export type Tag =
  | "a" | "blockquote" | "br" | "code" | "del" | "em" | "h3" | "h4" | "h5" | "h6" | "hr" | "li" | "ol" | "p" | "pre"
  | "strong" | "table" | "td" | "th" | "tr" | "ul"; // prettier-ignore

/** Quotes and lists within each other; deeper ones are shown as text. */
const MAX_DEPTH = 8;

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})(?:\s|$)/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const UNDERLINE = /^ {0,3}(={3,}|-{3,})\s*$/;
const DELIMITER_CELL = /^\s*:?-+:?\s*$/;

export function parse(text: string): Piece[] {
  return blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0);
}

function blocks(lines: string[], depth: number): Piece[] {
  const pieces: Piece[] = [];
  let paragraph: string[] = [];
  const endParagraph = () => {
    if (paragraph.length) pieces.push({ tag: "p", children: inline(paragraph.join("\n")) });
    paragraph = [];
  };
  for (let at = 0; at < lines.length;) {
    const line = untabbed(lines[at]!);
    const next = lines[at + 1];
    let match: RegExpExecArray | null;
    if (!line.trim()) {
      endParagraph();
      at++;
    } else if (paragraph.length && (match = UNDERLINE.exec(line))) {
      pieces.push({ tag: match[1]![0] === "=" ? "h3" : "h4", children: inline(paragraph.join("\n")) });
      paragraph = [];
      at++;
    } else if ((match = FENCE.exec(line)) && !line.includes("`", match[0].length)) {
      endParagraph();
      at = fenced(lines, at, match[1]!, pieces);
    } else if ((match = HEADING.exec(line))) {
      endParagraph();
      const title = line
        .slice(match[0].length)
        .trim()
        .replace(/(^|\s)#+$/, "");
      pieces.push({ tag: `h${Math.min(match[1]!.length + 2, 6)}` as Tag, children: inline(title) });
      at++;
    } else if (RULE.test(line)) {
      endParagraph();
      pieces.push({ tag: "hr", children: [] });
      at++;
    } else if (depth < MAX_DEPTH && QUOTE.test(line)) {
      endParagraph();
      const inner: string[] = [];
      for (; at < lines.length && (QUOTE.test(lines[at]!) || isLazy(lines[at]!, inner)); at++) {
        inner.push(lines[at]!.replace(QUOTE, ""));
      }
      pieces.push({ tag: "blockquote", children: blocks(inner, depth + 1) });
    } else if (
      depth < MAX_DEPTH &&
      (match = ITEM.exec(line)) &&
      !(paragraph.length && !interrupts(match, line))
    ) {
      endParagraph();
      at = list(lines, at, depth, pieces);
    } else if (line.includes("|") && next?.includes("|") && isTable(line, next)) {
      endParagraph();
      at = table(lines, at, pieces);
    } else {
      paragraph.push(line.trimStart());
      at++;
    }
  }
  endParagraph();
  return pieces;
}

/** Tabs at the start count as four columns. */
function untabbed(line: string): string {
  return line.replace(/^[ \t]+/, (indent) => indent.replaceAll("\t", "    "));
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

/** A line without a mark of its own that goes on with the paragraph above it, within a quote or an item. */
function isLazy(line: string, above: string[]): boolean {
  const last = above[above.length - 1];
  return (
    Boolean(last?.trim() && line.trim()) &&
    ![FENCE, HEADING, RULE, QUOTE, ITEM].some((start) => start.test(line))
  );
}

/** Only a list that has content and begins with 1 may follow a paragraph without an empty line. */
function interrupts(match: RegExpExecArray, line: string): boolean {
  return line.length > match[0].length && (!/\d/.test(match[2]!) || parseInt(match[2]!) === 1);
}

function fenced(lines: string[], start: number, fence: string, pieces: Piece[]): number {
  const indent = indentOf(lines[start]!);
  const code: string[] = [];
  let at = start + 1;
  for (; at < lines.length; at++) {
    const closing = lines[at]!.trim();
    if (closing.length >= fence.length && closing === fence[0]!.repeat(closing.length)) break;
    code.push(lines[at]!.slice(Math.min(indent, indentOf(lines[at]!))));
  }
  pieces.push({ tag: "pre", children: [{ tag: "code", children: [code.join("\n")] }] });
  return at + 1;
}

function list(lines: string[], start: number, depth: number, pieces: Piece[]): number {
  const first = ITEM.exec(untabbed(lines[start]!))!;
  const kind = first[2]!.slice(-1);
  const items: Piece[] = [];
  let at = start;
  while (at < lines.length) {
    const line = untabbed(lines[at]!);
    const match = ITEM.exec(line);
    if (!match || match[2]!.slice(-1) !== kind || match[1]!.length > first[1]!.length + 1 || RULE.test(line))
      break;
    const padding = match[3]!.length > 4 ? 1 : match[3]!.length || 1;
    const width = match[1]!.length + match[2]!.length + padding;
    // Two columns are enough to belong to an item: bots write so below "1." too.
    const least = Math.min(width, match[1]!.length + 2);
    const inner = [line.slice(width)];
    let blank = false;
    for (at++; at < lines.length; at++) {
      const below = untabbed(lines[at]!);
      if (!below.trim()) blank = true;
      else if (indentOf(below) < least && (blank || !isLazy(below, inner))) break;
      else blank = false;
      inner.push(below.slice(Math.min(width, indentOf(below))));
    }
    const children = blocks(inner, depth + 1);
    const paragraph = children[0];
    // Without the margins of a paragraph around its first line.
    const isText = typeof paragraph === "object" && paragraph.tag === "p";
    items.push({ tag: "li", children: isText ? paragraph.children.concat(children.slice(1)) : children });
  }
  const number = parseInt(first[2]!);
  pieces.push(
    Number.isNaN(number) ? { tag: "ul", children: items } : { tag: "ol", children: items, start: number },
  );
  return at;
}

function cells(row: string): string[] {
  const found: string[] = [];
  let cell = "";
  const text = row.trim();
  for (let at = text[0] === "|" ? 1 : 0; at < text.length; at++) {
    if (text[at] === "\\" && text[at + 1] === "|") {
      cell += "|";
      at++;
    } else if (text[at] === "|") {
      found.push(cell.trim());
      cell = "";
    } else {
      cell += text[at];
    }
  }
  if (cell.trim()) found.push(cell.trim());
  return found;
}

function isTable(head: string, delimiters: string): boolean {
  const columns = cells(delimiters);
  return columns.every((cell) => DELIMITER_CELL.test(cell)) && columns.length === cells(head).length;
}

/** Rows that are shorter than the head stay so: filling them up would take more memory than the text has. */
function table(lines: string[], start: number, pieces: Piece[]): number {
  const head = cells(lines[start]!);
  const row = (tag: Tag, texts: string[]): Element => ({
    tag: "tr",
    children: texts.slice(0, head.length).map((text) => ({ tag, children: inline(text) })),
  });
  const rows: Piece[] = [row("th", head)];
  let at = start + 2;
  for (; at < lines.length && lines[at]!.includes("|"); at++) rows.push(row("td", cells(lines[at]!)));
  pieces.push({ tag: "table", children: rows });
  return at;
}

/** Markdown as DOM nodes, for an element with `dir="auto"`: whether a text runs from right to left, it says itself. */
export function render(text: string): Node[] {
  return parse(text).map(node);
}

function node(piece: Piece): Node {
  if (typeof piece === "string") return document.createTextNode(piece);
  const { tag, href, start } = piece;
  const element = document.createElement(tag);
  for (const child of piece.children) element.append(node(child));
  if (element instanceof HTMLAnchorElement) {
    element.href = href!;
    element.target = "_blank";
    element.rel = "noopener noreferrer nofollow ugc";
  } else if (element instanceof HTMLOListElement) {
    element.start = start!;
  }
  if (tag === "pre") element.dir = "ltr";
  if (tag !== "pre" && tag !== "table") return element;
  // Scrolls by itself where it is too wide, and the keyboard has to get there.
  element.tabIndex = 0;
  return element;
}
