CONN_LISTEN: str

class Error(Exception): ...

class svmem:  # noqa: N801 - its name
    total: int
    available: int

class addr:  # noqa: N801 - its name
    ip: str
    port: int

class sconn:  # noqa: N801 - its name
    laddr: addr | tuple[()]
    status: str
    pid: int | None

class Process:
    def __init__(self, pid: int | None = None) -> None: ...
    def cpu_affinity(self) -> list[int]: ...
    def name(self) -> str: ...

def virtual_memory() -> svmem: ...
def cpu_count(logical: bool = True) -> int | None: ...
def net_connections(kind: str = "inet") -> list[sconn]: ...
