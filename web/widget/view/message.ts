/* One message as it is shown, and an answer that is being given. */

import { beginning } from "../../shared/beginning.ts";
import { render } from "../../shared/markdown.ts";
import { safeUrl } from "../../shared/markdown-inline.ts";
import { withoutLooseEnds } from "../../shared/markdown-partial.ts";
import type { Texts } from "../i18n/en.ts";
import type { Message } from "../types.ts";
import { arrange, button, h, icon } from "./dom.ts";

/** Of the word with a rating, as the server takes it. */
const MAX_WORD = 1000;

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
  private readonly label = h("span");
  private readonly text = h("div", { class: "text", dir: "auto" });
  private readonly bubble = h("div", { class: "bubble" }, this.text);
  private readonly below = h("div", { class: "below" });
  private readonly time = h("time");
  private readonly thumbs: HTMLElement;
  private readonly all: HTMLButtonElement;
  private form: HTMLFormElement | undefined;
  private message!: Message;
  private canAsk = false;
  private takesFeedback = false;

  constructor(
    message: Message,
    private readonly texts: Texts,
    private readonly locale: string,
    private readonly actions: MessageActions,
    /** Whether a very long text is shown as a whole: it was read while it came. */
    private isWhole: boolean,
  ) {
    const onclick = () => {
      this.isWhole = !this.isWhole;
      this.showText();
      // What is left may be above.
      if (!this.isWhole) this.element.scrollIntoView({ block: "nearest" });
    };
    this.all = h("button", { type: "button", class: "link all", onclick });
    const side = message.role === "client" ? "mine" : message.role === "agent" ? "theirs agent" : "theirs";
    this.thumbs = h("span", { class: "thumbs" }, this.thumb(1), this.thumb(-1));
    this.element = h("li", { class: `message ${side}` }, this.label, this.bubble, this.below);
  }

  /** `canAsk`: whether a question that failed may be asked again from here. */
  update(message: Message, canAsk: boolean, takesFeedback: boolean): void {
    const isSame = canAsk === this.canAsk && takesFeedback === this.takesFeedback;
    if (message === this.message && isSame) return;
    // The same message comes from several sides.
    const hasChanged = JSON.stringify(message) !== JSON.stringify(this.message);
    Object.assign(this, { message, canAsk, takesFeedback });
    if (!hasChanged && isSame) return;
    const { texts } = this;
    this.label.className = message.role === "agent" ? "author" : "sr";
    this.label.textContent = nameOf(message, texts);
    const isPartial = message.payload?.properties?.state === "partial";
    const hint = isPartial ? [h("p", { class: "hint" }, texts.partial)] : [];
    const all = this.showText() ? [this.all] : [];
    arrange(this.bubble, [this.text, ...all, ...this.links(), ...hint]);
    if (message.role === "client") this.showFailure();
    else this.showFooter();
  }

  /** Whether the text is so long that there is a choice. */
  private showText(): boolean {
    const { message, text, texts, isWhole, all } = this;
    const start = beginning(message.text);
    const isCut = start !== undefined && !isWhole;
    const shown = isCut ? start : message.text;
    if (message.role === "client") text.textContent = shown;
    else showMarkdown(text, isCut ? withoutLooseEnds(shown) : shown);
    text.classList.toggle("cut", isCut);
    all.textContent = isCut ? texts.all : texts.less;
    all.ariaExpanded = String(!isCut);
    return start !== undefined;
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

  private showFailure(): void {
    const { failure, text } = this.message;
    if (!failure) return this.below.replaceChildren();
    const note = h("p", { class: "problem" }, failureText(failure.reason, this.texts));
    const onclick = (event: Event) => {
      // Once, however often it is clicked.
      (event.currentTarget as HTMLButtonElement).disabled = true;
      this.actions.again(text);
    };
    const again = { type: "button", class: "link", onclick };
    if (this.canAsk) note.append(" ", h("button", again, this.texts.again));
    this.below.replaceChildren(note);
  }

  private showFooter(): void {
    const { createdAt, feedback } = this.message;
    this.time.dateTime = createdAt;
    this.time.textContent = new Date(createdAt).toLocaleTimeString(this.locale, {
      hour: "2-digit",
      minute: "2-digit",
    });
    [...this.thumbs.children].forEach((thumb, at) =>
      thumb.setAttribute("aria-pressed", String(feedback?.value === (at ? -1 : 1))),
    );
    this.thumbs.hidden = !this.takesFeedback;
    if (!this.time.parentElement) this.below.append(h("div", { class: "footer" }, this.time, this.thumbs));
    // It stays whatever comes of the rating meanwhile, from before it too: somebody may be writing.
    if (this.form && !this.form.parentElement) this.below.append(this.form);
  }

  private thumb(value: 1 | -1): HTMLButtonElement {
    const { good, bad } = this.texts;
    return button(value > 0 ? "good" : "bad", value > 0 ? good : bad, () => {
      const isPressed = this.message.feedback?.value === value;
      this.form?.remove();
      this.form = isPressed ? undefined : this.wordForm(value);
      this.actions.feedback(this.message, isPressed ? 0 : value);
    });
  }

  private wordForm(value: 1 | -1): HTMLFormElement {
    const { texts } = this;
    const question = value > 0 ? texts.whyGood : texts.why;
    const about = { placeholder: question, "aria-label": question, maxlength: MAX_WORD, dir: "auto" };
    const input = h("input", { type: "text", ...about });
    const onsubmit = (event: Event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (!text) return;
      this.actions.feedback(this.message, value, text);
      form.replaceChildren(h("p", { class: "hint", role: "status" }, texts.thanks));
    };
    const send = h("button", { type: "submit", class: "plain" }, texts.send);
    const form = h("form", { class: "word", onsubmit }, input, send);
    return form;
  }
}

/** Who speaks, in words for a screen reader where nothing shows it. */
export function nameOf(message: Message, texts: Texts): string {
  if (message.role === "client") return texts.you;
  return message.author?.name ?? (message.role === "agent" ? texts.staff : texts.bot);
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
    showMarkdown(this.text, withoutLooseEnds(text));
    this.shown = text;
    // The longer it takes to show, the less often it is.
    const end = performance.now();
    this.nextAt = end + 4 * (end - start);
    return true;
  }
}
