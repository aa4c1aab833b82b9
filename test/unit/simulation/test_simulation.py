"""The simulated street: what is rendered is where the geometry says, in the promised convention."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("vtkmodules", reason="the simulated street is rendered with VTK")

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation.drive import Drive, mounted, odometry
from deviloc_ros.simulation.lens import photograph
from deviloc_ros.simulation.light import DAY, EVENING, Light, expose
from deviloc_ros.simulation.mesh import Mesh, box, quad
from deviloc_ros.simulation.renderer import Renderer
from deviloc_ros.simulation.rig import robotcar_rig
from deviloc_ros.simulation.rig_drive import moments
from deviloc_ros.simulation.street import LANE, TERRACE_PERIOD, Street

# Unequal focal lengths and an off-centre principal point, so that no mix-up goes unseen.
CAMERA = Camera("PINHOLE", 160, 120, (100.0, 90.0, 70.3, 64.8))
FLAT = Light((0, 0, 1), (0, 0, 0), (1, 1, 1), (0, 0, 0), (20, 20, 20), (20, 20, 20), clouds=-9.0)
WHITE = np.full((8, 8, 3), 255, np.uint8)


def taken(renderer, *args, **kwargs):
    try:
        return renderer.render(*args, **kwargs)
    finally:
        renderer.close()


@pytest.fixture
def pose():
    return Transform(Rotation.from_euler("xyz", [0.1, -0.2, 0.3]), np.array([0.2, -0.1, 0.4]))


def test_known_points_are_seen_where_the_camera_projects_them(pose):
    """Squares in space: the centroid of each in the image is its projection to 0.05 px."""
    rng = np.random.default_rng(3)
    pixels = np.array([[20.5, 20.5], [131.2, 33.7], [80.1, 60.9], [30.6, 101.3], [140.8, 99.4]])
    for pixel in pixels:
        centre = CAMERA.rays(pixel[None])[0] * rng.uniform(3, 8)
        # Turned, so that its edges do not all fall between the same samples.
        turned = Rotation.from_euler("z", 0.35).apply(
            [[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]]
        )
        corners = centre + 0.1 * centre[2] * turned
        mesh = Mesh(quad(pose.apply(corners)), WHITE)
        view = taken(Renderer([mesh], FLAT), CAMERA, pose)
        weight = view.image[..., 0].astype(float) - 20
        y, x = np.mgrid[: CAMERA.height, : CAMERA.width] + 0.5
        seen = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        np.testing.assert_allclose(seen, CAMERA.project(centre[None])[0], atol=0.05)


def test_the_texture_is_neither_mirrored_nor_upside_down():
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 0], texture[0, 1], texture[1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    corners = [(-1, 1, 2), (1, 1, 2), (1, -1, 2), (-1, -1, 2)]
    camera = Camera("PINHOLE", 80, 80, (80.0, 80.0, 40.0, 40.0))
    view = taken(Renderer([Mesh(quad(corners), texture)], FLAT), camera, Transform.identity())
    assert view.image[5, 5].argmax() == 0
    assert view.image[5, 75].argmax() == 1
    assert view.image[75, 5].argmax() == 2


def test_depth_unprojects_onto_the_geometry(pose):
    """A room: every pixel's point lies on one of its walls; depth is along z, not along the ray."""
    room = box((-4, -3, -2), (5, 6, 7))
    view = taken(Renderer([Mesh(room, WHITE)], FLAT), CAMERA, pose, depth=True)
    y, x = np.mgrid[: CAMERA.height, : CAMERA.width] + 0.5
    rays = CAMERA.rays(np.stack([x, y], -1).reshape(-1, 2))
    points = pose.apply(rays * view.depth.reshape(-1, 1))
    walls = np.stack([points[:, 0] + 4, points[:, 0] - 5, points[:, 1] + 3, points[:, 1] - 6])
    to_wall = np.abs(np.concatenate([walls, [points[:, 2] - 7]])).min(axis=0)
    # The box has no bottom: what is seen through it is sky.
    sky = np.isinf(view.depth.ravel())
    assert np.count_nonzero(~sky) > 10_000
    assert to_wall[~sky].max() < 1e-3


def test_the_sky_has_no_depth():
    view = taken(Renderer([], DAY), CAMERA, mounted(), depth=True)
    assert np.all(np.isinf(view.depth))
    assert view.image.std() > 1


def test_only_pinholes_are_rendered():
    camera = Camera("OPENCV", 64, 48, (50.0, 50, 32, 24, 0.1, 0, 0, 0))
    renderer = Renderer([], DAY)
    with pytest.raises(InputError, match="OPENCV"):
        taken(renderer, camera, Transform.identity())


@pytest.fixture(scope="module")
def street():
    return Street(length=24.0)


@pytest.fixture(scope="module")
def meshes(street):
    return street.meshes()


def test_the_street_is_the_same_for_the_same_seed_and_another_for_another(street, meshes):
    again = street.meshes()
    assert len(again) == len(meshes)
    for one, other in zip(meshes, again, strict=True):
        np.testing.assert_array_equal(one.shape.vertices, other.shape.vertices)
        np.testing.assert_array_equal(one.texture, other.texture)
    different = Street(seed=1, length=24.0).meshes()
    assert len(different) != len(meshes) or not np.array_equal(
        different[0].texture, meshes[0].texture
    )


def test_traffic_and_evening_leave_the_houses_alone(street, meshes):
    later = Street(length=24.0, traffic_seed=5, evening=True).meshes()
    assert len(later) != len(meshes)
    houses = [mesh for mesh in meshes if np.ptp(mesh.shape.vertices[:, 2]) > 6.5]
    assert len(houses) >= 8
    stayed = [mesh.shape.vertices for mesh in later]
    for house in houses:
        assert any(
            v.shape == house.shape.vertices.shape and np.array_equal(v, house.shape.vertices)
            for v in stayed
        )


def test_houses_of_a_terrace_are_copies_of_one():
    meshes = Street(length=24.0, bend=0.0, terrace=True).meshes()
    largest = max(mesh.texture.size for mesh in meshes if np.ptp(mesh.shape.vertices[:, 2]) > 9)
    fronts = [mesh for mesh in meshes if mesh.texture.size == largest]
    first, second = fronts[:2]
    assert np.array_equal(first.texture, second.texture)
    apart = second.shape.vertices - first.shape.vertices
    np.testing.assert_allclose(
        apart, np.broadcast_to([TERRACE_PERIOD, 0, 0], apart.shape), atol=1e-6
    )


def test_the_street_as_seen_from_the_lane(street, meshes):
    """The road is at z = 0, the camera stands 1.5 m above it, and light changes the picture."""
    map_from_camera = street.pose(4.0, -LANE) @ mounted()
    camera = Camera("PINHOLE", 160, 120, (105.0, 105.0, 80.0, 60.0))
    view = taken(Renderer(meshes, DAY), camera, map_from_camera, depth=True)
    rays = camera.rays([[80.0, 115.5]])
    ground = map_from_camera.apply(rays * view.depth[115, 80])[0]
    assert abs(ground[2]) < 0.02
    assert np.isfinite(view.depth).mean() > 0.6
    assert view.image.std() > 25
    dusk = taken(Renderer(meshes, EVENING), camera, map_from_camera)
    assert np.abs(dusk.image.astype(float) - view.image).mean() > 15


def test_exposure_noise_is_seeded_and_as_strong_as_asked():
    gray = np.full((120, 160, 3), 128, np.uint8)
    one = expose(gray, EVENING, np.random.default_rng(1))
    np.testing.assert_array_equal(one, expose(gray, EVENING, np.random.default_rng(1)))
    centre = one[40:80, 60:100].astype(float)
    assert centre.std() == pytest.approx(EVENING.noise, rel=0.15)


def test_the_drive_keeps_its_lane_and_its_rate(street):
    drive = Drive(lane=LANE, start=2, end=20, speed=3, rate=2, yaw=0.05, sway=0.1)
    moments = drive.poses(street)
    stamps = np.array([stamp for stamp, _ in moments])
    assert np.all(np.diff(stamps) == 500_000_000)
    assert len(moments) == 13
    for index, (_, map_from_base) in enumerate(moments):
        path = street.pose(2 + 1.5 * index)
        in_path = path.inverse() @ map_from_base
        assert in_path.translation[0] == pytest.approx(0, abs=1e-6)
        assert abs(in_path.translation[1] - LANE) <= 0.1 + 1e-9
        assert abs(in_path.rotation.as_euler("zyx")[0] - 0.05) < 0.04


def test_odometry_starts_at_zero_and_drifts(street):
    moments = Drive(start=2, end=22).poses(street)
    measured = odometry(moments, np.random.default_rng(2))
    first = moments[0][1]
    assert measured[0][1].distance_to(Transform.identity()) == (0.0, 0.0)
    last = (first.inverse() @ moments[-1][1]).distance_to(measured[-1][1])
    assert 0.02 < last[0] < 2.0


def test_the_camera_looks_ahead_and_slightly_up():
    base_from_camera = mounted(pitch=-0.06)
    ahead = base_from_camera.rotation.apply([0, 0, 1])
    assert ahead[0] > 0.99
    assert ahead[2] == pytest.approx(np.sin(0.06), abs=1e-9)
    assert base_from_camera.rotation.apply([0, 1, 0])[2] < -0.99


LENSES = [
    Camera("OPENCV", 160, 120, (100.0, 90.0, 70.3, 64.8, -0.2, 0.05, 0.002, -0.001)),
    Camera("OPENCV_FISHEYE", 160, 120, (85.0, 85.0, 80.0, 60.0, 0.05, -0.01, 0.0, 0.0)),
]


@pytest.mark.parametrize("camera", LENSES, ids=lambda camera: camera.model)
def test_points_are_seen_through_a_lens_where_the_camera_projects_them(camera, pose):
    for pixel in np.array([[20.5, 20.5], [131.2, 33.7], [80.1, 60.9], [40.6, 98.3]]):
        centre = camera.rays(pixel[None])[0] * 5
        corners = centre + 0.3 * np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]])
        renderer = Renderer([Mesh(quad(pose.apply(corners)), WHITE)], FLAT)
        image = photograph(renderer, camera, pose)
        renderer.close()
        assert image.shape == (120, 160, 3)
        weight = image[..., 0].astype(float) - 20
        y, x = np.mgrid[: camera.height, : camera.width] + 0.5
        seen = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        # Where the middle of the square is seen, but for how the lens bends its sides.
        around = np.linspace(-0.3, 0.3, 25)
        grid = np.stack(np.meshgrid(around, around, [0.0]), -1).reshape(-1, 3)
        np.testing.assert_allclose(seen, camera.project(centre + grid).mean(axis=0), atol=0.25)


def test_nothing_is_missing_at_the_rim_of_a_lens():
    for camera in LENSES:
        renderer = Renderer([Mesh(box((-4, -4, -4), (4, 4, 4)), WHITE)], FLAT)
        image = photograph(renderer, camera, mounted(0, 0, 0))
        renderer.close()
        assert image.min() > 0


def test_a_lens_wider_than_a_flat_image_is_refused():
    camera = Camera("OPENCV_FISHEYE", 160, 160, (70.0, 70.0, 80.0, 80.0, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="degrees away"):
        photograph(Renderer([], FLAT), camera, mounted())


def test_a_rig_looks_to_all_sides_and_sees_the_same_again(street):
    rig = robotcar_rig(96, with_front=True)
    assert [item.name for item in rig] == ["left", "rear", "right", "front"]
    axes = [item.base_from_camera.rotation.apply([0, 0, 1])[:2].round(1).tolist() for item in rig]
    assert axes == [[0, 1], [-1, 0], [0, -1], [1, 0]]
    drive = Drive(start=4.0, end=8.0, rate=1.0)
    first, again = (list(moments(rig, street, drive, DAY)) for _ in range(2))
    assert [moment.stamp for moment in first] == [stamp for stamp, _ in drive.poses(street)]
    for one, other in zip(first, again, strict=True):
        for name, image in one.images.items():
            assert image.shape == (96, 96, 3)
            assert np.array_equal(image, other.images[name])
    hidden = next(moments(rig, street, drive, DAY, hidden=1.0))
    assert all(image[20:].std() < 25 for image in hidden.images.values())
    assert all(image[20:].std() > 25 for image in first[0].images.values())
