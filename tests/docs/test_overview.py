"""The layout of the overview."""

from PIL import Image

from docs.tools.overview import sheet


def test_columns_are_equally_wide_and_hold_every_picture_whole():
    red, blue = Image.new("RGB", (100, 100), "red"), Image.new("RGB", (300, 100), "blue")
    tall = Image.new("RGB", (100, 400), "green")
    tall.paste("black", (0, 390, 100, 400))
    whole = sheet([[red, blue], [tall]], 412)
    assert whole.size == (412, 800)
    assert whole.getpixel((50, 50)) == whole.getpixel((199, 199)) == (255, 0, 0)
    assert whole.getpixel((205, 50)) == whole.getpixel((50, 205)) == (255, 255, 255)
    assert whole.getpixel((50, 250)) == (0, 0, 255)
    assert whole.getpixel((300, 795)) == (0, 0, 0)  # to its lower edge
