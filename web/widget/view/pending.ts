/* A question that the server has not acknowledged, and what keeps it from being sent. */

import type { Texts } from "../i18n/en.ts";
import type { Outbox, Sending } from "../outbox.ts";
import type { Pending } from "../store.ts";
import { h } from "./dom.ts";

export class PendingView {
  readonly element: HTMLElement;
  private readonly below = h("div", { class: "below" });
  private shown = "";

  constructor(
    private readonly pending: Pending,
    private readonly texts: Texts,
    private readonly outbox: Outbox,
    private readonly edit: (pending: Pending) => void,
  ) {
    const bubble = h("div", { class: "bubble" }, h("div", { class: "text", dir: "auto" }, pending.text));
    const label = h("span", { class: "sr" }, texts.you);
    this.element = h("li", { class: "message mine" }, label, bubble, this.below);
  }

  update(): void {
    const { texts, pending, outbox } = this;
    const sending = outbox.sendings.get(pending.key) ?? {};
    const words = wordsOf(sending, texts);
    const isOver = Boolean(sending.obstacle && !sending.until);
    if (this.shown === words + isOver) return;
    this.shown = words + isOver;
    const note = h(
      "p",
      { class: sending.obstacle ? "problem" : "hint", role: isOver ? "alert" : undefined },
      words,
    );
    const action = (label: string, onclick: () => void) =>
      note.append(" ", h("button", { type: "button", class: "link", onclick }, label));
    const { obstacle } = sending;
    if (obstacle === "refused" || obstacle === "tooLong") action(texts.edit, () => this.edit(pending));
    else if (obstacle && obstacle !== "limit") action(texts.retry, () => outbox.retry(pending.key));
    this.below.replaceChildren(note);
  }
}

function wordsOf({ obstacle, until }: Sending, texts: Texts): string {
  if (!obstacle || obstacle === "busy") return texts.sending;
  if (obstacle === "limit") return texts.limit(Math.max(1, Math.ceil((until! - Date.now()) / 1000)));
  if (until) return texts[obstacle];
  return obstacle === "offline" ? texts.notSent : `${texts.notSent} ${texts[obstacle]}`;
}
