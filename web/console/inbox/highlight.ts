export interface Piece {
  text: string;
  hit: boolean;
}

/** Cuts an excerpt where its highlights begin and end. They are trusted for nothing: any may be out of order or range. */
export function highlightPieces(excerpt: string, highlights: readonly (readonly number[])[]): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const [start = 0, end = 0] of [...highlights].sort(([a = 0], [b = 0]) => a - b)) {
    const from = Math.max(start, at);
    const to = Math.min(end, excerpt.length);
    if (!(from < to)) continue;
    if (from > at) pieces.push({ text: excerpt.slice(at, from), hit: false });
    pieces.push({ text: excerpt.slice(from, to), hit: true });
    at = to;
  }
  if (at < excerpt.length) pieces.push({ text: excerpt.slice(at), hit: false });
  return pieces;
}

/** A line of the list shows few words: it begins so many characters before the first hit, at a word. */
const LEAD = 24;

/** The pieces of one line: the first hit near its beginning, without the signs of Markdown. */
export function highlightLine(excerpt: string, highlights: readonly (readonly number[])[]): Piece[] {
  const first = Math.min(...highlights.map(([start = 0]) => start));
  const from = first > LEAD && first < Infinity ? excerpt.indexOf(" ", first - LEAD) + 1 : 0;
  const cut = from > 0 && from <= first ? from : 0;
  const pieces = highlightPieces(
    excerpt.slice(cut),
    highlights.map(([start = 0, end = 0]) => [start - cut, end - cut]),
  ).map(({ text, hit }) => ({ text: text.replace(/\*(?! )|(?<! )\*|__|`+|^\s*(?:#{1,6}|>)\s/g, ""), hit }));
  return cut > 0 ? [{ text: "… ", hit: false }, ...pieces] : pieces;
}
