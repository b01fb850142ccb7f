"""Kinds of settings: which values each accepts, and how an error describes them."""

from typing import Annotated

from msgspec import Meta

Text = Annotated[str, Meta(min_length=1, description="a text that is not empty")]
WebTokens = Annotated[
    str,
    Meta(
        pattern=r"^$|^[\w.@+-]{1,64}=[0-9a-f]{64}(,[\w.@+-]{1,64}=[0-9a-f]{64})*$",
        description="owners and digests of tokens, such as alice=9f86...; `jdq web --new-token OWNER` makes one",
    ),
]
User = Annotated[
    str, Meta(pattern=r"^[\w.@+-]{1,64}$", description="1 to 64 letters, digits and . _ @ + - without spaces")
]
Shares = Annotated[
    str,
    Meta(
        pattern=r"^(\*|[\w.@+-]{1,64})=(?!0+(\.0+)?(,|$))\d+(\.\d+)?(,(\*|[\w.@+-]{1,64})=(?!0+(\.0+)?(,|$))\d+(\.\d+)?)*$",
        description="owners and numbers above 0, such as alice=2,bob=0.5; * is everybody else",
    ),
]
Quotas = Annotated[
    str,
    Meta(
        pattern=r"^$|^(\*|[\w.@+-]{1,64})=0*[1-9]\d{0,5}(,(\*|[\w.@+-]{1,64})=0*[1-9]\d{0,5})*$",
        description="owners and whole numbers above 0, such as alice=4,*=2; * is each other owner",
    ),
]
Names = Annotated[str, Meta(description="a list of names, separated by commas")]
Folders = Annotated[str, Meta(description="folders, or HERE=THERE, separated by commas")]
Device = Annotated[str, Meta(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda, or cuda:N")]
Url = Annotated[
    str,
    Meta(
        pattern=r"^(rediss?|redis\+socket)://.",
        description="a redis://, rediss:// or redis+socket:// URL",
    ),
]
Seconds = Annotated[float, Meta(gt=0, le=86_400, description="a number of seconds above 0, at most 86400")]
Gpus = Annotated[
    str,
    Meta(
        pattern=r"^(all|none|(\d+|(GPU|MIG)-[\w/-]+)(,(\d+|(GPU|MIG)-[\w/-]+))*)$",
        description="all, none, or indexes and UUIDs of GPUs, separated by commas",
    ),
]
Gibibytes = Annotated[float, Meta(ge=0, description="a number of GiB, 0 or more")]
Price = Annotated[float, Meta(ge=0, description="a number, 0 or more")]
Urls = Annotated[
    str,
    Meta(pattern=r"^$|^[a-z][a-z0-9+.-]*://\S+( +[a-z][a-z0-9+.-]*://\S+)*$", description="URLs, separated by spaces"),
]
Days = Annotated[float, Meta(ge=0, description="a number of days, 0 or more")]
Tokens = Annotated[int, Meta(ge=0, description="a whole number of tokens, 0 or more")]
