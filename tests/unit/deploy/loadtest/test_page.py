"""The page says in words what was found, needs nothing else, and lets nobody's text become markup."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from deploy.loadtest.load_report import LoadReport, ModelReport, Server
from deploy.loadtest.page import write_page
from tests.unit.deploy.loadtest.simulated import MODEL, report


class Page(HTMLParser):
    """Text, identifiers of cards, and whatever would be fetched or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.cards, self.fetched, self.plots = "", [], [], 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in ("script", "link", "iframe", "object"):
            self.fetched.append(tag)
        sources = [given.get(name) or "" for name in ("src", "href", "xlink:href")]
        self.fetched += [source for source in sources if source and not source.startswith(("#", "data:"))]
        self.plots += tag == "svg"
        if tag == "section" and "id" in given:
            self.cards.append(given["id"])

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def found() -> LoadReport:
    return report()


def render(path: Path, *reports: LoadReport) -> Page:
    write_page(reports, ["old.json", "new.json"], path / "load.html")
    return Page((path / "load.html").read_text())


def test_the_page_of_a_report(tmp_path: Path, found: LoadReport) -> None:
    page = render(tmp_path, found)
    (model,) = found.models
    assert f"{MODEL} answers {model.rate:.0f} requests a second and keeps its 99th percentile under" in page.text
    for said in (found.machine.processor, found.commit, "2.51.0", "simulated", found.versions["numpy"]):
        assert said in page.text
    assert page.cards == [f"{MODEL}-{plot}" for plot in ("curve", "percentiles", "time", "split", "batches")]
    assert page.plots == 5
    assert not page.fetched
    rows = page.text.count("VALID") + page.text.count("missed: ")
    assert rows >= len(model.runs) + 1


def test_a_model_that_keeps_nothing_and_a_server_that_does_not_tell(tmp_path: Path, found: LoadReport) -> None:
    page = render(tmp_path, replace(found, models=(nothing(found),), server=Server(started=False)))
    assert "keeps a 99th percentile of 100 ms at no rate" in page.text
    assert "does not tell" in page.text
    assert page.cards == [f"{MODEL}-curve"]


def test_a_servers_words_are_no_markup(tmp_path: Path, found: LoadReport) -> None:
    evil = "<script>alert(1)</script>"
    renamed = replace(nothing(found), model=evil)
    page = render(tmp_path, replace(found, server=Server(False, evil, evil, {evil: {evil: evil}}), models=(renamed,)))
    assert "script" not in page.fetched
    assert evil in page.text


def nothing(report: LoadReport) -> ModelReport:
    """What is found of a server that keeps no rate."""
    (model,) = report.models
    return replace(model, rate=0.0, runs=model.runs[1:2], beyond=None, closed=None)
