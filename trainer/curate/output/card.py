"""The data card: README.md beside the data, with the YAML head that the hub reads.

It says what is in the data set, how each row came about, which filters dropped how much, whose rights were
looked at, and what nobody has checked. Names out of files are strangers' text: they are put in without anything
that Markdown or YAML could take for its own.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from trainer.curate.opinions import Step
from trainer.curate.output.summary import Summary, sentence
from trainer.curate.output.write import Written
from worker.place.gazetteer import Gazetteer

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_MOST_ROWS = 25
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~])")
STEP_WORDS = {
    Step.LOCATABLE: "verdicts: can the photograph be located?",
    Step.PLACE: "the known place",
    Step.AGREEMENT: "agreement of the teachers with each other",
    Step.VISIBLE: "things named in the reasoning must be visible",
}


def write_card(folder: Path, summary: Summary, written: Written, *, every: bool, pictures: bool) -> None:
    """Writes README.md. `every`: each kept sample of a photograph, not the chosen one alone."""
    (folder / "README.md").write_text(card(summary, written, every=every, pictures=pictures), encoding="utf-8")


def card(summary: Summary, written: Written, *, every: bool, pictures: bool) -> str:
    """The text of the card."""
    parts = [
        f"---\n{_head(summary, written)}---\n",
        f"# {_plain(summary.name)}\n",
        _opening(summary, written, every=every),
        _columns(pictures=pictures),
        "## How a row came about\n",
        _teachers(summary),
        _filters(summary),
        _table("Thresholds of the filters", ("threshold", "value"), _thresholds(summary)),
        "## What is in it\n",
        _counts("country", written.by_country),
        _counts("teacher", written.by_teacher),
        _counts("licence", written.by_licence),
        _left_out(summary, written),
        _rights(summary),
        _limits(written, pictures=pictures),
    ]
    return "\n".join(part for part in parts if part)


def _head(summary: Summary, written: Written) -> str:
    licences = sorted(set(written.by_licence) - {"not stated"})
    said: dict[str, Any] = {
        "pretty_name": _one_line(summary.name),
        "license": "other",
        "license_name": "mixed" if len(licences) > 1 else _slug(licences[0]) if licences else "not-stated",
        "task_categories": ["image-text-to-text"],
        "tags": ["geolocation", "reasoning", "globetag"],
        "size_categories": [next((word for limit, word in _SIZES if written.rows < limit), "n>1M")],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}
        ],
    }
    text: str = yaml.safe_dump(said, sort_keys=False, allow_unicode=True)
    return text


def _opening(summary: Summary, written: Written, *, every: bool) -> str:
    what = "every sample that was kept" if every else "the best kept sample of each photograph"
    return (
        f"{written.rows:,} reasoned answers to where {written.photographs:,} photographs were taken,"
        f" in {len(written.by_country):,} countries: {what}. Made by Globetag from {_plain(summary.source)} by"
        " the recipe of MP16-Reason (arXiv 2506.14674): several teachers are asked, and four filters sift what"
        " they say. The reasoning is a model's text; having passed the filters it is likelier to be right, not"
        " true.\n\n"
        "```python\n"
        "from datasets import load_dataset\n"
        'rows = load_dataset("parquet", data_files="data/train-*.parquet", split="train")\n'
        'rows[0]["images"][0]["bytes"], rows[0]["response"], rows[0]["solution"], rows[0]["entities"]\n'
        "```\n"
    )


def _columns(*, pictures: bool) -> str:
    image = (
        "list of one `{bytes, path}`: the file as it is (`picture` = original) or, where that is large, a JPEG of"
        " it at the size that models look at (reduced)"
        if pictures
        else "list of one `{bytes, path}`: `bytes` is empty, `path` says where the picture is"
    )
    rows = [
        ("`images`", image),
        ("`response`", "the teacher's reasoning"),
        ("`solution`", "the known place, `<country>…</country><city>…</city>`; an empty tag is not known"),
        ("`entities`", "list of `{text}`: things named by any teacher that the photograph was found to show"),
        ("`answer`", "the teacher's own place, as Globetag's answer grammar has it"),
        ("`sha256`", "of the original file: what identifies a photograph"),
        (
            "`lat`, `lon`, `country_code`, `country`, `region`, `city`, `geoname_id`",
            "the known place: degrees (WGS 84), ISO 3166-1 alpha-2, GeoNames",
        ),
        ("`teacher`, `model`, `prompt_hash`", "who gave the reasoning, and what it was asked"),
        ("`teachers_agreeing`", "the other teachers that named the known place too"),
        ("`verdicts`", "what came of every teacher's word on this photograph: outcome, filter, reason"),
        ("`cues`", "what the reasoning names: `visible` true, false, or null where nothing could tell; by what"),
        ("`measures`", "the figures that the filters went by"),
        ("`photographer`, `licence`, `label_id`, `source`", "as the source states them"),
    ]
    return _table("Columns", ("column", "what it holds"), rows)


def _teachers(summary: Summary) -> str:
    rows = [
        (
            _plain(each.name),
            _plain(each.model or each.kind),
            f"{each.asked:,}",
            f"{sum(each.troubled.values()):,}",
            f"{each.samples:,}",
            f"{each.kept:,}",
            _plain(each.quarantined or ""),
        )
        for each in summary.teachers
    ]
    header = ("teacher", "model", "asked", "no usable answer", "samples", "kept", "quarantined")
    return _table("Teachers", header, rows)


def _filters(summary: Summary) -> str:
    rows = [("", "samples of all language teachers", f"{summary.samples:,}", "", "")]
    for number, each in enumerate(summary.filters, start=1):
        reasons = "; ".join(f"{count:,} {sentence(why)}" for why, count in each.why.items())
        unjudged = f"{each.unjudged:,}" if each.unjudged else ""
        rows.append((str(number), STEP_WORDS[each.step], f"{each.after:,}", unjudged, _plain(reasons)))
    return _table(
        "Filters", ("", "filter", "left after it", "could not be judged", "why samples were dropped"), rows
    )


def _thresholds(summary: Summary) -> list[tuple[str, str]]:
    return [(f"`{_one_line(name)}`", _plain(str(value))) for name, value in sorted(summary.parameters.items())]


def _counts(what: str, counts: Counter[str]) -> str:
    shown = [(_plain(name), f"{count:,}") for name, count in sorted(counts.items(), key=lambda c: (-c[1], c[0]))]
    rest = shown[_MOST_ROWS:]
    if rest:
        others = sum(counts.values()) - sum(int(count.replace(",", "")) for _, count in shown[:_MOST_ROWS])
        shown = [*shown[:_MOST_ROWS], (f"{len(rest):,} others", f"{others:,}")]
    return _table(f"Rows by {what}", (what, "rows"), shown)


def _left_out(summary: Summary, written: Written) -> str:
    asked = [
        (f"before asking: {_plain(why)}", f"{count:,} photographs") for why, count in summary.left_out.items()
    ]
    now = [(f"when written: {_plain(why)}", f"{count:,} samples") for why, count in written.left_out.items()]
    return _table("Left out", ("why", "how many"), [*asked, *now])


def _rights(summary: Summary) -> str:
    whose = (
        "Photographs of an archive are here only where every collection that holds them has consented to training,"
        " as of this writing."
        if summary.kind == "curation"
        else "The photographs come from a folder: whoever made the data set answers for the right to use them."
    )
    held = (
        "This is a training set: photographs that the archive holds out to judge models by, by place and series,"
        " are not in it. There is no other split. In one of your own, keep `photographer` and place together: the"
        " same place on both sides gives figures that are too good."
    )
    return (
        "## Rights and split\n\n"
        f"{whose} A file whose `plus:DataMining` (IPTC Photo Metadata 2023.1) forbids training, or cannot be"
        " understood, is left out. Licences are those that the source states, and are not checked. Originals keep"
        " their metadata, which may name people and places.\n\n"
        f"{held}\n\n"
        f"Place names and ids: GeoNames (CC BY 4.0), {Gazetteer.load().version}.\n"
    )


def _limits(written: Written, *, pictures: bool) -> str:
    share = written.with_entities / written.rows if written.rows else 0.0
    lines = [
        "The known place is the photograph's metadata or label. Wrong metadata passes where teachers guess alike.",
        "Filters favour what is easy: places that teachers know, and things that checkers can see. Rare places and"
        " quiet photographs are under-represented.",
        "That a thing is visible was judged by models, not by people; signs and their wording are judged worst.",
        f"{share:.0%} of the rows have at least one verified thing. An empty `entities` means that none was found,"
        " not that there is none.",
        "Teachers learnt from much of the web. They may have seen these photographs before.",
    ]
    if not pictures:
        lines.append("Pictures are not in the files: the paths hold on the machine that wrote them.")
    return "## Known limits\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _table(title: str, header: tuple[str, ...], rows: Any) -> str:
    if not rows:
        return ""
    lines = [" | ".join(header), " | ".join("---" for _ in header), *(" | ".join(row) for row in rows)]
    return f"### {title}\n\n" + "\n".join(f"| {line} |" for line in lines) + "\n"


def _plain(text: str) -> str:
    """On one line, with nothing in it that Markdown or HTML would act on."""
    return _SPECIAL.sub(r"\\\1", _one_line(text))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")[:60] or "other"


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())[:300]
