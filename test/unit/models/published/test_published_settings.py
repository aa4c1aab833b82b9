from __future__ import annotations

from pathlib import Path

import pytest

from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.errors import InputError

FOLDER = Path(__file__).resolve().parents[4] / "config" / "benchmarks"

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
    config = load(LocalizerConfig, FOLDER / f"{name}.yaml")
    settings = config.topicfm
    assert TABLE[name] == (
        settings.coarse_threshold,
        settings.max_matches,
        settings.cell_size,
        settings.min_confidence,
        settings.ransac_threshold,
        settings.image_size,
        config.retrieval.num_references,
        settings.min_observations,
        settings.max_observations,
    )
    assert config.matching.matcher == "topicfm"
    assert settings.behaviour == "compat"
    assert settings.border == 2
    assert config.retrieval.cluster == (name == "aachen")
    assert (settings.ransac_max_trials, settings.ransac_confidence) == (10000, 0.99999)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("topicfm.coarse_threshold: 0", "coarse_threshold"),
        ("topicfm.coarse_treshold: 0.2", "coarse_treshold is not a known key"),
        ("topicfm.behaviour: exact", "behaviour"),
        (
            "topicfm: {min_observations: 9, max_observations: 9}",
            "must be below max_observations",
        ),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load(LocalizerConfig, path)
    assert str(path) in str(error.value)
