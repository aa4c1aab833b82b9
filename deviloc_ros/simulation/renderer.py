"""Pictures of meshes with VTK, off screen: a pinhole camera and the exact depth of each pixel."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation.light import Light, sky
from deviloc_ros.simulation.mesh import Mesh, Shape

NEAR, FAR, SKY_RADIUS = 0.2, 500.0, 400.0
OVERSAMPLING = 2


@dataclass(frozen=True)
class View:
    """What a camera sees.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float64, z of the camera frame at the centre of each pixel, metres; infinite
            in the sky. None where it was not asked for.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float64] | None


class Renderer:
    """Holds the meshes on the graphics card (or in Mesa's software one) and takes pictures.

    Not thread safe: an OpenGL context belongs to the thread that made it.
    """

    def __init__(self, meshes: Sequence[Mesh], light: Light, seed: int = 0) -> None:
        """Load meshes and set the light.

        Args:
            meshes: in the map frame.
            light: see `Light`; `expose` is not applied here.
            seed: of the clouds.

        Raises:
            InputError: VTK or EGL is missing on this machine.
        """
        # torch's compiler and Mesa each bring an LLVM: if Mesa's is there first, all crashes.
        with suppress(ImportError):
            importlib.import_module("triton")
        try:
            ctypes.CDLL("libEGL.so.1")
            from vtkmodules import vtkRenderingCore, vtkRenderingOpenGL2

            from deviloc_ros.simulation.actor import textured_actor
        except (ImportError, OSError) as error:
            raise InputError(
                f"rendering needs VTK and EGL ({error}): pip install vtk, and on Debian "
                "apt-get install libegl1 libgl1-mesa-dri"
            ) from None
        # EGL is asked for by name: VTK's default tries X first and complains where there is none.
        self._window = vtkRenderingOpenGL2.vtkEGLRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._renderer = vtkRenderingCore.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._window.SetMultiSamples(0)
        for mesh in meshes:
            self._renderer.AddActor(textured_actor(mesh, light))
        self._sky = textured_actor(Mesh(_dome(), sky(light, seed), lit=False), light)
        self._renderer.AddActor(self._sky)

    def render(self, camera: Camera, map_from_camera: Transform, depth: bool = False) -> View:
        """Take a picture.

        Args:
            camera: a PINHOLE camera (z forward, x right, y down; COLMAP's pixel convention).
            map_from_camera: where it is.
            depth: also return the depth, which costs a second pass.

        Raises:
            InputError: the camera is not a pinhole.
        """
        if camera.model not in ("PINHOLE", "SIMPLE_PINHOLE"):
            raise InputError(f"camera model {camera.model} cannot be rendered; use PINHOLE")
        self._place(camera, map_from_camera)
        self._draw(OVERSAMPLING * camera.width, OVERSAMPLING * camera.height)
        fine = self._pixels()
        size = camera.width, camera.height
        image = np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if not depth:
            return View(image, None)
        # The mean of depths is no depth: one sample a pixel, at its centre.
        self._draw(camera.width, camera.height)
        return View(image, self._depth(camera))

    def close(self) -> None:
        """Free the graphics memory."""
        self._window.Finalize()

    def _place(self, camera: Camera, map_from_camera: Transform) -> None:
        from vtkmodules.vtkCommonMath import vtkMatrix4x4

        axes, centre = map_from_camera.matrix[:3, :3], map_from_camera.translation
        eye = self._renderer.GetActiveCamera()
        eye.SetPosition(*centre)
        eye.SetFocalPoint(*(centre + axes[:, 2]))
        eye.SetViewUp(*(-axes[:, 1]))
        matrix = vtkMatrix4x4()
        for (row, column), value in np.ndenumerate(_projection(camera)):
            matrix.SetElement(row, column, value)
        eye.SetExplicitProjectionTransformMatrix(matrix)
        eye.UseExplicitProjectionTransformMatrixOn()
        self._sky.SetPosition(*centre)

    def _draw(self, width: int, height: int) -> None:
        self._window.SetSize(width, height)
        self._window.Render()

    def _pixels(self) -> NDArray[np.uint8]:
        from vtkmodules.util import numpy_support
        from vtkmodules.vtkCommonCore import vtkUnsignedCharArray

        vtk_to_numpy: Callable[..., Any] = numpy_support.vtk_to_numpy
        buffer = vtkUnsignedCharArray()
        width, height = self._window.GetSize()
        self._window.GetPixelData(0, 0, width - 1, height - 1, 0, buffer, 0)
        pixels = vtk_to_numpy(buffer).reshape(height, width, 3)
        return np.ascontiguousarray(pixels[::-1])

    def _depth(self, camera: Camera) -> NDArray[np.float64]:
        from vtkmodules.util import numpy_support
        from vtkmodules.vtkCommonCore import vtkFloatArray

        vtk_to_numpy: Callable[..., Any] = numpy_support.vtk_to_numpy
        buffer = vtkFloatArray()
        self._window.GetZbufferData(0, 0, camera.width - 1, camera.height - 1, buffer)
        stored = vtk_to_numpy(buffer).reshape(camera.height, camera.width)[::-1].astype(np.float64)
        depth = 2 * FAR * NEAR / (FAR + NEAR - (2 * stored - 1) * (FAR - NEAR))
        # The dome is made of flat facets, a little nearer than its radius.
        beyond = SKY_RADIUS * 0.9 * _cosines(camera)
        return np.where(depth < beyond, depth, np.inf)


def _cosines(camera: Camera) -> NDArray[np.float64]:
    """Return z over distance of every pixel's ray (H, W)."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = camera.rays(np.stack([x, y], -1))
    return np.asarray(1 / np.linalg.norm(rays, axis=1)).reshape(camera.height, camera.width)


def _projection(camera: Camera) -> NDArray[np.float64]:
    """Return OpenGL's projection (4, 4) of a pinhole.

    OpenGL's window runs from -1 to 1 between the image's edges, so that pixel coordinates with
    the first pixel's centre at 0.5 (COLMAP's) go in without an offset.
    """
    fx, fy = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
    cx, cy = camera.intrinsics[0, 2], camera.intrinsics[1, 2]
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[0, 2] = 2 * fx / camera.width, 1 - 2 * cx / camera.width
    matrix[1, 1], matrix[1, 2] = 2 * fy / camera.height, 2 * cy / camera.height - 1
    matrix[2, 2] = -(FAR + NEAR) / (FAR - NEAR)
    matrix[2, 3] = -2 * FAR * NEAR / (FAR - NEAR)
    matrix[3, 2] = -1.0
    return matrix


def _dome(rings: int = 24, sides: int = 64) -> Shape:
    """Return a sphere seen from inside; below the horizon it shows the horizon."""
    elevation = np.linspace(np.pi / 2, -np.pi / 2, 2 * rings + 1)
    azimuth = np.linspace(0, 2 * np.pi, sides + 1)
    x = np.cos(elevation)[:, None] * np.cos(azimuth)
    y = np.cos(elevation)[:, None] * np.sin(azimuth)
    z = np.sin(elevation)[:, None] * np.ones_like(azimuth)
    at = np.arange(2 * rings)[:, None] * (sides + 1) + np.arange(sides)
    a, b, c, d = at, at + 1, at + sides + 2, at + sides + 1
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    v = np.clip(1 - elevation / (np.pi / 2), 0, 1) * 0.998 + 0.001
    uv = np.stack(np.broadcast_arrays(azimuth / (2 * np.pi), v[:, None]), -1)
    return Shape(SKY_RADIUS * np.stack([x, y, z], -1).reshape(-1, 3), triangles, uv.reshape(-1, 2))
