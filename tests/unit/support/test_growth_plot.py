"""The plot of the growth is well-formed and shows every figure."""

from xml.etree import ElementTree as ET

from tests.bench.report.plot import growth_svg

SVG = "{http://www.w3.org/2000/svg}"


def test_a_plot_has_a_panel_for_each_figure_and_a_dot_for_each_point() -> None:
    panels = {"CPU & more": [(100, 12.5), (1000, 13.0)], "ticks": [(100, 0.0), (1000, 0.0)]}
    root = ET.fromstring(growth_svg(panels, "jobs"))  # noqa: S314 - made above
    assert len(root.findall(f"{SVG}g")) == 2
    assert len(list(root.iter(f"{SVG}circle"))) == 4
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"CPU & more", "ticks", "12.5", "13", "1,000"} <= set(texts)
