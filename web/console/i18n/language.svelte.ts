import { preferences } from "../session/preferences.svelte";
import { type Dictionary, en } from "./en";
import { id } from "./id";

/** The words in the language that is chosen; what reads them follows a change. */
export function t(): Dictionary {
  return preferences.language === "id" ? id : en;
}
