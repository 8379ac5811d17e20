defmodule ElixirScope.Capture.Tracer do
  @moduledoc """
  Captures calls, returns, exceptions, messages, scheduling and garbage collections of any process, without a line in the traced code. A trace goes from
  the traced process straight into its scheduler's ring: there is no tracer process and no mailbox that grows.

      iex> alias ElixirScope.Capture.{Capture, EtsStorage, PipelineManager, Tracer}
      iex> storage = EtsStorage.new(max_events: 1_000)
      iex> {:ok, capture} = Capture.new()
      iex> {:ok, manager} = PipelineManager.start_link(ring_buffer: capture, storage: storage, name: nil)
      iex> {:ok, tracer} = Tracer.start(capture, max_rate: 100_000)
      iex> {:ok, 1} = Tracer.trace_calls(tracer, {Integer, :gcd, 2}, return: true)
      iex> {:ok, 1} = Tracer.trace_processes(tracer, self(), [:call])
      iex> Integer.gcd(12, 18)
      6
      iex> :ok = Tracer.stop(tracer)
      iex> :ok = Capture.flush(capture)
      iex> [call, return] = storage |> EtsStorage.query(function: {Integer, :gcd}) |> Enum.sort_by(& &1.timestamp)
      iex> {call.event_type, call.function, call.args, return.event_type, return.return_value}
      {:call, :gcd, [12, 18], :return, 6}
      iex> %{state: :stopped, captured: 2} = Tracer.info(tracer)
      iex> ElixirScope.Capture.PipelineManager.shutdown(manager)
      :ok

  ## Events

  A writer hands the storage a map. Each has `event_type`, `pid` (of the traced process or port), `id`, `timestamp`, `wall_time`, and

  | `event_type` | keys |
  | --- | --- |
  | `:call` | `module`, `function`, `arity`, `args` (a list; `nil` with the flag `:arity`) |
  | `:return` | `module`, `function`, `arity`, `return_value` |
  | `:exception` | `module`, `function`, `arity`, `class`, `reason` |
  | `:send` | `message`, `to_pid`, `alive` (`false`: there is no such process). `to_pid` may be a port, a name or an alias |
  | `:receive` | `message` |
  | `:in`, `:out` and others of scheduling | `module`, `function`, `arity` (`nil` where the VM does not tell) |
  | `:gc_minor_start`, `:gc_minor_end`, `:gc_major_start`, `:gc_major_end` | `info`, a map |
  | any other tag of `:erlang.trace/3`, such as `:spawn` or `:exit` | `data`, and `extra` where there is one |

  A match specification's `{:message, term}` is under `match_spec_result`. A process that has attached by itself gets the tuples of
  `:elixir_scope_capture_pipeline_tracer`, and a native storage has them in the external term format.

  What does not fit `:bytes` or `:depth` is left out and marked with the atom `:...`, as that module's documentation says.

  ## Options of `start/2`

    * `:depth` (8): how many levels of containers an argument or a message may have, up to 32;
    * `:bytes` (1024): of a trace, 256 to 8192;
    * `:max_rate` (1,000,000): traces a second. One more, and the tracer stops by itself; `:infinity`: no limit;
    * `:max_memory_growth` (1 GiB): the tracer stops when the VM has so many bytes more than at the start; `:infinity`: no limit;
    * `:owner` (the calling process): the tracer stops when it dies;
    * `:exclude`: up to 60 processes that are never traced. The capture's own writers never are. Exclude also a storage that is a process: its messages about the
      events would be events;
    * `:timeline` (false): with `true`, calls, returns and exceptions are captured as events with the fields `track` (the process) and `label` (the function), without arguments and
      values. `capture-pipeline export --to perfetto` makes slices of them, in a row for each process;
    * `:name`: an atom, the name of the trace session on OTP 27 and later.

  On OTP 27 and later a tracer has a trace session of its own, so that it meets no other tool. On OTP 25 and 26 a process or function that another tool
  traces is refused with `{:in_use, _}`, and only what this tracer has set is cleared.
  """

  alias ElixirScope.Capture.{Capture, Options}
  alias :elixir_scope_capture_pipeline_tracer, as: Native

  @enforce_keys [:native]
  defstruct @enforce_keys

  @type t :: %__MODULE__{native: Native.tracer()}
  @typedoc "`Integer` stands for all its functions, `{Integer, :gcd}` for all arities."
  @type pattern :: module() | {module(), atom()} | {module(), atom(), arity() | :_}
  @type processes ::
          pid()
          | port()
          | :all
          | :existing
          | :new
          | :all_processes
          | :existing_processes
          | :new_processes
          | :all_ports
          | :existing_ports
          | :new_ports
  @type info :: %{
          state: :running | :stopped | :owner_died | :too_fast | :too_much_memory | :pipeline_closed,
          captured: non_neg_integer(),
          refused: non_neg_integer(),
          without_ring: non_neg_integer()
        }

  @doc "Starts a tracer, which traces nothing yet. `{:error, {:invalid, option}}` names an invalid option."
  @spec start(Capture.t(), keyword() | map()) :: {:ok, t()} | {:error, term()}
  def start(%Capture{} = capture, options \\ []) do
    with {:ok, native} <- Native.start(Capture.pipeline(capture), Options.to_map(options)),
         do: {:ok, %__MODULE__{native: native}}
  end

  @doc """
  Stops a tracer. When it returns `:ok`, nothing is traced by it any more, and the VM has none of its patterns. The events that it has captured stay in the
  capture, and reach the storage.
  """
  @spec stop(t(), timeout()) :: :ok | {:error, :timeout}
  def stop(%__MODULE__{native: native}, timeout \\ 5_000), do: Native.stop(native, timeout)

  @doc """
  Traces calls of these functions, in the processes that are traced with the flag `:call`. Returns how many functions that are.

    * `return: true`: also when the function returns or an exception leaves it. A function that ends in a call of itself or another then uses more stack;
    * `match_spec:`: a match specification of the VM (`true`, or a list), instead;
    * `local: false`: only calls from other modules.

  The module must be loaded. Loading it again ends the tracing of its functions.
  """
  @spec trace_calls(t(), pattern(), keyword() | map()) :: {:ok, non_neg_integer()} | {:error, term()}
  def trace_calls(%__MODULE__{native: native}, pattern, options \\ []),
    do: Native.trace_calls(native, pattern, Options.to_map(options))

  @doc "Undoes `trace_calls/3` with the same pattern."
  @spec untrace_calls(t(), pattern()) :: :ok | {:error, term()}
  def untrace_calls(%__MODULE__{native: native}, pattern), do: Native.untrace_calls(native, pattern)

  @doc """
  Traces processes or ports with the flags of `:erlang.trace/3`: `:call`, `:send`, `:receive`, `:running`, `:garbage_collection`, `:procs`, `:arity`, `:set_on_spawn` and
  others.
  """
  @spec trace_processes(t(), processes(), [Native.flag()]) :: {:ok, non_neg_integer()} | {:error, term()}
  def trace_processes(%__MODULE__{native: native}, processes, flags),
    do: Native.trace_processes(native, processes, flags)

  @doc "Traces these processes or ports no longer."
  @spec untrace_processes(t(), processes()) :: :ok | {:error, term()}
  def untrace_processes(%__MODULE__{native: native}, processes), do: Native.untrace_processes(native, processes)

  @doc "The state, also of a tracer that has stopped, and how many traces were captured, and refused by a full ring or a closed capture."
  @spec info(t()) :: info() | {:error, :badarg}
  def info(%__MODULE__{native: native}), do: Native.info(native)

  @doc """
  The kind of the events with that tag of the VM.

      iex> ElixirScope.Capture.Tracer.kind(:call)
      0x7FFE0100
  """
  @spec kind(atom()) :: Capture.kind()
  def kind(tag), do: Native.kind(tag)
end
