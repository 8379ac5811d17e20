defmodule ElixirScope.Capture.Metrics do
  @moduledoc """
  The metrics of captures for others: as text for Prometheus, and as events for `:telemetry`.

      {:ok, text} = ElixirScope.Capture.Metrics.text([capture])
      :ok = ElixirScope.Capture.Metrics.emit(capture)
      {:ok, pid} = ElixirScope.Capture.Metrics.start_link(captures: [capture], period: 10_000)

  ## Events

  | event | measurements | metadata |
  | --- | --- | --- |
  | `[:elixir_scope, :capture, :metrics]` | the numbers of `ElixirScope.Capture.Capture.metrics/1` | `pipeline` (its name) |
  | `[:elixir_scope, :capture, :health]` | `status` (0 healthy, 1 degraded, 2 failing), the numbers of `Capture.health/1` | `pipeline`, `reasons`, `message` |

  A measurement is the value of the moment, and not what was added since the last event. So in `telemetry_metrics` it is a `last_value`:

      last_value("elixir_scope.capture.metrics.stored", tags: [:pipeline])
      last_value("elixir_scope.capture.metrics.latency_p99_ns", tags: [:pipeline], unit: {:nanosecond, :millisecond})
      last_value("elixir_scope.capture.health.status", tags: [:pipeline])

  Either this process emits the events, or `telemetry_poller` does, by the measurement `{ElixirScope.Capture.Metrics, :emit, [capture]}`. This package depends on
  neither: the dispatcher, `:telemetry` unless another module is given, is found at run time.

  ## Options of `start_link/1`

    * `:captures`: a list of captures, or a function without arguments that returns one;
    * `:period`: milliseconds from one emission to the next, 10,000 by default;
    * `:dispatcher`: a module with `execute/3` as `:telemetry` has it;
    * `:name`: of the process.
  """

  use GenServer

  alias :elixir_scope_capture_pipeline, as: Pipeline
  alias ElixirScope.Capture.Capture

  @event [:elixir_scope, :capture]
  @period 10_000
  @statuses %{healthy: 0, degraded: 1, failing: 2}

  @doc """
  The metrics of all these captures as text, in Prometheus' format or as `:openmetrics`. The samples of a metric stand together, so give all captures in one call.
  Their names should differ (option `:name` of `Capture.new/1`); those of one name get a number.
  """
  @spec text([Capture.t()] | Capture.t(), :prometheus | :openmetrics) :: {:ok, binary()} | {:error, term()}
  def text(captures, format \\ :prometheus)
  def text(%Capture{} = capture, format), do: text([capture], format)

  def text(captures, format) when is_list(captures),
    do: captures |> Enum.map(&Capture.pipeline/1) |> Pipeline.metrics_text(format)

  @doc """
  Emits the events of one capture. It never raises, whatever a handler does. `{:error, :not_available}`: the dispatcher is not there, or not started.
  """
  @spec emit(Capture.t(), module()) :: :ok | {:error, term()}
  def emit(%Capture{} = capture, dispatcher \\ :telemetry) do
    with true <-
           is_atom(dispatcher) and Code.ensure_loaded?(dispatcher) and function_exported?(dispatcher, :execute, 3),
         {:ok, %{name: name}} <- capture |> Capture.pipeline() |> Pipeline.config(),
         {:ok, metrics} <- Capture.metrics(capture),
         {:ok, health} <- Capture.health(capture) do
      execute(dispatcher, name, metrics, health)
    else
      false -> {:error, :not_available}
      {:error, _} = error -> error
    end
  end

  defp execute(dispatcher, name, metrics, health) do
    dispatcher.execute(@event ++ [:metrics], numbers(metrics), %{pipeline: name})
    measured = Map.put(numbers(health), :status, Map.fetch!(@statuses, health.status))

    dispatcher.execute(@event ++ [:health], measured, %{
      pipeline: name,
      reasons: health.reasons,
      message: health.message
    })

    :ok
  catch
    # :telemetry is loaded but not started; or a dispatcher passes on what a handler does.
    _, _ -> {:error, :not_available}
  end

  defp numbers(map), do: :maps.filter(fn _, value -> is_number(value) end, map)

  @doc "Starts a process that emits the events of captures again and again; see the options above."
  @spec start_link(keyword()) :: GenServer.on_start() | {:error, {:invalid, atom()}}
  def start_link(options) when is_list(options) do
    state = Map.merge(%{period: @period, dispatcher: :telemetry}, Map.new(Keyword.delete(options, :name)))

    case Enum.find([:captures, :period, :dispatcher | Map.keys(state)], &(not valid?(&1, Map.get(state, &1)))) do
      nil -> GenServer.start_link(__MODULE__, state, Keyword.take(options, [:name]))
      key -> {:error, {:invalid, key}}
    end
  end

  defp valid?(:captures, captures),
    do: is_function(captures, 0) or (is_list(captures) and Enum.all?(captures, &is_struct(&1, Capture)))

  defp valid?(:period, period), do: is_integer(period) and period in 1..0xFFFFFFFF
  defp valid?(:dispatcher, dispatcher), do: is_atom(dispatcher)
  defp valid?(_, _), do: false

  @impl true
  def init(state), do: {:ok, state, {:continue, :emit}}

  @impl true
  def handle_continue(:emit, state), do: emit_all(state)

  @impl true
  def handle_info(:emit, state), do: emit_all(state)
  def handle_info(_, state), do: {:noreply, state}

  defp emit_all(state) do
    for %Capture{} = capture <- captures(state.captures), do: emit(capture, state.dispatcher)
    Process.send_after(self(), :emit, state.period)
    {:noreply, state}
  end

  defp captures(captures) when is_list(captures), do: captures

  defp captures(function) do
    case function.() do
      captures when is_list(captures) -> captures
      _ -> []
    end
  catch
    _, _ -> []
  end
end
