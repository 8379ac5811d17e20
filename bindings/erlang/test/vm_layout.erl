%% Whether the NIF may know the layout of terms in this VM. If it was built without (LAYOUT_UNKNOWN, c_src/Makefile), everything goes through the NIF
%% API, as on a VM that it was not tested with: no term is flat, each has to be released, and an integer counts as two words, because
%% the API does not distinguish small and large integers.
-module(vm_layout).
-export([is_known/0, is_flat/0, may_be_flat/0, has_heap_bits/0]).

is_known() -> os:getenv("LAYOUT_UNKNOWN") =:= false.

%% Whether terms are captured as flat words.
is_flat() -> maps:get(terms, elixir_scope_capture_pipeline:capture_info()) =:= flat.

%% Whether they must be: the layout is known, and the version of the VM is one of those with which that was tested. FLAT_UNKNOWN is another
%% variable of c_src/Makefile: the layout is known, but the version is not.
may_be_flat() ->
    is_known() andalso os:getenv("FLAT_UNKNOWN") =:= false andalso
        lists:any(fun(Tested) -> lists:prefix(Tested, erlang:system_info(version)) end, ["13.", "15.", "17."]).

%% Whether a short bitstring lies on the heap as a run of words.
has_heap_bits() -> list_to_integer(erlang:system_info(otp_release)) >= 27.
