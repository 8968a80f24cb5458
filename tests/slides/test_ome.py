"""OME-XML: every unit of length, which image is the slide's, and text of people who mean harm."""

import pytest

from acinus.slides import ome

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="u:1">'
)


def xml(*images: str) -> str:
    return HEAD + "".join(images) + "</OME>"


def image(attributes: str = "", inner: str = "<TiffData IFD='0'/>", name: str = "a") -> str:
    size = 'SizeX="40" SizeY="30" SizeC="3" SizeZ="1" SizeT="1"'
    return f'<Image Name="{name}"><Pixels {size} {attributes}><Channel SamplesPerPixel="3"/>{inner}</Pixels></Image>'


@pytest.mark.parametrize(
    ("size", "unit", "um"),
    [
        ("0.25", None, 0.25),
        ("0.25", "µm", 0.25),
        ("0.25", "\u03bcm", 0.25),
        ("250", "nm", 0.25),
        ("2500", "Å", 0.25),
        ("2500", "\u212b", 0.25),
        ("250000", "pm", 0.25),
        ("2.5E-4", "mm", 0.25),
        ("2.5e-5", "cm", 0.25),
        ("2.5e-6", "dm", 0.25),
        ("2.5e-7", "m", 0.25),
        ("2.5e-10", "km", 0.25),
        ("1e-5", "in", 0.254),
        ("0.01", "thou", 0.254),
        ("1.2e-4", "li", 0.254),
        ("7.2e-4", "pt", 0.254),
        ("1e-6", "ft", 0.3048),
        ("1e-6", "yd", 0.9144),
        ("1e-9", "mi", 1.609344),
        ("0.25", "pixel", None),
        ("0.25", "reference frame", None),
        ("0.25", "parsnip", None),
        ("0", "µm", None),
        ("-1", "µm", None),
        ("nan", "µm", None),
        ("1e999", "µm", None),
        ("", "µm", None),
        ("a quarter", "µm", None),
    ],
)
def test_every_unit_of_length(size: str, unit: str | None, um: float | None) -> None:
    units = "" if unit is None else f'PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"'
    (one,) = ome.images(xml(image(f'PhysicalSizeX="{size}" PhysicalSizeY="{size}" {units}')))
    assert one.mpp == (None if um is None else pytest.approx((um, um), rel=1e-12))


def test_axes_have_units_of_their_own_and_one_alone_is_none() -> None:
    both = 'PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="0.00025" PhysicalSizeYUnit="mm"'
    assert ome.images(xml(image(both)))[0].mpp == pytest.approx((0.5, 0.25))
    assert ome.images(xml(image('PhysicalSizeX="0.5"')))[0].mpp is None


def test_the_directory_of_each_image() -> None:
    pieces = [
        image(inner="<TiffData IFD='4'/>"),
        image(inner="<TiffData IFD='9' FirstC='1'/><TiffData IFD='7' FirstC='0'/>"),
        image(inner=""),
        image(inner="<TiffData IFD='2'><UUID FileName='renamed.tif'>u:1</UUID></TiffData>"),
        image(inner="<TiffData IFD='2'><UUID FileName='../../etc/passwd'>u:2</UUID></TiffData>"),
    ]
    found = ome.images(xml(*pieces))
    assert [one.ifd for one in found] == [4, 7, 2, 2, None]
    assert found[0] == ome.OmeImage("a", 4, 40, 30, 1, None)


def test_older_schemas_and_files_that_only_name_another() -> None:
    older = xml(image()).replace("2016-06", "2011-06").replace("UUID", "other")
    assert ome.is_ome(older)
    assert len(ome.images(older)) == 1
    assert ome.images(xml('<BinaryOnly MetadataFile="x.companion.ome" UUID="u:2"/>')) == []
    assert not ome.is_ome("Aperio Image Library v12|MPP = 0.25")


BOMB = '<!DOCTYPE OME [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE OME [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (xml(image()).replace("<OME", BOMB + "<OME", 1), "does not parse"),
        (xml(image()).replace("<OME", OUTSIDE + "<OME", 1), "does not parse"),
        (xml(image())[:-20] + "</OME>", "does not parse"),
        (xml(image()).replace('"UTF-8"', '"EBCDIC-13"'), "does not parse"),
        (xml(image()).replace('SizeX="40"', 'SizeX="4e1"'), "SizeX = '4e1'; expected a whole number"),
        (xml(image()).replace('SizeX="40"', f'SizeX="{"9" * 5000}"'), "SizeX = '99999"),
        (xml(image()).replace('SizeX="40"', 'SizeX="-40"'), "SizeX = '-40'"),
        (xml(image()).replace('SizeY="30"', ""), "SizeY = ''"),
        (xml(image(inner="<TiffData IFD='x'/>")), "IFD = 'x'"),
    ],
)
def test_harmful_text_is_one_line(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        ome.images(text)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


def test_size_and_depth_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ome, "MAX_XML_BYTES", 2000)
    assert len(ome.images(xml(image()))) == 1
    with pytest.raises(ValueError, match="more than 2000"):
        ome.images(xml(image(), "<!--" + "x" * 2000 + "-->"))
    monkeypatch.undo()
    assert len(ome.images(xml(image(), "<a>" * 20_000 + "</a>" * 20_000))) == 1
