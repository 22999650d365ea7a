import { defineConfig } from "vitest/config";

// Not a test: it fills a server with a day of an invented office and takes the pictures of the README.
export default defineConfig({
  test: { include: ["tests/screenshots.ts"], testTimeout: 300_000, hookTimeout: 60_000 },
});
