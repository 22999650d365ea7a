/**
 * Markdown that is still being written, without the loose ends of its last line: what was opened is closed, and a link
 * whose address is not whole yet is its text. So nothing jumps when the rest comes.
 */
export function withoutLooseEnds(text: string): string {
  const fences = text.match(/^ {0,3}(```|~~~)/gm)?.length ?? 0;
  if (fences % 2) return text;
  const start = text.lastIndexOf("\n") + 1;
  let line = text.slice(start);
  const target = line.lastIndexOf("](");
  if (target >= 0 && !/[)\s]/.test(line.slice(target))) {
    const label = line.lastIndexOf("[", target);
    if (label >= 0) line = line.slice(0, label) + line.slice(label + 1, target);
  }
  for (const mark of ["`", "**"]) {
    const isOpen = (line.split(mark).length - 1) % 2 === 1;
    if (isOpen) line = line.endsWith(mark) ? line.slice(0, -mark.length) : line.trimEnd() + mark;
  }
  // One star may be the first half of two.
  return text.slice(0, start) + line.replace(/(^|\s)\*$/, "$1");
}
