"""A bundle that has seen smooth pictures, one more of them, and a chessboard: what tests of novelty share."""

from pathlib import Path

import numpy as np
from PIL import Image

from serving import calibrated_bundle
from tiny_bundle import LABELS, make_photos
from whichland.training.data import Photos
from whichland.training.validation import learn_novelty

HELD = 120  # validation photos: fewer than 99 can show nothing as unlike at 0.99


def bundle_with_novelty(folder: Path) -> Path:
    bundle = calibrated_bundle(folder / "bundle")
    paths = [str(path) for path in make_photos(folder / "seen", 160 + HELD)]
    seen, held = (
        Photos(uris, np.arange(len(uris)) % len(LABELS), np.ones(len(uris))) for uris in (paths[HELD:], paths[:HELD])
    )
    learn_novelty(bundle, seen, held, [None] * HELD, most=1000)
    return bundle


def usual_and_unlike(folder: Path) -> list[Path]:
    (usual,) = make_photos(folder, 1, first=5000)
    board = np.kron(np.indices((12, 16)).sum(axis=0) % 2, np.ones((6, 6), int)).astype(np.uint8) * 255
    Image.fromarray(np.repeat(board[..., None], 3, axis=2)).save(folder / "z_board.png")
    return [usual, folder / "z_board.png"]
