"""What can be known to be wrong before a run exists on this machine."""

from tally.baselines import registry as baselines
from tally.compression.recipe import parse_all
from tally.data import registry as datasets
from tally.errors import SpecError
from tally.models import registry as models
from tally.runs import pipelines
from tally.spec import Spec
from tally.userfile import is_user_file


def check_here(spec: Spec) -> Spec:
    """The spec with local paths absolute.

    Raises:
        SpecError: what can be seen to be wrong without reading data.
    """
    if spec.machine_type:
        raise SpecError(
            f"machine_type: expected none for a run on this machine, got {spec.machine_type}; "
            "leave it out"
        )
    models.find(spec.model)
    parse_all(spec.candidates)
    baselines.find(spec.baseline)
    datasets.check(spec)
    paths = {}
    if is_user_file(spec.model):
        paths["model"] = str(pipelines.user_path(spec.model))
    if "://" not in spec.dataset and spec.dataset not in datasets.names():
        paths["dataset"] = str(pipelines.user_path(spec.dataset))
    return spec.model_copy(update=paths)
