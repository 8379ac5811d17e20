defmodule ElixirScope.Capture.Telemetry do
  @moduledoc """
  Events for `:telemetry`, if that library is loaded at run time.

  | event | measurements | metadata |
  | --- | --- | --- |
  | `[:elixir_scope, :capture, :batch, :stored]` | `count`, `duration` (native units, from take to settle) | `worker`, `dead_lettered` |
  | `[:elixir_scope, :capture, :batch, :failed]` | `count` | `worker`, `reason` |
  | `[:elixir_scope, :capture, :event, :dead_lettered]` | `count` | `worker`, `reason` |
  | `[:elixir_scope, :capture, :source, :failed]` | `count` | `worker`, `reason` |
  | `[:elixir_scope, :capture, :source, :overwritten]` | `count` | `worker` |
  | `[:elixir_scope, :capture, :worker, :restarted]` | `count` | `pool`, `worker`, `reason` |
  | `[:elixir_scope, :capture, :pool, :scaled]` | `size` | `pool`, `previous` |

  They are sent by the process that stores, once per batch, and never by the process that captures.
  """

  @doc false
  @spec execute([atom()], map(), map()) :: :ok
  def execute(name, measurements, metadata) do
    if :erlang.function_exported(:telemetry, :execute, 3) do
      apply(:telemetry, :execute, [[:elixir_scope, :capture | name], measurements, metadata])
    end

    :ok
  catch
    # :telemetry is loaded but not started, so that its table is missing; or a handler exits or throws.
    _, _ -> :ok
  end
end
