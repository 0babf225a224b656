"""Where a network can be cut in two, and the two halves."""

from stages.common.errors import InputError
from stages.common.names import unknown_name
from stages.common.quiet_tensorflow import keras


def _graph(model: keras.Model) -> keras.Model:
    """Return the model as a plain functional one, over the same layers and tensors."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "Expected a model with one input and one output. "
            f"Received: {len(model.inputs)} inputs, {len(model.outputs)} outputs."
        )
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def _cut_tensors(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Map each layer through which everything passes to its output, from input to output.

    In an order in which each node stands after those that it reads, a node separates the input
    from the output exactly if no edge leads from before it to after it:

        a -> b -> d -> e        order a b c d e; the edge a -> d passes over b and c,
        a ---> c ---> d         so the cuts are a, d and e

    (Every node lies on some way from the input to the output, so an edge that passes over a node
    is part of a way around it.)
    """
    by_depth = _graph(model)._nodes_by_depth  # Keras has no public view of the graph
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    last_reader = {id(parent): i for i, node in enumerate(nodes) for parent in node.parent_nodes}
    operations = [node.operation for node in nodes]
    found = {}
    furthest = 0
    for i, node in enumerate(nodes):
        layer = node.operation
        # A layer that is used twice names two places, so it names none.
        unique = isinstance(layer, keras.layers.Layer) and operations.count(layer) == 1
        if furthest <= i and unique and len(node.outputs) == 1:
            found[layer.name] = node.outputs[0]
        furthest = max(furthest, last_reader.get(id(node), i))
    return found


def cuts(model: keras.Model) -> list[str]:
    """Name the layers at which a model can be cut: those through which everything passes.

    Args:
        model: A built functional or sequential model with one input and one output. A model nested
            in it counts as one layer.

    Returns:
        The names from input to output; the first is the input layer, the last the output layer.

    Raises:
        ValueError: The model has several inputs or outputs.
    """
    return list(_cut_tensors(model))


def split(model: keras.Model, layer_name: str) -> tuple[keras.Model, keras.Model]:
    """Cut a model in two behind a layer.

    Args:
        model: As for `cuts`.
        layer_name: One of `cuts(model)`.

    Returns:
        (frozen, rest): from the model's input to that layer's output, and from there to the
        model's output. Both share the layers of `model`, so training one trains `model`, and
        `rest(frozen(x)) == model(x)`. At the last layer, `rest` gives its input unchanged.

    Raises:
        InputError: The layer does not exist, or something passes beside it.
    """
    tensors = _cut_tensors(model)
    if layer_name not in tensors:
        what = f"cut of {model.name!r}, a layer through which everything passes:"
        raise InputError(unknown_name(what, layer_name, tensors))
    cut = tensors[layer_name]
    frozen = keras.Model(model.inputs[0], cut, name="frozen")
    if cut is model.outputs[0]:  # Keras cannot begin a model at the tensor with which it ends
        features = keras.Input(batch_shape=cut.shape, dtype=cut.dtype, name="features")
        return frozen, keras.Model(features, features, name="rest")
    rest = keras.Model(cut, model.outputs[0], name="rest")
    if cut is not model.inputs[0]:
        rest.layers[0].name = "features"  # Keras numbers it by all that the process made before
    return frozen, rest
