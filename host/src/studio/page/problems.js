// Messages beside the control that they are about. A message stays until it is resolved: what failed
// succeeds, the input changes, or the state of the studio makes it untrue.

/** Message and test by the identifier of its control. */
const shown = new Map();

/** Where a message goes: behind the row of the control. */
const placeOf = (control) => control.closest("[data-row]") ?? control;

/**
 * Shows a message beside a control, and moves the focus to the control if `takesFocus`.
 * `isResolved` is asked at each new state of the studio.
 */
export function showProblem(control, message, { isResolved, takesFocus = true } = {}) {
  const [problem, remedy] = message.split(/\n\s*remedy:\s*/);
  let { element } = shown.get(control.id) ?? {};
  const isNew = !element;
  if (isNew) {
    element = document.createElement("p");
    element.id = `problem-${control.id}`;
    element.className = "problem";
    element.tabIndex = -1;
    element.setAttribute("role", "alert");
    placeOf(control).after(element);
    describe(control, (ids) => [...ids, element.id]);
    if (control.matches("input, select")) control.setAttribute("aria-invalid", "true");
  }
  shown.set(control.id, { control, element, isResolved });
  const lines = [problem, remedy].filter(Boolean).map((line) => line[0].toUpperCase() + line.slice(1));
  const text = lines.map((line) => (/[.!?:]$/.test(line) ? line : `${line}.`)).join("\n");
  if (element.textContent !== text) element.textContent = text;
  if (takesFocus) {
    control.focus({ preventScroll: true });
    // A control that cannot take the focus leaves it to the message.
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

/** Removes the messages that a new state makes untrue. */
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
