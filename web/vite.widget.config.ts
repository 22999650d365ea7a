import { defineConfig } from "vite";

// The visitors' widget: one classic script that any page includes.
export default defineConfig({
  publicDir: false,
  build: {
    outDir: "dist",
    emptyOutDir: false,
    target: "es2022",
    lib: { entry: "widget/loader.ts", formats: ["iife"], name: "wicara", fileName: () => "widget.js" },
  },
});
