#!/usr/bin/env python3
"""Training images of the bases `photos-m` and `photos-s`, from clones of five repositories.

    pip install pillow
    git clone https://github.com/MachineLearning2020/Homework2-Caltech101 clones/caltech
    git clone https://github.com/alexeygrigorev/clothing-dataset-small clones/clothing
    git clone https://github.com/marcusklasson/GroceryStoreDataset clones/grocery
    git clone https://github.com/arjunk00/chs clones/trash
    git clone https://github.com/AuralinACC/Blood-Cell-Classification clones/blood
    photos.py --clones clones --out photos

Writes photos/train and photos/dev with a folder per class, and photos/unseen with whole classes that are
in neither. Images are 96 x 96 JPEG. Sources and licences: the model card in host/models/README.md.
"""
import argparse
import hashlib
import pathlib
import re

from PIL import Image

SIDE = 96
# A class of blood cells has up to 3,330 images; more than this many teach nothing new.
MOST_BLOOD = 500
# Every seventh class of these sets stays unseen.
WITH_UNSEEN, UNSEEN_EVERY, UNSEEN_FIRST = {"caltech", "grocery"}, 7, 3
# One image in seven is held out where a set has no test part of its own.
HELD_OUT_EVERY = 7
OWN_TEST = {"clothing", "grocery"}
# Faces are left out: nobody asked these people. The background class is no class.
LEFT_OUT = {"BACKGROUND_Google", "Faces", "Faces_easy"}


def place(name, path):
    """Returns the class and the file name of an image of a set, or None."""
    if name == "caltech":
        found = re.fullmatch(r"101_ObjectCategories/([^/]+)/(.+\.jpg)", path)
        return found and found[1] not in LEFT_OUT and (found[1], found[2])
    if name == "clothing":
        found = re.fullmatch(r"(train|validation|test)/([^/]+)/(.+\.jpg)", path)
        return found and (found[2], f"{found[1]}_{found[3]}")
    if name == "grocery":
        found = re.fullmatch(r"dataset/(train|val|test)/[^/]+/([^/]+)/(.+\.jpg)", path)
        return found and (
            found[2].replace("Brown-Cap-", ""),
            f"{found[1]}_{found[3].replace('/', '_')}",
        )
    if name == "trash":
        found = re.fullmatch(r"dataset-resized/([^/]+)/(.+\.jpg)", path)
    else:
        found = re.fullmatch(r"PBC_dataset_normal_DIB/([^/]+)/(.+\.jpg)", path)
    return found and (found[1], found[2])


def number(text):
    """Returns a number that depends on the text alone."""
    return int(hashlib.md5(text.encode()).hexdigest(), 16)


def images(name, clone):
    """Returns the paths by class and file name, each content once."""
    classes, seen = {}, set()
    for path in sorted(clone.rglob("*.jpg")):
        found = place(name, path.relative_to(clone).as_posix())
        if not found:
            continue
        content = hashlib.sha256(path.read_bytes()).digest()
        if content not in seen:
            seen.add(content)
            classes.setdefault(found[0], {})[found[1]] = path
    if name == "blood":
        for label, files in classes.items():
            kept = sorted(files, key=lambda file: hashlib.md5(file.encode()).hexdigest())
            classes[label] = {file: files[file] for file in kept[:MOST_BLOOD]}
    return classes


def main():
    """Writes the folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clones", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    for name in ["caltech", "clothing", "grocery", "trash", "blood"]:
        counts = {}
        for index, (label, files) in enumerate(sorted(images(name, args.clones / name).items())):
            unseen = name in WITH_UNSEEN and index % UNSEEN_EVERY == UNSEEN_FIRST
            for file, path in files.items():
                own = file.startswith("test_")
                held = own if name in OWN_TEST else number(name + label + file) % HELD_OUT_EVERY == 0
                part = ("unseen/" + name + "/" if unseen else "") + ("dev" if held else "train")
                folder = args.out / part / f"{name}-{label.replace('_', '-')}"
                try:
                    image = Image.open(path)
                    image.draft("RGB", (2 * SIDE, 2 * SIDE))
                    image = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
                except OSError as error:
                    print(f"{path}: {error}")
                    continue
                folder.mkdir(parents=True, exist_ok=True)
                image.save(folder / file, quality=93)
                counts[part] = counts.get(part, 0) + 1
        print(name, counts)


if __name__ == "__main__":
    main()
