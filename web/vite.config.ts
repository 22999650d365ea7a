import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const server = process.env.WICARA_SERVER ?? "http://127.0.0.1:3333";
// The server takes writes with a cookie from its own pages alone: it has to take these for its own.
const forward = { target: server, changeOrigin: true, headers: { origin: server } };
// console/api has sources, which the development server serves under the same path.
const proxy = Object.fromEntries(["^/api/(?!\\w+\\.ts)", "/guide", "/docs"].map((path) => [path, forward]));

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
