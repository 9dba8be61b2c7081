// Sounds of the page: the signal that the phrase is due, and the one of a detection.
let context = null;

/** Makes sounds possible. Browsers allow it only within an action of the user. */
export function allowSounds() {
  context ??= new AudioContext();
  return context.resume();
}

function play(hz, seconds, delay = 0) {
  if (context?.state !== "running") return;
  const [start, edge] = [context.currentTime + delay, seconds / 8];
  const gain = new GainNode(context, { gain: 0 });
  gain.gain.setValueAtTime(0, start);
  gain.gain.linearRampToValueAtTime(0.25, start + edge);
  gain.gain.setValueAtTime(0.25, start + seconds - edge);
  gain.gain.linearRampToValueAtTime(0, start + seconds);
  const oscillator = new OscillatorNode(context, { frequency: hz });
  oscillator.connect(gain).connect(context.destination);
  oscillator.start(start);
  oscillator.stop(start + seconds);
}

/** Plays the tone that the program recognizes and drops from a take: 1760 Hz for 0.12 s. */
export const beep = () => play(1760, 0.12);

/** Plays two notes for a detection. */
export function chime() {
  play(660, 0.1);
  play(880, 0.16, 0.1);
}

let player = null;

/** Plays a recording; a second call with the same address stops it. `onChange` is called with whether it plays. */
export function playRecording(address, onChange) {
  const isSame = player?.address === address;
  player?.stop();
  if (isSame) return;
  const audio = new Audio(address);
  const stop = () => {
    audio.pause();
    player = null;
    onChange(false);
  };
  audio.onended = stop;
  audio.onerror = stop;
  player = { address, stop };
  onChange(true);
  audio.play().catch(stop);
}
