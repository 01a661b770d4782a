"""Where a chart of the report puts its values, and the names beside them."""

from hypothesis import given
from hypothesis import strategies as st

from wherefrom.report._labels import Box, Spot, _box, labels
from wherefrom.report._scale import Scale


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20))
def test_a_scale_shows_every_value_in_order(values):
    scale = Scale.around(values, 400.0, 20.0)
    places = [scale.place(value) for value in sorted(values)]
    assert places == sorted(places, reverse=True)
    assert all(20 <= place <= 400 for place in places)
    ticks = [scale.place(tick) for tick in scale.ticks()]
    assert 2 <= len(ticks) <= 11
    assert all(20 <= place <= 400 for place in ticks)


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=30), st.floats(40, 600), st.floats(30, 390)),
        max_size=30,
    )
)
def test_names_overlap_nothing_and_stay_inside(spots):
    plot = Box(40, 28, 610, 394)
    wanted = [Spot(name, x, y, (y - 20, y + 20)) for name, x, y in spots]
    boxes = [_box(label) for label in labels(wanted, plot, [200.0], first=2)]
    assert all(plot.holds(box) for box in boxes)
    assert not any(one.meets(other) for index, one in enumerate(boxes) for other in boxes[:index])


def test_the_first_names_are_placed_though_there_is_no_room_beside():
    crowd = [
        Spot(f"method {i}", 400 + 8 * (i % 6), 200 + 8 * (i // 6), (150, 300)) for i in range(36)
    ]
    crowd = [crowd[14], *crowd[:14], *crowd[15:]]
    placed = labels(crowd, Box(40, 28, 610, 394), first=1)
    assert placed[0].text == "method 14"
    assert placed[0].tie is not None
