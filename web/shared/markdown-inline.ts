/* What stands within a paragraph of Markdown: emphasis, code, links. */

import type { Piece, Tag } from "./markdown.ts";

/** Openers of emphasis that may wait for their ends: bounds each search for one, and how deep pieces nest. */
const MAX_OPEN = 24;
/** A longer run of `*` or `_` is decoration. */
const MAX_RUN = 3;

const LINK_TARGET =
  /\(\s?(?:<([^<>\n]*)>|([^\s()<]*(?:\([^\s()]*\)[^\s()]*)*))(?:\s{1,3}(?:"[^"]*"|'[^']*'|\([^()]*\)))?\s{0,3}\)/y;
const AUTOLINK = /<(https?:\/\/[^\s<>]+|mailto:[^\s<>]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>/iy;
const BARE_LINK = /(?:https?:\/\/|www\.)[^\s<>"`]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+/iy;
const ENTITY = /&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,7}|#x[\da-f]{1,6});/iy;
const ESCAPED = /[!-/:-@[-`{-~]/;
/** A word, or what is between words. */
const PLAIN = /[^\\`*_~[\]!<&\s("'>]+|[^\S\n]+|[("'>]/y;
const NAMED: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** An address that may become a link: of the web, or of mail. Everything else, such as `javascript:`, is undefined. */
export function safeUrl(address: unknown): string | undefined {
  if (typeof address !== "string" || !/^\s*(https?:\/\/|mailto:)/i.test(address)) return;
  try {
    return new URL(address).href;
  } catch {
    return;
  }
}

/** An opener of emphasis; `at` is where its text stands in the pieces. */
interface Opener {
  char: string;
  length: number;
  at: number;
  closes: boolean;
}

export function inline(text: string): Piece[] {
  const pieces: Piece[] = [];
  const openers: Opener[] = [];
  let brackets: { at: number; openers: number; image: boolean }[] = [];
  let lastRuns: Map<number, number> | undefined;
  let at = 0;

  const add = (added: string) => {
    const last = pieces.length - 1;
    const ownedByOpener =
      openers[openers.length - 1]?.at === last || brackets[brackets.length - 1]?.at === last;
    if (typeof pieces[last] === "string" && !ownedByOpener) pieces[last] += added;
    else pieces.push(added);
  };
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };

  const emphasis = (char: string) => {
    const start = at;
    while (text[at] === char) at++;
    let length = at - start;
    const [before, after] = [text[start - 1] ?? " ", text[at] ?? " "];
    const [left, right] = flanks(before, after);
    const opens = left && (char !== "_" || !right || isPunctuation(before));
    const closes = right && (char !== "_" || !left || isPunctuation(after));
    if (length > MAX_RUN || (char === "~" && length !== 2)) return add(text.slice(start, at));
    while (closes && length) {
      const found = openers.findLastIndex(
        (opener) =>
          opener.char === char &&
          // CommonMark's rule of three, by which `**a*b**` is strong.
          (!(opener.closes || opens) || (opener.length + length) % 3 !== 0 || length % 3 === 0),
      );
      const opener = openers[found];
      if (!opener) break;
      const used = Math.min(opener.length, length, 2);
      const tag: Tag = char === "~" ? "del" : used === 2 ? "strong" : "em";
      const children = pieces.splice(opener.at + 1);
      openers.length = found + 1;
      while (brackets.length && brackets[brackets.length - 1]!.at > opener.at) brackets.pop();
      opener.length -= used;
      length -= used;
      if (opener.length) pieces[opener.at] = char.repeat(opener.length);
      else {
        pieces.pop();
        openers.pop();
      }
      pieces.push({ tag, children });
    }
    if (!length) return;
    if (opens && openers.length < MAX_OPEN) {
      openers.push({ char, length, at: pieces.length, closes });
      pieces.push(char.repeat(length));
    } else add(char.repeat(length));
  };

  const code = () => {
    const start = at;
    while (text[at] === "`") at++;
    const length = at - start;
    lastRuns ??= runsOfBackticks(text);
    if ((lastRuns.get(length) ?? 0) < at) return add(text.slice(start, at));
    // There is such a run further on: what lies between is consumed.
    let end = text.indexOf("`", at);
    for (let runEnd = end; ; end = text.indexOf("`", runEnd)) {
      for (runEnd = end; text[runEnd] === "`";) runEnd++;
      if (runEnd - end === length) break;
    }
    const inner = text.slice(at, end).replaceAll("\n", " ");
    at = end + length;
    const padded = inner[0] === " " && inner.endsWith(" ") && inner.trim();
    pieces.push({ tag: "code", children: [padded ? inner.slice(1, -1) : inner] });
  };

  const closeBracket = () => {
    at++;
    const bracket = brackets.pop();
    const target = bracket && match(LINK_TARGET);
    if (!target) return add("]");
    const children = pieces.splice(bracket.at + 1);
    pieces.pop();
    openers.length = Math.min(openers.length, bracket.openers);
    const href = safeUrl(unescaped((target[1] ?? target[2])!));
    // Links do not nest: an image within a link is its text.
    if (!href || (bracket.image && brackets.length)) for (const child of children) pieces.push(child);
    else {
      if (!children.length) children.push(href);
      pieces.push({ tag: "a", href, children });
      brackets = [];
    }
  };

  const bareLink = (): boolean => {
    const start = at;
    const found = match(BARE_LINK)?.[0];
    if (!found) return false;
    const shown = withoutTail(found);
    const href = safeUrl(
      /^https?:/i.test(shown) ? shown : found.startsWith("www.") ? `https://${shown}` : `mailto:${shown}`,
    );
    at = start + shown.length;
    if (href) pieces.push({ tag: "a", href, children: [shown] });
    else add(shown);
    return true;
  };

  while (at < text.length) {
    const char = text[at]!;
    // A link of its own may begin a word, if none is around it.
    if (/[a-z\d]/i.test(char) && /^$|[\s(*~"'>]/.test(text[at - 1] ?? "") && !brackets.length && bareLink())
      continue;
    if (char === "*" || char === "_" || char === "~") emphasis(char);
    else if (char === "`") code();
    else if (char === "[" || (char === "!" && text[at + 1] === "[")) {
      brackets.push({ at: pieces.length, openers: openers.length, image: char === "!" });
      pieces.push(char === "!" ? "![" : "[");
      at += char === "!" ? 2 : 1;
    } else if (char === "]") closeBracket();
    else if (char === "\n" || (char === "\\" && text[at + 1] === "\n")) {
      at += char === "\n" ? 1 : 2;
      const last = pieces[pieces.length - 1];
      if (typeof last === "string") pieces[pieces.length - 1] = last.trimEnd();
      pieces.push({ tag: "br", children: [] });
    } else if (char === "\\" && ESCAPED.test(text[at + 1] ?? "")) {
      add(text[at + 1]!);
      at += 2;
    } else if (char === "<") {
      const found = match(AUTOLINK)?.[1];
      const href = found && safeUrl(/^(https?|mailto):/i.test(found) ? found : `mailto:${found}`);
      if (href) pieces.push({ tag: "a", href, children: [found] });
      else {
        add(found ? `<${found}>` : "<");
        if (!found) at++;
      }
    } else if (char === "&") {
      const found = match(ENTITY)?.[0];
      add(found ? entity(found) : "&");
      if (!found) at++;
    } else {
      const word = match(PLAIN)?.[0];
      add(word ?? char);
      if (!word) at++;
    }
  }
  return pieces.filter((piece) => piece !== "");
}

/** Whether a run of marks may begin (left) and end (right) emphasis, by what stands around it. */
function flanks(before: string, after: string): [boolean, boolean] {
  const [spaceBefore, spaceAfter] = [/\s/.test(before), /\s/.test(after)];
  const [signBefore, signAfter] = [isPunctuation(before), isPunctuation(after)];
  const left = !spaceAfter && (!signAfter || spaceBefore || signBefore);
  const right = !spaceBefore && (!signBefore || spaceAfter || signAfter);
  return [left, right];
}

function isPunctuation(char: string): boolean {
  return /[\p{P}\p{S}]/u.test(char);
}

/** Where the last run of so many backticks begins, by its length. */
function runsOfBackticks(text: string): Map<number, number> {
  const runs = new Map<number, number>();
  for (const run of text.matchAll(/`+/g)) runs.set(run[0].length, run.index);
  return runs;
}

/** A bare link without the marks that end its sentence, and without a bracket that it did not open. */
function withoutTail(link: string): string {
  let end = link.length;
  let unopened = 0;
  for (const char of link) unopened += char === ")" ? 1 : char === "(" ? -1 : 0;
  for (; end; end--) {
    const last = link[end - 1]!;
    if (last === ")" && unopened > 0) unopened--;
    else if (!/[?!.,:;*_~'\]}|]/.test(last)) break;
  }
  return link.slice(0, end);
}

function entity(found: string): string {
  const name = found.slice(1, -1).toLowerCase();
  if (name[0] !== "#") return NAMED[name]!;
  const code = name[1] === "x" ? parseInt(name.slice(2), 16) : parseInt(name.slice(1));
  return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd";
}

function unescaped(address: string): string {
  return address.replace(/\\([!-/:-@[-`{-~])/g, "$1").replace(/&amp;/g, "&");
}
