import assert from "node:assert/strict";
import test from "node:test";

import { History } from "../../../web/js/history.js";

test("undo and redo walk the values", () => {
  const history = new History("a");
  history.push("b");
  history.push("c");
  assert.ok(history.undo() && history.value === "b");
  assert.ok(history.undo() && history.value === "a");
  assert.ok(!history.undo());
  assert.ok(history.redo() && history.value === "b");
  history.push("d");
  assert.ok(!history.canRedo && !history.redo());
  assert.deepEqual([history.value, history.past], ["d", ["a", "b"]]);
});

test("keystrokes in one field are one step, until a rest", () => {
  const history = new History("");
  for (const text of ["c", "ca", "cat"]) history.push(text, "prompt");
  history.rest();
  history.push("cats", "prompt");
  history.push("other", "name");
  history.undo();
  assert.equal(history.value, "cats");
  history.undo();
  assert.equal(history.value, "cat");
  history.undo();
  assert.equal(history.value, "");
});

test("the same value is no step, and old steps are forgotten", () => {
  const history = new History(0, 3);
  history.push(0);
  assert.ok(!history.canUndo);
  for (let i = 1; i < 9; i++) history.push(i);
  assert.deepEqual(history.past, [5, 6, 7]);
});
