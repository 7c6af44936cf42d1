"""The mesh against TensorFlow's own collectives, in real gangs that lose workers too."""

import signal
from pathlib import Path

import pytest
from test_elastic_gang import DROPOUT, TOLERANCE, apart, kernel_of

from helpers.learning.made_training import EXAMPLES, Ended, config, crew, finished, pictures, words
from tally.gang.coordinator.events import Formed, Observed
from tally.gang.messages import Finished

pytestmark = [pytest.mark.exact, pytest.mark.slow]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["cnn", "lstm", pytest.param("user", id="with dropout")])
def test_both_engines_lead_to_the_same_weights(name: str, tmp_path: Path) -> None:
    dataset = words(tmp_path / "data") if name == "lstm" else pictures(tmp_path / "data")
    model = name
    if name == "user":
        (tmp_path / "mine.py").write_text(DROPOUT)
        model = str(tmp_path / "mine.py")
    found = {}
    for engine, workers in (("mesh", 1), ("mesh", 3), ("multiworker", 2), ("multiworker", 3)):
        given = config(
            tmp_path / f"{engine} {workers}", dataset, model=model, collective=engine,
            max_workers=3, cores=1, epochs=2,
        )  # fmt: skip
        said = finished(tmp_path / f"{engine} {workers}", given, workers)
        (end,) = [m for m in said if isinstance(m, Finished)]
        assert end.examples_trained == 2 * EXAMPLES
        found[engine, workers] = kernel_of(Path(given.model_folder))
    for weights in found.values():
        assert apart(weights, found["mesh", 1]) <= TOLERANCE


@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_tensorflows_collectives_outlive_a_lost_worker(how: int, tmp_path: Path) -> None:
    dataset = pictures(tmp_path / "data")
    calm = config(tmp_path / "calm", dataset, max_workers=3, cores=1, epochs=12)
    finished(tmp_path / "calm", calm, 1)
    given = config(
        tmp_path, dataset, collective="multiworker", max_workers=3, cores=1, epochs=12,
        silent_seconds=5.0,
    )  # fmt: skip
    sizes: list[int] = []
    with crew(tmp_path, given, 3) as running:
        for event in running.events(300):
            if isinstance(event, Formed):
                sizes.append(len(event.workers))
            struck = running.processes["1"].poll() is not None or 2 in sizes[-1:]
            if isinstance(event, Observed) and event.observation.step > 20 and not struck:
                running.processes["1"].send_signal(how)
            if isinstance(event, Finished):
                running.processes["1"].kill()
            if isinstance(event, Ended) and event.worker != "1":
                assert event.process.returncode == 0, running.log.read_text()
    assert sizes[-1] == 2, running.log.read_text()
    (tmp_path / "none").mkdir()
    assert apart(kernel_of(tmp_path / "model"), kernel_of(tmp_path / "calm" / "model")) <= TOLERANCE
