/* The chat, loaded at the first click: connects the conversations, the window and the page. */

import css from "./chat.css?shadow";
import { languageOf, pageLanguage } from "./config.ts";
import { type Chat, draftKey, type Host, openKey } from "./host.ts";
import { Model } from "./model.ts";
import { Store, storageArea } from "./store.ts";
import { Transport } from "./transport.ts";
import type { WidgetSettings } from "./types.ts";
import { Panel, type Wording } from "./view/panel.ts";

/** As in chat.css: the window covers the page. */
const PHONE = "(max-width: 520px)";

export function start(host: Host): Chat {
  const { root, launcher, base, name, config } = host;
  const store = new Store(name, config.storage);
  const transport = new Transport(base);
  const session = storageArea(config.storage === "none" ? "none" : "session");
  const phone = matchMedia(PHONE);
  let isOpen = false;
  let wording = wordingOf(host, {});

  const model = new Model(store, transport, config.bot, {
    changed: () => panel.update(),
    arrived: (message) => {
      if (isOpen) panel.arrived(message);
      else launcher.toggleAttribute("data-unread", true);
    },
  });
  let draft = recall(draftKey(name)) ?? "";
  let panel = new Panel(model, wording, close, drafted);
  panel.composer.text = draft;
  host.style(css);
  model.start();

  transport.settings(config.bot).then(
    (settings) => {
      wording = wordingOf(host, settings);
      if (settings.color) host.tint(settings.color);
      if (panel.reword(wording)) return;
      const old = panel;
      panel = new Panel(model, wording, close, drafted);
      panel.composer.text = old.composer.text;
      if (!isOpen) return;
      const hadFocus = old.element.matches(":focus-within");
      old.element.replaceWith(panel.element);
      placePanel();
      panel.opened();
      if (hadFocus) panel.composer.focus();
    },
    // A server without these settings, or none at the moment: what the page says is enough.
    () => {},
  );

  function open(takesFocus: boolean): void {
    if (!isOpen) {
      isOpen = true;
      launcher.removeAttribute("data-unread");
      launcher.hidden = true;
      root.append(panel.element);
      placePanel();
      panel.opened();
      remember();
      live();
    }
    if (takesFocus) panel.composer.focus();
  }

  function close(): void {
    if (!isOpen) return;
    isOpen = false;
    const hadFocus = panel.element.matches(":focus-within");
    panel.element.remove();
    launcher.hidden = false;
    if (hadFocus) launcher.focus();
    remember();
    live();
  }

  function drafted(text: string): void {
    draft = text;
    remember();
  }

  /** A tab that is loaded anew shows the window again with what was being written, once there is a conversation. */
  function remember(): void {
    const isKnown = store.read().conversations.length > 0;
    keep(openKey(name), isKnown && isOpen ? "1" : "");
    keep(draftKey(name), isKnown ? draft : "");
  }

  function keep(key: string, value: string): void {
    try {
      if (value) session?.setItem(key, value);
      else session?.removeItem(key);
    } catch {
      // Blocked or full: this is not kept then.
    }
  }

  function recall(key: string): string | null | undefined {
    try {
      return session?.getItem(key);
    } catch {
      return undefined;
    }
  }

  function live(): void {
    model.setLive(isOpen && !document.hidden);
  }

  /** On a phone the window is as large as what the keyboard leaves of the screen. */
  function placePanel(): void {
    const view = window.visualViewport;
    const { element } = panel;
    element.setAttribute("aria-modal", String(phone.matches));
    element.style.height = phone.matches && view ? `${view.height}px` : "";
    element.style.top = phone.matches && view ? `${view.offsetTop}px` : "";
  }

  store.onChange(remember);
  document.addEventListener("visibilitychange", live);
  phone.addEventListener("change", placePanel);
  window.visualViewport?.addEventListener("resize", placePanel);
  window.visualViewport?.addEventListener("scroll", placePanel);
  return { open, close };
}

/** What the page says goes before what the server says. */
function wordingOf({ config }: Host, settings: WidgetSettings): Wording {
  const { title, greeting, suggestions = [], languages = [] } = settings;
  const wished = config.language ?? pageLanguage();
  return {
    language: languages.includes(wished) ? wished : (languageOf(languages[0]) ?? wished),
    title: config.title ?? title,
    greeting: config.greeting ?? greeting,
    suggestions: config.suggestions ?? suggestions,
  };
}
