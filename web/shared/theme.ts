export type Theme = "light" | "dark" | "system";

/** Keeps `data-theme` of the element at `theme`, following the system where that is "system". Returns how to stop. */
export function applyTheme(element: HTMLElement, theme: Theme): () => void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    element.dataset.theme = theme === "dark" || (theme === "system" && dark.matches) ? "dark" : "light";
  };
  apply();
  dark.addEventListener("change", apply);
  return () => dark.removeEventListener("change", apply);
}
