"""The principal points of cameras that many images of a reconstruction share."""

from __future__ import annotations

import pycolmap

# A camera of at least so many images gets its own principal point; fewer do not determine one.
MIN_IMAGES = 20


def refine_principal_points(model: pycolmap.Reconstruction) -> None:
    """Adjust everything once more, with the principal points of cameras seen often enough free.

    COLMAP keeps them at the image's centre, for a single image does not determine them. A shared
    camera's is determined; left wrong, it turns every pose of the map by as many pixels.
    """
    images_of: dict[int, int] = {}
    for image in model.images.values():
        if image.has_pose:
            images_of[image.camera_id] = images_of.get(image.camera_id, 0) + 1
    config = pycolmap.BundleAdjustmentConfig()
    for image in model.images.values():
        if image.has_pose:
            config.add_image(image.image_id)
    often = {camera for camera, count in images_of.items() if count >= MIN_IMAGES}
    if not often:
        return
    for camera_id in images_of.keys() - often:
        config.set_constant_cam_intrinsics(camera_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    options = pycolmap.BundleAdjustmentOptions(refine_principal_point=True)
    pycolmap.create_default_bundle_adjuster(options, config, model).solve()
