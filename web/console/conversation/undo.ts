import { conversationDelete, conversationRestore, messageDelete, messageRestore } from "../api/calls";
import { ApiError } from "../api/http";
import { t } from "../i18n/language.svelte";
import { failureShow } from "../shared/failure";
import { toasts } from "../shared/toasts.svelte";
import { store, stored } from "../storage";
import type { Workspace } from "../workspace.svelte";

/** So long the server can bring back what was deleted. */
const UNDO_SECONDS = 30;

interface Offer {
  id: string;
  /** Of a conversation; a message has none. */
  room?: string;
  until: number;
}

const key = (space: Workspace) => `wicara-undo-${space.account.id}`;

function open(space: Workspace): Offer[] {
  return (stored<Offer[]>(key(space)) ?? []).filter((offer) => offer.until > Date.now());
}

/** Deletes it at once for everybody, and offers to undo that for as long as the server can. False where it failed. */
export async function conversationRemove(space: Workspace, id: string, room: string): Promise<boolean> {
  const removed = await remove(space, { id, room }, conversationDelete);
  if (removed) space.list.remove(id);
  return removed;
}

/** The same of one message. */
export function messageRemove(space: Workspace, id: string): Promise<boolean> {
  return remove(space, { id }, messageDelete);
}

async function remove(
  space: Workspace,
  what: Omit<Offer, "until">,
  call: (id: string, undoSeconds: number) => Promise<unknown>,
): Promise<boolean> {
  try {
    await call(what.id, UNDO_SECONDS);
  } catch (error) {
    failureShow(error);
    return false;
  }
  const offer = { ...what, until: Date.now() + UNDO_SECONDS * 1000 };
  store(key(space), [...open(space), offer]);
  show(space, offer);
  return true;
}

/** Shows the offers that are still open: the page was loaded again meanwhile, or opened in another tab. */
export function undoOffers(space: Workspace): void {
  for (const offer of open(space)) show(space, offer);
}

function show(space: Workspace, offer: Offer): void {
  toasts.show(offer.room === undefined ? t().messageRemoved : t().removed(offer.room), {
    milliseconds: offer.until - Date.now(),
    action: { label: t().undo, run: () => void undo(space, offer) },
  });
}

async function undo(space: Workspace, offer: Offer): Promise<void> {
  try {
    if (offer.room === undefined) await messageRestore(offer.id);
    else await conversationRestore(offer.id);
    toasts.show(t().restored);
    if (offer.room !== undefined) await space.list.refresh();
  } catch (error) {
    if (error instanceof ApiError && (error.status === 400 || error.status === 404))
      toasts.show(t().restoreLate, { failed: true });
    else failureShow(error);
  }
  const left = open(space).filter((other) => other.id !== offer.id || other.room !== offer.room);
  store(key(space), left.length > 0 ? left : null);
}
