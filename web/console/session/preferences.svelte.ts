import { applyTheme, type Theme } from "../../shared/theme";
import { store, stored } from "../storage";

export type Language = "en" | "id";

interface Saved {
  language?: Language;
  theme?: Theme;
  notifications?: boolean;
  shortcuts?: boolean;
  details?: boolean;
}

const KEY = "wicara-preferences";

function browserLanguage(): Language {
  return navigator.languages.find((tag) => /^(id|en)\b/.test(tag))?.startsWith("id") ? "id" : "en";
}

/** What a person has chosen for this browser. */
class Preferences {
  language = $state<Language>("en");
  theme = $state<Theme>("system");
  notifications = $state(false);
  shortcuts = $state(true);
  /** Whether the panel about the visitor is open. */
  details = $state(true);
  private themeStop = () => {};

  constructor() {
    const saved = stored<Saved>(KEY) ?? {};
    this.language = saved.language ?? browserLanguage();
    this.theme = saved.theme ?? "system";
    this.notifications = saved.notifications ?? false;
    this.shortcuts = saved.shortcuts ?? true;
    this.details = saved.details ?? true;
    this.apply();
  }

  change(changes: Saved): void {
    Object.assign(this, changes);
    const { language, theme, notifications, shortcuts, details } = this;
    store(KEY, { language, theme, notifications, shortcuts, details } satisfies Saved);
    this.apply();
  }

  private apply(): void {
    document.documentElement.lang = this.language;
    this.themeStop();
    this.themeStop = applyTheme(document.documentElement, this.theme);
  }
}

export const preferences = new Preferences();
