"""What is looked at in every page."""

from pathlib import Path
from typing import Any

from helpers.browser import Browser

# Each figure's picture that is shown: its size, and how many of its marks can be seen.
PLOTS = """
[...document.querySelectorAll('figure svg.chart, figure svg.matrix')].map(svg => {
  const box = svg.getBoundingClientRect()
  const marks = [...svg.querySelectorAll('path, circle, rect:not(.back):not(.band)')].filter(m => {
    const b = m.getBoundingClientRect(), style = getComputedStyle(m)
    return (b.width > 0 || b.height > 0) && b.left >= box.left - 12 && b.right <= box.right + 12
      && (style.stroke !== 'none' || style.fill !== 'none')
  })
  return {title: svg.querySelector('title').textContent, described: !!svg.querySelector('desc')
    .textContent, width: box.width, height: box.height, marks: marks.length}
})
"""


def look(browser: Browser, page: Path, **view: Any) -> dict[str, int]:
    """Fail on anything wrong with the page; the marks of its plots by title."""
    browser.open(page, **view)
    assert browser.errors == []
    assert browser.requests == [page.absolute().as_uri()]
    plots = browser.evaluate(PLOTS)
    for plot in plots:
        assert plot["width"] > 100, plot
        assert plot["height"] > 20, plot
        assert plot["marks"] > 0, plot
        assert plot["described"], plot
    width = browser.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0, "the page is wider than the screen"
    return {plot["title"]: plot["marks"] for plot in plots}
