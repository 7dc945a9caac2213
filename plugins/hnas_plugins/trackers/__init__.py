"""The built-in trackers: what shows runs elsewhere."""

from hnas import Plugin, hookimpl


@hookimpl
def hnas_trackers() -> list[Plugin]:
    return [
        Plugin(
            name="mlflow",
            summary="runs on an MLflow tracking server, MLFLOW_TRACKING_URI",
            factory="hnas_plugins.trackers.mlflow:MLflow",
            options="hnas_plugins.trackers.mlflow:MLflowOptions",
        ),
        Plugin(
            name="tensorboard",
            summary="curves for TensorBoard, in tensorboard/ of the run",
            factory="hnas_plugins.trackers.tensorboard:TensorBoard",
            options="hnas_plugins.trackers.tensorboard:TensorBoardOptions",
            requires=("tensorboard>=2.16",),
        ),
    ]
