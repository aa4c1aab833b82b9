"""How much the matches that agree with a pose say: two tests against chance.

Wrong matches are not independent. One window taken for another brings dozens of matches that agree
with each other under many poses. So the tests count pieces instead of matches: squares of the image
as wide as what a descriptor sees. Matches of one square look at the same pixels.

**Is it a pose at all?** An a-contrario test asks how many poses as good as this one chance would
give if all matches were wrong (Desolneux, Moisan and Morel, "From Gestalt Theory to Image
Analysis", 2008; for poses from samples of matches: Moisan and Stival, "A probabilistic criterion to
detect rigid point matches between two images", IJCV 2004). Wrong matches crowd around a pose that
is nearly right for something that looks alike. So their density is measured just outside of the
threshold, where right matches do not fall.

**Do the pixels agree?** Alignment moves each match to where the images agree. If the pose is right,
matches then lie within a fraction of a pixel of where it puts them. If it is wrong, they lie
anywhere within the threshold. So a pose that rests on one poster is believed: few pieces, but many
patches.

**Is it the right one of two?** A sign test. If a facade looks the same one window further on, each
piece of it speaks for one place or the other as a fair coin falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln

# Side of a piece, pixels of the working size: two cells of the coarsest layer of XFeat's network.
PIECE = 64.0
# Side of the squares that count once in pixels: that of the patches which are aligned.
PATCH = 11.0
# Error of a match that agrees in the pixels, of the threshold: half a pixel of the working size.
SHARP = 1 / 12
# Matches that a pose is computed from, and the most poses that three give (P3P).
SAMPLE, SOLUTIONS = 3, 4
# Errors that are tried as the limit of an inlier, of the threshold.
SCALES = (1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0)
# The surroundings of the threshold, in thresholds.
RING = (1.5, 10.0)
LEAST = 1e-300


@dataclass(frozen=True)
class Agreement:
    """How well matches agree with a pose.

    Attributes:
        errors: (N,) float64, distance of projection and keypoint, pixels; infinite or NaN behind
            the camera.
        pieces: (N,) int64, number of the piece that each match lies in.
        areas: (N,) float64, of the image that each match lies in, squared pixels.
        threshold: error of a match that does not agree, pixels.
    """

    errors: NDArray[np.float64]
    pieces: NDArray[np.int64]
    areas: NDArray[np.float64]
    threshold: float

    @property
    def num_agreeing(self) -> int:
        """Number of the matches that agree."""
        return int(np.count_nonzero(self.errors < self.threshold))

    @property
    def share(self) -> float:
        """Share of the matches that agree; 0 without any."""
        return self.num_agreeing / max(len(self.errors), 1)

    @property
    def num_pieces(self) -> tuple[int, int]:
        """Number of pieces of which a match agrees, and of all."""
        agreeing = np.unique(self.pieces[self.errors < self.threshold])
        return len(agreeing), len(np.unique(self.pieces))


def pieces_of(
    keypoints: NDArray[np.float64], pixel_scale: float, side: float = PIECE
) -> NDArray[np.int64]:
    """Return the number (N,) of the piece of an image that each keypoint (N, 2) lies in.

    Args:
        keypoints: pixels.
        pixel_scale: such pixels per pixel of the working size.
        side: of a piece, pixels of the working size.
    """
    column, row = np.floor(keypoints / (side * pixel_scale)).astype(np.int64).T
    return np.asarray(column + (row << 20))


def log10_false_alarms(agreement: Agreement) -> float:
    """Return the logarithm of how many poses as good as this one chance would give."""
    if not len(agreement.errors):
        return 0.0
    errors = np.nan_to_num(agreement.errors, nan=np.inf)
    names = np.unique(agreement.pieces, return_inverse=True)[1]
    total = int(names.max()) + 1
    inner, outer = (factor * agreement.threshold for factor in RING)
    around = np.count_nonzero((errors >= inner) & (errors < outer)) + 1
    evenly = float(np.sum(1 / agreement.areas))
    density = max(evenly, around / (np.pi * (outer**2 - inner**2)))
    tests = SOLUTIONS * len(SCALES) * _binomial(total, SAMPLE)
    alarms = tests
    for scale in SCALES:
        limit = scale * agreement.threshold
        agreeing = int(np.count_nonzero(np.bincount(names[errors < limit])))
        # Of pieces that agree with probabilities of their own, so many or more agree at most as
        # often as if all had the mean (Hoeffding 1956), wherever more than expected do.
        chance = min(1.0, density * np.pi * limit**2 / total)
        alarms = min(alarms, tests * _at_least(agreeing - SAMPLE, total - SAMPLE, chance))
    return float(np.log10(max(alarms, LEAST)))


def log10_false_alarms_of_pixels(aligned: Agreement) -> float:
    """Return the logarithm of how many poses chance would give that agree as well in the pixels.

    Wrong matches that are within the threshold lie evenly within it, also after alignment.

    Args:
        aligned: how the matches that were found agree with the pose that they give; its pieces are
            patches.
    """
    if not len(aligned.errors):
        return 0.0
    names = np.unique(aligned.pieces, return_inverse=True)[1]
    matches = np.bincount(names)
    sharp = np.bincount(names[aligned.errors < SHARP * aligned.threshold], minlength=len(matches))
    # Matches of one patch may err alike or not: most of them agree with at most the probability
    # that one does.
    total, agreeing = len(matches), int(np.count_nonzero(2 * sharp > matches))
    tests = SOLUTIONS * _binomial(total, SAMPLE)
    alarms = tests * _at_least(agreeing - SAMPLE, total - SAMPLE, SHARP**2)
    return float(np.log10(max(alarms, LEAST)))


def log10_fair_vote(best: Agreement, rival: NDArray[np.float64]) -> float:
    """Return the logarithm of how often fair coins favour a pose over another as much as this.

    Each piece votes for the pose that more of its matches agree with; those undecided do not vote.

    Args:
        best: how matches agree with the pose.
        rival: (N,) their errors by the other one.
    """
    names = np.unique(best.pieces, return_inverse=True)[1]
    agrees = (best.errors < best.threshold) & ~(rival <= best.errors)
    disagrees = (rival < best.threshold) & ~(best.errors <= rival)
    votes = np.bincount(names[agrees], minlength=len(names))
    against = np.bincount(names[disagrees], minlength=len(names))
    won, lost = int(np.count_nonzero(votes > against)), int(np.count_nonzero(votes < against))
    return float(np.log10(max(_at_least(won, won + lost, 0.5), LEAST)))


def _at_least(count: int, total: int, chance: float) -> float:
    """Return the probability that of `total` events so many or more come about."""
    if count <= 0:
        return 1.0
    if count > total:
        return 0.0
    return float(betainc(count, total - count + 1, chance))


def _binomial(total: int, chosen: int) -> float:
    """Return how many ways there are to choose; 1 where there are fewer to choose from."""
    if total <= chosen:
        return 1.0
    return float(np.exp(gammaln(total + 1) - gammaln(chosen + 1) - gammaln(total - chosen + 1)))
