/* The text box, and the button beside it, which sends or stops. */

import type { Texts } from "../i18n/en.ts";
import { arrange, button, h } from "./dom.ts";

/** What the server takes, in bytes of UTF-8. */
const MAX_BYTES = 65_536;
const MAX_HEIGHT = 140;

export interface ComposerActions {
  send(text: string): void;
  stop(): void;
  typing(): void;
  /** The text that is not sent yet has changed. */
  drafted(text: string): void;
}

export class Composer {
  readonly element: HTMLFormElement;
  private readonly box: HTMLTextAreaElement;
  private readonly sendButton: HTMLButtonElement;
  private readonly stopButton: HTMLButtonElement;
  private readonly problem: HTMLElement;
  private isAnswering = false;

  constructor(
    private readonly texts: Texts,
    private readonly actions: ComposerActions,
  ) {
    this.box = h("textarea", {
      rows: 1,
      dir: "auto",
      enterkeyhint: "send",
      placeholder: texts.placeholder,
      "aria-label": texts.placeholder,
      oninput: () => {
        this.changed();
        actions.drafted(this.box.value);
        if (this.box.value) actions.typing();
      },
      onkeydown: (event: KeyboardEvent) => {
        // While a word is being composed (Japanese, Chinese), Enter chooses it.
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        this.send();
      },
    });
    this.sendButton = button("send", texts.send, () => {}, { type: "submit", class: "icon go" });
    this.stopButton = button("stop", texts.stop, () => actions.stop(), { class: "icon go stop" });
    this.problem = h("p", { class: "problem", role: "status" });
    const onsubmit = (event: Event) => {
      event.preventDefault();
      this.send();
    };
    const row = h("div", { class: "box" }, this.box, this.sendButton);
    // A tap on the button leaves the focus, and with it a phone's keyboard, where it is.
    for (const go of [this.sendButton, this.stopButton]) go.onmousedown = (event) => event.preventDefault();
    this.element = h("form", { class: "composer", onsubmit }, this.problem, row);
    this.changed();
  }

  get text(): string {
    return this.box.value;
  }

  set text(text: string) {
    this.box.value = text;
    this.changed();
  }

  focus(): void {
    this.box.focus();
  }

  update(isAnswering: boolean): void {
    if (this.isAnswering === isAnswering) return;
    this.isAnswering = isAnswering;
    this.changed();
  }

  private changed(): void {
    const { box } = this;
    const isEmpty = !box.value.trim();
    const isTooLong =
      box.value.length * 3 > MAX_BYTES && new TextEncoder().encode(box.value).length > MAX_BYTES;
    this.problem.textContent = isTooLong ? this.texts.tooLong : "";
    this.sendButton.disabled = isEmpty || isTooLong;
    const shown = this.isAnswering && isEmpty ? this.stopButton : this.sendButton;
    // A button that goes away takes the focus along.
    const hadFocus = (box.getRootNode() as ShadowRoot | Document).activeElement === box.nextElementSibling;
    if (box.parentElement && box.nextElementSibling !== shown) {
      arrange(box.parentElement, [box, shown]);
      if (hadFocus) box.focus();
    }
    this.fit();
  }

  /** Makes the box as high as its text; it is measured where it is shown. */
  fit(): void {
    const { box } = this;
    box.style.height = "auto";
    if (box.isConnected) box.style.height = `${Math.min(box.scrollHeight, MAX_HEIGHT)}px`;
  }

  private send(): void {
    const text = this.box.value.trim();
    if (!text || this.sendButton.disabled) return;
    this.text = "";
    this.actions.send(text);
    this.actions.drafted("");
  }
}
