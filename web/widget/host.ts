/* What the loader, which every page loads, gives to the chat, which is loaded at the first click. */

import type { Config } from "./config.ts";

export interface Host {
  /** The element that all of the widget is in, within the shadow root. */
  root: HTMLElement;
  launcher: HTMLButtonElement;
  /** Where the server is, with a slash at the end. */
  base: string;
  /** Of what the browser keeps, and of the tabs that share it. */
  name: string;
  config: Config;
  style(css: string): void;
  /** The server's colour, where the page has chosen none. */
  tint(color: string): void;
}

export interface Chat {
  open(takesFocus: boolean): void;
  close(): void;
}

/** The key under which a browser tab remembers that its window is open. */
export function openKey(name: string): string {
  return `${name}:open`;
}

/** The key under which a browser tab keeps the text that is not sent yet. */
export function draftKey(name: string): string {
  return `${name}:draft`;
}
