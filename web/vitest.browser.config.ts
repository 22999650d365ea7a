import { defineConfig } from "vitest/config";

// Each file starts a server of its own and drives Chromium, so they run one after the other.
export default defineConfig({
  test: {
    include: ["tests/browser/**/*.test.ts"],
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
