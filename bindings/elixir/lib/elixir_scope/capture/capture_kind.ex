defmodule ElixirScope.Capture.CaptureKind do
  @moduledoc """
  Typed kinds: the fields of a payload, binaries made from values, and values read from binaries.

      {:ok, kind} =
        CaptureKind.new(7,
          name: :allocation,
          fields: [size: {:u64, hint: :bytes}, site: :address, op: {:enum, :u8, [malloc: 0, free: 1]}, file: :string]
        )

      :ok = Capture.define(capture, kind)
      :ok = Capture.typed(capture, kind, size: 64, site: 0x401136, op: :malloc, file: "a.c")

  A SQLite storage then has a view `kind_allocation` with a column for each field. A payload that writers take is a binary, and `decode/2` reads it.

  ## Options of `new/2`

    * `:name` (must be given) and `:category`: an atom or a string;
    * `:role`: `:instant` (the default), `:begin`, `:end`, `:complete`, `:counter`, `:flow` or `:log`; `:pairs_with`: the other kind of a `:begin` or `:end`;
      `:duration`: the field of a `:complete` with its nanoseconds; `:key`: the field that tells pairs, series or flows apart;
    * `:fields`: a keyword list of types, or of `{type, options}`, in their order. The options of a field are `:unit`, `:hint` (`:hexadecimal`, `:bytes` or
      `:nanoseconds`) and `:offset`. Without an offset a field follows the one before it, without padding;
    * `:size`: the size of the payload, if it is more than its fields take.

  ## Types

    * `:u8`, `:u16`, `:u32`, `:u64`, `:i8`, `:i16`, `:i32`, `:i64`, `:address`: an integer;
    * `:f32`, `:f64`: a number, or `:nan`, `:infinity`, `:neg_infinity`;
    * `:bool`: `true` or `false`;
    * `{:string, bytes}`, or `:string` for the rest of the payload: an atom or a string without NUL; decoded as a string;
    * `{:bytes, bytes}`, or `:bytes` for the rest of the payload: a binary of that size;
    * `{:enum, integer_type, [name: value]}`: a name, or an integer.

  Errors are `{:error, {:invalid, text}}`; the text names the field, the limit and the value. The functions with `!` raise `ArgumentError` with that text.
  """

  alias :elixir_scope_capture_pipeline_kind, as: Kind

  @enforce_keys [:number, :name, :native]
  defstruct @enforce_keys

  @type t :: %__MODULE__{number: 0..0x7FFEFFFF, name: atom() | String.t(), native: term()}
  @type values :: keyword() | %{(atom() | String.t()) => term()}
  @type problem :: {:invalid, String.t()}

  @doc "Makes a kind. What only the library checks is refused by `ElixirScope.Capture.Capture.define/2`."
  @spec new(0..0x7FFEFFFF, keyword() | map()) :: {:ok, t()} | {:error, problem()}
  def new(number, options) do
    with {:ok, native} <- Kind.new(number, options) do
      name = if is_map(options), do: options[:name], else: Keyword.get(options, :name)
      {:ok, %__MODULE__{number: number, name: name, native: native}}
    end
  end

  @doc "The same, or an `ArgumentError`."
  @spec new!(0..0x7FFEFFFF, keyword() | map()) :: t()
  def new!(number, options), do: number |> new(options) |> bang!()

  @doc "The payload with these values. Each field must be given, but one that has the rest of the payload."
  @spec encode(t(), values()) :: {:ok, binary()} | {:error, problem()}
  def encode(%__MODULE__{native: native}, values), do: Kind.encode(native, values)

  @doc "The same, or an `ArgumentError`."
  @spec encode!(t(), values()) :: binary()
  def encode!(kind, values), do: kind |> encode(values) |> bang!()

  @doc "The values of a payload, by the names of the fields. A field that the payload is too short for is left out."
  @spec decode(t(), binary()) :: {:ok, map()} | {:error, :badarg}
  def decode(%__MODULE__{native: native}, payload), do: Kind.decode(native, payload)

  defp bang!({:ok, result}), do: result
  defp bang!({:error, {:invalid, text}}), do: raise(ArgumentError, text)
end
