/** A list shows so much of a message at most. */
const LONGEST = 160;

/** A message as one line: without the signs of Markdown, which a list does not render. */
export function previewText(message: string): string {
  return message
    .slice(0, 4 * LONGEST)
    .replace(/!?\[([^\]\n]*)\]\([^)\s]*\)/g, "$1")
    .replace(/^\s{0,3}(?:#{1,6}|>|[-*+]|\d+[.)])\s+/gm, "")
    .replace(/\*\*|__|`+|~~/g, "")
    .replace(/(^|\s)[*_](\S[^*_\n]*)[*_]/g, "$1$2")
    .replace(/\s+/g, " ")
    .trim()
    .slice(0, LONGEST);
}
