"""The model that an address names."""

from __future__ import annotations

from starlette.requests import Request

from serve.models.catalogue import Model
from serve.models.service import Service


def addressed_model(service: Service, request: Request) -> Model:
    """The model of `{model}` and, where the address has it, `{version}`; Refusal 404 otherwise."""
    return service.model_of(request.path_params["model"], request.path_params.get("version"))
