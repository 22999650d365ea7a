import type { LiveEvent, Message } from "../../shared/api";
import { compareNumbers } from "../live/cursor";

/** Puts messages into a list that is sorted by id; one that stands there already is replaced. */
export function messagesMerge(list: readonly Message[], more: readonly Message[]): Message[] {
  const byId = new Map(list.map((message) => [message.id, message]));
  for (const message of more) byId.set(message.id, message);
  return [...byId.values()].sort((a, b) => compareNumbers(a.id, b.id));
}

/** An answer that a bot is giving, by its question. */
export type Answers = ReadonlyMap<string, string>;

/** Applies live events. A piece whose beginning was missed is left out: the next stream begins with all of it. */
export function answersApply(answers: Answers, events: readonly LiveEvent[]): Answers {
  const next = new Map(answers);
  for (const event of events) {
    if (event.kind === "answer.started") next.set(event.replyTo, next.get(event.replyTo) ?? "");
    else if (event.kind === "answer.finished") next.delete(event.replyTo);
    else if (event.kind === "answer.delta") {
      const before = next.get(event.replyTo) ?? "";
      if (event.offset <= before.length) next.set(event.replyTo, before.slice(0, event.offset) + event.text);
    }
  }
  return next;
}
