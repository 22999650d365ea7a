import { expect, test } from "vitest";
import { highlightLine, highlightPieces } from "./highlight";

const show = (pieces: { text: string; hit: boolean }[]) =>
  pieces.map(({ text, hit }) => (hit ? `[${text}]` : text)).join("");

test("hits are cut out by UTF-16 units, also beside characters of two", () => {
  expect(show(highlightPieces("😀 kartu keluarga", [[3, 8]]))).toBe("😀 [kartu] keluarga");
  expect(
    show(
      highlightPieces("kartu kartu", [
        [6, 11],
        [0, 5],
      ]),
    ),
  ).toBe("[kartu] [kartu]");
});

test("highlights that overlap, run over the end or mean nothing lose and double no text", () => {
  for (const highlights of [
    [
      [0, 4],
      [2, 6],
    ],
    [[4, 99]],
    [[5, 5]],
    [[9, 3]],
    [[-3, 2]],
    [[NaN, 3]],
    [[40, 50]],
  ] as [number, number][][]) {
    expect(
      highlightPieces("surat pindah", highlights)
        .map((piece) => piece.text)
        .join(""),
    ).toBe("surat pindah");
  }
});

test("a line begins shortly before the first hit, and shows no signs of Markdown", () => {
  const excerpt = "Untuk mencetak ulang **KTP-el** yang hilang siapkan surat keterangan";
  const start = excerpt.indexOf("surat");
  expect(show(highlightLine(excerpt, [[start, start + 5]]))).toBe("… yang hilang siapkan [surat] keterangan");
  expect(show(highlightLine("a **b** *c* 2 * 3", [[4, 5]]))).toBe("a [b] c 2 * 3");
});
