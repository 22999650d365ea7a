import { describe, expect, test } from "vitest";

import { type Piece, parse } from "./markdown.ts";
import { safeUrl } from "./markdown-inline.ts";
import { withoutLooseEnds } from "./markdown-partial.ts";
import { PAYLOADS } from "./payloads.ts";

function shown(piece: Piece): string {
  if (typeof piece === "string") return piece;
  const { tag, href, start } = piece;
  const about = (href ? ` ${href}` : "") + (start === undefined ? "" : ` ${start}`);
  return `<${tag}${about}>${piece.children.map(shown).join("")}</${tag}>`;
}

function markdown(text: string): string {
  return parse(text).map(shown).join("");
}

function elements(pieces: Piece[]): Exclude<Piece, string>[] {
  return pieces.flatMap((piece) => (typeof piece === "string" ? [] : [piece, ...elements(piece.children)]));
}

describe("what bots write", () => {
  test.each([
    ["*a* _b_ **c** __d__ ***e*** ~~f~~", "<p><em>a</em> <em>b</em> <strong>c</strong> <strong>d</strong> <em><strong>e</strong></em> <del>f</del></p>"], // prettier-ignore
    ["snake_case_name, 2 * 3 * 4, 5 > 3", "<p>snake_case_name, 2 * 3 * 4, 5 > 3</p>"],
    ["**a*b** \\*c\\* &amp; &lt;", "<p><strong>a*b</strong> *c* & <</p>"],
    ["`` a`b `` `c\nd`", "<p><code>a`b</code> <code>c d</code></p>"],
    ["a\nb\\\nc", "<p>a<br></br>b<br></br>c</p>"],
    ["# A #\n###### B\nC\n===", "<h3>A</h3><h6>B</h6><h3>C</h3>"],
    ["a\n\n---\n\nb", "<p>a</p><hr></hr><p>b</p>"],
    ["```js\na <b>\n\n  c\n```\nd", "<pre><code>a <b>\n\n  c</code></pre><p>d</p>"],
    ["~~~\nnot closed", "<pre><code>not closed</code></pre>"],
    ["> a\nb\n> > c", "<blockquote><p>a<br></br>b</p><blockquote><p>c</p></blockquote></blockquote>"],
    ["Steps:\n3) a\n1. b\n   - c\n   - d\n2. e", "<p>Steps:<br></br>3) a</p><ol 1><li>b<ul><li>c</li><li>d</li></ul></li><li>e</li></ol>"], // prettier-ignore
    ["1. a\n  - b\n\n   c", "<ol 1><li>a<ul><li>b</li></ul><p>c</p></li></ol>"],
    ["It was\n1986. A year", "<p>It was<br></br>1986. A year</p>"],
    ["a | b\n-|:-:\n1 | `2\\|3` | 4\n\nc", "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td><code>2|3</code></td></tr></table><p>c</p>"], // prettier-ignore
    ["a | b is no table", "<p>a | b is no table</p>"],
    ['[a **b**](https://x.test/c_(d) "e")', "<p><a https://x.test/c_(d)>a <strong>b</strong></a></p>"],
    ["![map](https://x.test/m.png)", "<p><a https://x.test/m.png>map</a></p>"],
    ["[![a](http://x.test/i.png)](http://y.test/)", "<p><a http://y.test/>a</a></p>"],
    ["(see https://x.test/a_(b)), www.y.test.", "<p>(see <a https://x.test/a_(b)>https://x.test/a_(b)</a>), <a https://www.y.test/>www.y.test</a>.</p>"], // prettier-ignore
    ["**https://x.test/** <https://y.test> a@b.test", "<p><strong><a https://x.test/>https://x.test/</a></strong> <a https://y.test/>https://y.test</a> <a mailto:a@b.test>a@b.test</a></p>"], // prettier-ignore
    ["[x](javascript:a) [y](/z) [z] <b>", "<p>x y [z] <b></p>"],
    ["| a |", "<p>| a |</p>"],
    ["", ""],
  ])("%j", (text, expected) => expect(markdown(text)).toBe(expected));
});

/** What may be in a page, whoever wrote it. */
function isHarmless(text: string): void {
  for (const { tag, href } of elements(parse(text))) {
    expect(tag).toMatch(/^(a|blockquote|br|code|del|em|h[3-6]|hr|li|ol|p|pre|strong|table|td|th|tr|ul)$/);
    if (tag === "a") expect(new URL(href!).protocol).toMatch(/^(https?|mailto):$/);
    else expect(href).toBeUndefined();
  }
}

test("only addresses of the web and of mail become links, however they are written and wherever they are cut", () => {
  expect(PAYLOADS.length).toBeGreaterThan(200);
  for (const payload of PAYLOADS) {
    for (let end = 0; end <= payload.length; end++) {
      isHarmless(payload.slice(0, end));
      isHarmless(withoutLooseEnds(payload.slice(0, end)));
    }
  }
  expect(safeUrl("javascript:alert(1)")).toBeUndefined();
  expect(safeUrl({ toString: () => "https://x.test" })).toBeUndefined();
});

// Anything that takes more than linear time for a megabyte of these does not end before the test's deadline.
test.each(
  [
    "*a ",
    "**a **b",
    "_a",
    "[",
    "[a](",
    "](",
    "![",
    "[a](<",
    '[a](b "',
    "`",
    "` `` ",
    "~~a ",
    "<",
    "<a@",
    "&",
    "\\",
  ]
    .concat([
      "> ",
      "- ",
      "1. a\n",
      "- a\n ",
      "  - a\n",
      "|",
      "|-",
      "a|b\n-|-\n",
      "#",
      "# ",
      "```",
      "~~~ `",
      "\n>",
    ])
    .concat([
      "http://a",
      "www.",
      "a.",
      "a@",
      "a_a@b.",
      ")",
      "(",
      "- - ",
      "* * a",
      "===",
      "a\n=",
      " ",
      "\t",
      "[a](  ",
    ])
    .concat([
      "a".repeat(999) + "\n",
      "> - ".repeat(99) + "\n",
      "[[a]](b)",
      "*_".repeat(9),
      "(http://a.b/()",
      "x|",
    ]),
)("a megabyte of %j is parsed, and nests little", (unit) => {
  const depth = (pieces: Piece[]): number =>
    1 +
    Math.max(
      0,
      ...chunks(pieces).map((part) =>
        Math.max(...part.map((piece) => (typeof piece === "string" ? 0 : depth(piece.children)))),
      ),
    );
  expect(depth(parse(unit.repeat(1_000_000 / unit.length)))).toBeLessThan(120);
});

/** Parts that are small enough to be the arguments of a call. */
function chunks<T>(list: T[]): T[][] {
  const parts = [];
  for (let at = 0; at < list.length; at += 10_000) parts.push(list.slice(at, at + 10_000));
  return parts;
}
