/* Elements without HTML strings. */

type Value = string | number | boolean | undefined | ((event: never) => void);

/** An element; `on…` are listeners, true is an empty attribute, false and undefined are none. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Value> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else if (value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

const ICONS = {
  chat: "M20 12a8 8 0 0 1-8 8H4l2-3.2A8 8 0 1 1 20 12Z",
  close: "M6 6l12 12M18 6 6 18",
  send: "M12 19V5M5.5 11.5 12 5l6.5 6.5",
  stop: "M7 7h10v10H7z",
  list: "M4 7h16M4 12h16M4 17h10",
  back: "M19 12H5M11.5 5.5 5 12l6.5 6.5",
  down: "M12 5v14M5.5 12.5 12 19l6.5-6.5",
  out: "M8 16 16.5 7.5M9 7h8v8",
  plus: "M12 5v14M5 12h14",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM5 20c.6-3.6 3.3-5.5 7-5.5s6.4 1.9 7 5.5",
  good: "M7 11v9H4v-9h3Zm0 0 4-7c1.5 0 2.5 1 2.2 2.6L12.5 10H18a2 2 0 0 1 2 2.4l-1.2 6A2 2 0 0 1 16.8 20H7",
  bad: "M17 13V4h3v9h-3Zm0 0-4 7c-1.5 0-2.5-1-2.2-2.6l.7-3.4H6a2 2 0 0 1-2-2.4l1.2-6A2 2 0 0 1 7.2 4H17",
};

export function icon(name: keyof typeof ICONS): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg.namespaceURI, "path") as SVGPathElement;
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

export function button(
  name: keyof typeof ICONS,
  label: string,
  onclick: () => void,
  attributes: Record<string, Value> = {},
): HTMLButtonElement {
  return h(
    "button",
    { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...attributes },
    icon(name),
  );
}

/** Makes `parent` have exactly these children, and moves none that stays: what is moved loses the focus. */
export function arrange(parent: Element, children: Node[]): void {
  const stays = new Set(children);
  for (const child of [...parent.childNodes]) if (!stays.has(child)) child.remove();
  children.forEach((child, at) => {
    if (parent.childNodes[at] !== child) parent.insertBefore(child, parent.childNodes[at] ?? null);
  });
}
