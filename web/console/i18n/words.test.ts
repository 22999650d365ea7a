import { expect, test } from "vitest";
import { en } from "./en";
import { id } from "./id";
import { clock, dayName, timeShort } from "./time";

test("no word is missing, empty or left in the other language by mistake", () => {
  const same = new Set(["bot", "bots", "menu", "roleAdmin", "handlerBot"]);
  for (const [key, english] of Object.entries(en)) {
    const indonesian = id[key as keyof typeof id];
    expect(typeof indonesian, key).toBe(typeof english);
    if (typeof english !== "string") continue;
    expect(indonesian, key).not.toBe("");
    if (!same.has(key)) expect(indonesian, key).not.toBe(english);
  }
});

test("numbers have their words", () => {
  expect(en.unread(1)).toBe("1 unread message");
  expect(en.unread(2)).toBe("2 unread messages");
  expect(en.results(10_000, false)).toBe("More than 10000 results");
  expect(id.failure("timeout")).toBe("Bot terlalu lama menjawab.");
  expect(en.failure("something new")).toBe("The bot did not answer.");
});

test("a time is an hour today, a weekday this week, and else a day", () => {
  const now = new Date(2026, 10, 30, 15, 0);
  const at = (...parts: [number, number, number, number]) => new Date(...parts).toISOString();
  expect(timeShort("en", at(2026, 10, 30, 9), now)).toBe(clock("en", at(2026, 10, 30, 9)));
  expect(timeShort("en", at(2026, 10, 27, 9), now)).toBe("Fri");
  expect(timeShort("id", at(2026, 9, 1, 9), now)).toBe("1 Okt");
  expect(timeShort("en", at(2025, 9, 1, 9), now)).toBe("1 Oct 2025");
  expect(dayName("en", at(2026, 10, 29, 23), now, "Today", "Yesterday")).toBe("Yesterday");
  expect(dayName("id", at(2026, 10, 1, 9), now, "Hari ini", "Kemarin")).toBe("Minggu, 1 November");
});
