/* The window of the chat. */

import { render } from "../../shared/markdown.ts";
import type { Language } from "../config.ts";
import { en, type Texts } from "../i18n/en.ts";
import { id } from "../i18n/id.ts";
import type { Model } from "../model.ts";
import type { Pending } from "../store.ts";
import type { Message } from "../types.ts";
import { Composer } from "./composer.ts";
import { Conversations } from "./conversations.ts";
import { button, h, icon } from "./dom.ts";
import { Log } from "./log.ts";
import { nameOf } from "./message.ts";

export interface Wording {
  language: Language;
  title?: string;
  greeting?: string;
  suggestions: string[];
}

/** While something is waited for, its time is looked at so often. */
const TICK_MILLIS = 1_000;
/** A connection that is back sooner is not spoken of. */
const PATIENCE_MILLIS = 2_500;
const NOTICE_MILLIS = 6_000;

export class Panel {
  readonly element: HTMLElement;
  readonly composer: Composer;
  private readonly texts: Texts;
  private readonly log: Log;
  private readonly conversations: Conversations;
  private readonly title: HTMLElement;
  private readonly status: HTMLElement;
  private readonly bar: HTMLElement;
  private readonly person: HTMLButtonElement;
  private readonly listButton: HTMLButtonElement;
  private readonly backButton: HTMLButtonElement;
  private readonly announcer: HTMLElement;
  private readonly body: HTMLElement;
  private lostAt = 0;
  /** What did not work, shown for a while. */
  private notice = "";
  private greeting: HTMLElement | undefined;
  private frame = 0;
  private tick: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly model: Model,
    private wording: Wording,
    private readonly close: () => void,
    drafted: (text: string) => void,
  ) {
    const { language } = wording;
    const texts = (this.texts = language === "id" ? id : en);
    // How the visitor writes dates, where the browser tells it of this language.
    const locale = navigator.languages.find((tag) => tag.startsWith(language)) ?? language;
    this.composer = new Composer(texts, {
      send: (text) => model.ask(text),
      stop: () => void model.stop(),
      typing: () => model.typing(),
      drafted,
    });
    const edit = ({ key, text }: Pending) => {
      model.outbox.drop(key);
      this.composer.text = text;
      this.composer.focus();
    };
    const feedback = (message: Message, value: number, text?: string) =>
      void model.feedback(message, value, text).catch(() => this.tell(texts.notDone));
    this.log = new Log(model, texts, locale, { again: (text) => this.ask(text), feedback, edit }, () =>
      this.update(),
    );
    this.conversations = new Conversations(model, texts, locale, () => this.showList(false));
    this.listButton = button("list", texts.list, () => this.showList(true));
    this.backButton = button("back", texts.back, () => this.showList(false), { hidden: true });
    this.status = h("p", { class: "status" });
    this.bar = h("p");
    this.announcer = h("div", { class: "sr", "aria-live": "polite" });
    this.person = h(
      "button",
      { type: "button", class: "plain person", onclick: () => this.handover() },
      icon("person"),
      texts.person,
    );
    this.title = h("h2", { id: "title" });
    this.entitle();
    const heading = h("div", { class: "heading" }, this.title, this.status);
    this.body = h("div", { class: "body" }, this.log.element, this.person, this.composer.element);
    this.element = h(
      "section",
      {
        class: "panel",
        role: "dialog",
        "aria-labelledby": "title",
        lang: language,
        onkeydown: (event: KeyboardEvent) => this.pressed(event),
        // The page's shortcuts are not meant: to the page, what is typed here is not typed into a text box.
        onkeyup: keep,
        onkeypress: keep,
      },
      h("header", {}, this.listButton, this.backButton, heading, button("close", texts.close, close)),
      h("div", { class: "bar", role: "status" }, this.bar),
      this.body,
      this.announcer,
    );
  }

  /** Takes other words and keeps all that was begun. False: they are of another language, which needs another window. */
  reword(wording: Wording): boolean {
    if (wording.language !== this.wording.language) return false;
    this.wording = wording;
    this.greeting = undefined;
    this.entitle();
    this.update();
    return true;
  }

  private entitle(): void {
    const { wording, texts, listButton } = this;
    this.title.textContent = listButton.hidden ? texts.list : wording.title || texts.title;
  }

  /** Shows what is, at the next frame. */
  update(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (this.element.isConnected) this.show();
    });
  }

  /** Tells a screen reader, once. */
  announce(text: string): void {
    this.announcer.append(h("p", {}, text));
    if (this.announcer.childNodes.length > 3) this.announcer.firstChild!.remove();
  }

  private tell(text: string): void {
    this.notice = text;
    this.update();
    setTimeout(() => {
      this.notice = "";
      this.update();
    }, NOTICE_MILLIS);
  }

  arrived(message: Message): void {
    const text = render(message.text).map((node) => node.textContent);
    this.announce(`${nameOf(message, this.texts)}: ${text.join(" ")}`);
  }

  opened(): void {
    this.show();
    this.log.toEnd();
    this.composer.fit();
  }

  private show(): void {
    const { model, texts } = this;
    const { thread } = model;
    const { handler, handover } = thread.state;
    const isHuman = handler === "human";
    const name = thread.personName;
    this.status.textContent = !isHuman ? "" : name ? texts.joined(name) : texts.waiting;
    this.person.hidden = isHuman || !handover || !model.conversation?.session;
    this.lostAt = model.isConnected ? 0 : this.lostAt || Date.now();
    const isLost = this.lostAt && Date.now() - this.lostAt >= PATIENCE_MILLIS;
    this.bar.textContent = isLost
      ? texts.reconnecting
      : this.notice || (model.hasBegunAnew ? texts.anew : "");
    this.composer.update(thread.answering !== undefined);
    this.log.update(this.head());
    clearTimeout(this.tick);
    const isWaiting =
      thread.isTyping || thread.answering !== undefined || this.lostAt || model.pending.length;
    if (isWaiting) this.tick = setTimeout(() => this.update(), TICK_MILLIS);
  }

  /** Before the first message: a greeting, and questions to choose from. */
  private head(): Node | undefined {
    const { model, wording, texts } = this;
    if (model.thread.messages.size || model.pending.length || model.conversation?.session) return;
    this.greeting ??= h(
      "li",
      { class: "greeting" },
      h("span", { class: "mark" }, icon("chat")),
      h("p", { dir: "auto" }, wording.greeting || texts.greeting),
      ...wording.suggestions.map((text) =>
        h(
          "button",
          { type: "button", class: "suggestion", dir: "auto", onclick: () => this.suggested(text) },
          text,
        ),
      ),
    );
    return this.greeting;
  }

  /** Once: a double click is no second question. */
  private suggested(text: string): void {
    if (!this.model.pending.length && !this.model.conversation) this.ask(text);
  }

  private ask(text: string): void {
    this.model.ask(text);
    this.composer.focus();
  }

  private handover(): void {
    this.composer.focus();
    this.model.handover().then(
      () => this.model.thread.state.handler === "human" && this.announce(this.texts.waiting),
      () => this.tell(this.texts.notDone),
    );
  }

  private showList(isList: boolean): void {
    this.listButton.hidden = isList;
    this.backButton.hidden = !isList;
    this.entitle();
    this.status.hidden = isList;
    const [shown, hidden] = isList
      ? [this.conversations.element, this.body]
      : [this.body, this.conversations.element];
    hidden.replaceWith(shown);
    if (isList) return this.conversations.show();
    this.opened();
    this.composer.focus();
  }

  private pressed(event: KeyboardEvent): void {
    keep(event);
    if (event.key === "Escape" && !event.isComposing) {
      if (this.listButton.hidden) this.showList(false);
      else this.close();
    } else if (event.key === "Tab" && this.element.matches("[aria-modal=true]")) this.keepFocus(event);
  }

  /** On a phone the window covers the page, where the focus would be lost. */
  private keepFocus(event: KeyboardEvent): void {
    const stops = [
      ...this.element.querySelectorAll<HTMLElement>("button, a, textarea, input, [tabindex]"),
    ].filter((stop) => stop.offsetParent && !(stop as HTMLButtonElement).disabled);
    const [from, to] = event.shiftKey
      ? [stops[0], stops[stops.length - 1]]
      : [stops[stops.length - 1], stops[0]];
    if ((this.element.getRootNode() as ShadowRoot).activeElement !== from) return;
    event.preventDefault();
    to?.focus();
  }
}

function keep(event: Event): void {
  event.stopPropagation();
}
