// The sound of the room, for training and for the report.
import { guarded } from "./actions.js";
import { byId } from "./dom.js";
import { addPurpose, begin, finish, purposeNow, useMicrophone } from "./sound.js";
import { change, onState, state } from "./state.js";
import { duration, text } from "./strings.js";

/** Blocks of sound in a second. */
const BLOCKS_PER_S = 10;
let seconds = 0;

function showSeconds(now) {
  seconds = now;
  byId("room-seconds").textContent = text("roomSeconds", { time: duration(Math.floor(now)) });
}

/** Connects the control of the room sound. */
export function startRoom() {
  const button = byId("room");
  const showPressed = (isOn) => {
    button.setAttribute("aria-pressed", isOn);
    button.textContent = text(isOn ? "roomStop" : "roomStart");
  };
  addPurpose("room", {
    button,
    onAnswer: ({ seconds: now }) => showSeconds(now),
    onFinish: () => showPressed(false),
    // The program has written the rest; what it had not is sent again.
    resume: async () => Math.max(0, Math.round((seconds - state.room_seconds) * BLOCKS_PER_S)),
  });
  button.onclick = guarded(button, async () => {
    if (purposeNow() === "room") {
      finish();
      await change("/api/room");
      return;
    }
    await useMicrophone();
    begin("room");
    showPressed(true);
  });
  onState(({ room_seconds }) => {
    if (purposeNow() !== "room") showSeconds(room_seconds ?? 0);
  });
}
