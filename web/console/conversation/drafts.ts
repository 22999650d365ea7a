import { store, stored } from "../storage";

export interface Draft {
  text: string;
  note: boolean;
}

const key = (account: string, conversation: string) => `wicara-draft-${account}-${conversation}`;

export function draftRead(account: string, conversation: string): Draft {
  return stored<Draft>(key(account, conversation)) ?? { text: "", note: false };
}

/** An empty draft is forgotten. */
export function draftWrite(account: string, conversation: string, draft: Draft): void {
  store(key(account, conversation), draft.text.trim() ? draft : null);
}
