"""A Runtime Server that runs `args` as a command, or the file `entrypoint` with `args`."""

from kruntimes_runtime_server import Execution, serve


async def execute(execution: Execution) -> int:
    if execution.entrypoint:
        return await execution.run(execution.path(execution.entrypoint), *execution.args)
    return await execution.run(*execution.args)


if __name__ == "__main__":
    serve(execute)
