// A Runtime Server for JavaScript: `args` are those of node, `entrypoint` is a script.

import { existsSync, mkdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, isAbsolute, join, relative } from "node:path";
import { timingSafeEqual } from "node:crypto";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { Execution } from "./execution.js";
import { type ExecuteRequest, type Id, problem, type StatusResponse } from "./wire.js";

const ENDED_LIMIT = 256;
const ENDED_BYTES = 32 * 1024 * 1024;
const LIST_BYTES = 2 * 1024 * 1024;
const ENTRY_BYTES = 512;

type Call<Request> = grpc.ServerUnaryCall<Request, object>;

class Refusal extends Error {
  constructor(
    readonly code: grpc.status,
    message: string,
  ) {
    super(message);
  }
}

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "9091" },
    "work-dir": { type: "string", default: process.env.KRUNTIMES_WORKSPACE ?? "/workspace" },
  },
});
const workDir = values["work-dir"];
const tokenFile = join(process.env.KRUNTIMES_CONTROL ?? "/var/run/kruntimes", "token");
const executions = new Map<string, Execution>();

/** Only who knows the control token may call. It is read each time, since a restarted runtimed writes a new one. */
function authorize(metadata: grpc.Metadata): void {
  let token = "";
  try {
    token = readFileSync(tokenFile, "utf8").trim();
  } catch {
    // There is none yet.
  }
  const given = Buffer.from(String(metadata.get("kruntimes-token")[0] ?? ""));
  const right = Buffer.from(token);
  if (right.length === 0 || given.length !== right.length || !timingSafeEqual(given, right)) {
    throw new Refusal(grpc.status.UNAUTHENTICATED, "metadata kruntimes-token is not the control token");
  }
}

function get(id: string): Execution {
  const execution = executions.get(id);
  if (!execution) throw new Refusal(grpc.status.NOT_FOUND, `execution ${JSON.stringify(id)} is unknown`);
  return execution;
}

/** Ends an execution, waits until it is dead, and drops it. */
async function discard(execution: Execution): Promise<void> {
  execution.end("cancelled");
  await execution.ended;
  drop(execution);
}

function drop(execution: Execution): void {
  if (executions.get(execution.request.id) === execution) executions.delete(execution.request.id);
}

/** The oldest that have ended go beyond the limits. */
function retain(): void {
  const ended = [...executions.values()].filter((execution) => execution.hasEnded);
  let bytes = ended.reduce((sum, execution) => sum + execution.keptBytes, 0);
  while (ended.length > ENDED_LIMIT || bytes > ENDED_BYTES) {
    const oldest = ended.shift()!;
    bytes -= oldest.keptBytes;
    drop(oldest);
  }
}

/** Whether it is a directory within one directory of the work directory, which links do not lead out of. */
function isWorkspace(asked: string): boolean {
  const [first] = relative(workDir, asked).split("/");
  if (!isAbsolute(asked) || !first || first.startsWith(".") || asked.split("/").includes("..")) return false;
  if (!existsSync(asked)) return true;
  const own = join(realpathSync(workDir), first);
  return `${realpathSync(asked)}/`.startsWith(`${own}/`);
}

async function execute(request: ExecuteRequest): Promise<Id> {
  const wrong = problem(request);
  if (wrong) throw new Refusal(grpc.status.INVALID_ARGUMENT, wrong);
  if (request.working_dir && !isWorkspace(request.working_dir)) {
    const why = `working_dir ${request.working_dir} is not in the workspace: name a directory below ${workDir}, or none`;
    throw new Refusal(grpc.status.INVALID_ARGUMENT, why);
  }
  for (let former; (former = executions.get(request.id)); ) await discard(former);
  let directory = request.working_dir;
  if (!directory) {
    directory = join(workDir, request.id);
    mkdirSync(directory, { recursive: true });
  }
  const execution = new Execution(request, directory);
  executions.set(request.id, execution);
  void execution.ended.then(retain);
  return { id: request.id };
}

function list(): { entries: StatusResponse[] } {
  const all = [...executions.values()];
  const share = LIST_BYTES / Math.max(all.length, 1);
  const limit = Math.max(Math.floor((share - ENTRY_BYTES) / 2), 0);
  return { entries: all.map((execution) => execution.status(limit)) };
}

function forget({ id }: Id): object {
  const execution = get(id);
  if (!execution.hasEnded) throw new Refusal(grpc.status.FAILED_PRECONDITION, `execution ${id} is running`);
  drop(execution);
  return {};
}

/** A call from a function of its request. */
function unary<Request>(answer: (request: Request) => object | Promise<object>) {
  return (call: Call<Request>, done: grpc.sendUnaryData<object>): void => {
    (async () => {
      authorize(call.metadata);
      return answer(call.request);
    })().then(
      (response) => done(null, response),
      (error: unknown) => {
        const code = error instanceof Refusal ? error.code : grpc.status.INTERNAL;
        done({ code, details: error instanceof Error ? error.message : String(error) });
      },
    );
  };
}

const proto = join(dirname(fileURLToPath(import.meta.url)), "runtime.proto");
const definition = loader.loadSync(proto, { keepCase: true, longs: String, enums: Number, defaults: true });
const server = new grpc.Server();
server.addService(definition["executor.v1.Runtime"] as grpc.ServiceDefinition, {
  Execute: unary(execute),
  Status: unary(({ id }: Id) => get(id).status()),
  List: unary(list),
  Cancel: unary(async ({ id }: Id) => discard(get(id)).then(() => ({}))),
  Forget: unary(forget),
  Health: unary(() => ({ healthy: true, message: "" })),
});
const address = `${process.env.KRUNTIMES_LOOPBACK ?? "127.0.0.1"}:${values.port}`;
server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) {
    console.error(`error: can't listen on ${address}: ${error.message}`);
    process.exit(1);
  }
});

async function stop(): Promise<void> {
  const all = [...executions.values()];
  for (const execution of all) execution.end("killed: the runtime server shuts down");
  await Promise.all(all.map((execution) => execution.ended));
  process.exit(0);
}

process.on("SIGTERM", () => void stop());
process.on("SIGINT", () => void stop());
// The local home holds the other end of stdin; its end is the home's.
if (process.env.KRUNTIMES_LIFELINE === "stdin") {
  process.stdin.resume().on("end", () => void stop());
}
