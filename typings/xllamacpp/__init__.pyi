from enum import IntEnum

class ggml_type(IntEnum):  # noqa: N801 - its name
    GGML_TYPE_F16 = ...
    GGML_TYPE_Q8_0 = ...

class CommonParamsModel:
    path: str

class CpuParams:
    n_threads: int

class CommonParams:
    model: CommonParamsModel
    cpuparams: CpuParams
    cpuparams_batch: CpuParams
    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_parallel: int
    n_gpu_layers: int
    kv_unified: bool
    kv_unified_per_slot: int
    cont_batching: bool
    cache_type_k: ggml_type
    cache_type_v: ggml_type
    cache_ram_mib: int
    no_extra_bufts: bool
    fit_params: bool
    warmup: bool
    use_jinja: bool
    hostnames: list[str]
    port: int
    api_keys: list[str]
    ui: bool
    endpoint_slots: bool
    endpoint_metrics: bool
    slot_save_path: str
    sse_ping_interval: int
    timeout_read: int
    timeout_write: int

class Server:
    listening_address: str
    def __init__(self, params: CommonParams) -> None: ...

def get_device_info() -> list[dict[str, object]]: ...
def get_system_info() -> str: ...
