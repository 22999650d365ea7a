import { preferences } from "../session/preferences.svelte";

export type Bindings = Partial<Record<string, () => void>>;

/** Single keys that do something wherever the focus is, unless somebody types. The last bindings added win. */
class Shortcuts {
  private readonly layers: Bindings[] = [];

  add(bindings: Bindings): () => void {
    this.layers.push(bindings);
    return () => {
      const index = this.layers.indexOf(bindings);
      if (index >= 0) this.layers.splice(index, 1);
    };
  }

  readonly press = (event: KeyboardEvent): void => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (!preferences.shortcuts && event.key !== "Escape") return;
    if (
      event.target instanceof Element &&
      event.target.closest("input, textarea, select, dialog[open], [popover]")
    )
      return;
    const run = this.layers.findLast((layer) => layer[event.key])?.[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  };
}

export const shortcuts = new Shortcuts();
