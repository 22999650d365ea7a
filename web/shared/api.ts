/*
 * What the API puts on the wire, as far as the console reads it: names for the types that are made from the server's
 * OpenAPI document (`npm run api`). Ids are strings of up to 19 digits: too long for numbers.
 */

import type { components } from "./api-types";

type Schemas = components["schemas"];

export type Account = Schemas["Account"];
export type Author = Schemas["Author"];
/** What the console shows of a bot. */
export type Bot = Pick<Schemas["Bot"], "id" | "breaker">;
export type BrokenRule = Schemas["BrokenRule"];
export type Conversation = Schemas["Conversation"];
export type Counts = Schemas["Counts"];
export type LastMessage = Schemas["LastMessage"];
export type Pagination = Schemas["Pagination"];
export type StoredEvent = Schemas["StoredEvent"];
export type SuggestLink = Schemas["SuggestLink"];
export type LiveEvent = Schemas["AnswerProgressEvent"] | Schemas["AnswerDeltaEvent"] | Schemas["TypingEvent"];

/** What the console reads of a bot's answer object. Bots send what they like: any of it may be missing or of another type. */
export interface AnswerPayload {
  properties?: { state?: unknown };
  suggest_links?: unknown;
}

export type Message = Omit<Schemas["Message"], "payload"> & { payload: AnswerPayload | null };
