"""KServe's own clients, by a Python that has them: kserve_asks.py HTTP GRPC < npy > npz.

Their messages have the names of tritonclient's, so the two never share a process.
"""

import asyncio
import io
import sys

import numpy as np
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    InferResponse,
    RESTConfig,
)


def asked(images: np.ndarray, **how: bool) -> InferRequest:
    tensor = InferInput("image", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, **how)
    return InferRequest(model_name="tiny", infer_inputs=[tensor])


def labels(answer: InferResponse) -> np.ndarray:
    return next(output for output in answer.outputs if output.name == "labels").as_numpy()


async def answers(http: str, grpc: str, images: np.ndarray) -> dict[str, np.ndarray]:
    rest, remote = InferenceRESTClient(RESTConfig(protocol="v2")), InferenceGRPCClient(grpc)
    there = [
        await rest.is_server_live(http),
        await rest.is_server_ready(http),
        await rest.is_model_ready(http, "tiny"),
        await remote.is_server_live(),
        await remote.is_server_ready(),
        await remote.is_model_ready("tiny"),
    ]
    return {
        "there": np.array(there),
        "binary": labels(await rest.infer(http, asked(images, binary_data=True), "tiny")),
        "json": labels(await rest.infer(http, asked(images, binary_data=False), "tiny")),
        "grpc": labels(await remote.infer(asked(images))),
    }


if __name__ == "__main__":
    given = np.load(io.BytesIO(sys.stdin.buffer.read()))
    found = io.BytesIO()
    np.savez(found, **asyncio.run(answers(sys.argv[1], sys.argv[2], given)))
    sys.stdout.buffer.write(found.getvalue())
