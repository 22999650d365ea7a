/** What the server takes of one message, in UTF-8. */
const MESSAGE_BYTES = 65_536;

/** How many bytes a message is too long; none or fewer where the server takes it. */
export function bytesOver(text: string): number {
  return new TextEncoder().encode(text).length - MESSAGE_BYTES;
}
