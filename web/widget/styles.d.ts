/** A style sheet for the shadow root, as text, with the design tokens that it uses. */
declare module "*?shadow" {
  const css: string;
  export default css;
}
