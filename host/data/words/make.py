#!/usr/bin/env python3
"""Makes en.tsv and zh.tsv: everyday words, how often each is said, and how.

    python3 -m venv v && v/bin/pip install wordfreq[cjk]==3.1.1 && v/bin/python make.py

Needs espeak-ng for the English phones (made with 1.51). Not needed to build or run Wakeling.
"""

import pathlib
import re
import subprocess

from wordfreq import iter_wordlist, zipf_frequency

COUNTS = {"en": 6000, "zh": 4000}
SHAPES = {"en": r"[a-z][a-z']+|a|i|o", "zh": r"[\u4e00-\u9fff]{1,4}"}
# Slurs: nobody's wake word needs to be compared with them.
LEFT_OUT = re.compile(r"nigg|fagg|retard|cunt|whore|slut|bitch|porn|rape")
HEAD = """\
# {n} everyday words: word, Zipf frequency times 100 (log10 of occurrences in a thousand million words){phones}
# From wordfreq 3.1.1 (Robyn Speer, doi.org/10.5281/zenodo.7199437), whose data are CC BY-SA 4.0 and
# rest on OpenSubtitles, SUBTLEX (Brysbaert et al.), Wikipedia, Google Books Ngrams and others; so is this.
"""


def words(language):
    shape = re.compile(SHAPES[language])
    kept = []
    for word in iter_wordlist(language, "best"):
        if shape.fullmatch(word) and not LEFT_OUT.search(word):
            kept.append(word)
        if len(kept) == COUNTS[language]:
            return kept
    return kept


def phones(lines):
    text = "\n".join(lines) + "\n"
    command = ["espeak-ng", "-q", "--ipa", "--sep=_", "-v", "en-us"]
    spoken = subprocess.run(command, input=text, text=True, capture_output=True, check=True)
    spoken = spoken.stdout.splitlines()
    assert len(spoken) == len(lines)
    bare = lambda phone: re.sub("[ˈˌː\u0329-]", "", phone)
    split = lambda line: [bare(p) for p in re.split("[ _]", line)]
    return [" ".join(p for p in split(line) if p and not p.startswith("(")) for line in spoken]


def main():
    for language in COUNTS:
        kept = words(language)
        rows = [[word, str(round(100 * zipf_frequency(word, language)))] for word in kept]
        note = ""
        if language == "en":
            rows = [row + [spoken] for row, spoken in zip(rows, phones(kept))]
            note = ", phones of American English by espeak-ng 1.51"
        text = HEAD.format(n=len(rows), phones=note) + "".join("\t".join(row) + "\n" for row in rows)
        pathlib.Path(__file__).with_name(f"{language}.tsv").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
