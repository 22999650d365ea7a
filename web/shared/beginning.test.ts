import { expect, test } from "vitest";

import { beginning } from "./beginning.ts";

test("only what is very long is shown in part", () => {
  expect(beginning("word ".repeat(600))).toBeUndefined();
  expect(beginning("line\n".repeat(49))).toBeUndefined();
  expect(beginning("")).toBeUndefined();
});

test("a text is cut between two words or lines", () => {
  const text = "word ".repeat(10_000);
  const shown = beginning(text)!;
  expect(shown).toMatch(/^(word )+word$/);
  expect(shown.length).toBeGreaterThan(1_000);
  expect(beginning("line\n".repeat(51))).toBe("line\n".repeat(16).trim());
});

test("what has no spaces is cut all the same, and between two letters", () => {
  expect(beginning("a".repeat(50_000))).toBe("a".repeat(1_200));
  expect(beginning(`a${"😀".repeat(5_000)}`)).toBe(`a${"😀".repeat(599)}`);
  expect(beginning(`to ${"a".repeat(50_000)}`)).toBe(`to ${"a".repeat(1_197)}`);
  expect(beginning(" ".repeat(5_000))).toBe(" ".repeat(1_200));
});
