/** Compares ids or other whole numbers written in decimal without leading zeros: they are too long for numbers. */
export function compareNumbers(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** Compares two positions of the feed, `<epoch>.<number>`. Undefined where they are of different feeds. */
export function compareCursors(a: string, b: string): number | undefined {
  const [epochA, numberA = ""] = a.split(".", 2);
  const [epochB, numberB = ""] = b.split(".", 2);
  return epochA === epochB ? compareNumbers(numberA, numberB) : undefined;
}
