"""Open a Keras file: which Keras wrote it, what in it is code, which layers are nobody's."""

import json
import zipfile

import roomkit


def open_keras(path, trust, shapes):
    """A Keras model, by the Keras that wrote it: 2 (tf_keras) or 3.

    Code inside the file (Lambda layers) is refused unless `trust` is set.
    """
    config, version = read_config(path)
    old = version is None or version.split(".")[0] in ("1", "2")
    if old:
        import tf_keras as library
    else:
        import keras as library
    check_config(config, library, trust)
    try:
        if old and not path.endswith(".keras"):
            model = library.models.load_model(path, compile=False)
        else:
            model = library.models.load_model(path, compile=False, safe_mode=not trust)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise roomkit.Refusal(
            "Keras %s cannot load the file: %s: %s"
            % (library.__version__, type(error).__name__, lines[0][:300] if lines else "")
        )
    if not getattr(model, "inputs", None):
        build(model, shapes)
    return model, "Keras " + library.__version__


def build(model, shapes):
    """Give a model that never saw data the shapes that the user named."""
    if len(shapes) != 1:
        raise roomkit.Refusal(
            "the model does not say what it takes: name the shape with "
            "--input-shape NAME:1x224x224x3, the batch first"
        )
    shape = [None if isinstance(size, str) else size for size in next(iter(shapes.values()))]
    model.build([None, *shape[1:]])


def read_config(path):
    """The architecture as JSON, and the version of Keras that wrote it (None where unsaid)."""
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
            version = file.attrs.get("keras_version")
            groups = sorted(file)
    except OSError as error:
        raise roomkit.Refusal("the HDF5 file is cut off or damaged (%s)" % error)
    if config is None:
        raise roomkit.Refusal(
            "it holds weights only (%s), no architecture: load them into the model in Python and "
            "save the whole model with model.save('model.keras')" % ", ".join(groups[:4])
        )
    return _parsed(config), _text(version)


def _read_zip(path):
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
            if "config.json" not in names:
                raise roomkit.Refusal("it is an archive without config.json, no Keras model")
            config = _parsed(file.read("config.json"))
            about = _parsed(file.read("metadata.json")) if "metadata.json" in names else {}
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise roomkit.Refusal("the archive is cut off or damaged (%s)" % error)
    return config, about.get("keras_version")


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def _parsed(value):
    try:
        found = json.loads(_text(value))
    except ValueError as error:
        raise roomkit.Refusal("its architecture is no JSON (%s)" % error)
    if not isinstance(found, dict):
        raise roomkit.Refusal("its architecture is no Keras configuration")
    return found


def check_config(config, library, trust):
    """Refuse code that nobody trusts, and layers that are not Keras's own."""
    code, custom = [], []
    for name, kind, entry in _layers(config):
        if kind == "Lambda" or _holds_code(entry):
            code.append("'%s' (%s)" % (name, kind))
        elif not _is_known(kind, entry, library):
            custom.append("'%s' (class %s)" % (name, kind))
    if code and not trust:
        raise roomkit.Refusal(
            "it holds Python code: %s. Code in a model file can do anything; if you trust where "
            "it comes from, export again with --trust-pickle" % ", ".join(code[:5])
        )
    if custom:
        raise roomkit.Refusal(
            "it uses layers that are not Keras's own: %s. Their code is not in the file: load the "
            "model in Python with custom_objects, save it as a SavedModel with "
            "model.export('folder'), and export that" % ", ".join(custom[:5])
        )


def _layers(config):
    """Name, class and entry of each layer, nested models included."""
    stack = [config]
    while stack:
        entry = stack.pop()
        if isinstance(entry, list):
            stack.extend(reversed(entry))
        elif isinstance(entry, dict):
            inner = entry.get("config")
            if isinstance(entry.get("class_name"), str) and isinstance(inner, dict):
                layers = inner.get("layers")
                wrapped = inner.get("layer")
                if isinstance(layers, list):
                    stack.extend(reversed(layers))
                else:
                    yield inner.get("name", "?"), entry["class_name"], entry
                    stack.append(wrapped)
            elif isinstance(inner, list):  # the Sequential of Keras 2.0 and 1
                stack.append(inner)


def _holds_code(entry):
    """Whether something inside is a Python function as bytes."""
    stack = [entry]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if value.get("class_name") in ("__lambda__", "function") and "lambda" in str(value):
                return True
            if value.get("function_type") == "lambda" or value.get("output_shape_type") == "lambda":
                return True
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return False


def _is_known(kind, entry, library):
    registered = entry.get("registered_name")
    module = entry.get("module")
    if module is None and registered not in (None, kind) and ">" in str(registered):
        return False
    names = kind.split(">")[-1]
    if ">" in kind and not kind.startswith("Keras"):
        return False
    if hasattr(library.layers, names) or hasattr(library.models, names):
        return True
    if kind in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "InputLayer", "Functional"):
        return True
    return isinstance(module, str) and module.split(".")[0] in ("keras", "tf_keras")
