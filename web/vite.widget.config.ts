import { rmSync } from "node:fs";
import { defineConfig } from "vite";

import { shadowStyle } from "./widget/shadow-style.ts";

// What the visitors' widget loads at the first click: modules in dist/widget, named by their hash.
rmSync("dist/widget", { recursive: true, force: true });

export default defineConfig({
  publicDir: false,
  plugins: [shadowStyle()],
  build: {
    outDir: "dist",
    emptyOutDir: false,
    target: "es2022",
    modulePreload: false,
    rolldownOptions: {
      input: "widget/chat.ts",
      preserveEntrySignatures: "strict",
      output: { entryFileNames: "widget/[name]-[hash].js", chunkFileNames: "widget/[name]-[hash].js" },
    },
  },
});
