/* What a page says of its widget: by attributes of <wicara-chat>, or else of the script. */

import type { StorageKind } from "./store.ts";

export type Language = "en" | "id";

export interface Config {
  bot?: string;
  color?: string;
  title?: string;
  greeting?: string;
  suggestions?: string[];
  side: "start" | "end";
  language?: Language;
  storage: StorageKind;
  theme: "light" | "dark" | "system";
}

/** `values` has what stands in data-bot as `bot`, and so on. What is not understood is left out. */
export function readConfig(values: Record<string, string | undefined>): Config {
  const { bot, color, title, greeting, suggestions, position, language, storage, theme } = values;
  return {
    bot: bot || undefined,
    color: color || undefined,
    title: title || undefined,
    greeting: greeting || undefined,
    suggestions: suggestions
      ?.split("|")
      .map((text) => text.trim())
      .filter(Boolean),
    side: position === "start" || position === "left" ? "start" : "end",
    language: languageOf(language),
    storage: storage === "session" || storage === "none" ? storage : "local",
    theme: theme === "light" || theme === "dark" ? theme : "system",
  };
}

export function languageOf(tag: string | undefined): Language | undefined {
  const language = tag?.toLowerCase().split("-")[0];
  return language === "en" || language === "id" ? language : undefined;
}

/** The page's language before the browser's; English where neither is known. */
export function pageLanguage(): Language {
  return languageOf(document.documentElement.lang) ?? languageOf(navigator.language) ?? "en";
}
