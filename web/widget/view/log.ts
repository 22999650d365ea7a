/* The messages of a conversation from the oldest to the newest, and what is on its way. */

import type { Texts } from "../i18n/en.ts";
import type { Model } from "../model.ts";
import type { Pending } from "../store.ts";
import type { Thread } from "../thread.ts";
import type { Message } from "../types.ts";
import { arrange, button, h } from "./dom.ts";
import { DraftView, type MessageActions, MessageView } from "./message.ts";
import { PendingView } from "./pending.ts";

/** So near to its end the log counts as read to the end. */
const NEAR = 48;
/** What stays visible above the question when its answer is long. */
const MARGIN = 12;

export class Log {
  readonly element: HTMLElement;
  private readonly items: HTMLElement;
  private readonly newest: HTMLButtonElement;
  private readonly older: HTMLButtonElement;
  private readonly typing: HTMLElement;
  private thread: Thread | undefined;
  private messages = new Map<number, MessageView>();
  private drafts = new Map<number, DraftView>();
  private pendings = new Map<string, PendingView>();
  private follows = true;
  private lastMine = "";

  constructor(
    private readonly model: Model,
    private readonly texts: Texts,
    private readonly locale: string,
    private readonly actions: MessageActions & { edit(pending: Pending): void },
    private readonly again: () => void,
  ) {
    this.items = h("ol", { class: "items", role: "list" });
    this.older = h(
      "button",
      { type: "button", class: "plain older", onclick: () => void this.showOlder() },
      texts.older,
    );
    this.newest = button("down", texts.newest, () => this.toEnd(true), {
      class: "icon newest",
      hidden: true,
    });
    const onscroll = () => this.scrolled();
    const scroller = h("div", {
      class: "scroller",
      tabindex: 0,
      role: "region",
      "aria-label": texts.messages,
      onscroll,
    });
    scroller.append(this.items);
    this.element = h("div", { class: "log" }, scroller, this.newest);
    this.typing = new DraftView(texts.typing).element;
  }

  update(head: Node | undefined): void {
    const { model } = this;
    const { thread } = model;
    if (thread !== this.thread) {
      this.thread = thread;
      this.messages.clear();
      this.drafts.clear();
      this.follows = true;
    }
    const shown: Node[] = head ? [head] : [];
    if (thread.hasOlder) shown.push(this.older);
    let day = "";
    const messages = thread.list();
    const answering = thread.answering;
    const read = new Set<number | null>(this.drafts.keys());
    const lastQuestion = messages.findLast(({ role }) => role === "client")?.id;
    let anchor: HTMLElement | undefined;
    for (const message of messages) {
      const name = this.dayOf(message);
      if (name !== day && messages.length) shown.push(h("li", { class: "day" }, name));
      day = name;
      let view = this.messages.get(message.id);
      if (!view) {
        view = new MessageView(message, this.texts, this.locale, this.actions, read.has(message.replyTo));
        this.messages.set(message.id, view);
      }
      const isLast = message.id === lastQuestion;
      const isAnswer = message.role === "bot" || message.role === "agent";
      view.update(message, isLast && thread.state.handler === "bot", thread.takesFeedback && isAnswer);
      shown.push(view.element);
      if (isLast) anchor = view.element;
      const draft = thread.drafts.get(message.id) ?? (message.id === answering ? "" : undefined);
      if (draft === undefined) this.drafts.delete(message.id);
      else shown.push(this.draft(message.id, draft));
    }
    shown.push(...this.pending(messages));
    if (thread.isTyping) shown.push(this.typing);
    arrange(this.items, shown);
    this.settle(anchor, shown);
  }

  /** The newest message comes into view. */
  toEnd(isWish = false): void {
    const scroller = this.items.parentElement!;
    this.follows = true;
    scroller.scrollTop = scroller.scrollHeight;
    if (isWish) scroller.focus();
  }

  private draft(question: number, text: string): HTMLElement {
    let view = this.drafts.get(question);
    if (!view) this.drafts.set(question, (view = new DraftView(this.texts.answering)));
    if (text && !view.update(text)) this.again();
    return view.element;
  }

  /** Questions that the server has not acknowledged. One that the thread has already is shown once. */
  private pending(messages: Message[]): HTMLElement[] {
    const known = messages.filter(({ role }) => role === "client");
    const shown = new Map<string, PendingView>();
    for (const pending of this.model.pending) {
      const copy = known.findIndex(({ id, text }) => id > pending.after && text === pending.text);
      if (copy >= 0) {
        known.splice(copy, 1);
        continue;
      }
      const { texts, model, actions } = this;
      const view =
        this.pendings.get(pending.key) ?? new PendingView(pending, texts, model.outbox, actions.edit);
      view.update();
      shown.set(pending.key, view);
    }
    this.pendings = shown;
    return [...shown.values()].map(({ element }) => element);
  }

  private dayOf({ createdAt }: Message): string {
    const date = new Date(createdAt);
    if (date.toDateString() === new Date().toDateString()) return this.texts.today;
    return date.toLocaleDateString(this.locale, { weekday: "long", day: "numeric", month: "long" });
  }

  /** Follows what is new, but not beyond the question: an answer is read from its start. */
  private settle(anchor: HTMLElement | undefined, shown: Node[]): void {
    const scroller = this.items.parentElement!;
    const last = shown[shown.length - 1] as HTMLElement | undefined;
    const mine = [...this.pendings.keys()].join();
    if (mine !== this.lastMine && mine.length > this.lastMine.length) this.follows = true;
    this.lastMine = mine;
    if (!this.follows) return this.showNewest();
    const end = scroller.scrollHeight - scroller.clientHeight;
    const isAnswered = anchor && !this.pendings.size && last !== this.typing && !last?.matches(".agent");
    const top = isAnswered ? anchor.offsetTop - MARGIN : end;
    // Never back up: who has read on stays there.
    scroller.scrollTop = Math.max(scroller.scrollTop, Math.min(end, top));
    this.showNewest();
  }

  private scrolled(): void {
    const scroller = this.items.parentElement!;
    const left = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;
    this.follows = left < NEAR;
    this.showNewest();
  }

  private showNewest(): void {
    const scroller = this.items.parentElement!;
    const isNear = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop < NEAR;
    // A button that goes away takes the focus along, out of the window.
    if (isNear && this.newest.matches(":focus")) scroller.focus({ preventScroll: true });
    this.newest.hidden = isNear;
  }

  private async showOlder(): Promise<void> {
    const scroller = this.items.parentElement!;
    const before = scroller.scrollHeight - scroller.scrollTop;
    this.follows = false;
    await this.model.older().catch(() => {});
    requestAnimationFrame(() => (scroller.scrollTop = scroller.scrollHeight - before));
  }
}
