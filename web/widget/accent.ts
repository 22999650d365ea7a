/* The page's colour for the widget, with text on it and beside it that can be read. */

type Colour = number[];

const WHITE = [255, 255, 255];
const BLACK = [0, 0, 0];
/** Of WCAG, for text. */
const CONTRAST = 4.5;

/** Sets the tokens that come from the accent; a colour that is none leaves them as they are. */
export function setAccent(root: HTMLElement, colour: string): void {
  const names = ["--accent", "--on-accent", "--accent-hover", "--accent-text", "--focus", "--accent-soft"];
  for (const name of names) root.style.removeProperty(name);
  const accent = colour && CSS.supports("color", colour) && computed(root, colour);
  const surface = computed(root, getComputedStyle(root).getPropertyValue("--surface"));
  if (!accent || !surface) return;
  const onAccent = contrast(accent, WHITE) >= CONTRAST ? WHITE : BLACK;
  const end = luminance(surface) > 0.5 ? BLACK : WHITE;
  let text = accent;
  for (let part = 0.1; contrast(text, surface) < CONTRAST + 0.5 && part <= 1; part += 0.1)
    text = mix(accent, end, part);
  const hover = mix(accent, onAccent === WHITE ? BLACK : WHITE, 0.14);
  const values = [accent, onAccent, hover, text, text, mix(surface, accent, 0.12)];
  names.forEach((name, at) => root.style.setProperty(name, `rgb(${values[at]!.map(Math.round).join(" ")})`));
}

/** Any notation of CSS that the browser computes to rgb(). */
function computed(root: HTMLElement, colour: string): Colour | undefined {
  root.style.color = colour;
  const found = /^rgba?\((\d+), (\d+), (\d+)/.exec(getComputedStyle(root).color);
  root.style.removeProperty("color");
  return found?.slice(1, 4).map(Number);
}

function mix(one: Colour, other: Colour, part: number): Colour {
  return one.map((value, at) => value + (other[at]! - value) * part);
}

function luminance(colour: Colour): number {
  const [red, green, blue] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}

function contrast(one: Colour, other: Colour): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((first, second) => first - second);
  return (light! + 0.05) / (dark! + 0.05);
}
