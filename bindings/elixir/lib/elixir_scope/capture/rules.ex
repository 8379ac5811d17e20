defmodule ElixirScope.Capture.Rules do
  @moduledoc """
  Rules: what becomes of an event when it is captured. It may be kept, dropped, sampled, limited to a rate, made a priority event, tagged, or redacted in part.

      :ok =
        Rules.set(capture, [
          [name: :noise, drop: true, kinds: [:message_send, :message_receive]],
          [name: :errors, keep: :trace, kinds: [:error]],
          [name: :paths, priority: true, node_ids: :any],
          [name: :rest, sample: 10]
        ])

  or as a text, which may also be in a file (`load/3`):

      :ok = Rules.set(capture, "errors: keep trace if kind = 0x7FFE0008\\nrest: sample 1/10")

  A capture has one list of rules. It is replaced as a whole, while processes capture. An event goes through it in its order, until a rule drops or keeps it.
  `docs/rules.md` says what each action does, and has the grammar of the text.

  ## A rule as data

  A keyword list or a map. Actions, of which there is at least one:

    * `drop: true`; `keep: true` or `keep: :trace` (and all later events of its trace);
    * `sample: n`: one of `n` is kept, and stands for `n` (`ElixirScope.Capture.Batch.weight/1`);
    * `limit: per_second` or `limit: {per_second, burst}`;
    * `priority: true`; `snapshot: true` (see `ElixirScope.Capture.Capture.snapshot_on_trigger/2`); `tag: 1..8` (a number, or a list of them);
    * `redact: field`, or a list of them: `"FIELD"`, `"KIND.FIELD"`, `"payload"` or `"payload[A..B]"`.

  Conditions, all of which must hold; without any, the rule is for every event:

    * `kinds:` a list of numbers, `ElixirScope.Capture.CaptureKind`s, and names of the helpers' events: `:function_call`, `:function_return`, `:process_spawn`,
      `:message_send`, `:message_receive`, `:state_change`, `:performance_metric`, `:error`; `kind_range: first..last`;
    * `correlation_ids:` or `node_ids:` a list of ids, or `:any` for events that have one;
    * `payload_bytes: least..greatest`, or `{least, greatest}`; `payload_prefix: binary`;
    * `if:` an expression of the text's grammar.

  And `name:`, and `dry: true` for a rule that only counts.

  A term that goes to writers is not looked into: it has its kind, its ids and the bytes that it takes in a ring, and no field or byte that a rule could compare
  or redact. Typed kinds and other binaries have.

  ## Errors

  A list is taken as a whole, or refused as a whole: `{:error, {:invalid, text}}` names the rule, for a text with line and column, and what was expected:

      iex> {:ok, capture} = ElixirScope.Capture.Capture.new()
      iex> ElixirScope.Capture.Rules.set(capture, "errors: keep\\nmarks: tag 9")
      {:error, {:invalid, "line 2, column 12: rule 2 (marks): a tag from 1 to 8 expected, 9 found"}}
      iex> ElixirScope.Capture.Rules.set(capture, [[name: :rest, sample: 0.1]])
      {:error, {:invalid, "rule 1 (rest): sample: an integer from 1 to 4294967295 expected, 0.1 given"}}
  """

  alias ElixirScope.Capture.Capture.Event
  alias ElixirScope.Capture.{Capture, CaptureKind, Options}
  alias :elixir_scope_capture_pipeline, as: Pipeline

  @typedoc "A rule as data."
  @type rule :: keyword() | map()
  @typedoc "A rule in force, and what it has counted."
  @type metrics :: :elixir_scope_capture_pipeline_rule.metrics()

  @doc """
  Sets the rules of a capture, in place of those before: a list of rules, or a text. With `dry: true` they only count. Counts begin at 0.

      iex> {:ok, capture} = ElixirScope.Capture.Capture.new()
      iex> :ok = ElixirScope.Capture.Rules.set(capture, [[name: :noise, drop: true, kinds: [7]]])
      iex> ElixirScope.Capture.Capture.event(capture, 7, {:a, :term})
      {:error, :dropped_by_rule}
      iex> {:ok, [%{name: "noise", matched: 1, dropped: 1}]} = ElixirScope.Capture.Rules.list(capture)
  """
  @spec set(Capture.t(), [rule()] | String.t(), keyword() | map()) :: :ok | {:error, term()}
  def set(%Capture{native: native}, rules, options \\ []),
    do: Pipeline.set_rules(native, given(rules), Options.to_map(options))

  @doc "Sets the rules from a file that has them as text. Call it again when the file has changed: nobody watches it. If anything is wrong, the rules before stay in force."
  @spec load(Capture.t(), Path.t(), keyword() | map()) :: :ok | {:error, term()}
  def load(%Capture{native: native}, path, options \\ []),
    do: Pipeline.load_rules(native, path, Options.to_map(options))

  @doc "Ends all rules."
  @spec clear(Capture.t()) :: :ok | {:error, term()}
  def clear(%Capture{native: native}), do: Pipeline.clear_rules(native)

  @doc """
  The rules in force, in their order: `name`, `line` (in a text), `dry`, `matched`, `dropped`, `limited`, `sampled_out`, and whether each is `active`. One that names a kind
  or a field that is not defined yet is not, and `waits_for` says for what it waits.
  """
  @spec list(Capture.t()) :: {:ok, [metrics()]} | {:error, term()}
  def list(%Capture{native: native}), do: Pipeline.rules(native)

  # What only Elixir has: ranges, kinds as structs and names. Anything else is left to the Erlang module, which refuses it by name.
  defp given(rules) when is_list(rules), do: Enum.map(rules, &rule/1)
  defp given(rules), do: rules

  defp rule(%{} = rule) when not is_struct(rule), do: Map.new(rule, &option/1)
  defp rule(rule) when is_list(rule), do: if(Keyword.keyword?(rule), do: Enum.map(rule, &option/1), else: rule)
  defp rule(rule), do: rule

  defp option({:kinds, kinds}) when is_list(kinds), do: {:kinds, Enum.map(kinds, &kind/1)}

  defp option({key, %Range{first: first, last: last, step: 1}}) when key in [:kind_range, :payload_bytes],
    do: {key, {first, last}}

  defp option(option), do: option

  defp kind(%CaptureKind{number: number}), do: number
  defp kind(name) when is_atom(name), do: Map.get(Event.kinds(), name, name)
  defp kind(kind), do: kind
end
