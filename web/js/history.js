// Undo and redo over immutable values. Pure: no page, no app.

export class History {
  /** @param {unknown} value the first value  @param {number} limit how many steps back are kept */
  constructor(value, limit = 200) {
    this.past = [];
    this.value = value;
    this.future = [];
    this.limit = limit;
    this.mark = null;
  }

  /**
   * Go on to a new value. Steps in a row with the same mark, such as the keystrokes in one field, are one step back.
   * @param {unknown} value @param {string | null} mark
   */
  push(value, mark = null) {
    if (value === this.value) return;
    if (mark === null || mark !== this.mark) {
      this.past.push(this.value);
      if (this.past.length > this.limit) this.past.shift();
    }
    this.mark = mark;
    this.value = value;
    this.future = [];
  }

  /** What comes next is a step of its own, whatever its mark. */
  rest() {
    this.mark = null;
  }

  get canUndo() {
    return this.past.length > 0;
  }

  get canRedo() {
    return this.future.length > 0;
  }

  undo() {
    if (!this.canUndo) return false;
    this.future.push(this.value);
    this.value = this.past.pop();
    this.mark = null;
    return true;
  }

  redo() {
    if (!this.canRedo) return false;
    this.past.push(this.value);
    this.value = this.future.pop();
    this.mark = null;
    return true;
  }
}
