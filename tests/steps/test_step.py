"""What a step knows from its pod."""

import pytest

from tally.steps.step import attempt_of


@pytest.mark.parametrize(
    ("node", "attempt"),
    [
        pytest.param("", 1, id="no Argo"),
        pytest.param("cnn-x.root.exit-handler-1.train.executor", 1, id="no retries"),
        pytest.param("cnn-x(0).root(0).exit-handler-1(0).train(0).executor(0)", 1, id="first"),
        pytest.param("cnn-x(0).root(0).exit-handler-1(0).train(0).executor(1)", 2, id="again"),
        pytest.param("cnn-x(0).root(0).each(0:a).train(0).executor(2)", 3, id="in a loop"),
    ],
)
def test_the_attempt_is_what_argo_counted(node: str, attempt: int) -> None:
    assert attempt_of(node) == attempt
