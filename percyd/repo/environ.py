"""The environment and the settings that a git process is given: built from scratch.

Nothing is inherited by default: percyd is started from hooks, which export ``GIT_DIR``
and more, and from shells with settings that change what a command means. A call that
talks to the remote keeps the user's own configuration and transport settings, because
credential helpers, ``insteadOf``, proxies and ssh commands live there; every other call
sees no configuration but the repository's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

#: Every process: where to find programs and put temporary files.
_BASE = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "GIT_EXEC_PATH")
#: Calls that talk to the remote: who the user is, and how they reach it.
_NETWORK = (
    *("HOME", "USER", "LOGNAME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"),
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
    *("SSH_AUTH_SOCK", "SSH_AGENT_PID", "GIT_SSH", "GIT_SSH_COMMAND"),
    *("GIT_SSH_VARIANT", "GIT_PROXY_COMMAND", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("CURL_CA_BUNDLE", "KRB5CCNAME", "KRB5_CONFIG", "GNUPGHOME"),
    *("DBUS_SESSION_BUS_ADDRESS", "GH_TOKEN", "GITHUB_TOKEN", "GH_CONFIG_DIR"),
    *("GH_HOST", "GLAB_CONFIG_DIR", "GITLAB_TOKEN"),
    *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
)
_NETWORK_PREFIXES = ("GIT_SSL_", "GIT_HTTP_", "GCM_")

_ALWAYS = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS_REQUIRE": "never",
    "GCM_INTERACTIVE": "never",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    # Upstream 2.39.4 and later keep upload-pack from fetching lazily by themselves;
    # the variable does the same for every command where git knows it (2.45.1).
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
    "GIT_EDITOR": "true",
    "GIT_PAGER": "cat",
}
_LOCAL = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_ALLOW_PROTOCOL": "file",
}

SSH_COMMAND = (
    "ssh -oBatchMode=yes -oConnectTimeout=10"
    " -oServerAliveInterval=5 -oServerAliveCountMax=3"
)

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "submodule.recurse=false",
    "safe.bareRepository=explicit",
    "color.ui=false",
    "advice.detachedHead=false",
)
#: Settings of the user that would change what percyd's fetch and push mean.
_NETWORK_SETTINGS = (
    "push.gpgSign=false",
    "push.followTags=false",
    "push.pushOption=",
    "push.recurseSubmodules=no",
    "push.useForceIfIncludes=false",
    "push.negotiate=false",
    "fetch.prune=false",
    "fetch.pruneTags=false",
    "fetch.recurseSubmodules=no",
    "fetch.writeCommitGraph=false",
    "fetch.showForcedUpdates=false",
    "credential.interactive=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=20",
)

#: What the user's transport settings may be, in a clone or in ``GIT_CONFIG_COUNT``.
_TRANSPORT_PREFIXES = ("credential.", "http.", "url.", "ssh.", "core.gitproxy")
_TRANSPORT_KEYS = frozenset({"core.sshcommand", "core.askpass"})


def is_transport_key(key: str) -> bool:
    """Whether a configuration key says how a remote is reached."""
    lowered = key.lower()
    return lowered in _TRANSPORT_KEYS or lowered.startswith(_TRANSPORT_PREFIXES)


def settings(*, network: bool) -> list[str]:
    """The ``-c`` options of a call."""
    chosen: Iterable[str] = _SETTINGS
    if network:
        chosen = (*_SETTINGS, *_NETWORK_SETTINGS)
    return [part for setting in chosen for part in ("-c", setting)]


def build(
    environ: Mapping[str, str],
    *,
    network: bool,
    config: Sequence[tuple[str, str]] = (),
    ssh_command: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The whole environment of one git process.

    Args:
        environ: What the process would inherit; read through an allow-list.
        network: Keep the user's configuration and transport settings.
        config: Settings to add to the user's, for a network call.
        ssh_command: How to call ssh where the user has not said so.
        extra: Variables of this call, such as ``GIT_INDEX_FILE``.
    """
    env = {name: environ[name] for name in _BASE if name in environ}
    env.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    env |= _ALWAYS
    if network:
        env |= {name: environ[name] for name in _NETWORK if name in environ}
        env |= {n: v for n, v in environ.items() if n.startswith(_NETWORK_PREFIXES)}
        env |= {"GCM_INTERACTIVE": "never"}
        if ssh_command and not {"GIT_SSH", "GIT_SSH_COMMAND"} & env.keys():
            env["GIT_SSH_COMMAND"] = ssh_command
        env |= _config_variables([*inherited_config(environ), *config])
    else:
        env |= _LOCAL
    return env | dict(extra or {})


def inherited_config(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """The transport settings among those given by ``GIT_CONFIG_COUNT``."""
    count = environ.get("GIT_CONFIG_COUNT", "")
    if not count.isdecimal():
        return []
    pairs = [
        (environ.get(f"GIT_CONFIG_KEY_{n}", ""), environ.get(f"GIT_CONFIG_VALUE_{n}"))
        for n in range(min(int(count), 1000))
    ]
    return [(k, v) for k, v in pairs if v is not None and is_transport_key(k)]


def _config_variables(config: Sequence[tuple[str, str]]) -> dict[str, str]:
    if not config:
        return {}
    env = {"GIT_CONFIG_COUNT": str(len(config))}
    for number, (key, value) in enumerate(config):
        env[f"GIT_CONFIG_KEY_{number}"] = key
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    return env
