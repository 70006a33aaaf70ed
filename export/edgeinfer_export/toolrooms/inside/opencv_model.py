"""Caffe and Darknet models as OpenCV 4's importers compute them."""

import cv2
import numpy as np
import roomkit

_READERS = {"caffe": "readNetFromCaffe", "darknet": "readNetFromDarknet"}


def open_model(request, say):
    """Open a network; its outputs are named by the layers that make them."""
    net = getattr(cv2.dnn, _READERS[request["framework"]])(*request["files"])
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    # What it fuses and how it multiplies small matrices is its own business, not the model's.
    net.enableWinograd(False)
    grids = request.get("grids") or []
    names = list(request["outputs"])
    layers = [_map_of(net, grid) for grid in grids] or list(request["outputs"].values())

    def run(inputs):
        for name, value in inputs.items():
            if len(inputs) == 1:
                net.setInput(value)
            else:
                net.setInput(value, name)
        made = net.forward(layers)
        if not grids:
            return {
                name: _shaped(value, request["shapes"][name])
                for name, value in zip(names, made, strict=True)
            }
        (picture,) = inputs.values()
        rows = [
            _decode(raw, grid, picture.shape[2:]) for raw, grid in zip(made, grids, strict=True)
        ]
        return {names[0]: np.concatenate(rows, axis=1)}

    title = {"caffe": "Caffe", "darknet": "Darknet"}[request["framework"]]
    return {"name": "OpenCV %s (%s importer)" % (cv2.__version__, title)}, run


def _shaped(value, shape):
    """OpenCV keeps dimensions of one, or drops them, where the frameworks do not."""
    fits = all(isinstance(size, int) for size in shape) and value.size == np.prod(shape)
    return value.reshape(shape) if fits else value


def _map_of(net, grid):
    """The layer that a detection layer reads: the last one before it that OpenCV made."""
    names = list(net.getLayerNames())
    before = grid["layer"] - 1
    for ending in ("conv_%d" % before, "linear_%d" % before):
        for name in names:
            if name == ending:
                found = [n for n in names if n.endswith("_%d" % before)]
                return found[-1]
    raise roomkit.Refusal("OpenCV has no layer that detection layer %d reads" % grid["layer"])


def _decode(raw, grid, picture_hw):
    """Rows of boxes in pixels, objectness, class scores; cell by cell, as the papers say it."""
    anchors, classes = grid["anchors"], grid["classes"]
    _, _, height, width = raw.shape
    maps = raw.astype(np.float64).reshape(len(anchors), 5 + classes, height, width)
    spread = grid["scale_x_y"]
    rows = np.empty((height, width, len(anchors), 5 + classes))
    for number, (anchor_w, anchor_h) in enumerate(anchors):
        values = maps[number]
        if not grid["new_coords"]:
            ends = values[5:]
            if grid["softmax"]:
                ends = np.exp(ends - ends.max(axis=0))
                ends = ends / ends.sum(axis=0)
            else:
                ends = _sigmoid(ends)
            sizes = np.exp(values[2:4])
            values = np.concatenate([_sigmoid(values[:2]), sizes, _sigmoid(values[4:5]), ends])
        else:
            values = np.concatenate([values[:2], (2 * values[2:4]) ** 2, values[4:]])
        for y in range(height):
            for x in range(width):
                row = values[:, y, x].copy()
                row[0] = (row[0] * spread - (spread - 1) / 2 + x) * picture_hw[1] / width
                row[1] = (row[1] * spread - (spread - 1) / 2 + y) * picture_hw[0] / height
                row[2:4] *= (anchor_w, anchor_h)
                rows[y, x, number] = row
    return rows.reshape(1, -1, 5 + classes).astype(np.float32)


def _sigmoid(values):
    return 1 / (1 + np.exp(-values))


if __name__ == "__main__":
    roomkit.serve(open_model)
