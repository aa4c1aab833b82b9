"""Meshes as VTK draws them. Imported only where something is rendered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkTexture

from deviloc_ros.simulation.light import Light
from deviloc_ros.simulation.mesh import Mesh


def textured_actor(mesh: Mesh, light: Light) -> Any:
    """Return VTK's actor of a mesh."""
    numpy_to_vtk: Callable[..., Any] = numpy_support.numpy_to_vtk
    numpy_to_ids: Callable[..., Any] = numpy_support.numpy_to_vtkIdTypeArray
    # Every triangle gets corners of its own, as its light is its own: facets are flat.
    corners = mesh.shape.triangles.ravel()
    vertices = mesh.shape.vertices[corners]
    points = vtkPoints()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(vertices, deep=True))
    cells = vtkCellArray()
    indices = numpy_to_ids(np.arange(len(corners), dtype=np.int64), deep=True)
    offsets = numpy_to_ids(np.arange(0, len(corners) + 1, 3, dtype=np.int64), deep=True)
    cells.SetData(offsets, indices)
    data = vtkPolyData()
    data.SetPoints(points)
    data.SetPolys(cells)
    if mesh.lit:
        colours = np.repeat(light.on(_normals(vertices)), 3, axis=0)
        data.GetPointData().SetScalars(numpy_to_vtk((255 * colours).astype(np.uint8), deep=True))
    # VTK counts texture rows from below.
    uv = np.column_stack([mesh.shape.uv[corners, 0], 1 - mesh.shape.uv[corners, 1]])
    coordinates = numpy_to_vtk(uv.astype(np.float32), deep=True)
    coordinates.SetName("uv")
    data.GetPointData().SetTCoords(coordinates)

    picture = vtkImageData()
    picture.SetDimensions(mesh.texture.shape[1], mesh.texture.shape[0], 1)
    flipped = np.ascontiguousarray(mesh.texture[::-1]).reshape(-1, 3)
    picture.GetPointData().SetScalars(numpy_to_vtk(flipped, deep=True))
    texture = vtkTexture()
    texture.SetInputDataObject(picture)
    texture.InterpolateOn()
    texture.MipmapOn()
    # Anisotropic filtering triples the time in software; oversampling serves.
    texture.SetMaximumAnisotropicFiltering(1.0)
    texture.RepeatOff()
    texture.EdgeClampOn()

    mapper = vtkPolyDataMapper()
    mapper.SetInputDataObject(data)
    mapper.SetStatic(1)
    actor = vtkActor()
    actor.SetMapper(mapper)
    actor.SetTexture(texture)
    actor.GetProperty().LightingOff()
    return actor


def _normals(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit normals (M, 3) of triangles whose corners (3 M, 3) are given in turn."""
    a, b, c = vertices[0::3], vertices[1::3], vertices[2::3]
    normals = np.cross(b - a, c - a)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12))
