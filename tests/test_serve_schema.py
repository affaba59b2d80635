"""The OpenAPI schema is what the service does: schemathesis finds no answer that it does not describe."""

import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from serving import calibrated_bundle, create, running

# 413 and 408 reject as well as 422 does; and a schema cannot say which bytes are a photo
REJECTED = ["400", "401", "404", "405", "408", "413", "415", "422"]
CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            "negative_data_rejection": {"expected-statuses": REJECTED},
            "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "422"]},
        }
    }
)
EXAMPLES = int(os.environ.get("WHICHLAND_TEST_EXAMPLES", "3"))


@pytest.mark.slow
def test_every_answer_is_one_that_the_schema_describes(tmp_path: Path) -> None:
    with running(create(calibrated_bundle(tmp_path / "bundle"))) as (host, port):
        api = schemathesis.openapi.from_url(f"http://{host}:{port}/openapi.json", config=CONFIG)
        tried = [result.ok() for result in api.get_all_operations()]
        assert len(tried) >= 5
        for operation in tried:
            both = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

            @given(case=both)
            @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
            def answers(case: Any) -> None:
                case.call_and_validate()

            answers()


def test_the_schema_is_whole(tmp_path: Path) -> None:
    with TestClient(create(calibrated_bundle(tmp_path / "bundle"))) as client:
        made = client.get("/openapi.json").json()
    assert {"/api/info", "/api/predict", "/api/explain", "/healthz", "/metrics"} <= set(made["paths"])
    assert "HTTPValidationError" not in str(made)
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (path, method)
            assert "200" in operation["responses"]
    body = made["paths"]["/api/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["required"] == ["files"]
    assert made["components"]["schemas"]["PhotoAnswer"]["properties"]["probabilities"]["examples"]
