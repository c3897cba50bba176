"""A loop on the Lambda Runtime API that loads a handler module, as the managed Python runtime does.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import http.client
import importlib
import json
import os
import sys
import traceback


class Context:
    """The part of Lambda's context object that the handlers read."""

    def __init__(self, request_id: str) -> None:
        self.aws_request_id = request_id
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.invoked_function_arn = ""


def main() -> None:
    folder, module = sys.argv[1:3]
    sys.path.insert(0, folder)
    handler = importlib.import_module(module).handler
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

    def call(method: str, path: str, body: bytes | None = None) -> tuple[http.client.HTTPResponse, bytes]:
        api.request(method, f"/2018-06-01/runtime/{path}", body=body)
        response = api.getresponse()
        return response, response.read()

    while True:
        response, event = call("GET", "invocation/next")
        request_id = response.headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            answer = handler(json.loads(event), Context(request_id))
            call("POST", f"invocation/{request_id}/response", json.dumps(answer).encode())
        except Exception as error:  # the runtime reports whatever a handler raises
            description = {
                "errorType": type(error).__name__,
                "errorMessage": str(error),
                "stackTrace": traceback.format_exc().splitlines(),
            }
            call("POST", f"invocation/{request_id}/error", json.dumps(description).encode())


if __name__ == "__main__":
    main()
