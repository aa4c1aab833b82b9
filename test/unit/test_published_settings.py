from __future__ import annotations

from pathlib import Path

import pytest

from deviloc_ros.errors import InputError
from deviloc_ros.models.published.settings import Behaviour, PublishedSettings

FOLDER = Path(__file__).resolve().parents[2] / "config" / "benchmarks"

# coarse threshold, matches, cell, confidence, RANSAC px, image size, K, observations
TABLE = {
    "aachen": (0.25, 5000, 3, 0.5, 15, 864, 50, 50, 8000),
    "robotcar": (0.25, 2048, 4, 0.5, 15, 864, 20, 50, 10000),
    "cmu": (0.25, 5000, 4, 0.1, 15, 864, 10, 50, 10000),
    "7scenes": (0.3, 5000, 2, 0.1, 20, 640, 10, 50, 5000),
    "cambridge": (0.25, 5000, 4, 0.1, 20, 864, 20, 50, 10000),
    "ethms": (0.25, 5000, 4, 0.1, 20, 1440, 10, 10, 20000),
    "megadepth": (0.25, 2048, 4, 0.1, 5, 864, 3, 50, 10000),
}


def test_every_benchmark_has_its_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_benchmark_settings_are_the_published_ones(name: str) -> None:
    settings = PublishedSettings.read(FOLDER / f"{name}.yaml")
    assert TABLE[name] == (
        settings.coarse_threshold,
        settings.max_matches,
        settings.cell_size,
        settings.min_confidence,
        settings.ransac_threshold,
        settings.image_size,
        settings.num_references,
        settings.min_observations,
        settings.max_observations,
    )
    assert settings.behaviour is Behaviour.COMPAT
    assert settings.border == 2
    assert settings.cluster == (name == "aachen")
    assert (settings.ransac_max_trials, settings.ransac_confidence) == (10000, 0.99999)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("coarse_threshold: 0", "coarse_threshold"),
        ("coarse_treshold: 0.2", "coarse_treshold is not a known key"),
        ("behaviour: exact", "behaviour"),
        ("min_observations: 10\nmax_observations: 10", "must be below max_observations"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        PublishedSettings.read(path)
    assert str(path) in str(error.value)
