/*
 * The script that pages include: shows the button, and loads the chat at the first click.
 *
 *     <script src="https://chat.example.org/widget.js" data-bot="guide" async></script>
 *
 * It defines <wicara-chat>, and puts one at the end of the page unless the page has placed one itself.
 */

import { setAccent } from "./accent.ts";
import { type Config, pageLanguage, readConfig } from "./config.ts";
import { type Chat, type Host, openKey } from "./host.ts";
import css from "./loader.css?shadow";
import { storageArea } from "./store.ts";
import { applyTheme } from "../shared/theme.ts";
import { h, icon } from "./view/dom.ts";

/** The name of the chat's module, which has its hash; put in by the build. */
declare const CHAT_MODULE: string;

const TAG = "wicara-chat";
const WORDS = {
  en: { open: "Open the chat", failed: "The chat could not be loaded. Please try again." },
  id: { open: "Buka obrolan", failed: "Obrolan gagal dimuat. Silakan coba lagi." },
};

const script = (document.currentScript ??
  document.querySelector('script[src*="/widget.js"]')) as HTMLScriptElement;
const base = new URL(".", script.src).href;

class WicaraChat extends HTMLElement {
  private chat: Promise<Chat> | undefined;
  private host: Host | undefined;
  private stopTheme = () => {};
  private attempts = 0;
  private serverColor = "";
  private failure: HTMLElement | undefined;

  connectedCallback(): void {
    this.host ??= this.build();
    const { root, config } = this.host;
    this.stopTheme = applyTheme(root, config.theme);
    this.tint();
    this.resume();
  }

  disconnectedCallback(): void {
    this.stopTheme();
    this.close();
  }

  open(): void {
    this.load()?.then(
      (chat) => chat.open(true),
      () => {},
    );
  }

  close(): void {
    this.chat?.then(
      (chat) => chat.close(),
      () => {},
    );
  }

  private tint(): void {
    const ofPage = getComputedStyle(this).getPropertyValue("--wicara-color").trim();
    setAccent(this.host!.root, this.host!.config.color || ofPage || this.serverColor);
  }

  private build(): Host {
    const shadow = this.attachShadow({ mode: "open" });
    const config = readConfig({ ...script.dataset, ...namedAttributes(this), ...this.dataset } as Record<
      string,
      string
    >);
    const { open } = this.words(config);
    const onclick = () => this.open();
    const launcher = h(
      "button",
      { type: "button", class: "launcher", "aria-label": open, title: open, onclick },
      icon("chat"),
    );
    const root = h("div", { class: `w ${config.side}`, lang: config.language ?? pageLanguage() }, launcher);
    shadow.append(root);
    new MutationObserver(() => this.tint()).observe(root, { attributeFilter: ["data-theme"] });
    const style = (text: string) => addStyle(shadow, text);
    style(css);
    const tint = (color: string) => {
      this.serverColor = color;
      this.tint();
    };
    return { root, launcher, base, name: `wicara:${base}:${config.bot ?? ""}`, config, style, tint };
  }

  private words(config: Config) {
    return WORDS[config.language ?? pageLanguage()];
  }

  private load(): Promise<Chat> | undefined {
    const host = this.host;
    if (!host) return;
    this.failure?.remove();
    host.launcher.setAttribute("aria-busy", "true");
    // A module that failed to load is remembered by some browsers, so that a second try has another address.
    const again = this.attempts++ ? `?${this.attempts}` : "";
    this.chat ??= (
      import(/* @vite-ignore */ `${base}${CHAT_MODULE}${again}`) as Promise<typeof import("./chat.ts")>
    ).then(({ start }) => start(host));
    this.chat
      .catch(() => {
        this.chat = undefined;
        this.failure?.remove();
        this.failure = h("p", { class: "failure", role: "alert" }, this.words(host.config).failed);
        host.root.append(this.failure);
      })
      .finally(() => host.launcher.removeAttribute("aria-busy"));
    return this.chat;
  }

  /** The window was open when this tab was loaded anew, or a question is still to be sent. */
  private resume(): void {
    const { name, config } = this.host!;
    try {
      const wasOpen = config.storage !== "none" && sessionStorage.getItem(openKey(name));
      const hasPending = storageArea(config.storage)?.getItem(name)?.includes('"pending":[{');
      if (wasOpen || hasPending)
        void this.load()?.then(
          (chat) => wasOpen && chat.open(false),
          () => {},
        );
    } catch {
      // Storage is blocked.
    }
  }
}

/** `bot` and `data-bot` mean the same on the element. */
function namedAttributes(element: HTMLElement): Record<string, string> {
  return Object.fromEntries([...element.attributes].map(({ name, value }) => [name, value]));
}

/** Constructable style sheets pass every content security policy; older browsers need the nonce of the script. */
function addStyle(shadow: ShadowRoot, text: string): void {
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    shadow.adoptedStyleSheets = [...shadow.adoptedStyleSheets, sheet];
  } catch {
    shadow.append(h("style", { nonce: script.nonce || undefined }, text));
  }
}

function insert(): void {
  if (!document.querySelector(TAG)) document.body.append(document.createElement(TAG));
}

if (!customElements.get(TAG)) {
  customElements.define(TAG, WicaraChat);
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", insert);
  else insert();
}
