"""Results that others have published, to stand beside ours: they are not measured here.

From the authors' slides of Giang, Song and Jo, "Learning to Produce Semi-dense Correspondences for
Visual Localization", CVPR 2024: percent of the queries within (0.25 m, 2 deg) / (0.5 m, 5 deg) /
(5 m, 10 deg). Empty: not published there. Aachen is version 1.0, RobotCar version 1.
"""

from __future__ import annotations

COLUMNS = (
    "Aachen day",
    "Aachen night",
    "RobotCar day-all",
    "RobotCar night-all",
    "CMU urban",
    "CMU suburban",
    "CMU park",
)

_TABLE = """
ESAC|42.6 / 59.6 / 75.5|6.1 / 10.2 / 18.4|||||
Active Search|85.3 / 92.2 / 97.9|39.8 / 49.0 / 64.3|50.9 / 80.2 / 96.6|6.9 / 15.6 / 31.7\
|81.0 / 87.3 / 92.4|62.6 / 70.9 / 81.0|45.5 / 51.6 / 62.0
D2Net|84.8 / 92.6 / 97.5|84.7 / 90.8 / 96.9|54.5 / 80.0 / 95.3|20.4 / 40.1 / 55.0\
|94.0 / 97.7 / 99.1|93.0 / 95.7 / 98.3|89.2 / 93.2 / 95.0
S2DNet|84.5 / 90.3 / 95.3|74.5 / 82.7 / 94.9|53.9 / 80.6 / 95.8|14.5 / 40.2 / 69.7|||
HLoc[SP]|80.5 / 87.4 / 94.2|68.4 / 77.6 / 88.8|53.1 / 79.1 / 95.5|7.2 / 17.4 / 34.4\
|89.5 / 94.2 / 97.9|76.5 / 82.7 / 92.7|57.4 / 64.4 / 80.4
PixLoc|64.3 / 69.3 / 77.4|51.0 / 55.1 / 67.3|52.7 / 77.5 / 93.9|12.0 / 20.7 / 45.4\
|88.3 / 90.4 / 93.7|79.6 / 81.1 / 85.2|61.0 / 62.5 / 69.4
HLoc[SP+SG]|89.6 / 95.4 / 98.8|86.7 / 93.9 / 100|56.9 / 81.7 / 98.1|33.3 / 65.9 / 88.8\
|95.5 / 98.6 / 99.3|90.9 / 94.2 / 97.1|85.7 / 89.0 / 91.6
LBR|88.3 / 95.6 / 98.8|84.7 / 93.9 / 100|56.7 / 81.7 / 98.2|24.9 / 62.3 / 86.1|||
HLoc+PixLoc|84.7 / 94.2 / 98.8|81.6 / 93.9 / 100|56.9 / 82.0 / 98.1|34.9 / 67.7 / 89.5\
|96.9 / 98.9 / 99.3|93.3 / 95.4 / 97.1|87.0 / 89.5 / 91.6
HLoc[TopicFM]|88.8 / 94.7 / 97.9|86.7 / 92.9 / 100|||||
NeuMap|80.8 / 90.9 / 95.6|48.0 / 67.3 / 87.8|||||
DeViLoc|87.4 / 94.8 / 98.2|87.8 / 93.9 / 100|56.9 / 81.8 / 98.0|31.3 / 68.9 / 92.4\
|95.7 / 98.4 / 99.2|97.1 / 98.3 / 99.4|92.1 / 95.1 / 96.3
DeViLoc, map of half of the SIFT points|87.5 / 94.1 / 97.9|86.7 / 92.9 / 100|||||
DeViLoc, map of SIFT|87.4 / 94.8 / 98.2|87.8 / 93.9 / 100|||||
DeViLoc, map of SP+SG|87.3 / 95.3 / 98.3|88.8 / 92.9 / 100|||||
DeViLoc, map of LoFTR|87.9 / 94.7 / 98.2|88.8 / 92.9 / 100|||||
"""


def published_rows(columns: list[str]) -> list[tuple[str, list[str]]]:
    """Return (method, its results in these columns) of the methods that have any there."""
    rows = []
    for line in _TABLE.strip().splitlines():
        method, *results = line.split("|")
        by_column = dict(zip(COLUMNS, results, strict=True))
        wanted = [by_column[column] for column in columns]
        if any(wanted):
            rows.append((method, wanted))
    return rows
