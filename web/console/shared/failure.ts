import { ApiError } from "../api/http";
import { t } from "../i18n/language.svelte";
import { toasts } from "./toasts.svelte";

/** A failed call in a person's words. What is no failed call is a fault of this program and thrown on. */
export function failureText(error: unknown): string {
  if (!(error instanceof ApiError)) throw error;
  if (error.status === 0) return t().failedUnreachable;
  if (error.status === 403) return t().failedForbidden;
  if (error.passing) return t().failedBusy;
  return t().failedOther(error.body.errors?.[0]?.message ?? error.message);
}

export function failureShow(error: unknown): void {
  toasts.show(failureText(error), { failed: true });
}
