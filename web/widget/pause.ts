/** Waits so many milliseconds, or less: until the browser is online again, or `signal` aborts. */
export function pause(millis: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, millis);
    addEventListener("online", done);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

/** How long to wait after so many failures in a row: from about a second up to `most`, spread at random. */
export function backoff(failures: number, most = 30_000): number {
  return Math.min(most, 1000 * 2 ** failures) * (0.7 + Math.random() * 0.3);
}
