"""Both networks of DeViLoc under the names of the published checkpoint."""

from __future__ import annotations

from torch import nn

from deviloc_ros.models.published.pin import PointInferenceNetwork
from deviloc_ros.models.topicfm.matcher import TopicFM


class DeViLocNetwork(nn.Module):
    """TopicFM-fast (`matcher`) and PIN (`pts3d_infer`); 342 tensors, 15 909 618 parameters."""

    def __init__(self) -> None:
        """Make both networks, in evaluation mode and without gradients for the frozen matcher."""
        super().__init__()
        self.matcher = TopicFM().requires_grad_(False)
        self.pts3d_infer = PointInferenceNetwork()
        self.eval()
