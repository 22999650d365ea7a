export interface Piece {
  text: string;
  hit: boolean;
}

/** Cuts an excerpt where its highlights begin and end. They are trusted for nothing: any may be out of order or range. */
export function highlightPieces(
  excerpt: string,
  highlights: readonly (readonly [number, number])[],
): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const [start, end] of [...highlights].sort((a, b) => a[0] - b[0])) {
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
