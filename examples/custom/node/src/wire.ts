// The messages of executor.v1 as proto-loader gives them.

export interface ExecuteRequest {
  id: string;
  args: string[];
  env: Record<string, string>;
  timeout_seconds: string;
  working_dir: string;
  entrypoint: string;
  handler: string;
}

export interface StatusResponse {
  id: string;
  state: number;
  exit_code: number;
  stdout: string;
  stderr: string;
  error_message: string;
}

export interface Id {
  id: string;
}

export const RUNNING = 2;
export const SUCCEEDED = 3;
export const FAILED = 4;

/** What is wrong with a request, whoever executes it. */
export function problem(request: ExecuteRequest): string | undefined {
  const { id } = request;
  if (!id || id.includes("/") || id.startsWith(".") || id.includes("\0") || Buffer.byteLength(id) > 200) {
    return "id must be a file name of at most 200 bytes without a leading dot";
  }
  if (Object.keys(request.env).some((name) => !name || name.includes("="))) {
    return "the name of an environment variable is empty or has a =";
  }
  const texts = [...request.args, ...Object.entries(request.env).flat()];
  texts.push(request.entrypoint, request.working_dir, request.handler);
  if (texts.some((text) => text.includes("\0"))) {
    return "arguments, environment and paths cannot hold a NUL character";
  }
  return undefined;
}
