/* One message as it is shown, and an answer that is being given. */

import { render } from "../../shared/markdown.ts";
import { safeUrl } from "../../shared/markdown-inline.ts";
import type { Texts } from "../i18n/en.ts";
import type { Message } from "../types.ts";
import { button, h, icon } from "./dom.ts";

export interface MessageActions {
  again(text: string): void;
  feedback(message: Message, value: number, text?: string): void;
}

/** What the server knows of a failure, in words for a visitor. */
function failureText(reason: string, texts: Texts): string {
  if (reason === "timeout" || reason === "busy" || reason === "stopped") return texts[reason];
  return texts.failed;
}

/** Replaces only the blocks that changed, so that what is being read or selected stays. */
export function showMarkdown(element: Element, text: string): void {
  const nodes = render(text);
  nodes.forEach((node, at) => {
    const shown = element.childNodes[at];
    if (!shown) element.append(node);
    else if (!shown.isEqualNode(node)) shown.replaceWith(node);
  });
  while (element.childNodes.length > nodes.length) element.lastChild!.remove();
}

export class MessageView {
  readonly element: HTMLElement;
  private readonly below = h("div", { class: "below" });
  private readonly text = h("div", { class: "text", dir: "auto" });
  private shown = "";
  private form: HTMLFormElement | undefined;
  private message!: Message;

  constructor(
    message: Message,
    private readonly texts: Texts,
    private readonly locale: string,
    private readonly actions: MessageActions,
  ) {
    const side = message.role === "client" ? "mine" : message.role === "agent" ? "theirs agent" : "theirs";
    this.element = h("li", { class: `message ${side}` });
  }

  /** `canAsk`: whether a question that failed may be asked again from here. */
  update(message: Message, canAsk: boolean, takesFeedback: boolean): void {
    const about = JSON.stringify([message, canAsk, takesFeedback]);
    if (about === this.shown) return;
    this.shown = about;
    this.message = message;
    const { texts } = this;
    const isMine = message.role === "client";
    const name = isMine
      ? texts.you
      : (message.author?.name ?? (message.role === "agent" ? texts.staff : texts.bot));
    const label = h("span", { class: message.role === "agent" ? "author" : "sr" }, name);
    if (isMine) this.text.textContent = message.text;
    else showMarkdown(this.text, message.text);
    const bubble = h("div", { class: "bubble" }, this.text, ...this.links());
    if (message.payload?.properties?.state === "partial")
      bubble.append(h("p", { class: "hint" }, texts.partial));
    this.element.replaceChildren(label, bubble, this.below);
    if (isMine) this.showFailure(canAsk);
    else this.showFooter(takesFeedback);
  }

  private links(): Node[] {
    const sent = this.message.payload?.suggest_links;
    const items: Node[] = [];
    for (const link of Array.isArray(sent) ? sent : []) {
      const href = safeUrl(link?.url);
      if (!href) continue;
      const name = typeof link?.title === "string" && link.title ? link.title : href;
      const about = { href, target: "_blank", rel: "noopener noreferrer nofollow ugc", dir: "auto" };
      const hint = h("span", { class: "sr" }, ` (${this.texts.newTab})`);
      items.push(h("li", {}, h("a", about, h("span", {}, name), icon("out"), hint)));
    }
    return items.length ? [h("ul", { class: "links", "aria-label": this.texts.more }, ...items)] : [];
  }

  private showFailure(canAsk: boolean): void {
    const { failure, text } = this.message;
    if (!failure) return this.below.replaceChildren();
    const note = h("p", { class: "problem" }, failureText(failure.reason, this.texts));
    if (canAsk) {
      note.append(
        " ",
        h(
          "button",
          { type: "button", class: "link", onclick: () => this.actions.again(text) },
          this.texts.again,
        ),
      );
    }
    this.below.replaceChildren(note);
  }

  private showFooter(takesFeedback: boolean): void {
    const { createdAt, feedback } = this.message;
    const time = new Date(createdAt).toLocaleTimeString(this.locale, { hour: "2-digit", minute: "2-digit" });
    const row = h("div", { class: "footer" }, h("time", { datetime: createdAt }, time));
    if (takesFeedback) {
      row.append(
        h(
          "span",
          { class: "thumbs" },
          ...([1, -1] as const).map((value) => this.thumb(value, feedback?.value === value)),
        ),
      );
    }
    const hadFocus = this.below.contains((this.below.getRootNode() as ShadowRoot).activeElement);
    const focused = hadFocus && this.form ? null : this.focusedThumb();
    this.below.replaceChildren(row, ...(this.form && feedback ? [this.form] : []));
    if (focused) this.below.querySelectorAll<HTMLElement>(".thumbs button")[focused - 1]?.focus();
  }

  /** Which thumb has the focus, from 1: it is made anew when it is pressed. */
  private focusedThumb(): number {
    const active = (this.below.getRootNode() as ShadowRoot).activeElement;
    return [...this.below.querySelectorAll(".thumbs button")].indexOf(active!) + 1;
  }

  private thumb(value: 1 | -1, isPressed: boolean): HTMLButtonElement {
    const press = () => {
      this.form = isPressed ? undefined : this.wordForm(value);
      this.actions.feedback(this.message, isPressed ? 0 : value);
    };
    const { good, bad } = this.texts;
    return button(value > 0 ? "good" : "bad", value > 0 ? good : bad, press, {
      "aria-pressed": String(isPressed),
    });
  }

  private wordForm(value: 1 | -1): HTMLFormElement {
    const { texts } = this;
    const question = value > 0 ? texts.whyGood : texts.why;
    const input = h("input", {
      type: "text",
      maxlength: 1000,
      placeholder: question,
      "aria-label": question,
      dir: "auto",
    });
    const onsubmit = (event: Event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (!text) return;
      this.actions.feedback(this.message, value, text);
      form.replaceChildren(h("p", { class: "hint", role: "status" }, texts.thanks));
    };
    const form = h(
      "form",
      { class: "word", onsubmit },
      input,
      h("button", { type: "submit", class: "plain" }, texts.send),
    );
    return form;
  }
}

/** An answer that is being given: the text so far, or three dots. */
export class DraftView {
  readonly element: HTMLElement;
  private readonly text = h("div", { class: "text" });
  private readonly dots: HTMLElement;
  private shown = "";
  private nextAt = 0;

  constructor(label: string) {
    this.dots = h("div", { class: "dots", role: "img", "aria-label": label }, h("i"), h("i"), h("i"));
    this.element = h("li", { class: "message theirs draft" }, h("div", { class: "bubble" }, this.dots));
  }

  /** False: it was shown a moment ago and is long, so that the caller has to come again. */
  update(text: string): boolean {
    if (text === this.shown) return true;
    const start = performance.now();
    if (start < this.nextAt) return false;
    this.dots.replaceWith(this.text);
    showMarkdown(this.text, text);
    this.shown = text;
    // The longer it takes to show, the less often it is.
    const end = performance.now();
    this.nextAt = end + 4 * (end - start);
    return true;
  }
}
