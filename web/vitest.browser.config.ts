import { defineConfig } from "vitest/config";

// Each file starts a server of its own and drives Chromium, so they run one after the other.
export default defineConfig({
  test: {
    include: ["tests/browser/**/*.test.ts"],
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // As patient as Playwright is with what it waits for.
    expect: { poll: { timeout: 30_000 } },
  },
});
