"""whichland data review MANIFEST BUNDLE -o review.html, then --apply decisions.csv"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from whichland.cli.commands import require_extra
from whichland.cli.output import In, Json, finish, give, say
from whichland.errors import UserError
from whichland.manifest import read
from whichland.printed import counted

if TYPE_CHECKING:
    import polars as pl


def review(
    manifest: In,
    bundle: Annotated[
        str | None, Argument(help="A bundle, or a file of `whichland embed`: whose features the photos are judged by.")
    ] = None,
    out: Annotated[
        Path | None, Option("-o", "--out", dir_okay=False, help="The page; or with --apply the manifest.")
    ] = None,
    apply: Annotated[
        Path | None,
        Option("--apply", dir_okay=False, help="Write the decisions that the page saved into the manifest."),
    ] = None,
    each: Annotated[int, Option(min=1, help="Photos shown of each of the three lists.")] = 100,
    json: Json = False,
) -> None:
    """Make a page in which a person looks at doubtful photos and confirms, corrects or drops each.

    Shown are photos that are likely mislabelled (by confident learning on cross-validated answers of a linear probe),
    hardest to tell, and unlike all others. The page saves a file; given with --apply, its decisions become columns
    of the manifest, which later steps keep to. Nothing is deleted.
    """
    if (bundle is None) == (apply is None):
        raise UserError("name a bundle to make the page, or --apply a file of decisions")
    if out is None:
        raise UserError("-o is missing: " + ("the page, such as review.html" if bundle else "the manifest to write"))
    table = read(manifest)
    if apply:
        from whichland.curate.review import apply_decisions

        made = apply_decisions(table, apply)
        finish(made, out, json)
        return say("now `whichland data split` and `balance` again, or `prepare`: decisions stay")
    require_extra("train", "torch")
    from whichland.evaluation.review import review as judge
    from whichland.evaluation.review_page import write_page

    found = judge(table, _embeddings(str(bundle), manifest, out))
    count = write_page(found, out, each)
    if left := table.kept.height - found.judged:
        say(f"not judged: {counted(left, 'photo')}, without an embedding, a country, or another group of that country")
    numbers = {"judged": found.judged, "suspected": int(found.suspected.sum()), "agree": found.agree, "shown": count}
    said = f"{counted(found.judged, 'label')} judged, {numbers['suspected']:,} suspected"
    give(numbers | {"page": str(out)}, lambda: f"{said}; {counted(count, 'photo')} to look at: {out}", json=json)


def _embeddings(bundle: str, manifest: Path, out: Path) -> "pl.DataFrame":
    """The features of a manifest's photos: of a file of them, or by a bundle and kept beside the page."""
    import polars as pl

    from whichland.bulk.config import EmbedConfig
    from whichland.bulk.embeddings import embed_to, made_by

    file = Path(bundle)
    if not file.is_file():
        file, config = out.with_suffix(".embeddings.parquet"), EmbedConfig(bundle=bundle)
        if not file.exists():
            embed_to([str(manifest)], file, config)
        elif Path(made_by(file).bundle) != Path(bundle):
            raise UserError(f"{file} was made by another bundle: remove it, or write the page to another place")
    elif not {"path", "embedding"} <= set(pl.read_parquet_schema(file)):
        raise UserError(f"{file}: no embeddings; make them with `whichland embed {manifest} -o {file} --bundle …`")
    return pl.read_parquet(file, glob=False, columns=["path", "embedding"])
