"""The convolutional backbone of TopicFM-fast: a feature pyramid with maps at 1/8 and 1/2."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_NORM_EPS = 1e-6


class ConvBlock(nn.Module):
    """Convolution, batch normalisation with the stored statistics, GELU.

    The normalisation is not folded into the convolution. That would save a pass over the map, a
    thirtieth of the time, and round otherwise than the published code does, which ill-conditioned
    keypoints amplify: of the recorded ones the worst would be 9e-4 px off instead of 4e-4.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        """Make a block with `kernel` x `kernel` weights and zero padding of half a kernel."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        weight, bias, eps = self.norm.weight, self.norm.bias, self.norm.eps
        return F.gelu(F.batch_norm(self.conv(x), mean, variance, weight, bias, eps=eps))


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of every pixel, always in float32."""

    def __init__(self, channels: int) -> None:
        """Make the affine parameters."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) to the same shape and type."""
        pixels = x.permute(0, 2, 3, 1).float()
        normed = F.layer_norm(pixels, self.weight.shape, self.weight, self.bias, _NORM_EPS)
        return normed.to(x.dtype).permute(0, 3, 1, 2)


class Backbone(nn.Module):
    """Feature pyramid network; its two outputs are the coarse and the fine map."""

    def __init__(self) -> None:
        """Make the layers with the widths of the published weights."""
        super().__init__()
        self.layer0 = ConvBlock(1, 128, 7, 2)
        self.layer1 = nn.Sequential(ConvBlock(128, 128, 3, 1), ConvBlock(128, 128, 3, 1))
        self.layer2 = nn.Sequential(ConvBlock(128, 192, 3, 2), ConvBlock(192, 192, 3, 1))
        self.layer3 = nn.Sequential(ConvBlock(192, 256, 3, 2), ConvBlock(256, 256, 3, 1))
        self.layer4 = nn.Sequential(ConvBlock(256, 384, 3, 2), ConvBlock(384, 384, 3, 1))
        self.layer3_outconv, self.layer3_outconv2 = _lateral(256, 384), _smooth(384, 256)
        self.layer2_outconv, self.layer2_outconv2 = _lateral(192, 256), _smooth(256, 192)
        self.layer1_outconv, self.layer1_outconv2 = _lateral(128, 192), _smooth(192, 128)
        self.norm_outlayer3 = ChannelNorm(256)
        self.norm_outlayer1 = ChannelNorm(128)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Describe images.

        Args:
            images: (B, 1, H, W) float32 gray values in [0, 1]; H and W multiples of 16.

        Returns:
            The coarse map (B, 256, H/8, W/8) and the fine map (B, 128, H/2, W/2), both with
            channels last in memory.
        """
        coarse, fine = self.pyramid(images)
        return self.norm_outlayer3(coarse), self.norm_outlayer1(fine)

    def pyramid(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps of `forward` before they are normalised."""
        x = images.contiguous(memory_format=torch.channels_last)
        x1 = self.layer1(self.layer0(x))
        x2 = self.layer2(x1)
        x3 = self.layer3(x2)
        x4 = self.layer4(x3)
        y3 = self.layer3_outconv2(self.layer3_outconv(x3).add_(_double(x4)))
        y2 = self.layer2_outconv2(self.layer2_outconv(x2).add_(_double(y3)))
        y1 = self.layer1_outconv2(self.layer1_outconv(x1).add_(_double(y2)))
        return y3, y1


def _lateral(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def _smooth(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        ConvBlock(inputs, outputs, 3, 1), nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
    )


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
