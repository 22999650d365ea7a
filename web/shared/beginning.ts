/* Very long messages are shown in part until their reader asks for all of it. */

/** Beyond so many UTF-16 units or lines a message is very long. */
const LONG_UNITS = 3_000;
const LONG_LINES = 50;
/** So much of it is shown at most. */
const SHOWN_UNITS = 1_200;
const SHOWN_LINES = 16;

/** The beginning of a very long text, cut between two words where there are any; undefined: it is shown as a whole. */
export function beginning(text: string): string | undefined {
  const lines = text.split("\n");
  if (text.length <= LONG_UNITS && lines.length <= LONG_LINES) return;
  const start = lines.slice(0, SHOWN_LINES).join("\n");
  if (start.length <= SHOWN_UNITS) return start;
  // A half of a letter beyond the BMP is not one.
  const cut = start.slice(0, SHOWN_UNITS).replace(/[\ud800-\udbff]$/, "");
  return cut.replace(/\s+\S{0,80}$/, "") || cut;
}
