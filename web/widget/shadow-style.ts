/* How the build turns `x.css?shadow` into text for the shadow root. */

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { Plugin } from "vite";

const TOKENS = new URL("../shared/tokens.css", import.meta.url);
/** The element that all of the widget is in; the page cannot reach its custom properties, as it could those of :host. */
const ROOT = ".w";
/** The page's own root size says nothing about the widget. */
const REM = 16;
/** Without the ending .css, which belongs to Vite. */
const ID = /^\0shadow:(.*)$/;

export function shadowStyle(): Plugin {
  return {
    name: "shadow-style",
    enforce: "pre",
    resolveId(source, importer) {
      const file = /^(.*)\.css\?shadow$/.exec(source)?.[1];
      if (file && importer) return `\0shadow:${resolve(dirname(importer), file)}`;
    },
    load(id) {
      const file = ID.exec(id)?.[1];
      if (!file) return;
      const style = readFileSync(`${file}.css`, "utf8");
      return `export default ${JSON.stringify(compact(`${tokens(style)}\n${style}`))}`;
    },
  };
}

/** The design tokens for the widget's root, without those that `style` does not use. */
function tokens(style: string): string {
  const text = readFileSync(TOKENS, "utf8")
    .replace(/\/\*.*?\*\//gs, "")
    .replace(/:root[^,{]*,\s*:host\(?([^{\s)]*)\)?\s*\{/g, (_, condition) => `${ROOT}${condition} {`);
  if (text.includes(":root")) throw new Error("tokens.css has a rule that the widget cannot take");
  return text.replace(/(--[\w-]+):[^;]*;/g, (rule, name) => (style.includes(`var(${name})`) ? rule : ""));
}

function compact(style: string): string {
  return style
    .replace(/\/\*.*?\*\//gs, "")
    .replace(/([\d.]+)rem\b/g, (_, size) => `${Number(size) * REM}px`)
    .replace(/\s+/g, " ")
    .replace(/ ?([{};]) ?/g, "$1")
    .replace(/;}/g, "}");
}
