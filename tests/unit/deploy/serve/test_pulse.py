"""Stuck is who neither answers nor works."""

from __future__ import annotations

from collections.abc import Callable

from deploy.serve.pulse import Pulse
from deploy.serve.times import Times

TIMES = Times(pulse=2, answer=4)


class Model:
    """A model whose time, work and answers a test gives."""

    def __init__(self) -> None:
        self.now = 0.0
        self.work = 0.0
        self.questions: list[Callable[[bool | None], None]] = []
        self.pulse = Pulse(self.questions.append, lambda: self.work, TIMES, lambda: self.now)

    def after(self, seconds: float, work: float = 0.0) -> bool:
        """Whether it is stuck when it has been looked at every quarter of a second for so long."""
        for _ in range(round(4 * seconds)):
            self.now += 0.25
            self.work += work * 0.25
            if self.pulse.stuck():
                return True
        return False


def test_one_that_answers_is_asked_again_after_a_while_and_not_before() -> None:
    model = Model()
    assert not model.after(1.75)
    assert model.questions == []
    for asked in (1, 2, 3):
        assert not model.after(2)
        assert len(model.questions) == asked
        model.questions[-1](True)


def test_one_without_answer_or_work_is_stuck() -> None:
    model = Model()
    assert not model.after(2 + 3.75)
    assert model.after(0.5)
    assert len(model.questions) == 1


def test_one_that_is_merely_busy_is_not_however_long_it_takes() -> None:
    model = Model()
    assert not model.after(60, work=0.1)
    assert len(model.questions) == 1
    assert model.after(8.5)  # and then it hangs


def test_an_answer_that_comes_late_counts() -> None:
    model = Model()
    assert not model.after(5)
    model.questions[0](True)
    assert not model.after(5)
    assert len(model.questions) == 2
    assert not model.pulse.mistaken


def test_the_fastest_answer_is_none_that_was_refused() -> None:
    model = Model()
    assert model.pulse.fastest == float("inf")
    for waited, said in ((0.25, True), (0.0, None), (0.75, True)):
        assert not model.after(2)
        assert not model.after(waited)
        model.questions[-1](said)
    assert model.pulse.fastest == 0.25


def test_an_answer_to_another_question_is_remembered() -> None:
    model = Model()
    assert not model.after(2.25)
    model.questions[0](False)
    assert not model.after(2.25)
    model.questions[1](True)
    assert model.pulse.mistaken
