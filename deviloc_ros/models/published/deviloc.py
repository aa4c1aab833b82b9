"""DeViLoc's networks, and its matching layer: a query against K references, 2D-3D matches out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deviloc_ros.errors import InputError
from deviloc_ros.models.cuda import upload
from deviloc_ros.models.published.assignment import (
    assign_observed,
    assign_observed_exactly,
    sample_features,
)
from deviloc_ros.models.published.lifting_at_once import downloaded, lift_all
from deviloc_ros.models.published.merging import (
    Matches2D3D,
    concatenate,
    merge,
    merge_exactly,
)
from deviloc_ros.models.published.pin import PointInferenceNetwork
from deviloc_ros.models.published.pin_geometry import to_colmap
from deviloc_ros.models.published.reference import EncodedReference, ReferenceView
from deviloc_ros.models.published.settings import Precision, PublishedSettings
from deviloc_ros.models.runtime import Backend, choose_backend
from deviloc_ros.models.topicfm.at_once import MatchAtOnce
from deviloc_ros.models.topicfm.cpu_programs import CpuPrograms
from deviloc_ros.models.topicfm.fine_matching import NETWORK_PER_FINE
from deviloc_ros.models.topicfm.image_features import ImageFeatures
from deviloc_ros.models.topicfm.matcher import PairMatches, TopicFM

# References of one size that a GPU matches at once, at most.
REFERENCES_ON_GPU = 16


class DeViLocNetwork(nn.Module):
    """TopicFM-fast (`matcher`) and PIN (`pts3d_infer`); 342 tensors, 15 909 618 parameters."""

    def __init__(self) -> None:
        """Make both networks, in evaluation mode and without gradients for the frozen matcher."""
        super().__init__()
        self.matcher = TopicFM().requires_grad_(False)
        self.pts3d_infer = PointInferenceNetwork()
        self.eval()


@dataclass(frozen=True)
class LiftedMatches:
    """Matches of a query with one reference and the 3D point of each, most confident match first.

    Attributes:
        query_keypoints: (M, 2), original query pixels.
        reference_keypoints: (M, 2), original reference pixels.
        points: (M, 3), map frame.
        confidence: (M,), 1 for an observed point, PIN's for an inferred one.
        observation: (M,) int64, index of the reference's observed point, -1 for an inferred one.
    """

    query_keypoints: Tensor
    reference_keypoints: Tensor
    points: Tensor
    confidence: Tensor
    observation: Tensor

    def as_matches(self) -> Matches2D3D:
        """Return them as input to the merge."""
        return Matches2D3D(self.query_keypoints, self.points, self.confidence)


class DeViLoc:
    """The published method between images and RANSAC-PnP.

    COMPAT reproduces the published code. FIX mends it where no weight is touched: keypoints are in
    COLMAP's pixel convention (the published ones are half a network pixel low), observed points
    are found by exact distances, inferred points lie on the keypoint's own ray in float64, what is
    behind the reference camera is left out, and merging follows the paper's equation. What goes
    into the networks stays as they were trained.
    """

    def __init__(
        self,
        network: DeViLocNetwork,
        settings: PublishedSettings,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        references_per_batch: int = 4,
        backend: Backend = "auto",
        graphs: bool = False,
    ) -> None:
        """Put the network on a device.

        Args:
            network: with its weights.
            settings: thresholds and behaviour.
            device: where everything runs.
            precision: of the matcher's products. Normalisation, softmaxes, maxima and all of PIN
                stay in float32. float16 needs CUDA.
            references_per_batch: references of one size that a CPU matches at once, at most.
            backend: openvino runs parts of the matcher in torch's place, see `CpuPrograms`; auto:
                where it is installed and the device is the CPU.
            graphs: record what has fixed shapes as CUDA graphs.

        Raises:
            InputError: float16 without CUDA, or OpenVINO where it cannot run.
        """
        self.network = network.to(device).eval()
        self.settings = settings
        self.device = torch.device(device)
        if precision == "float16" and self.device.type != "cuda":
            raise InputError(
                f"precision float16 needs device cuda, not {self.device.type}; "
                "use float32 or bfloat16"
            )
        # A GPU takes the references of a query at once, and is waited for twice.
        self._match_at_once: MatchAtOnce | None = None
        if self.device.type == "cuda":
            limits = settings.coarse_threshold, settings.border
            self._match_at_once = MatchAtOnce(self.network.matcher, *limits, graphs, self.device)
        self._dtype = getattr(torch, precision)
        self._references_per_batch = references_per_batch
        self._mended = settings.behaviour == "fix"
        self._programs: CpuPrograms | None = None
        if precision != "float16" and choose_backend(backend, self.device) == "openvino":
            matcher = self.network.matcher
            self._programs = CpuPrograms(
                matcher.backbone, matcher.coarse_net, matcher.fine_net, precision
            )

    @torch.inference_mode()
    def encode_query(self, image: Tensor, scale: tuple[float, float]) -> ImageFeatures:
        """Run the backbone on a query, once for all its references.

        Args:
            image: (1, 1, H, W) float32 in [0, 1], H and W multiples of 16.
            scale: original pixels per network pixel in x and y.
        """
        with self._reduced_precision():
            scales = upload(torch.tensor([scale], dtype=torch.float32), self.device)
            on_device = upload(image, self.device)
            if self._match_at_once is not None:
                return self._match_at_once.encode(on_device, scales)
            features = self.network.matcher.encode(on_device, scales, self._programs)
        return features[0]

    @torch.inference_mode()
    def encode_reference(self, view: ReferenceView) -> EncodedReference:
        """Compute everything about a reference that does not depend on the query."""
        features = self.encode_query(view.image, view.scale)
        dtype = torch.float64 if self._mended else torch.float32
        observations = view.observations.to(self.device, dtype)
        points = view.points.to(self.device, dtype)
        camera = view.camera.to(self.device, dtype)
        in_camera = camera.points_in_camera(points)
        if self._mended:
            in_front = in_camera[:, 2] > 0
            observations, points = observations[in_front], points[in_front]
            in_camera = in_camera[in_front]
        observed = None
        if len(points):
            sampled = self._sample(features, observations.float())
            observed = self.network.pts3d_infer.observe(in_camera.float(), sampled)
        return EncodedReference(features, observations, points, camera, observed)

    @torch.inference_mode()
    def match(
        self, query: ImageFeatures, references: Sequence[EncodedReference]
    ) -> list[LiftedMatches]:
        """Match a query with references and lift every match, in the order of the references.

        The result of a GPU is on the CPU.
        """
        if self._match_at_once is not None:
            return self._matched_at_once(self._match_at_once, query, references)
        pairs: dict[int, PairMatches] = {}
        limits = self.settings.coarse_threshold, self.settings.border
        for batch in self._batches(references, self._references_per_batch):
            features = [references[index].features for index in batch]
            with self._reduced_precision():
                matched = self.network.matcher(query, features, *limits, self._programs)
            pairs.update(zip(batch, matched, strict=True))
        return [
            self._lift(query, reference, pairs[index]) for index, reference in enumerate(references)
        ]

    @torch.inference_mode()
    def merge(self, lifted: Sequence[LiftedMatches]) -> Matches2D3D:
        """Merge the matches of at least one reference (CPA)."""
        matches = concatenate([part.as_matches() for part in lifted])
        method = merge_exactly if self._mended else merge
        return method(matches, self.settings.cell_size, self.settings.min_confidence)

    def _batches(self, references: Sequence[EncodedReference], limit: int) -> list[list[int]]:
        """Group the references' indices by the size of their maps, in batches of bounded size."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, reference in enumerate(references):
            by_size.setdefault(reference.features.grid, []).append(index)
        return [
            indices[start : start + limit]
            for indices in by_size.values()
            for start in range(0, len(indices), limit)
        ]

    def _lift(
        self, query: ImageFeatures, reference: EncodedReference, pairs: PairMatches
    ) -> LiftedMatches:
        best = pairs.confidence.argsort(descending=True, stable=True)[: self.settings.max_matches]
        query_keypoints = pairs.query_keypoints[best]
        trained_keypoints = pairs.reference_keypoints[best]
        reference_keypoints = trained_keypoints
        if self._mended:
            query_keypoints = to_colmap(query_keypoints, query.scale)
            reference_keypoints = to_colmap(trained_keypoints, reference.features.scale)
        assign = assign_observed_exactly if self._mended else assign_observed
        observation = assign(reference.observations, reference_keypoints, self.settings.cell_size)
        points = reference_keypoints.new_zeros(len(best), 3)
        confidence = torch.ones_like(points[:, 0])
        known, valid = observation >= 0, torch.ones_like(observation, dtype=torch.bool)
        points[known] = reference.points[observation[known]]
        unknown = (~known).nonzero().squeeze(1)
        if reference.observed is None:
            # Nothing is known about this view's depth: its keypoints have no 3D point.
            valid[unknown] = False
        else:
            rays = reference.camera.to(self.device, torch.float32).rays(trained_keypoints[unknown])
            features = self._sample(reference.features, trained_keypoints[unknown])
            depth, certainty = self.network.pts3d_infer(rays, features, reference.observed)
            if self._mended:
                rays = reference.camera.rays(reference_keypoints[unknown])
                valid[unknown] = depth > 0
            points[unknown] = reference.camera.points_in_map(rays * depth[:, None])
            confidence[unknown] = certainty.to(confidence.dtype)
        return LiftedMatches(
            query_keypoints[valid],
            reference_keypoints[valid],
            points[valid],
            confidence[valid],
            observation[valid],
        )

    def _matched_at_once(
        self, match: MatchAtOnce, query: ImageFeatures, references: Sequence[EncodedReference]
    ) -> list[LiftedMatches]:
        """Do what a CPU does reference by reference; one download selects."""
        pin, dtype = self.network.pts3d_infer, torch.float64 if self._mended else torch.float32
        # Without an observed point nothing is known about a view's depth: no keypoint has a point.
        usable = [i for i, each in enumerate(references) if each.observed is not None]
        order, parts = [], []
        for batch in self._batches([references[i] for i in usable], REFERENCES_ON_GPU):
            chosen = [usable[i] for i in batch]
            views = [references[i] for i in chosen]
            with self._reduced_precision():
                matches = match(query, [view.features for view in views])
            parts.append(lift_all(pin, self.settings, query, views, matches))
            order += chosen
        found = dict(zip(order, downloaded(parts, dtype), strict=True))
        nothing = (*(torch.zeros(0, size, dtype=dtype) for size in (2, 2, 3)),
                   torch.zeros(0, dtype=dtype), torch.zeros(0, dtype=torch.int64))  # fmt: skip
        return [LiftedMatches(*found.get(i, nothing)) for i in range(len(references))]

    def _sample(self, features: ImageFeatures, points: Tensor) -> Tensor:
        return sample_features(features.fine, points, NETWORK_PER_FINE * features.scale)

    def _reduced_precision(self) -> AbstractContextManager[None]:
        reduced = self._dtype is not torch.float32
        return torch.autocast(
            self.device.type,
            dtype=self._dtype if reduced else None,
            enabled=reduced,
            # A graph that read rounded weights from a cache would outlive them.
            cache_enabled=self._match_at_once is None,
        )
