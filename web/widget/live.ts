/* Follows one conversation: reads it, then its stream, and comes back from where it was whenever that breaks. */

import { Channel, exclusively } from "./leader.ts";
import { backoff, pause } from "./pause.ts";
import { Refused, type Transport } from "./transport.ts";
import type { ThreadDetail, VisitorEvent } from "./types.ts";

export interface Following {
  transport: Transport;
  session: string;
  /** Of the widget: tabs with the same name share one stream. */
  name: string;
  signal: AbortSignal;
  onThread(detail: ThreadDetail): void;
  onEvent(event: VisitorEvent): void;
  /** Whether the server is reached. */
  onConnection(isThere: boolean): void;
  /** The conversation does not exist any more. */
  onGone(): void;
}

class Gone extends Error {}
class Resync extends Error {}

export async function follow(following: Following): Promise<void> {
  const { transport, session, signal, onConnection } = following;
  const name = `${following.name}:${session}`;
  const channel = new Channel<VisitorEvent>(name, following.onEvent);
  signal.addEventListener("abort", () => channel.close());
  let position: string | null = null;
  let failures = 0;

  const load = async () => {
    const [detail, cursor] = await transport.thread(session);
    if (signal.aborted) return;
    position = cursor;
    following.onThread(detail);
    onConnection(true);
  };
  const stream = () =>
    transport.follow(
      session,
      position ?? "",
      ({ id, data }) => {
        failures = 0;
        onConnection(true);
        if (data) {
          const event = JSON.parse(data) as VisitorEvent;
          if (event.kind === "resync") throw new Resync();
          following.onEvent(event);
          channel.send(event);
          if (event.kind === "conversation.deleted") throw new Gone();
        }
        if (id) position = id;
      },
      signal,
    );
  /** Repeats `work` until it is through. */
  const insist = async (work: () => Promise<void>, isEndless: boolean) => {
    while (!signal.aborted) {
      try {
        await work();
        if (!isEndless) return;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Gone || (error instanceof Refused && error.status === 404)) throw new Gone();
        // The position is of another feed, or streams are refused for now: what is new is read instead.
        if (error instanceof Resync || error instanceof Refused) position = null;
        if (error instanceof Resync) continue;
        onConnection(error instanceof Refused && error.status < 500);
        const wait = error instanceof Refused ? error.wait * 1000 : 0;
        await pause(Math.max(wait, backoff(failures++)), signal);
        continue;
      }
      await pause(backoff(failures), signal);
    }
  };

  try {
    await insist(load, false);
    await exclusively(name, signal, () =>
      insist(async () => {
        if (!position) await load();
        await stream();
      }, true),
    );
  } catch (error) {
    if (!(error instanceof Gone)) throw error;
    if (!signal.aborted) following.onGone();
  }
}
