import type { Conversation } from "../../shared/api";
import { conversationClaim, conversationRelease } from "../api/calls";
import { ApiError } from "../api/http";
import { t } from "../i18n/language.svelte";
import { failureShow } from "../shared/failure";
import { toasts } from "../shared/toasts.svelte";
import type { Workspace } from "../workspace.svelte";

/** Takes a conversation. False where somebody else was faster, which the reader is told. */
export function conversationTake(space: Workspace, id: string, force = false): Promise<boolean> {
  return change(space, id, () => conversationClaim(id, force));
}

export function conversationGive(space: Workspace, id: string, to: "bot" | "queue"): Promise<boolean> {
  return change(space, id, () => conversationRelease(id, to));
}

async function change(space: Workspace, id: string, call: () => Promise<Conversation>): Promise<boolean> {
  try {
    space.conversations.put(await call());
    space.counts.refresh();
    return true;
  } catch (error) {
    const assignee = error instanceof ApiError && error.status === 409 ? error.body.assignee : undefined;
    if (!assignee) {
      failureShow(error);
      return false;
    }
    const known = space.conversations.get(id);
    if (known) space.conversations.put({ ...known, handler: "human", assignee });
    toasts.show(t().claimedBy(assignee.name), { failed: true });
    return false;
  }
}
