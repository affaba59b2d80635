"""A folder that is the page without a server: the model runs in the visitor's browser.

    write_site("runs/mine/bundle", "site")       python -m http.server -d site

It holds the page's own files, the network packed by gzip beside ONNX Runtime for browsers, and site.json: what the
bundle says, for the code in static/site, which answers as `Model.predict` does. sw.js keeps all of it for visits
without a network. Every address is relative, so any static host shows the folder under any path.
"""

import gzip
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

from whichland.errors import UserError
from whichland.geo.distance import WORLD_KM
from whichland.model.answer import CERTAINTY
from whichland.model.calibration import Calibration
from whichland.model.engines import file_of
from whichland.model.labels import COUNTRY, LabelSpace
from whichland.serving.answers import WORDS
from whichland.serving.api import TOP
from whichland.serving.facts import service_info
from whichland.serving.pages import STATIC, files_digest, render
from whichland.serving.service import Service, open_service
from whichland.serving.settings import ServeConfig
from whichland.templates import templates_beside
from whichland.whole_file import cannot_write, check_writable

FACTS, PAGE, KEEPER = "site.json", "index.html", "sw.js"
RUNTIME = "static/vendor/onnxruntime/ort-wasm-simd-threaded.wasm.gz"
# of the static files: no page of the folder asks for them
OF_SERVERS = {"answers_http.js", "shrink.js", "plain.js", "manifest.webmanifest"}
WAITING = ["site/answers.js", "site/fetching.js"]  # modules of the page that it only comes to after others
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; script-src 'self' 'wasm-unsafe-eval'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'"
)
Network = Literal["onnx", "int8"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A folder that was written."""

    folder: Path
    files: int
    bytes: int


def write_site(bundle: str | Path, folder: str | Path, *, network: Network = "onnx") -> Site:
    """Write the folder; one that this function wrote before is replaced.

    Raises UserError when the folder holds anything else or cannot be written, when the bundle was not exported, or
    when its network for that engine is missing or damaged.
    """
    folder = Path(folder)
    check_writable(folder)
    if folder.exists() and not (folder.is_dir() and ((folder / FACTS).is_file() or not any(folder.iterdir()))):
        raise UserError(f"{folder}: holds something else than a site; give a new folder")
    service = open_service(bundle, ServeConfig(engine=network, explain="occlusion"))
    try:
        with _whole_folder(folder) as partial:
            return _fill(partial, service, folder)
    finally:
        service.close()


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder` that takes its place if nothing fails."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        made = work / "new"
        made.mkdir()  # with the permissions of a usual folder, which a temporary one has not
        yield made
        if folder.exists():
            folder.rename(work / "old")
        made.rename(folder)
    except OSError as error:
        with suppress(OSError):
            (work / "old").rename(folder)
        raise cannot_write(folder, error) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fill(partial: Path, service: Service, folder: Path) -> Site:
    space = service.model.space
    flags = {f"{code}.svg" for code in space.codes} if space.kind == COUNTRY else set()
    shutil.copytree(
        STATIC,
        partial / "static",
        ignore=lambda at, names: [
            name
            for name in names
            if name in OF_SERVERS or name.startswith("play") or (Path(at).name == "flags" and name not in flags)
        ],
    )
    model = service.model.folder / file_of(service.model.engine)
    packed = gzip.compress(model.read_bytes(), 9, mtime=0)
    (partial / f"{model.name}.gz").write_bytes(packed)
    names = {"runtime": RUNTIME, "network": f"{model.name}.gz"}
    if first := beginning(model):
        names["beginning"] = "beginning.onnx.gz"
        (partial / names["beginning"]).write_bytes(gzip.compress(first, 9, mtime=0))
    modules = [*sorted(path.name for path in (partial / "static").glob("*.js") if path.name != "theme.js"), *WAITING]
    at_once = [FACTS, *(names[part] for part in ("beginning", "runtime") if part in names)]
    early: dict[str, Any] = {"modules": modules, "preloads": at_once}
    html = render(service, "photos", site=True, policy=POLICY, static="static", **early)
    (partial / PAGE).write_text(html, encoding="utf-8")
    facts = facts_of(service) | {"files": names}
    facts["bytes"] = sum((partial / name).stat().st_size for name in facts["files"].values())
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    written = [path.relative_to(partial).as_posix() for path in files]
    of_facts = json.dumps(facts, sort_keys=True).encode()
    facts["version"] = files_digest(partial, files, of_facts)[:16]
    (partial / FACTS).write_text(json.dumps(facts, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    kept = ["./", FACTS, *(name for name in written if name != PAGE and "/LICENSES/" not in name)]
    keeper = templates_beside(__file__).get_template("sw.js.j2").render(version=facts["version"], files=kept)
    (partial / KEEPER).write_text(keeper, encoding="utf-8")
    sizes = [path.stat().st_size for path in partial.rglob("*") if path.is_file()]
    return Site(folder=folder, files=len(sizes), bytes=sum(sizes))


def beginning(model: Path) -> bytes:
    """The network's first layers, up to a hundredth of its weights; empty where these are none, or onnx is missing.

    Browsers compile WebAssembly as it is first run. They run this while the network is on its way.
    """
    if find_spec("onnx") is None:
        return b""
    from onnx import helper, load

    whole = load(str(model))
    graph, weights = whole.graph, {one.name: one.ByteSize() for one in whole.graph.initializer}
    behind: dict[str, frozenset[int]] = {}  # of each tensor, the numbers of the nodes that make it
    following, chosen, last = {one.name for one in graph.input}, frozenset[int](), ""
    for number, node in enumerate(graph.node):
        needed = frozenset({number}).union(*(behind.get(name, ()) for name in node.input))
        behind |= dict.fromkeys(node.output, needed)
        if following.isdisjoint(node.input):
            continue
        following.update(node.output)
        read = {name for at in needed for name in graph.node[at].input}
        if 100 * sum(weights.get(name, 0) for name in read) <= sum(weights.values()):
            chosen, last = needed, node.output[0]
    if not chosen:
        return b""
    nodes = [graph.node[at] for at in sorted(chosen)]
    kept = [one for one in graph.initializer if any(one.name in node.input for node in nodes)]
    first = helper.make_graph(nodes, graph.name, graph.input, [helper.make_empty_tensor_value_info(last)], kept)
    made = helper.make_model(first, opset_imports=whole.opset_import, ir_version=whole.ir_version)
    return bytes(made.SerializeToString())


def facts_of(service: Service) -> dict[str, Any]:
    """What the code in the browser must know to answer as the service does."""
    model, settings = service.model, service.settings
    absent = dict.fromkeys(("report", "atlas", "play", "neighbours", "collect"), False)
    info = service_info(service) | absent
    points = model.space.points
    return {
        "info": info,
        "preprocess": asdict(model.preprocess),
        "temperature": model.temperature,
        "top": TOP,
        "certainty": CERTAINTY / 100,
        "set": _set_rule(model.info.calibration, settings),
        "abstain": _abstention_rule(model.info.calibration, settings),
        "words": WORDS,
        "levels": _levels(model.space),
        "points": points and [of.tolist() for of in points],
        "scale_km": WORLD_KM,
    }


def _set_rule(calibration: Calibration | None, settings: ServeConfig) -> dict[str, float] | None:
    """From which probability on a label is in the set that is shown; None where the bundle keeps no such set."""
    if calibration is None or settings.set_level not in calibration.sets:
        return None
    return {"percent": settings.set_percent, "threshold": calibration.sets[settings.set_level]}


def _abstention_rule(calibration: Calibration | None, settings: ServeConfig) -> dict[str, float | None] | None:
    """From which probability on to answer, None where none keeps the promise; no rule where nothing is promised."""
    if calibration is None or settings.least_accuracy not in calibration.abstain:
        return None
    return {"threshold": calibration.abstain[settings.least_accuracy].threshold}


def _levels(space: LabelSpace) -> list[dict[str, Any]]:
    """Of each level, the labels' own first: what is in it, and the number of the one that each label lies in."""
    return [
        {
            "level": level,
            "codes": list(upper.codes),
            "names": [upper.name(code) for code in upper.codes],
            "numbers": space.numbers_at(level).tolist(),
        }
        for level, upper in ((level, space.at(level)) for level in space.levels)
    ]
