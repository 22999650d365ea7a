/* The visitor's conversations in this browser: to go on with one, begin another, or forget them all. */

import type { Texts } from "../i18n/en.ts";
import type { Model } from "../model.ts";
import { h, icon } from "./dom.ts";

export class Conversations {
  readonly element: HTMLElement;
  private isAsking = false;

  constructor(
    private readonly model: Model,
    private readonly texts: Texts,
    private readonly locale: string,
    private readonly done: () => void,
  ) {
    this.element = h("div", { class: "conversations" });
  }

  show(): void {
    this.isAsking = false;
    this.update();
    this.element.querySelector("button")!.focus();
  }

  private update(): void {
    const { texts, model } = this;
    const choose = (id: string | undefined) => () => {
      model.select(id);
      this.done();
    };
    const items = model.conversations.map(({ id, title, at }) => {
      const date = new Date(at).toLocaleDateString(this.locale, { day: "numeric", month: "short" });
      const about = {
        type: "button",
        "aria-current": id === model.current && "true",
        onclick: choose(id),
      } as const;
      return h("li", {}, h("button", about, h("span", { dir: "auto" }, title), h("time", {}, date)));
    });
    this.element.replaceChildren(
      h("button", { type: "button", class: "plain", onclick: choose(undefined) }, icon("plus"), texts.begin),
      items.length ? h("ul", { role: "list" }, ...items) : h("p", { class: "hint" }, texts.none),
      ...(items.length ? [this.forget()] : []),
    );
  }

  private forget(): HTMLElement {
    const { texts } = this;
    const ask = (isAsking: boolean, focused: string) => {
      this.isAsking = isAsking;
      this.update();
      this.element.querySelector<HTMLElement>(focused)?.focus();
    };
    const forget = () => {
      this.model.forget();
      this.done();
    };
    if (!this.isAsking) {
      return h(
        "button",
        { type: "button", class: "link forget", onclick: () => ask(true, ".cancel") },
        texts.forget,
      );
    }
    return h(
      "div",
      { class: "forget", role: "group", "aria-label": texts.forget },
      h("p", {}, texts.forgetAsk),
      h("button", { type: "button", class: "danger", onclick: forget }, texts.forgetYes),
      h(
        "button",
        { type: "button", class: "plain cancel", onclick: () => ask(false, ".forget") },
        texts.cancel,
      ),
    );
  }
}
