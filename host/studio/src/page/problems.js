// Messages beside the control that they belong to. A message stays until it is resolved: the action
// succeeds, the input changes, or the state of the studio makes the message obsolete.

/** Message and its test, by the identifier of the control. */
const shown = new Map();

/** Returns a message of the program as sentences: the problem, and the remedy. A path keeps its first letter. */
export function sentences(message) {
  const lines = message
    .split(/\n\s*remedy:\s*/)
    .map((line) => line.replace(/^\p{Ll}+(?=[\s,;:'’])/u, (word) => word[0].toUpperCase() + word.slice(1)));
  return lines.map((line) => (/[.!?:]$/.test(line) ? line : `${line}.`));
}

/** Returns the element after which a message is inserted: the row of the control. */
const placeOf = (control) => control.closest("[data-row]") ?? control;

/**
 * Shows a message beside a control, and moves the focus to the control if `takesFocus`.
 * `isResolved` is called at each new state of the studio.
 */
export function showProblem(control, message, { isResolved, takesFocus = true } = {}) {
  let { element } = shown.get(control.id) ?? {};
  const isNew = !element;
  if (isNew) {
    element = document.createElement("p");
    element.id = `problem-${control.id}`;
    element.className = "problem";
    element.tabIndex = -1;
    element.setAttribute("role", "alert");
    const place = placeOf(control);
    // A list holds items alone.
    if (place.matches("li")) place.append(element);
    else place.after(element);
    describe(control, (ids) => [...ids, element.id]);
    if (control.matches("input, select")) control.setAttribute("aria-invalid", "true");
  }
  shown.set(control.id, { control, element, isResolved });
  const text = sentences(message).join("\n");
  if (element.textContent !== text) element.textContent = text;
  if (takesFocus) {
    control.focus({ preventScroll: true });
    // If the control cannot take the focus, the message does.
    if (document.activeElement !== control) element.focus({ preventScroll: true });
  }
  if (takesFocus || isNew) {
    control.scrollIntoView({ block: "nearest" });
    element.scrollIntoView({ block: "nearest" });
  }
}

/** Removes the message of a control. */
export function clearProblem(control) {
  const { element } = shown.get(control.id) ?? {};
  if (!element) return;
  shown.delete(control.id);
  const hadFocus = document.activeElement === element;
  element.remove();
  describe(control, (ids) => ids.filter((id) => id !== element.id));
  control.removeAttribute("aria-invalid");
  if (hadFocus) control.focus();
}

/** Removes the messages that a new state makes obsolete. */
export function resolveProblems(state) {
  for (const { control, isResolved } of [...shown.values()]) {
    if (isResolved?.(state)) clearProblem(control);
  }
}

function describe(control, change) {
  const ids = change((control.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean));
  if (ids.length) control.setAttribute("aria-describedby", ids.join(" "));
  else control.removeAttribute("aria-describedby");
}
