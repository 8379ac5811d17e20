defmodule ElixirScope.Capture.CaptureJournal.Error do
  @moduledoc """
  A journal cannot be read. `reason` is what the functions that do not raise return in `{:error, reason}`; see
  `ElixirScope.Capture.CaptureJournal`.
  """

  defexception [:path, :reason]

  @type t :: %__MODULE__{path: Path.t(), reason: ElixirScope.Capture.CaptureJournal.reason()}

  @impl true
  def message(%__MODULE__{path: path, reason: {name, text}}) when is_binary(text),
    do: "the journal #{inspect(path)} cannot be read (#{name}): #{text}"

  def message(%__MODULE__{path: path, reason: reason}),
    do: "the journal #{inspect(path)} cannot be read: #{inspect(reason)}"
end
