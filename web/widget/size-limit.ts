/* Fails the build where the widget has become too large for the pages that include it. */

import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

/** Bytes, compressed: before the first click, and all that a text chat ever loads. */
const MAX_FIRST = 15 * 1024;
const MAX_ALL = 25 * 1024;

export function sizeLimit(dist: string): Plugin {
  return {
    name: "size-limit",
    closeBundle() {
      const size = (file: string) => gzipSync(readFileSync(`${dist}/${file}`), { level: 9 }).length;
      const first = size("widget.js");
      const modules = readdirSync(`${dist}/widget`).map((file) => size(`widget/${file}`));
      const all = modules.reduce((sum, bytes) => sum + bytes, first);
      console.log(
        `widget: ${first} bytes before the first click (of ${MAX_FIRST}), ${all} in all (of ${MAX_ALL})`,
      );
      if (first > MAX_FIRST || all > MAX_ALL) throw new Error("the widget is too large");
    },
  };
}
