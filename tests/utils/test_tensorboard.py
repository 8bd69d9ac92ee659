"""What SummaryWriter writes, read back by a reader of its own: records, protocol buffers, pictures."""

import struct
import zlib

import numpy as np
import pytest

import rushlight as torch
from rushlight.utils.tensorboard import SummaryWriter
from rushlight.utils.tensorboard.events import masked_checksum


def varint(data, position):
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def fields(data):
    """(number, value) of each field of a message."""
    position = 0
    found = []
    while position < len(data):
        key, position = varint(data, position)
        if key & 7 == 0:
            value, position = varint(data, position)
        else:
            size, position = varint(data, position) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], position)
            value, position = data[position : position + size], position + size
        found.append((key >> 3, value))
    return found


def events(folder):
    """(step, tag, fields of the value) of all events in the files of a folder."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        position, first = 0, True
        while position < len(data):
            (length,) = struct.unpack("<Q", data[position : position + 8])
            record = data[position + 12 : position + 12 + length]
            checks = struct.unpack("<I", data[position + 8 : position + 12]) + struct.unpack(
                "<I", data[position + 12 + length : position + 16 + length]
            )
            assert checks == (masked_checksum(data[position : position + 8]), masked_checksum(record))
            position += 16 + length
            event = dict(fields(record))
            if first:
                assert event[3] == b"brain.Event:2"
                first = False
                continue
            for _, value in fields(event[5]):
                value = dict(fields(value))
                found.append((event.get(2), value.pop(1).decode(), value))
    return found


def test_checksum():
    # The known CRC-32C of "123456789" is E3069283; masked as TFRecord says.
    crc = 0xE3069283
    assert masked_checksum(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_curves(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(300):
            writer.add_scalar("loss/train", torch.tensor([1.0 / (step + 1)]), step)
        writer.add_scalar("plain", 3)
        writer.add_scalars("both", {"a": 1, "b": torch.tensor(2.0)}, 7)
    found = events(tmp_path)
    assert [(step, tag) for step, tag, _ in found] == [(s, "loss/train") for s in range(300)] + [(None, "plain")]
    values = [struct.unpack("<f", value[2])[0] for _, _, value in found]
    np.testing.assert_array_equal(values, np.append(np.float32(1) / np.arange(1, 301, dtype=np.float32), 3))
    assert events(tmp_path / "both_b") == [(7, "both", {2: struct.pack("<f", 2.0)})]
    with pytest.raises(ValueError, match="one number is expected"):
        SummaryWriter(tmp_path / "other").add_scalar("x", torch.ones(2))


def test_histograms(tmp_path):
    values = torch.cat([torch.zeros(5), torch.linspace(-2, 3, 11)])
    with SummaryWriter(tmp_path) as writer:
        writer.add_histogram("weights", values, 4)
        writer.add_histogram("few", np.arange(10), 4, bins=[0, 2, 5, 20])
    (_, _, weights), (_, _, few) = events(tmp_path)
    weights, few = dict(fields(weights[5])), dict(fields(few[5]))
    minimum, maximum, count, total, squares = (struct.unpack("<d", weights[number])[0] for number in range(1, 6))
    assert (minimum, maximum, count) == (-2, 3, 16)
    assert total == values.double().sum() and squares == (values.double() ** 2).sum()
    limits, counts = (np.frombuffer(weights[number], "<f8") for number in (6, 7))
    assert counts.sum() == 16 and len(limits) == len(counts) and counts[0] == 0
    assert limits[-2] <= 3 <= limits[-1] and limits[0] <= -2 <= limits[1] and (np.diff(limits) > 0).all()
    assert np.frombuffer(few[6], "<f8").tolist() == [0, 2, 5, 20] and np.frombuffer(few[7], "<f8").tolist() == [
        0,
        2,
        3,
        5,
    ]


def pixels(image):
    """The bytes of a PNG, (H, W, C)."""
    chunks, position = {}, 8
    while position < len(image):
        (length,) = struct.unpack(">I", image[position : position + 4])
        kind, data = image[position + 4 : position + 8], image[position + 8 : position + 8 + length]
        assert struct.unpack(">I", image[position + 8 + length : position + 12 + length])[0] == zlib.crc32(kind + data)
        chunks[kind] = data
        position += 12 + length
    width, height, depth, color = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert depth == 8 and not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, {0: 1, 2: 3, 6: 4}[color])


def test_pictures(tmp_path):
    image = torch.rand(3, 4, 6)
    many = torch.randint(0, 256, (10, 1, 2, 3), dtype=torch.uint8)
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("one", image, 1)
        writer.add_image("flat", image[0].numpy(), 1, dataformats="HW")
        writer.add_images("many", many, 1)
        with pytest.raises(ValueError, match="dimensions HW"):
            writer.add_image("wrong", image, dataformats="HW")
    one, flat, several = (dict(fields(value[4])) for _, _, value in events(tmp_path))
    assert (one[1], one[2], one[3]) == (4, 6, 3)
    np.testing.assert_array_equal(pixels(one[4]), (image.numpy().transpose(1, 2, 0) * 255).astype(np.uint8))
    assert pixels(flat[4]).shape == (4, 6, 1)
    grid = pixels(several[4])
    assert grid.shape == (4, 24, 1)
    np.testing.assert_array_equal(grid[2:4, 3:6, 0], many[9, 0].numpy())
    assert not grid[2:, 6:].any()


def test_texts_precision_and_settings(tmp_path):
    labels, scores = torch.tensor([0, 1, 1, 0]), torch.tensor([0.1, 0.9, 0.6, 0.6])
    with SummaryWriter(tmp_path) as writer:
        writer.add_text("note", "**hello**", 2)
        writer.add_pr_curve("pr", labels, scores, 0, num_thresholds=11)
        writer.add_hparams({"lr": 0.1}, {"accuracy": 0.5}, run_name="first")
    (_, note, words), (_, _, curve) = events(tmp_path)
    assert note == "note/text_summary" and dict(fields(words[8]))[8] == b"**hello**"
    table = np.frombuffer(dict(fields(curve[8]))[5], "<f4").reshape(6, 11)
    for index, threshold in enumerate(np.linspace(0, 1, 11)):
        above = np.floor(scores.numpy().astype(float) * 10) / 10 >= threshold - 1e-9
        true = labels.numpy() == 1
        wanted = [(above & true).sum(), (above & ~true).sum(), (~above & ~true).sum(), (~above & true).sum()]
        assert table[:4, index].tolist() == wanted, threshold
    assert [(tag, step) for step, tag, _ in events(tmp_path / "first")] == [
        ("hparams/text_summary", None), ("accuracy", None),
    ]  # fmt: skip


def test_embeddings_and_graphs(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_embedding(torch.ones(5, 2), list("abcde"), torch.rand(5, 3, 4, 4), global_step=3)
        with pytest.warns(UserWarning, match="nothing is drawn"):
            writer.add_graph(torch.nn.Linear(2, 3), torch.ones(1, 2))
    folder = tmp_path / "00003" / "default"
    assert (folder / "tensors.tsv").read_text() == "1\t1\n" * 5
    assert (folder / "metadata.tsv").read_text().split() == list("abcde")
    assert pixels((folder / "sprite.png").read_bytes()).shape == (12, 12, 3)
    assert 'tensor_path: "00003/default/tensors.tsv"' in (tmp_path / "projector_config.pbtxt").read_text()


def test_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SummaryWriter(comment="_try") as writer:
        writer.add_scalar("x", 1)
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.endswith("_try") and writer.get_logdir() == f"runs/{folder.name}"
    assert len(events(folder)) == 1
