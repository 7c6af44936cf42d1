"""The registry of tasks: the files of a folder, for rooms that have neither numpy nor Keras."""

import subprocess
import sys

from tally.tasks import reading, registry


def test_every_task_is_found_and_its_words_agree() -> None:
    assert {"classification", "regression"} <= set(registry.names())
    for name in registry.names():
        task = registry.named(name)
        assert task.name == name
        assert task.headline.name in task.reported
        read = reading.words({}, task.reported)
        assert read.headline == task.headline
        assert read.kind(task.headline.name).share == task.headline.share
    assert reading.words({}, {"test_loss": 1.0}).headline.name == "test_accuracy"


def test_whoever_reads_headlines_needs_no_numpy() -> None:
    code = (
        "import sys; from tally.costing import documents; from tally.tasks import reading; "
        "reading.words({}, {}); "
        "print(*({'numpy', 'keras', 'scipy', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
