from stages.ingest.arrays import identify
from stages.ingest.labelled import Photo
from stages.ingest.scratch import ScratchList
from stages.ingest.sources import Source


def test_photos_are_read_in_threads_and_keep_their_order(tmp_path, monkeypatch):
    """More than all threads read at once, in no order; every 50th is gone."""
    monkeypatch.setenv("DARKROOM_CACHE", str(tmp_path / "cache"))
    photos = []
    for number in range(1000):
        file = tmp_path / f"{number:04}"
        file.write_text(str(number // 2))
        photos.append(Photo(Source(f"{number:04}", str(file), file.stat().st_size), str(number)))
    lost = [photo.source.name for photo in photos[::50]]
    for name in lost:
        (tmp_path / name).unlink()

    found, rejected = identify(ScratchList(photos[::-1]))

    assert sorted(one.source for one in rejected) == lost
    assert {one.reason for one in rejected} == {"unreadable"}
    assert [one.name for one in found.sources] == sorted(
        photo.source.name for photo in photos if photo.source.name not in lost
    )
    assert [int(label) for label in found.said.labels] == [int(s.name) for s in found.sources]
    # Both copies are there, unless the first of them, an even one, is gone.
    assert len(set(found.originals)) == 500
    assert len(set(found.ids)) == len(found.ids) == 980
    places = {int(source.name): place for place, source in enumerate(found.sources)}
    assert found.originals[places[2]] == found.originals[places[3]] == found.ids[places[2]]
    assert found.ids[places[3]] != found.ids[places[2]]
