"""One comparison a parity file: each runs our code on the recorded inputs and checks every array.

They raise AssertionError. The parity tests call them as they are; the mutation tests call them on
code with an injected error and expect them to raise.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import covisibility
import cv2
import loss
import numpy as np
import torch
from numpy.typing import NDArray
from recorded import (
    CONFIDENCE,
    FEATURE,
    PIXEL,
    POINT,
    RELATIVE,
    TOPIC_MISMATCH,
    Recorded,
    assert_close,
    assert_relative,
    assert_same,
    counterpart,
)

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.models.published import (
    absolute_pose,
    assignment,
    deviloc,
    merging,
    preprocessing,
)
from deviloc_ros.models.published.deviloc import DeViLocNetwork
from deviloc_ros.models.published.pin_geometry import ReferenceCamera
from deviloc_ros.models.published.reference import EncodedReference, ReferenceView
from deviloc_ros.models.published.settings import PublishedSettings
from deviloc_ros.models.topicfm import coarse_matching

PIN_CASES = ("nodist", "zerodist", "radial", "opencv", "strong")
MATCHER_CASES = ("same", "diff")


@torch.inference_mode()
def compare_matcher(folder: Path, case: str, network: DeViLocNetwork) -> None:
    recorded = Recorded(folder / f"matcher_{case}.npz")
    matcher = network.matcher
    images = [
        matcher.encode(recorded.image(f"img{n}"), recorded.tensor(f"scale{n}")[None])[0]
        for n in (0, 1)
    ]
    for n, image in enumerate(images):
        assert_close("backbone", image.coarse[:, ::16], recorded[f"backbone_c{n}_ch16"], FEATURE)
        assert_close(
            "fine map", image.fine[::16, ::4, ::4], recorded[f"fine_map{n}_ch16_s4"], FEATURE
        )
    query, reference = images
    topics = matcher.coarse_net.infer_topics(query, [reference])[0]
    assert_close("topics", topics[:, ::16], recorded["seeds_last_ch16"], FEATURE)
    features = [tokens[0] for tokens in matcher.coarse_net(query, [reference])]
    for n, (image, tokens) in enumerate(zip(images, features, strict=True)):
        assert_close("coarse", tokens[:, ::16], recorded[f"coarse_feat{n}_ch16"], FEATURE)
        topic = matcher.coarse_net.topic_of(image.coarse, topics).numpy()
        assert np.mean(topic != recorded[f"topic{n}"]) <= TOPIC_MISMATCH
    threshold = float(recorded["thr"])
    _compare_confidence(recorded, features, threshold)

    fine: list[tuple[torch.Tensor, ...]] = []
    hook = matcher.fine_net.register_forward_hook(
        lambda _module, inputs, outputs: fine.append((*inputs, *outputs))
    )
    with hook:
        (pairs,) = matcher(query, [reference], threshold, 2)
    rank = _compare_coarse(recorded, pairs.coarse)
    windows, fine0, fine1, scores = (torch.cat(parts) for parts in zip(*fine, strict=True))
    first = rank[:4]
    assert_close("window 0", windows[first, :25], recorded["win0_first4"], FEATURE)
    assert_close("window 1", windows[first, 25:], recorded["win1_first4"], FEATURE)
    assert_close("fine 0", fine0[first], recorded["fine0_first4"], FEATURE)
    assert_close("fine 1", fine1[first], recorded["fine1_first4"], FEATURE)
    assert_close("scores", scores[rank], recorded["score_map0"], FEATURE)
    for n, (grid, cells, keypoints) in enumerate(
        (
            (query.grid, pairs.coarse.query, pairs.query_keypoints),
            (reference.grid, pairs.coarse.reference, pairs.reference_keypoints),
        )
    ):
        centres = torch.stack([cells % grid[1], cells // grid[1]], 1)[rank] * 8
        centres = centres * recorded.tensor(f"scale{n}")
        assert_close("coarse keypoints", centres, recorded[f"mkpts{n}_c"], PIXEL)
        assert_close("fine keypoints", keypoints[rank], recorded[f"mkpts{n}_f"], PIXEL)
    assert_close("confidence", pairs.confidence[rank], recorded["mconf"], CONFIDENCE)
    recorded.assert_all_used()


def _compare_confidence(recorded: Recorded, features: list[torch.Tensor], threshold: float) -> None:
    """Full confidence matrix from the normalisers that the blockwise code computes."""
    _, rows, columns = coarse_matching.dual_softmax_candidates(features[0], features[1], threshold)
    similarity = features[0] @ features[1].T / 16
    confidence = (2 * similarity - rows[:, None] - columns).exp()
    assert_close("row maxima", confidence.amax(1), recorded["conf_rowmax"], CONFIDENCE)
    assert_close("column maxima", confidence.amax(0), recorded["conf_colmax"], CONFIDENCE)
    # Margins say how far the discrete decisions are from flipping.
    mutual = confidence == confidence.amax(1, keepdim=True)
    mutual &= confidence == confidence.amax(0, keepdim=True)
    ordered = torch.from_numpy(recorded["mconf_coarse"])
    margins = [
        (confidence[mutual] / threshold - 1).abs().min(),
        _smallest_gap(confidence[recorded["i_ids"]]),
        _smallest_gap(confidence[:, recorded["j_ids"]].T),
        (1 - ordered[1:] / ordered[:-1]).min(),
    ]
    # Gaps are relative: an error of a confidence counts by its inverse.
    assert_close("margins", torch.stack(margins), recorded["margins"], 5 * CONFIDENCE)


def _smallest_gap(rows: torch.Tensor) -> torch.Tensor:
    best, second = rows.topk(2, dim=1).values.unbind(1)
    return (1 - second / best).min()


def _compare_coarse(recorded: Recorded, coarse: coarse_matching.CoarseMatches) -> list[int]:
    """Return for each recorded match the place of ours with the same cells."""
    ours = {
        (int(i), int(j)): rank
        for rank, (i, j) in enumerate(zip(coarse.query, coarse.reference, strict=True))
    }
    theirs = list(zip(recorded["i_ids"].tolist(), recorded["j_ids"].tolist(), strict=True))
    assert set(ours) == set(theirs), f"{len(set(ours) ^ set(theirs))} coarse matches differ"
    rank = [ours[pair] for pair in theirs]
    assert bool((coarse.confidence[1:] <= coarse.confidence[:-1]).all()), "not sorted"
    assert_close("coarse confidence", coarse.confidence[rank], recorded["mconf_coarse"], CONFIDENCE)
    return rank


@torch.inference_mode()
def compare_sample(folder: Path) -> None:
    recorded = Recorded(folder / "sample.npz")
    sampled = assignment.sample_features(
        recorded.tensor("feat_map"), recorded.tensor("coords"), recorded.tensor("scale")
    )
    assert_relative("sampled", sampled, recorded["sampled"])
    recorded.assert_all_used()


def compare_preprocess(folder: Path, scratch: Path) -> None:
    recorded = Recorded(folder / "preprocess.npz")
    outputs = sorted(key[: -len("_u8")] for key in list(recorded._arrays) if key.endswith("_u8"))
    assert outputs
    for output in outputs:
        image, _, target = output.partition("_r")
        path = scratch / f"{image}.png"
        cv2.imwrite(str(path), recorded[f"{image}_bgr"])
        size = None if target == "None" else int(target)
        reduced, scale = preprocessing.network_image(preprocessing.read_gray(path), size)
        assert_same(output, reduced, recorded[f"{output}_u8"])
        tensor = preprocessing.network_tensor(reduced)[0, 0] * 255
        assert_close(output, tensor, recorded[f"{output}_u8"], 1e-4)
        assert_close(f"{output} scale", scale, recorded[f"{output}_scale"], 1e-6)
    recorded.assert_all_used()


def compare_assign(folder: Path, exactly: bool) -> None:
    assign = assignment.assign_observed_exactly if exactly else assignment.assign_observed
    radius = float(Recorded(folder / "assign.npz")["qt_size"])
    for case in ("small", "large"):
        recorded = Recorded(folder / "assign.npz", f"{case}/")
        assigned = assign(recorded.tensor("obs_pts2d"), recorded.tensor("kpts2d"), radius)
        _compare_assignment(assigned, recorded, "")
        recorded.assert_all_used()


def _compare_assignment(assigned: torch.Tensor, recorded: Recorded, prefix: str) -> None:
    keypoints = (assigned >= 0).nonzero().squeeze(1)
    assert_same("to PIN", assigned < 0, recorded[f"{prefix}infer_mask"])
    assert_same("observed keypoints", keypoints, recorded[f"{prefix}kpt_ids"])
    assert_same("observations", assigned[keypoints], recorded[f"{prefix}obs_ids"])


@torch.inference_mode()
def compare_pin(folder: Path, case: str, network: DeViLocNetwork) -> None:
    recorded = Recorded(folder / "pin.npz", f"{case}/")
    pin = network.pts3d_infer
    distortion = recorded.tensor("dist") if "dist" in recorded else None
    camera = ReferenceCamera(recorded.tensor("K"), recorded.tensor("T"), distortion)
    outputs: dict[str, list[torch.Tensor]] = {}
    hooks = [
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: outputs.setdefault(name, []).append(output)
        )
        for name, module in pin.named_modules()
    ]
    try:
        observed = pin.observe(
            camera.points_in_camera(recorded.tensor("obs_pts3d")), recorded.tensor("obs_feats")
        )
        rays = camera.rays(recorded.tensor("kpts2d"))
        depth, confidence = pin(rays, recorded.tensor("kpts_feats"), observed)
        points = camera.points_in_map(rays * depth[:, None])
    finally:
        for hook in hooks:
            hook.remove()
    assert_relative("bearing", rays, recorded["kpts_bearing"])
    assert_relative("least depth", observed.min_depth, recorded["min_depth"])
    assert_relative("depth range", observed.depth_range, recorded["range_depth"])
    assert_relative("raw depth", outputs["out_coords"][0][:, 0], recorded["out_depth_norm"])
    assert_relative("points", points, recorded["pts3d"])
    assert_relative("confidence", confidence, recorded["conf"])
    if "emb_kpts_ch16" in recorded:
        on_observed, on_keypoints = outputs["pts2d_emb"]
        for key, ours in {
            "emb_kpts_ch16": on_keypoints,
            "emb_obs_ch16": on_observed,
            "depth_emb_ch16": outputs["depth_emb"][0],
            "depth_enc_ch16": outputs["depth_enc"][0],
            "pts3d_emb_ch16": outputs["pts3d_emb"][0],
            "propa_ch16": outputs["propa_layers.0"][0],
            "merge2d_ch32": outputs["merge2d_layers"][0],
            "merge3d_ch32": outputs["merge3d_layers"][0],
            "infer_self_first_ch32": outputs["infer_layers.0"][0],
            "infer_cross_first_ch32": outputs["infer_layers.1"][0],
            "infer_self_last_ch32": outputs["infer_layers.4"][0],
            "infer_cross_last_ch32": outputs["infer_layers.5"][0],
        }.items():
            assert_relative(key, ours[:, :: int(key.rpartition("_ch")[2])], recorded[key])
    recorded.assert_all_used()


@torch.inference_mode()
def compare_merge(folder: Path) -> None:
    recorded = Recorded(folder / "merge.npz")
    matches = merging.Matches2D3D(
        recorded.tensor("pts2d"), recorded.tensor("pts3d"), recorded.tensor("conf")
    )
    threshold = float(recorded["conf_thr"])
    for mode, limit in (("eval", threshold), ("train", None)):
        merged = merging.merge(matches, float(recorded["qt_size"]), limit)
        assert_relative(f"{mode} keypoints", merged.keypoints, recorded[f"{mode}_pts2d"])
        assert_relative(f"{mode} points", merged.points, recorded[f"{mode}_pts3d"])
        assert_relative(f"{mode} confidence", merged.confidence, recorded[f"{mode}_conf"])
    recorded.assert_all_used()


def compare_loss(folder: Path) -> None:
    recorded = Recorded(folder / "loss.npz")
    height, width = recorded["depth_600x800_rule"].tolist()
    y, x = np.mgrid[:height, :width].astype(np.float64)
    depth = np.zeros((1700, 1700))
    depth[:height, :width] = 6 + 2 * np.sin(x / 97) + 1.5 * np.cos(y / 61)
    depth[:height, :width][(x // 50 + y // 40) % 7 == 0] = 0
    points = recorded.tensor("pts3d").requires_grad_()
    confidence = recorded.tensor("conf").requires_grad_()
    value = loss.training_loss(
        merging.Matches2D3D(recorded.tensor("pts2d"), points, confidence),
        torch.from_numpy(depth.astype(np.float32)),
        recorded.tensor("K"),
        recorded.tensor("T"),
    )
    value.backward()  # type: ignore[no-untyped-call]
    assert points.grad is not None
    assert confidence.grad is not None
    assert_relative("loss", value.detach(), recorded["loss"])
    # Gradients are far below 1: relative to 1, as the other arrays are compared, nothing could
    # fail, so limits follow the largest gradient. A point's gradient is the direction of its error,
    # which coordinates rounded to float32 turn by the rounding over the error's length. Within a
    # quarter of a map unit the limit therefore grows by the inverse of that length. Float64 is up
    # to 1e-4 of the largest gradient from the recorded numbers there, ours 6e-5, and no order of
    # sums, with or without fused products, gives the recorded ones.
    size_of_points = float(np.abs(recorded["grad_pts3d"]).max())
    length = _lengths_of_errors(recorded, depth)
    looser = np.maximum(1, 0.25 / np.maximum(length, 1e-9))[:, None]
    ours, theirs = np.asarray(points.grad) / looser, recorded["grad_pts3d"] / looser
    assert_close("grad_pts3d", ours, theirs, RELATIVE * size_of_points)
    limit = RELATIVE * float(np.abs(recorded["grad_conf"]).max())
    assert_close("grad_conf", confidence.grad, recorded["grad_conf"], limit)
    recorded.assert_all_used()


def _lengths_of_errors(recorded: Recorded, depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the points (N, 3) are from the true ones, map units."""
    keypoints, pose = recorded["pts2d"].astype(np.float64), recorded["T"].astype(np.float64)
    column, row = np.clip(np.rint(keypoints), 0, len(depth) - 1).astype(int).T
    rays = np.column_stack([keypoints, np.ones(len(keypoints))]) @ np.linalg.inv(recorded["K"]).T
    in_camera = recorded["pts3d"].astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    lengths: NDArray[np.float64] = np.linalg.norm(
        in_camera - rays * depth[row, column][:, None], axis=1
    )
    return lengths


def compare_e2e(folder: Path, network: DeViLocNetwork, references_per_batch: int = 4) -> None:
    inputs = Recorded(folder / "e2e.npz")
    lifted, merged = _run_e2e(inputs, inputs, network, references_per_batch)
    for key in ("q_K", "q_T"):  # of the query: recorded for people, the method does not take them
        assert np.isfinite(inputs[key]).all()
    every = merging.concatenate([part.as_matches() for part in lifted])
    index = counterpart(
        "merge input",
        np.concatenate([every.keypoints, every.points], axis=1),
        np.concatenate([inputs["all_qkpts"], inputs["all_pts3d"]], axis=1),
        POINT,
    )
    assert_close("merge confidence", every.confidence[index], inputs["all_conf"], CONFIDENCE)
    _compare_margins(inputs, every, lifted)
    _compare_merged(merged, inputs)
    inputs.assert_all_used()


def _compare_margins(
    inputs: Recorded, every: merging.Matches2D3D, lifted: list[deviloc.LiftedMatches]
) -> None:
    """How far rounding to cells, the confidence test and the assignment are from flipping."""
    threshold, radius = float(inputs["conf_thr"]), float(inputs["qt_size"])
    cells = every.keypoints[every.confidence > threshold] / radius
    to_limit, to_second = [], []
    for k, part in enumerate(lifted):
        observations = inputs.tensor(f"r{k}_obs2d").double()
        offsets = observations[:, None] - part.reference_keypoints.double()
        nearest, second = offsets.square().sum(2).topk(2, dim=0, largest=False).values
        to_limit.append((nearest - radius**2).abs().min())
        to_second.append((second - nearest)[nearest < radius**2].min())
    margins = [
        (cells - cells.floor() - 0.5).abs().min(),
        (every.confidence - threshold).abs().min(),
        torch.stack(to_limit).min(),
        torch.stack(to_second).min(),
    ]
    limits = (PIXEL, CONFIDENCE, 25 * PIXEL, 25 * PIXEL)  # cells, confidence, squared pixels twice
    for ours, theirs, limit in zip(margins, inputs["margins"], limits, strict=True):
        assert_close("margins", ours, theirs, limit)


def compare_e2e_topn(folder: Path, network: DeViLocNetwork, device: str = "cpu") -> None:
    """Compare what comes out at the end; on another device than the CPU, it moves the network."""
    recorded = Recorded(folder / "e2e_topn.npz")
    found, merged_there = _run_e2e(Recorded(folder / "e2e.npz"), recorded, network, 4, device)
    lifted, merged = [_on_cpu(part) for part in found], _on_cpu(merged_there)
    for k, part in enumerate(lifted):
        _compare_keypoints(part, recorded, f"r{k}_out_")
    _compare_merged(merged, recorded)
    recorded.assert_all_used()


MatchesT = TypeVar("MatchesT", deviloc.LiftedMatches, merging.Matches2D3D)


def _on_cpu(matches: MatchesT) -> MatchesT:
    return replace(matches, **{key: value.cpu() for key, value in vars(matches).items()})


def _run_e2e(
    inputs: Recorded,
    limits: Recorded,
    network: DeViLocNetwork,
    references_per_batch: int,
    device: str = "cpu",
) -> tuple[list[deviloc.LiftedMatches], merging.Matches2D3D]:
    method = deviloc.DeViLoc(
        network,
        PublishedSettings(
            coarse_threshold=float(limits["thr"]),
            cell_size=float(limits["qt_size"]),
            min_confidence=float(limits["conf_thr"]),
            max_matches=int(limits["n_matches"]),
        ),
        device,
        references_per_batch=references_per_batch,
    )
    query = method.encode_query(inputs.image("q_img"), inputs.scale("q_scale"))
    encoded = []
    count = 0
    while f"r{count}_img" in inputs:
        key = f"r{count}_"
        camera = ReferenceCamera(
            inputs.tensor(f"{key}K"),
            inputs.tensor(f"{key}T"),
            inputs.tensor(f"{key}dist") if f"{key}dist" in inputs else None,
        )
        view = ReferenceView(
            inputs.image(f"{key}img"),
            inputs.scale(f"{key}scale"),
            inputs.tensor(f"{key}obs2d"),
            inputs.tensor(f"{key}obs3d"),
            camera,
        )
        encoded.append(method.encode_reference(view))
        count += 1
    lifted = method.match(query, encoded)
    if limits is inputs:
        for k, (reference, part) in enumerate(zip(encoded, lifted, strict=True)):
            _compare_reference(inputs, f"r{k}_out_", reference, part)
    return lifted, method.merge(lifted)


def _compare_reference(
    inputs: Recorded,
    key: str,
    reference: EncodedReference,
    part: deviloc.LiftedMatches,
) -> None:
    index = _compare_keypoints(part, inputs, key)
    fine, scale = reference.features.fine, 2 * reference.features.scale
    # At the recorded keypoints: ours were compared above, and a map's slope is its own matter.
    of_keypoints = assignment.sample_features(fine, inputs.tensor(f"{key}rkpts"), scale)
    assert_close("features", of_keypoints[:, ::8], inputs[f"{key}rfeats_ch8"], FEATURE)
    of_observed = assignment.sample_features(fine, reference.observations, scale)
    assert_close("observed features", of_observed[:, ::8], inputs[f"{key}obsfeats_ch8"], FEATURE)
    _compare_assignment(part.observation[index], inputs, key)
    inferred = index[inputs[f"{key}infer_mask"]]
    assert_close("PIN points", part.points[inferred], inputs[f"{key}pin_pts3d"], POINT)
    assert_close("PIN conf", part.confidence[inferred], inputs[f"{key}pin_conf"], CONFIDENCE)


def _compare_keypoints(
    part: deviloc.LiftedMatches, recorded: Recorded, key: str
) -> NDArray[np.int64]:
    ours = np.concatenate([part.query_keypoints, part.reference_keypoints], axis=1)
    theirs = np.concatenate([recorded[f"{key}qkpts"], recorded[f"{key}rkpts"]], axis=1)
    return counterpart("matches", ours, theirs, PIXEL)


def _compare_merged(merged: merging.Matches2D3D, recorded: Recorded) -> None:
    assert_close("merged keypoints", merged.keypoints, recorded["merged_pts2d"], PIXEL)
    assert_close("merged points", merged.points, recorded["merged_pts3d"], POINT)
    assert_close("merged confidence", merged.confidence, recorded["merged_conf"], CONFIDENCE)


def compare_pnp(folder: Path) -> None:
    settings = PublishedSettings(ransac_threshold=15)
    for case in ("simple_radial", "opencv"):
        recorded = Recorded(folder / "pnp.npz", f"{case}/")
        _, camera = absolute_pose.parse_camera_line(str(recorded["camera_line"]))
        pose = absolute_pose.estimate_pose(recorded["pts2d"], recorded["pts3d"], camera, settings)
        assert pose is not None
        truth = np.column_stack([recorded["gt_R"], recorded["gt_t"]])
        metres, degrees = _pose_error(pose.camera_from_map.matrix, truth)
        theirs = _pose_error(recorded["est_Rt"], truth)
        assert metres <= 2 * theirs[0] + 0.01, f"{metres} m from truth, recorded {theirs}"
        assert degrees <= 2 * theirs[1] + 0.05, f"{degrees} deg from truth, recorded {theirs}"
        inliers = int(np.count_nonzero(pose.inliers))
        assert abs(inliers - int(recorded["num_inliers"])) <= 0.05 * int(recorded["num_inliers"])
        recorded.assert_all_used()


def _pose_error(pose: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float]:
    """Return the distance of the camera centres and the angle between the rotations, degrees."""
    centres = [-matrix[:3, :3].T @ matrix[:3, 3] for matrix in (pose, truth)]
    cosine = (np.trace(pose[:3, :3].T @ truth[:3, :3]) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return float(np.linalg.norm(centres[0] - centres[1])), float(angle)


def compare_misc(folder: Path) -> None:
    misc = json.loads((folder / "misc.json").read_text())
    covis = misc["covis"]
    observed = {int(image): ids for image, ids in covis["point3D_ids"].items()}
    clusters = covisibility.covisibility_clusters(covis["frame_ids"], observed)
    assert [set(cluster) for cluster in clusters] == [set(ids) for ids in covis["clusters"]]
    for image, track in covis["tracks"].items():  # the same relation, seen from the points
        assert {i for i, ids in observed.items() if int(image) in ids} == set(track)
    for recorded in misc["cameras"]:
        number, camera = absolute_pose.parse_camera_line(recorded["line"])
        assert number == int(recorded["line"].split()[0])
        assert isinstance(camera, Camera)
        matrix, distortion = preprocessing.pin_intrinsics(camera)
        assert_close("K", matrix, recorded["K"], 1e-6)
        assert_close("radial", np.float32(distortion), recorded["radial"], 0)
    assert set(misc) == {"covis", "cameras", "salt"}
