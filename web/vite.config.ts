import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const server = process.env.WICARA_SERVER ?? "http://127.0.0.1:3333";
const proxy = Object.fromEntries(["/api", "/guide", "/docs"].map((path) => [path, server]));

// The operators' console. It is built first and empties dist; the widget and the demo page are added to it.
export default defineConfig({
  root: "console",
  plugins: [svelte({ configFile: "../svelte.config.js" })],
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    // Nothing becomes a data: address, because the policy of the pages is default-src 'self'.
    assetsInlineLimit: 0,
  },
  server: { proxy, fs: { allow: [".."] } },
  preview: { proxy },
});
