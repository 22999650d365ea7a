import { expect, test } from "vitest";
import type { LiveEvent, Message } from "../../shared/api";
import { answersApply, messagesMerge } from "./messages";

const message = (id: string, text = id) => ({ id, message: text }) as Message;
const delta = (text: string, offset: number, replyTo = "1") =>
  ({ kind: "answer.delta", conversationId: "1", at: "", replyTo, text, offset }) as LiveEvent;

test("messages stand by id, each once, as they are newest", () => {
  const list = messagesMerge(
    [message("9"), message("10")],
    [message("100"), message("9", "changed"), message("8")],
  );
  expect(list.map(({ id }) => id)).toEqual(["8", "9", "10", "100"]);
  expect(list[1]!.message).toBe("changed");
});

test("an answer grows by its pieces", () => {
  const answers = answersApply(new Map(), [delta("Ha", 0), delta("lo 😀", 2), delta("!", 7)]);
  expect(answers.get("1")).toBe("Halo 😀!");
});

test("a piece that comes twice counts once, and one whose beginning was missed waits for it", () => {
  expect(answersApply(new Map(), [delta("Ha", 0), delta("lo", 2), delta("lo", 2)]).get("1")).toBe("Halo");
  expect(answersApply(new Map([["1", "Ha"]]), [delta("!", 9)]).get("1")).toBe("Ha");
  expect(answersApply(new Map([["1", "Ha"]]), [delta("Halo!", 0)]).get("1")).toBe("Halo!");
});

test("two answers of one conversation stay apart, and an end takes only its own", () => {
  const end = { kind: "answer.finished", conversationId: "1", at: "", replyTo: "1" } as LiveEvent;
  const answers = answersApply(new Map(), [delta("a", 0, "1"), delta("b", 0, "2"), end]);
  expect([...answers]).toEqual([["2", "b"]]);
});
