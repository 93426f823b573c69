"""Laws of the network body: shapes, strides, and results that depend neither on the batch nor on padding."""

import pytest
import torch

from sketch_colorizer.unet import UNet

SMALL = {"widths": (8, 12, 16), "encoder_depths": (1, 1, 2), "decoder_depths": (1, 1), "attention_head_channels": 8}


def make(seed: int = 0, **options) -> UNet:
    torch.manual_seed(seed)
    return UNet(5, **{**SMALL, **options}).eval()


@pytest.mark.parametrize("block", ["residual", "plain"])
@pytest.mark.parametrize("stem_stride", [1, 2, 4])
@pytest.mark.parametrize("output_stride", [1, 4])
def test_output_has_the_promised_size(block, stem_stride, output_stride):
    unet = make(block=block, stem_stride=stem_stride, output_stride=output_stride)
    features = unet(torch.rand(2, 5, 2 * unet.stride, 3 * unet.stride))
    size = (2 * unet.stride // output_stride, 3 * unet.stride // output_stride)
    assert features.shape == (2, unet.out_channels, *size)


def test_sizes_off_the_stride_are_refused():
    with pytest.raises(ValueError, match="multiples of 16, got 40x48"):
        make()(torch.rand(1, 5, 40, 48))


def test_a_sample_does_not_depend_on_its_batch():
    unet, batch = make(), torch.rand(3, 5, 32, 32)
    alone = torch.cat([unet(sample[None]) for sample in batch])
    assert torch.allclose(unet(batch), alone, atol=1e-5)


def test_training_and_evaluation_mode_agree():
    unet, batch = make(), torch.rand(2, 5, 32, 32)
    evaluated = unet(batch)
    assert torch.equal(unet.train()(batch), evaluated)


def test_without_attention_far_paper_changes_nothing():
    """Padding with zeros, which is blank paper, leaves what is out of its reach exactly as it was."""
    unet = make(attention_head_channels=None)
    picture = torch.rand(1, 5, 32, 512)
    picture[..., 64:] = 0
    narrow, wide = unet(picture), unet(torch.nn.functional.pad(picture, (0, 128)))
    assert torch.allclose(narrow[..., :8], wide[..., :8], atol=1e-5)


def test_attention_sees_the_whole_picture():
    unet, picture = make(), torch.zeros(1, 5, 16, 512)
    changed = picture.clone()
    changed[..., -16:] = 1
    difference = (unet(picture) - unet(changed)).abs()
    assert difference[..., :4].max() > 0


def test_time_modulates_the_features():
    unet = make(time_channels=16)
    torch.nn.init.normal_(unet.encoder[0].blocks[0].modulation.weight)
    picture = torch.rand(2, 5, 32, 32)
    early, late = (unet(picture, torch.full((2,), time)) for time in (0.1, 0.9))
    assert not torch.allclose(early, late)
    mixed = unet(picture, torch.tensor([0.1, 0.9]))
    assert torch.allclose(mixed[0], early[0], atol=1e-5)
    assert torch.allclose(mixed[1], late[1], atol=1e-5)


def test_plain_blocks_take_no_time():
    with pytest.raises(ValueError, match="residual"):
        make(block="plain", time_channels=16)
