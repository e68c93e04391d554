// One execution: a Node.js process, its output, and the end of all that it started.

import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { resolve } from "node:path";
import { Output } from "./output.js";
import { type ExecuteRequest, FAILED, RUNNING, type StatusResponse, SUCCEEDED } from "./wire.js";

const GRACE_MILLIS = 2000;
const LOOK_AGAIN_MILLIS = 10;
/** In the environment of each process of an execution. */
const MARK = "KRUNTIMES_EXECUTION";

export class Execution {
  readonly ended: Promise<void>;
  hasEnded = false;
  private readonly output = { stdout: new Output(), stderr: new Output() };
  private readonly mark = `${MARK}=${randomUUID()}`;
  private child: ChildProcess | undefined;
  private why = "";
  private exitCode = 0;
  private message = "";

  constructor(
    readonly request: ExecuteRequest,
    private readonly directory: string,
  ) {
    this.ended = this.run().then(() => {
      this.hasEnded = true;
    });
  }

  get keptBytes(): number {
    return this.output.stdout.bytes + this.output.stderr.bytes;
  }

  /** Asks the processes to end, then kills them. The first reason stays. */
  end(why: string): void {
    if (this.why || this.hasEnded) return;
    this.why = why;
    this.signal("SIGTERM");
    setTimeout(() => void this.killAll(), GRACE_MILLIS);
  }

  status(limit?: number): StatusResponse {
    return {
      id: this.request.id,
      state: !this.hasEnded ? RUNNING : this.message ? FAILED : SUCCEEDED,
      exit_code: this.hasEnded ? this.exitCode : 0,
      stdout: this.output.stdout.text(limit),
      stderr: this.output.stderr.text(limit),
      error_message: this.hasEnded ? this.message : "",
    };
  }

  private async run(): Promise<void> {
    const seconds = Number(this.request.timeout_seconds);
    // A timer takes at most 2^31 milliseconds.
    const timer = seconds > 0 && seconds < 2 ** 31 / 1000 ? setTimeout(() => this.end("timeout"), seconds * 1000) : undefined;
    try {
      const [code, signal] = await this.process();
      this.exitCode = signal ? 128 + signalNumber(signal) : (code ?? -1);
      if (this.exitCode !== 0) this.message = signal ? `signal: ${signal}` : `exit status ${code}`;
    } catch (error) {
      this.exitCode = 1;
      this.message = error instanceof Error ? error.message : String(error);
    }
    clearTimeout(timer);
    if (this.why) {
      this.exitCode = -1;
      this.message = this.why;
    }
  }

  /** Runs `node` to its end; nothing that it started is alive then. */
  private async process(): Promise<[number | null, NodeJS.Signals | null]> {
    const { args, env, entrypoint } = this.request;
    const command = entrypoint ? [this.file(entrypoint), ...args] : args;
    if (command.length === 0) throw new Error("no script or args provided");
    const own = Object.entries(process.env).filter(([name]) => !/^(KRUNTIMES|KUBERNETES)_/.test(name));
    const [name, value] = this.mark.split("=") as [string, string];
    const child = spawn(process.execPath, command, {
      cwd: this.directory,
      env: { ...Object.fromEntries(own), ...env, [name]: value },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.child = child;
    child.stdout.on("data", (data: Buffer) => this.output.stdout.add(data));
    child.stderr.on("data", (data: Buffer) => this.output.stderr.add(data));
    const closed = new Promise((resolve) => child.once("close", resolve));
    const end = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => resolve([code, signal]));
    });
    await this.killAll();
    // All who could write are dead.
    await closed;
    return end;
  }

  /** What stands in a workspace may be anything, and may lead anywhere. */
  private file(name: string): string {
    const path = resolve(realpathSync(this.directory), name);
    if (realpathSync(path) !== path || !lstatSync(path).isFile()) throw new Error(`${name} is no file of the working directory`);
    return path;
  }

  private signal(signal: NodeJS.Signals): void {
    try {
      if (this.child?.pid) process.kill(-this.child.pid, signal);
    } catch {
      // It has ended.
    }
  }

  /** Kills whatever carries the mark, in whatever session, until nothing does. */
  private async killAll(): Promise<void> {
    this.signal("SIGKILL");
    for (;;) {
      const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && this.isOurs(name));
      if (pids.length === 0) return;
      for (const pid of pids) {
        try {
          process.kill(Number(pid), "SIGKILL");
        } catch {
          // It has ended.
        }
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MILLIS));
    }
  }

  private isOurs(pid: string): boolean {
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(this.mark);
    } catch {
      return false;
    }
  }
}

function signalNumber(signal: NodeJS.Signals): number {
  return { SIGHUP: 1, SIGINT: 2, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 }[signal as string] ?? 0;
}
