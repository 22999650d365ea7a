import type { Conversation } from "../shared/api";
import { t } from "./i18n/language.svelte";
import { router } from "./router.svelte";
import { preferences } from "./session/preferences.svelte";
import { toasts } from "./shared/toasts.svelte";
import type { Workspace } from "./workspace.svelte";

/** Notifications of what came into the queue within this time: older ones are told of by the list. */
const NEWS_MILLISECONDS = 60_000;

export const notificationsSupported = typeof Notification === "function";

/** Asks the browser, which asks the person. Only ever called from a button. */
export async function notificationsAsk(): Promise<void> {
  const granted = (await Notification.requestPermission()) === "granted";
  preferences.change({ notifications: granted });
  if (!granted) toasts.show(t().notificationsRefused, { failed: true });
}

/** Shows a notification for each conversation that comes into the queue while nobody looks at this page. */
export function notifyQueue(space: Workspace): () => void {
  const told = new Map<string, string>();
  return space.live.listen({
    stored(events) {
      if (!preferences.notifications || !notificationsSupported || Notification.permission !== "granted")
        return;
      for (const event of events) {
        if (event.kind !== "conversation.created" && event.kind !== "conversation.updated") continue;
        const { conversation } = event;
        if (!waitsNewly(conversation) || told.get(conversation.id) === conversation.handedOverAt) continue;
        told.set(conversation.id, conversation.handedOverAt ?? "");
        if (space.live.leads && !document.hasFocus()) show(conversation);
      }
    },
  });
}

function waitsNewly(conversation: Conversation): boolean {
  const { handler, assignee, handedOverAt } = conversation;
  return (
    handler === "human" &&
    !assignee &&
    handedOverAt !== null &&
    Date.now() - Date.parse(handedOverAt) < NEWS_MILLISECONDS
  );
}

function show(conversation: Conversation): void {
  const notification = new Notification(t().notificationTitle, {
    body: conversation.room,
    tag: `wicara-${conversation.id}`,
    icon: "/favicon.svg",
  });
  notification.onclick = () => {
    window.focus();
    router.go(`/inbox/${conversation.id}?view=queue`);
    notification.close();
  };
}
