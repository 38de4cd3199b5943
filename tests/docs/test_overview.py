"""The layout of the overview."""

from PIL import Image

from docs.tools.overview import sheet


def test_rows_are_equally_wide_and_keep_the_pictures_shapes():
    red, blue = Image.new("RGB", (100, 100), "red"), Image.new("RGB", (300, 100), "blue")
    whole = sheet([[red, blue], [blue]], 412)
    assert whole.size == (412, 100 + 12 + 137)
    assert whole.getpixel((50, 50)) == (255, 0, 0)
    assert whole.getpixel((105, 50)) == (255, 255, 255)
    assert whole.getpixel((400, 50)) == (0, 0, 255)
    assert whole.getpixel((10, 200)) == (0, 0, 255)
