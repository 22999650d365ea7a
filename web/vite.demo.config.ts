import { defineConfig } from "vite";

export default defineConfig({
  root: "demo",
  publicDir: false,
  build: {
    outDir: "../dist",
    emptyOutDir: false,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rolldownOptions: { input: "demo/demo.html" },
  },
});
