"""Weights, exported networks and requests: five further inputs of each kind that was taken for another before."""

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save_file

from serving import bundle, connect, create, photos, running
from tiny_bundle import make_bundle, pixels
from whichland.errors import UserError
from whichland.model import backbone
from whichland.model.export import ExportConfig, export
from whichland.model.model import load
from whichland.model.weights import load_weights

__all__ = ["bundle", "photos"]


# -- weights ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return backbone.create("test_resnet", 5, weights="none").model.state_dict()


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"module._orig_mod.{name}",  # DDP around torch.compile
        lambda name: f"model.backbone.net.{name}",  # attributes of attributes
        lambda name: f"_forward_module.model.{name}",  # Lightning Fabric
        lambda name: f"teacher.{name}",  # beside a student of another shape
        lambda name: name,
    ],
    ids=["DDP and compile", "attributes", "Fabric", "one of two models", "with an optimiser's state"],
)
def test_weights_under_the_names_of_what_they_were_wrapped_in(
    tmp_path: Path, tensors: dict[str, torch.Tensor], rename: Callable[[str], str]
) -> None:
    given = {rename(name): tensor.clone() for name, tensor in tensors.items()}
    if "teacher.fc.bias" in given:
        given |= {"projector.weight": torch.zeros(4, 4), "projector.bias": torch.zeros(4)}
    if "fc.bias" in given:
        given |= {f"optimizer.state.{at}.exp_avg": torch.zeros(2) for at in range(5)}
    save_file(given, tmp_path / "w.safetensors")
    torch.manual_seed(2)
    model = backbone.create("test_resnet", 5, weights="none").model
    load_weights(model, tmp_path / "w.safetensors")
    found = model.state_dict()
    assert [name for name, tensor in tensors.items() if not torch.equal(found[name], tensor)] == []


# -- exported networks --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_bundle(tmp_path_factory.mktemp("exported") / "bundle")
    export(folder, ExportConfig())
    return folder


def of_other_weights(folder: Path) -> None:
    """As large as before: only the last layer's bias differs."""
    weights = load_file(folder / "model.safetensors")
    weights["fc.bias"] = weights["fc.bias"] + 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def one_bit_away(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)


def cut_short(folder: Path) -> None:
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[: len(data) // 2])


def that_nobody_recorded(folder: Path) -> None:
    info = json.loads((folder / "whichland.json").read_text())
    text = json.dumps({name: value for name, value in info.items() if name not in ("export", "exported")})
    (folder / "whichland.json").write_text(text)


def for_other_labels(folder: Path) -> None:
    space = json.loads((folder / "config.json").read_text())
    space["label_names"] = space["label_names"][::-1]
    (folder / "config.json").write_text(json.dumps(space))


@pytest.mark.parametrize(
    "change",
    [of_other_weights, one_bit_away, cut_short, that_nobody_recorded, for_other_labels],
    ids=lambda f: f.__name__,
)
def test_a_network_that_is_not_its_bundles_gives_no_answer(
    exported: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(exported, folder)
    assert load(folder, engine="onnx").predict(pixels(0)).probabilities is not None
    change(folder)
    with pytest.raises(UserError) as told:
        load(folder, engine="onnx").predict(pixels(0))
    assert "\n" not in str(told.value)
    assert str(folder) in str(told.value)


def test_a_service_under_another_user_can_read_a_bundle(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = make_bundle(tmp_path / "bundle")
        export(folder, ExportConfig())
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o644} == {}


# -- requests -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(bundle: Path) -> Iterator[tuple[TestClient, tuple[str, int]]]:
    app = create(bundle)
    with TestClient(app) as client, running(app) as address:
        yield client, address


def form(parts: list[tuple[str, bytes]], end: bytes = b"--b--\r\n") -> bytes:
    body = b"".join(b"--b\r\n%s\r\n\r\n%s\r\n" % (head.encode(), data) for head, data in parts)
    return body + end


@pytest.mark.parametrize(
    ("head", "end"),
    [
        ('Content-Disposition: form-data; name="files"', b"--b--\r\n"),  # without a file's name
        ('Content-Disposition: form-data; name="files"; filename="a.jpg"', b""),  # cut before its last boundary
    ],
    ids=["no file name", "cut"],
)
def test_forms_that_are_not_whole(
    served: tuple[TestClient, tuple[str, int]], photos: list[Path], head: str, end: bytes
) -> None:
    client, _ = served
    body = form([(head, photos[0].read_bytes())], end)
    answer = client.post("/api/predict", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code in (200, 400, 422) if end else answer.status_code in (400, 422)
    assert len(answer.json()["results"]) == 1 if answer.status_code == 200 else list(answer.json()) == ["error"]


LENGTHS = "content-length: 3\r\ncontent-length: 5\r\n\r\nabcde"  # RFC 9112, section 6.3: not to be guessed at
NO_SIZE = "transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"  # section 7.1: the size is in hexadecimal digits
NO_HOST = "content-length: 0\r\n\r\n"  # section 3.2: without the field, an answer of 400


@pytest.mark.parametrize("rest", [LENGTHS, NO_SIZE, NO_HOST], ids=["two lengths", "no size", "no host"])
def test_what_no_server_should_guess_at_is_refused(served: tuple[TestClient, tuple[str, int]], rest: str) -> None:
    _, address = served
    host = "" if rest is NO_HOST else "host: x\r\n"
    with connect(address) as connection:
        connection.sendall(f"POST /api/predict HTTP/1.1\r\n{host}{rest}".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
