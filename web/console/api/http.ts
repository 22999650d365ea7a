import type { Author, BrokenRule } from "../../shared/api";

const TIMEOUT_MILLISECONDS = 30_000;

interface ErrorBody {
  error?: string;
  message?: string;
  errors?: BrokenRule[];
  assignee?: Author;
}

/** A call that did not succeed. `status` is 0 where no answer came: what was asked for may or may not have happened. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly body: ErrorBody = {},
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(body.error ?? `status ${status}`);
  }

  /** Whether asking again later may succeed. */
  get passing(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }

  /** Whether the server does not have this call. */
  get unsupported(): boolean {
    return this.status === 404 || this.status === 405;
  }
}

export interface Answer<T> {
  body: T;
  /** A position in the feed: everything up to it is in the body. */
  cursor: string | null;
}

export interface RequestOptions {
  query?: Record<string, string | undefined>;
  /** Sent as JSON; a string is sent as it is, so that a retry has the same bytes. */
  body?: unknown;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

let unauthenticated: () => void = () => {};

/** What happens when a call is answered with 401 although somebody was logged in. */
export function onUnauthenticated(listener: () => void): void {
  unauthenticated = listener;
}

export function queryString(query: Record<string, string | undefined>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) parameters.set(name, value);
  const text = parameters.toString();
  return text && `?${text}`;
}

/** A stream of server-sent events, to be read by whoever asks. What its status means is theirs too. */
export function openStream(path: string, signal: AbortSignal): Promise<Response> {
  return fetch(path, {
    headers: { Accept: "text/event-stream" },
    credentials: "same-origin",
    cache: "no-store",
    signal,
  });
}

export async function request<T>(
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<Answer<T>> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  if (options.idempotencyKey) headers["Idempotency-Key"] = options.idempotencyKey;
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), TIMEOUT_MILLISECONDS);
  const cancel = () => timeout.abort();
  options.signal?.addEventListener("abort", cancel);
  let response: Response;
  let body: unknown;
  try {
    response = await fetch(path + queryString(options.query ?? {}), {
      method,
      headers,
      credentials: "same-origin",
      cache: "no-store",
      body:
        options.body === undefined || typeof options.body === "string"
          ? options.body
          : JSON.stringify(options.body),
      signal: timeout.signal,
    });
    body = await response.json().catch(() => ({}));
  } catch {
    options.signal?.throwIfAborted();
    throw new ApiError(0);
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", cancel);
  }
  if (!response.ok) {
    if (response.status === 401 && path !== "/api/auth/login") unauthenticated();
    const wait = Number(response.headers.get("Retry-After"));
    throw new ApiError(response.status, (body ?? {}) as ErrorBody, wait > 0 ? wait : null);
  }
  return { body: body as T, cursor: response.headers.get("X-Wicara-Cursor") };
}
