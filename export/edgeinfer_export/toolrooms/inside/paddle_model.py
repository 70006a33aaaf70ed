"""Paddle models as Paddle Inference computes them."""

import paddle
import roomkit
from paddle import inference


def open_model(request, say):
    """Open a program with its parameters."""
    config = inference.Config(*request["files"])
    config.disable_gpu()
    # Each operator as it stands in the file: what is fused differs from release to release.
    config.switch_ir_optim(False)
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    names, wanted = list(request["outputs"]), list(request["outputs"].values())
    fetched = predictor.get_output_names()
    if len(fetched) != len(wanted):
        raise roomkit.Refusal("it gives %d outputs, not %d" % (len(fetched), len(wanted)))

    def run(inputs):
        for name, value in inputs.items():
            predictor.get_input_handle(name).copy_from_cpu(value)
        predictor.run()
        return {
            name: predictor.get_output_handle(item).copy_to_cpu()
            for name, item in zip(names, fetched, strict=True)
        }

    return {"name": "Paddle %s" % paddle.__version__}, run


if __name__ == "__main__":
    roomkit.serve(open_model)
