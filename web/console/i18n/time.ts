const DAY_MILLISECONDS = 86_400_000;
const formats = new Map<string, Intl.DateTimeFormat>();

function format(language: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = language + JSON.stringify(options);
  let made = formats.get(key);
  if (!made)
    formats.set(key, (made = new Intl.DateTimeFormat(language === "en" ? "en-GB" : language, options)));
  return made;
}

function dayOf(time: Date): number {
  return Math.floor((time.getTime() - time.getTimezoneOffset() * 60_000) / DAY_MILLISECONDS);
}

/** Makes what a list's times need, which takes a browser long the first time: as long as many rows do. */
export function timesPrepare(language: string): void {
  const now = new Date();
  for (const days of [0, 1, 7])
    timeShort(language, new Date(now.getTime() - days * DAY_MILLISECONDS).toISOString(), now);
}

/** As a list shows it: the hour today, else the day. */
export function timeShort(language: string, at: string, now: Date): string {
  const time = new Date(at);
  const days = dayOf(now) - dayOf(time);
  if (days === 0) return clock(language, at);
  if (days > 0 && days < 7) return format(language, { weekday: "short" }).format(time);
  const sameYear = time.getFullYear() === now.getFullYear();
  return format(language, {
    day: "numeric",
    month: "short",
    ...(sameYear ? {} : { year: "numeric" }),
  }).format(time);
}

export function clock(language: string, at: string): string {
  return format(language, { hour: "2-digit", minute: "2-digit" }).format(new Date(at));
}

export function timeFull(language: string, at: string): string {
  return format(language, { dateStyle: "full", timeStyle: "short" }).format(new Date(at));
}

/** The heading over a day's messages. */
export function dayName(language: string, at: string, now: Date, today: string, yesterday: string): string {
  const time = new Date(at);
  const days = dayOf(now) - dayOf(time);
  if (days === 0) return today;
  if (days === 1) return yesterday;
  const sameYear = time.getFullYear() === now.getFullYear();
  return format(language, {
    weekday: "long",
    day: "numeric",
    month: "long",
    ...(sameYear ? {} : { year: "numeric" }),
  }).format(time);
}

export function sameDay(a: string, b: string): boolean {
  return dayOf(new Date(a)) === dayOf(new Date(b));
}
