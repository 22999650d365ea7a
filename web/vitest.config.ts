import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// Logic without a browser. What needs one is in tests/browser, with a configuration of its own.
export default defineConfig({
  plugins: [svelte()],
  test: { include: ["{console,widget,shared,demo}/**/*.test.ts"] },
});
