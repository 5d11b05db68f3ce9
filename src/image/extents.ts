/** Where data lies in an image: pieces that may be out of order, and be there twice. What goes on where the last piece ends takes no memory. */
export class Extents {
  /** Start and end of each piece. */
  private bounds = new Float64Array(1024);
  private used = 0;

  /** REQUIRES: start < end. */
  add(start: number, end: number): void {
    const last = this.used - 1;
    const isNext = last > 0 && start >= this.bounds[last - 1]! && start <= this.bounds[last]!;
    if (isNext) {
      this.bounds[last] = Math.max(end, this.bounds[last]!);
      return;
    }
    if (this.used === this.bounds.length) {
      const larger = new Float64Array(2 * this.used);
      larger.set(this.bounds);
      this.bounds = larger;
    }
    this.bounds[this.used++] = start;
    this.bounds[this.used++] = end;
  }

  /** Bytes that some piece covers. */
  length(): number {
    const { bounds } = this;
    const order = Uint32Array.from({ length: this.used / 2 }, (_, i) => 2 * i);
    order.sort((a, b) => bounds[a]! - bounds[b]!);
    let [covered, reached] = [0, 0];
    for (const at of order) {
      const [start, end] = [bounds[at]!, bounds[at + 1]!];
      covered += Math.max(0, end - Math.max(start, reached));
      reached = Math.max(reached, end);
    }
    return covered;
  }
}
