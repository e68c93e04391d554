// The first bytes of a stream.

const STREAM_BYTES = 1024 * 1024;
const TRUNCATED = "\n[output truncated]\n";

export class Output {
  private chunks: Buffer[] = [];
  bytes = 0;
  private dropped = false;

  add(data: Buffer): void {
    const kept = data.subarray(0, STREAM_BYTES - this.bytes);
    this.dropped ||= kept.length < data.length;
    if (kept.length > 0) {
      // A copy: the slice would hold on to the whole of a larger buffer.
      this.chunks.push(Buffer.from(kept));
      this.bytes += kept.length;
    }
  }

  /** Valid text of at most so many bytes, and a note where that is not all. */
  text(limit = STREAM_BYTES): string {
    this.chunks = [Buffer.concat(this.chunks)];
    // What is no UTF-8 becomes U+FFFD, of three bytes.
    const text = Buffer.from(this.chunks[0]!.toString("utf8"));
    if (text.length <= limit && !this.dropped) return text.toString();
    let end = Math.min(limit, text.length);
    while (end > 0 && (text[end] ?? 0) >> 6 === 2) end -= 1;
    return text.subarray(0, end).toString() + TRUNCATED;
  }
}
