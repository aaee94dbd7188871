/** The reader of standard output has gone away (EPIPE), as in `salvage … | head`: not an error worth a word. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed';
}
