import { conversationDelete, conversationRestore } from "../api/calls";
import { ApiError } from "../api/http";
import { t } from "../i18n/language.svelte";
import { failureShow } from "../shared/failure";
import { toasts } from "../shared/toasts.svelte";
import { store, stored } from "../storage";
import type { Workspace } from "../workspace.svelte";

/** So long the server can bring a deleted conversation back. */
const UNDO_SECONDS = 30;

interface Offer {
  id: string;
  room: string;
  until: number;
}

const key = (space: Workspace) => `wicara-undo-${space.account.id}`;

function open(space: Workspace): Offer[] {
  return (stored<Offer[]>(key(space)) ?? []).filter((offer) => offer.until > Date.now());
}

/** Deletes it at once for everybody, and offers to undo that for as long as the server can. */
export async function conversationRemove(space: Workspace, id: string, room: string): Promise<boolean> {
  try {
    await conversationDelete(id, UNDO_SECONDS);
  } catch (error) {
    failureShow(error);
    return false;
  }
  space.list.remove(id);
  const offer = { id, room, until: Date.now() + UNDO_SECONDS * 1000 };
  store(key(space), [...open(space), offer]);
  show(space, offer);
  return true;
}

/** Shows the offers that are still open: the page was loaded again meanwhile, or opened in another tab. */
export function undoOffers(space: Workspace): void {
  for (const offer of open(space)) show(space, offer);
}

function show(space: Workspace, offer: Offer): void {
  toasts.show(t().removed(offer.room), {
    milliseconds: offer.until - Date.now(),
    action: { label: t().undo, run: () => void undo(space, offer) },
  });
}

async function undo(space: Workspace, offer: Offer): Promise<void> {
  try {
    await conversationRestore(offer.id);
    toasts.show(t().restored);
    await space.list.refresh();
  } catch (error) {
    if (error instanceof ApiError && (error.status === 400 || error.status === 404))
      toasts.show(t().restoreLate, { failed: true });
    else failureShow(error);
  }
  const left = open(space).filter((other) => other.id !== offer.id);
  store(key(space), left.length > 0 ? left : null);
}
