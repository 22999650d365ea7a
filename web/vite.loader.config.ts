import { readdirSync } from "node:fs";
import { defineConfig } from "vite";

import { shadowStyle } from "./widget/shadow-style.ts";
import { sizeLimit } from "./widget/size-limit.ts";

const chat = readdirSync("dist/widget").find((file) => file.startsWith("chat-"));

// The classic script that pages include. It is built after the modules, whose name it knows.
export default defineConfig({
  publicDir: false,
  define: { CHAT_MODULE: JSON.stringify(`widget/${chat}`) },
  plugins: [shadowStyle(), sizeLimit("dist")],
  build: {
    outDir: "dist",
    emptyOutDir: false,
    target: "es2022",
    lib: { entry: "widget/loader.ts", formats: ["iife"], name: "wicara", fileName: () => "widget.js" },
  },
});
