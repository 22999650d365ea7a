export type Route = { page: "login" } | { page: "inbox"; conversation: string | null } | { page: "unknown" };

export function routeOf(path: string): Route {
  if (path === "/" || path === "/inbox" || path === "/inbox/") return { page: "inbox", conversation: null };
  if (path === "/login") return { page: "login" };
  const conversation = /^\/inbox\/([0-9]{1,19})$/.exec(path)?.[1];
  return conversation ? { page: "inbox", conversation } : { page: "unknown" };
}

class Router {
  path = $state(location.pathname);
  search = $state(location.search);
  readonly route = $derived(routeOf(this.path));

  constructor() {
    addEventListener("popstate", () => this.read());
  }

  /** Goes to a path with a query. `replace` leaves no entry to come back to. */
  go(address: string, replace = false): void {
    if (address === location.pathname + location.search) return;
    if (replace) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    this.read();
  }

  private read(): void {
    this.path = location.pathname;
    this.search = location.search;
  }
}

export const router = new Router();
