import { expect, test } from "vitest";
import { previewText } from "./preview";

test("a message becomes one line without the signs of Markdown", () => {
  expect(previewText("# Hours\n\n1. **Monday** to `Friday`\n> see [the page](https://x.test/a)")).toBe(
    "Hours Monday to Friday see the page",
  );
});

test("what only looks like Markdown stays", () => {
  expect(previewText("2 * 3 * 4 = 24, snake_case_name, POL-358")).toBe(
    "2 * 3 * 4 = 24, snake_case_name, POL-358",
  );
});
