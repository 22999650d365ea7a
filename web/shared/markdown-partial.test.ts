import { expect, test } from "vitest";

import { withoutLooseEnds } from "./markdown-partial.ts";

test.each([
  ["a **b", "a **b**"],
  ["a **b ", "a **b**"],
  ["a **", "a "],
  ["a *", "a "],
  ["a **b**", "a **b**"],
  ["a `b", "a `b`"],
  ["a `", "a "],
  ["see [the form](https://x.te", "see the form"],
  ["see [the form](", "see the form"],
  ["see [the form](https://x.test) and", "see [the form](https://x.test) and"],
  ["see [the", "see [the"],
  ["**a\nb", "**a\nb"],
  ["```\na **b", "```\na **b"],
  ["```\na\n```\n**b", "```\na\n```\n**b**"],
  ["* a\n* ", "* a\n* "],
  ["", ""],
])("%j is shown as %j", (text, expected) => expect(withoutLooseEnds(text)).toBe(expected));
