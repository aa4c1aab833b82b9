"""Where a map lies on the earth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class Georeference:
    """The place of a metric map whose z points up.

    Attributes:
        latitude: of the map's origin, WGS 84, degrees.
        longitude: degrees.
        altitude: above the ellipsoid, metres.
        heading: from east to the map's x axis, counter-clockwise, degrees; 0 is ENU (REP-103).
    """

    latitude: float
    longitude: float
    altitude: float
    heading: float

    @property
    def map_from_enu(self) -> Rotation:
        """From east, north and up at the origin to the map's axes."""
        return Rotation.from_euler("z", -self.heading, degrees=True)

    def position(self, latitude: float, longitude: float, altitude: float) -> NDArray[np.float64]:
        """Return the position (3,) in the map of a place on the earth."""
        earth = pycolmap.GPSTransform(pycolmap.GPSTransformEllipsoid.WGS84)
        [enu] = earth.ellipsoid_to_enu(
            np.array([[latitude, longitude, altitude]]),
            self.latitude,
            self.longitude,
            self.altitude,
        )
        return np.asarray(self.map_from_enu.apply(enu))
