import numpy as np
import pytest
from matplotlib import colormaps

from tasks.shared.heat_colours import HEAT_OPACITY, lay_over


@pytest.mark.parametrize("shape", [(300, 40), (300, 40, 3)])
def test_a_heat_map_is_mixed_with_the_picture_as_matplotlib_colours_it(shape: tuple[int, ...]):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, shape, dtype=np.uint8)
    heat = generator.uniform(-0.1, 1.1, shape[:2])
    heat[0, :5] = (0, 1, 0.5, 1 / 256, 255 / 256)
    colours = colormaps["jet"](np.clip(heat, 0, 1))[..., :3] * 255
    expected = (1 - HEAT_OPACITY) * image.reshape(*shape[:2], -1) + HEAT_OPACITY * colours
    assert (lay_over(image, heat) == expected.round()).all()
